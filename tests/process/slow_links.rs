//! Links that are slow instead of cut: what is on its way arrives once, in about the time that the link takes for it.

use crate::cluster::Cluster;
use crate::network::{Cut, cut, end_connections, heal, quicken, sent, slow, slow_to};
use hence_tests::client;
use hence_tests::replicas::Replicas;
use std::time::{Duration, Instant};

/// What a link carries at most in one piece before something small has its turn.
const PIECE: u64 = 64 << 10;

/// Values of a megabyte and of eight, over links of 8 and 100 Mbit/s; and two sizes between.
pub(crate) fn large_values() {
    for (megabits, bytes) in
        [(100, 1_000_000), (100, 7_900_000), (8, 700_000), (8, 1_000_000), (8, 3_000_000), (8, 7_900_000)]
    {
        one_value(megabits, bytes);
    }
}

/// The slowest link, which takes a minute for the largest value.
pub(crate) fn slowest() {
    one_value(1, 1_000_000);
    one_value(1, 7_900_000);
}

fn one_value(megabits: u32, bytes: u64) {
    let cluster = Cluster::running(&format!("slow_{megabits}_{bytes}"), 3);
    let ips: Vec<String> = (0..3).map(|at| cluster.ip(at)).collect();
    slow(&ips, megabits);
    let on_the_link = |bytes: u64| Duration::from_secs_f64(bytes as f64 * 8.0 / (f64::from(megabits) * 1e6));
    let limit = on_the_link(bytes).mul_f64(1.3) + Duration::from_secs(1);
    let small_limit = on_the_link(PIECE) + Duration::from_secs(1);
    let changes = |at: usize| cluster.metric(at, "hence_suspicions_total");
    let (before, suspected): (Vec<u64>, u64) = (sent(3), (0..3).map(changes).sum());

    let value = format!("\"{}\"", "x".repeat(bytes as usize - 2));
    let token = cluster.put(0, "large", &value, None, 201).token();
    let start = Instant::now();
    let later = cluster.put(0, "later", "1", None, 201).token();
    let mut seen = [None; 3];
    let (mut small_slowest, mut small_late) = (Duration::ZERO, 0);
    let mut round = 0;
    while seen[1].is_none() || seen[2].is_none() {
        assert!(start.elapsed() < limit, "{bytes} bytes at {megabits} Mbit/s: seen {seen:?} after {limit:?}");
        // A small write of another origin, over the link that is busy, and one towards the writer.
        for (from, to) in [(2, 1), (1, 0)] {
            let key = format!("small{round}");
            let small = cluster.put(from, &key, "1", None, if from == 2 { 201 } else { 200 });
            let took = cluster.await_value(to, &key, Some(&small.token()), "1", Duration::from_secs(60));
            small_slowest = small_slowest.max(took);
            small_late += u32::from(took > small_limit);
        }
        round += 1;
        for at in [1, 2] {
            let there = || client::get(&cluster.address(at), "large", Some(&token)).status == 200;
            if seen[at].is_none() && there() {
                seen[at] = Some(start.elapsed());
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // What its origin writes later comes behind it, and comes.
    for at in [1, 2] {
        cluster.await_value(at, "later", Some(&later), "1", (limit + small_limit).saturating_sub(start.elapsed()));
    }
    let bytes_sent: Vec<f64> = sent(3).iter().zip(&before).map(|(now, then)| (now - then) as f64).collect();
    let times = bytes_sent[1].max(bytes_sent[2]) / bytes as f64;
    println!(
        "note: {bytes} bytes at {megabits} Mbit/s: seen after {:?} and {:?} (the link takes {:?}); {times:.2} times the \
         bytes; small writes meanwhile within {small_slowest:?}",
        seen[1].unwrap_or_default(),
        seen[2].unwrap_or_default(),
        on_the_link(bytes),
    );
    assert!(times <= 1.2, "{times} times the bytes");
    // On a busy machine a push may be late for once and come by repair.
    let small_late_max = if megabits == 1 { 1 } else { 0 };
    assert!(small_late <= small_late_max, "{small_late} small writes were late, the latest took {small_slowest:?}");
    assert_eq!((0..3).map(changes).sum::<u64>(), suspected, "nobody fell silent");
}

/// How the connections of a replica end, again and again.
#[derive(Debug, Clone, Copy)]
enum Break {
    /// With a reset; new ones can be made at once.
    Reset,
    /// With a reset; new ones are refused for 150 ms.
    Refused,
    /// Nothing arrives for a second.
    Silent,
    /// Nothing arrives for so long that both ends give up the link between them.
    Long,
}

impl Break {
    fn strike(self, ip: &str) {
        let (how, pause) = match self {
            Self::Reset => return end_connections(ip),
            Self::Refused => (Cut::Refused, 150),
            Self::Silent => (Cut::Silent, 1_000),
            Self::Long => (Cut::Silent, 6_000),
        };
        cut(ip, how);
        std::thread::sleep(Duration::from_millis(pause));
        heal(ip);
    }
}

/// A large value, and all connections of its link break every few seconds: what came is kept.
pub(crate) fn reset() {
    one_broken(8, 7_900_000, 3_000, Break::Refused);
    one_broken(8, 7_900_000, 3_000, Break::Silent);
}

/// The link itself ends, which is more than its connections: what came is kept all the same.
pub(crate) fn ended() {
    one_broken(8, 7_900_000, 5_000, Break::Long);
}

/// On a link so slow that one piece takes longer than a silence may last, its bytes are signs of life.
pub(crate) fn slower_than_a_piece() {
    const BYTES: usize = 400_000;
    let cluster = Cluster::running("slow_pieces", 3);
    let ips: Vec<String> = (0..3).map(|at| cluster.ip(at)).collect();
    slow_to(&ips, "400kbit");
    let suspected = |cluster: &Cluster| (0..3).map(|at| cluster.metric(at, "hence_suspicions_total")).sum::<u64>();
    let (before, doubts) = (sent(3)[1], suspected(&cluster));
    let value = format!("\"{}\"", "p".repeat(BYTES - 2));
    let token = cluster.put(0, "large", &value, None, 201).token();
    let limit = Duration::from_secs_f64(BYTES as f64 * 8.0 / 4e5 * 1.3 + 1.0);
    let time = cluster.await_value(1, "large", Some(&token), &value, limit);
    let times = (sent(3)[1] - before) as f64 / BYTES as f64;
    println!("note: {BYTES} bytes at 0.4 Mbit/s: seen after {time:?}; {times:.2} times the bytes");
    // Where moving bytes are no sign of life it is 1.4.
    assert!(times <= 1.3, "{times} times the bytes");
    assert_eq!(suspected(&cluster), doubts, "nobody fell silent");
}

/// The same on other links, and more often.
pub(crate) fn reset_often() {
    one_broken(1, 1_000_000, 3_000, Break::Reset);
    one_broken(1, 500_000, 1_000, Break::Reset);
    one_broken(8, 7_900_000, 1_000, Break::Reset);
    one_broken(8, 2_000_000, 500, Break::Reset);
    one_broken(100, 7_900_000, 250, Break::Reset);
}

fn one_broken(megabits: u32, bytes: u64, every_millis: u64, how: Break) {
    let cluster = Cluster::running(&format!("slow_broken_{megabits}_{every_millis}_{how:?}"), 3);
    let ips: Vec<String> = (0..3).map(|at| cluster.ip(at)).collect();
    slow(&ips, megabits);
    let before = sent(3);
    let value = format!("\"{}\"", "y".repeat(bytes as usize - 2));
    let token = cluster.put(0, "large", &value, None, 201).token();
    let start = Instant::now();
    let (mut broken, mut breaks) = (start, 0);
    while client::get(&cluster.address(1), "large", Some(&token)).status != 200 {
        assert!(start.elapsed() < Duration::from_secs(60), "{bytes} bytes are not there after {:?}", start.elapsed());
        if broken.elapsed() >= Duration::from_millis(every_millis) {
            how.strike(&ips[1]);
            broken = Instant::now();
            breaks += 1;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = start.elapsed();
    let seen = client::get(&cluster.address(1), "large", Some(&token));
    assert!(String::from_utf8_lossy(&seen.body).contains(&value), "all of it");
    let all = sent(3)[1] - before[1];
    let lost = (all as f64 - 1.08 * bytes as f64).max(0.0) / f64::from(breaks);
    println!(
        "note: {bytes} bytes at {megabits} Mbit/s, {how:?} every {every_millis} ms: seen after {took:?} and {breaks} \
         breaks; {:.2} times the bytes, {lost:.0} lost by each break",
        all as f64 / bytes as f64
    );
    assert!(breaks >= 2, "the link broke {breaks} times");
    // What a kernel holds of a slow link, and the two pieces at least that are on their way (decision 0052).
    let may_be_lost = f64::from(megabits) * 1e6 / 8.0 / 8.0 + PIECE as f64;
    assert!(lost <= may_be_lost, "each break cost {lost} bytes; {may_be_lost} are on their way");
}

/// A replica begins anew behind a slow link: it gets what the others hold once, in about the time that the link takes.
pub(crate) fn newcomer() {
    const KEYS: usize = 1_500;
    let mut cluster = Cluster::running("slow_newcomer", 3);
    let ips: Vec<String> = (0..3).map(|at| cluster.ip(at)).collect();
    let value = format!("\"{}\"", "n".repeat(1_998));
    (0..KEYS).for_each(|key| _ = cluster.put(0, &format!("key{key}"), &value, None, 201));
    let large = format!("\"{}\"", "l".repeat(1_999_998));
    let token = cluster.put(0, "large", &large, None, 201).token();
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(10));
    let bytes = KEYS * 2_000 + 2_000_000;
    cluster.kill(1);
    slow(&ips, 8);
    let before = sent(3)[1];
    cluster.start(1);
    let start = Instant::now();
    let limit = Duration::from_secs_f64(bytes as f64 * 8.0 / 8e6 * 1.3 + 1.0);
    let mut small_slowest = Duration::ZERO;
    let mut round = 0;
    while !client::try_get(&cluster.address(1), "large", Some(&token)).is_ok_and(|answer| answer.status == 200) {
        // What the others write to each other meanwhile is not held up.
        let small = cluster.put(2, &format!("small{round}"), "1", None, 201).token();
        let took = cluster.await_value(0, &format!("small{round}"), Some(&small), "1", Duration::from_secs(10));
        small_slowest = small_slowest.max(took);
        round += 1;
        assert!(start.elapsed() < limit, "not there after {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let time = start.elapsed();
    let times = (sent(3)[1] - before) as f64 / bytes as f64;
    println!(
        "note: {bytes} bytes to a newcomer: there after {time:?}; {times:.2} times the bytes; small writes {small_slowest:?}"
    );
    assert!(times <= 1.2, "{times} times the bytes");
    assert!(small_slowest < Duration::from_secs(1), "{small_slowest:?}");
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(10));
}

/// The writer dies amid a transfer over a slow link: another replica, which has the value, goes on with it.
pub(crate) fn another_goes_on() {
    const BYTES: u64 = 7_900_000;
    let mut cluster = Cluster::running("slow_another", 3);
    let ips: Vec<String> = (0..3).map(|at| cluster.ip(at)).collect();
    slow(&ips, 8);
    quicken(3, 1_000);
    let before = sent(3);
    let value = format!("\"{}\"", "z".repeat(BYTES as usize - 2));
    let token = cluster.put(0, "large", &value, None, 201).token();
    let start = Instant::now();
    cluster.await_value(2, "large", Some(&token), &value, Duration::from_secs(3));
    std::thread::sleep(Duration::from_secs(4).saturating_sub(start.elapsed()));
    cluster.kill(0);
    cluster.await_value(1, "large", Some(&token), &value, Duration::from_secs(20));
    let times = (sent(3)[1] - before[1]) as f64 / BYTES as f64;
    println!("note: seen after {:?}, the writer died at 4 s; {times:.2} times the bytes", start.elapsed());
    assert!(times <= 1.2, "{times} times the bytes");
}

/// Two values of several megabytes at once, of two origins: what one link carries of both takes as long as both.
pub(crate) fn two_at_once() {
    const BYTES: usize = 3_000_000;
    let cluster = Cluster::running("slow_two", 3);
    let ips: Vec<String> = (0..3).map(|at| cluster.ip(at)).collect();
    slow(&ips, 8);
    let suspected = |cluster: &Cluster| (0..3).map(|at| cluster.metric(at, "hence_suspicions_total")).sum::<u64>();
    let (before, doubts) = (sent(3), suspected(&cluster));
    let start = Instant::now();
    let written = [0, 1].map(|at| {
        let value = format!("\"{at}{}\"", "x".repeat(BYTES - 3));
        cluster.put(at, &format!("large{at}"), &value, None, 201).token()
    });
    let on_the_link = Duration::from_secs_f64(2.0 * BYTES as f64 * 8.0 / 8e6);
    let limit = on_the_link.mul_f64(1.3) + Duration::from_secs(1);
    for (at, token) in written.iter().enumerate() {
        cluster.poll(limit.saturating_sub(start.elapsed()), &format!("large{at}"), || {
            let there = client::get(&cluster.address(2), &format!("large{at}"), Some(token)).status;
            if there == 200 { Ok(()) } else { Err(there.to_string()) }
        });
    }
    let times = (sent(3)[2] - before[2]) as f64 / (2 * BYTES) as f64;
    println!("note: two of {BYTES} bytes: seen after {:?}; {times:.2} times the bytes", start.elapsed());
    assert!(times <= 1.2, "{times} times the bytes");
    assert_eq!(suspected(&cluster), doubts, "nobody fell silent");
}

/// More than a link carries for some seconds, then a third of what it carries: the backlog goes away at the link's pace.
pub(crate) fn overload() {
    overloaded(32_000, 8, false);
}

/// The same with values that travel in pieces, and for longer. Few of them arrive in a second, so the rate is that since
/// the end of the overload.
pub(crate) fn overload_of_large() {
    overloaded(100_000, 15, true);
}

fn overloaded(bytes: u64, seconds: u64, since_the_end: bool) {
    const LINK: u64 = 1_000_000;
    let cluster = Cluster::running(&format!("slow_overload_{bytes}"), 3);
    let ips: Vec<String> = (0..3).map(|at| cluster.ip(at)).collect();
    slow(&ips, 8);
    let value = format!("\"{}\"", "x".repeat(bytes as usize - 2));
    let start = Instant::now();
    let (mut written, mut token) = (0_u64, None);
    let mut write = |rate: u64, until: Duration, written: &mut u64| {
        while start.elapsed() < until {
            let begun = Instant::now();
            let answer = client::put(&cluster.address(0), &format!("k{}", *written % 50), &value, token.as_deref());
            assert!(answer.status == 200 || answer.status == 201, "{answer:?}");
            token = Some(answer.token());
            *written += 1;
            let pause = Duration::from_secs_f64(bytes as f64 / rate as f64);
            std::thread::sleep(pause.saturating_sub(begun.elapsed()));
        }
    };
    let applied = || cluster.metric(1, "hence_ops_applied_total");
    write(3 * LINK + LINK / 5, Duration::from_secs(seconds), &mut written);
    let (mut then, mut lowest) = ((start.elapsed(), applied()), f64::MAX);
    for seconds in seconds + 1..seconds + 8 {
        write(LINK / 3, Duration::from_secs(seconds), &mut written);
        let now = (start.elapsed(), applied());
        let rate = (now.1 - then.1) as f64 * bytes as f64 / (now.0 - then.0).as_secs_f64() / LINK as f64;
        println!("note: second {seconds}: {rate:.2} of the link, {} operations behind", written.saturating_sub(now.1));
        lowest = if now.1 < written { lowest.min(rate) } else { lowest };
        then = if since_the_end { then } else { now };
    }
    assert!(lowest >= 0.7, "the backlog goes at {lowest:.2} of the link's rate");
}
