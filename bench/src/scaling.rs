//! Cost against work: one table for each kind of work, everything on one core as in the goals, with tokens.

use crate::client::{Client, http};
use crate::compare::{cores_of, fill_and_catch_up, rest, sample};
use crate::load::{Load, Operation};
use crate::process::Outcome;
use crate::report::{Filled, Sample, goal_load, median};
use crate::table::{Table, count, number};
use crate::target::{Context, Kind, Target};
use hence_bench::tell;
use std::time::Duration;

const KEYS: usize = 10_000;
const VALUE_BYTES: usize = 100;

/// Prints one table per kind of work.
pub(crate) fn run(context: &Context, quick: bool) -> Outcome<()> {
    let work = Work { context, seconds: if quick { 1 } else { 3 }, quick };
    work.replicas()?;
    work.keys()?;
    work.values()?;
    work.siblings()?;
    work.connections()?;
    work.workers()
}

struct Work<'a> {
    context: &'a Context,
    seconds: u64,
    quick: bool,
}

impl<'a> Work<'a> {
    fn cluster(&self, size: usize) -> Outcome<Target<'a>> {
        Target::start_of(Kind::Hence, size, self.context, &cores_of(1))
    }

    fn measure(&self, target: &Target<'_>, load: Load, keys: usize, value_bytes: usize) -> Outcome<Sample> {
        tell!("{load:?}, {keys} keys of {value_bytes} bytes");
        let found = sample(target, load, (1, 0), keys, value_bytes, self.seconds)?;
        found.ok_or_else(|| "this generator cannot produce that load".into())
    }

    /// All, or the first two for a glance.
    fn some<'b, T>(&self, all: &'b [T]) -> &'b [T] {
        if self.quick { &all[..2] } else { all }
    }

    fn replicas(&self) -> Outcome<()> {
        let head = [
            "replicas",
            "PUT/s",
            "CPU us per PUT, driven",
            "of a follower",
            "of all",
            "wire bytes per PUT and link",
            "token, characters",
            "idle bytes/s",
            "idle bytes/s and link",
            "idle CPU, % of a core",
        ];
        let mut table = Table::new(&head);
        for &size in self.some(&[3, 5, 9]) {
            let cluster = self.cluster(size)?;
            cluster.fill(KEYS, VALUE_BYTES)?;
            let idle = rest(&cluster, 1, Duration::from_secs(2 * self.seconds))?;
            let put = self.measure(&cluster, goal_load(Operation::Put), KEYS, VALUE_BYTES)?;
            let links = (size * (size - 1) / 2) as f64;
            let idle_bytes = idle.bytes_per_second;
            table.row([
                size.to_string(),
                number(Some(put.rate())),
                number(Some(put.cpu[0])),
                number(Some(put.cpu_follower())),
                number(Some(put.cpu_all())),
                number(put.wire_bytes.map(|bytes| bytes / (size - 1) as f64)),
                cluster.token.as_ref().map_or(0, String::len).to_string(),
                number(idle_bytes),
                number(idle_bytes.map(|bytes| bytes / links)),
                number(Some(idle.cpu_percent)),
            ]);
        }
        table.print("Replicas");
        Ok(())
    }

    fn keys(&self) -> Outcome<()> {
        let head = ["keys", "GET/s", "PUT/s", "CPU us per PUT, all", "resident bytes per key", "catch-up keys/s"];
        let mut table = Table::new(&head);
        for &keys in self.some(&[10_000, 100_000, 1_000_000]) {
            let mut cluster = self.cluster(3)?;
            let filled = fill_and_catch_up(&mut cluster, 1, keys, VALUE_BYTES)?;
            cluster.settle()?;
            let get = self.measure(&cluster, goal_load(Operation::Get), keys, VALUE_BYTES);
            let put = self.measure(&cluster, goal_load(Operation::Put), keys, VALUE_BYTES)?;
            table.row([
                count(keys),
                number(Some(get?.rate())),
                number(Some(put.rate())),
                number(Some(put.cpu_all())),
                number(Some(filled.resident_per_key)),
                number(Filled::catch_up_rate(&filled)),
            ]);
        }
        table.print("Keys");
        Ok(())
    }

    fn values(&self) -> Outcome<()> {
        let head = ["value bytes", "GET/s", "GET MB/s", "PUT/s", "PUT MB/s", "CPU us per PUT, all", "p99 of PUT, us"];
        let mut table = Table::new(&head);
        for &bytes in self.some(&[10, 100, 1_000, 10_000, 100_000, 1_000_000]) {
            let keys = (64_000_000 / bytes).clamp(64, KEYS);
            let cluster = self.cluster(3)?;
            cluster.fill(keys, bytes)?;
            let get = self.measure(&cluster, goal_load(Operation::Get), keys, bytes)?;
            let put = self.measure(&cluster, goal_load(Operation::Put), keys, bytes)?;
            let megabytes = |sample: &Sample| number(Some(sample.rate() * bytes as f64 / 1e6));
            table.row([
                count(bytes),
                number(Some(get.rate())),
                megabytes(&get),
                number(Some(put.rate())),
                megabytes(&put),
                number(Some(put.cpu_all())),
                number(Some(put.seen.p99)),
            ]);
        }
        table.print("Values");
        Ok(())
    }

    /// Concurrent versions of one key come from replicas that did not know of each other. Each starts alone, writes,
    /// and is then introduced to the first.
    fn siblings(&self) -> Outcome<()> {
        let head = ["siblings", "GET/s", "CPU us per GET", "GET p99, us", "token, characters"];
        let mut table = Table::new(&head);
        let mut cluster = Target::start(Kind::Alone, self.context, &cores_of(1))?;
        let mut present = 0;
        for &wanted in self.some(&[1, 2, 10, 100]) {
            while present < wanted {
                if present == 0 {
                    cluster.fill(1, VALUE_BYTES)?
                } else {
                    self.add_sibling(&cluster, present + 1)?
                }
                present += 1;
            }
            cluster.renew_token(0)?;
            let get = self.measure(&cluster, goal_load(Operation::Get), 1, VALUE_BYTES)?;
            table.row([
                wanted.to_string(),
                number(Some(get.rate())),
                number(Some(get.cpu_all())),
                number(Some(get.seen.p99)),
                cluster.token.as_ref().map_or(0, String::len).to_string(),
            ]);
        }
        table.print("Siblings of one key");
        Ok(())
    }

    fn add_sibling(&self, cluster: &Target<'_>, siblings: usize) -> Outcome<()> {
        let stranger = Target::start(Kind::Alone, self.context, &cores_of(1))?;
        stranger.fill(1, VALUE_BYTES)?;
        let body = |address| format!("{{\"socket-address\":\"{address}\"}}");
        let mut client = Client::connect(cluster.address(0))?;
        client.exchange(&http("PUT", "/view", "", &body(stranger.address(0))))?;
        let expected = siblings.to_string();
        for _ in 0..5_000 {
            let answer = client.exchange(&http("GET", &format!("/kvs/{}", cluster.key(0)), "", ""))?;
            if answer.header("causal-siblings") == Some(&expected) {
                // It must not come back as a member that is only away.
                client.exchange(&http("DELETE", "/view", "", &body(stranger.address(0))))?;
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(format!("the key did not get {siblings} versions within 10 s").into())
    }

    fn connections(&self) -> Outcome<()> {
        let head = ["connections", "GET/s", "GET p99, us", "PUT/s", "PUT p99, us", "CPU us per PUT, all"];
        let mut table = Table::new(&head);
        let cluster = self.cluster(3)?;
        cluster.fill(KEYS, VALUE_BYTES)?;
        for &connections in self.some(&[1, 32, 128, 1_000]) {
            let load = |operation| Load { connections, ..goal_load(operation) };
            let get = self.measure(&cluster, load(Operation::Get), KEYS, VALUE_BYTES)?;
            let put = self.measure(&cluster, load(Operation::Put), KEYS, VALUE_BYTES)?;
            table.row([
                count(connections),
                number(Some(get.rate())),
                number(Some(get.seen.p99)),
                number(Some(put.rate())),
                number(Some(put.seen.p99)),
                number(Some(put.cpu_all())),
            ]);
        }
        table.print("Connections");
        Ok(())
    }

    /// One thread that owns everything, or two that share a locked map: on bare hyper, whose service is the same.
    /// In rounds that take turns, because only the ratio counts.
    fn workers(&self) -> Outcome<()> {
        let head = ["bare hyper, PUT", "one thread, PUT/s", "CPU us", "two workers, PUT/s", "CPU us", "one to two"];
        let mut table = Table::new(&head);
        for (regime, connections) in [(1, 32), (1, 128), (2, 32), (2, 128)] {
            if regime > std::thread::available_parallelism().map_or(1, usize::from) {
                continue;
            }
            let start = |workers| Target::start_bare(self.context, &cores_of(regime), workers);
            let targets = [start(1)?, start(2)?];
            let load = Load { connections, ..goal_load(Operation::Put) };
            let measure = |target| self.measure(target, load, KEYS, VALUE_BYTES);
            let round = |_| Ok([measure(&targets[0])?, measure(&targets[1])?]);
            let rounds = (0..3).map(round).collect::<Outcome<Vec<_>>>()?;
            let middle = |value: &dyn Fn(&[Sample; 2]) -> f64| number(median(rounds.iter().map(value).collect()));
            table.row([
                format!("{regime} core(s), {connections} connections"),
                middle(&|[one, _]| one.rate()),
                middle(&|[one, _]| one.cpu_all()),
                middle(&|[_, two]| two.rate()),
                middle(&|[_, two]| two.cpu_all()),
                middle(&|[one, two]| one.rate() / two.rate()),
            ]);
        }
        table.print("Threads");
        Ok(())
    }
}
