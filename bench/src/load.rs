//! One load: which requests, over how many connections, and what the generators tell.

use crate::process::{Outcome, Scratch, pinned};
use serde::Serialize;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Operation {
    Get,
    Put,
    /// Nine reads and one write.
    Mix,
}

impl Operation {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Mix => "90/10",
        }
    }

    /// Is the request at this place of the sequence a write?
    pub(crate) const fn writes(self, at: usize) -> bool {
        match self {
            Self::Get => false,
            Self::Put => true,
            Self::Mix => at % 10 == 3,
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Load {
    pub(crate) operation: Operation,
    pub(crate) connections: usize,
    /// Requests carry the client's past.
    pub(crate) token: bool,
}

/// What a generator saw. Latencies in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Seen {
    pub(crate) requests: f64,
    pub(crate) seconds: f64,
    /// Requests answered in all, those included that only told how many to send.
    pub(crate) answered: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Seen {
    pub(crate) fn rate(&self) -> f64 {
        self.requests / self.seconds
    }
}

/// Keys of the load in an order that jumps about: a full cycle through all of them.
pub(crate) fn order(keys: usize, at: usize) -> usize {
    // A prime that divides no number of keys in use, so every key comes once before one comes twice.
    const STRIDE: usize = 7_919;
    at * STRIDE % keys
}

/// Writes prebuilt requests to a file, for the Lua script.
pub(crate) fn prebuild(file: &Path, requests: impl Iterator<Item = Vec<u8>>) -> Outcome<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    for request in requests {
        writeln!(out, "{}", request.len())?;
        out.write_all(&request)?;
    }
    Ok(out.flush()?)
}

/// Drives an HTTP server with wrk and the requests of that file.
pub(crate) fn wrk(
    to: SocketAddr,
    cores: &str,
    connections: usize,
    seconds: u64,
    file: &Path,
    scratch: &Scratch,
) -> Outcome<Seen> {
    let script = scratch.path("wrk.lua");
    if !script.exists() {
        std::fs::write(&script, include_str!("wrk.lua"))?;
    }
    let mut command = pinned(cores, Path::new("wrk"));
    // A starved server is slow and not broken: only what is not answered within ten seconds is an error.
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--timeout", "10s", "-s"]).arg(&script);
    command.arg(format!("http://{to}")).arg("--").arg(file);
    let output = command.stderr(Stdio::piped()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    read_wrk(&text).map_err(|error| format!("{error}\n{text}{}", String::from_utf8_lossy(&output.stderr)).into())
}

fn read_wrk(text: &str) -> Outcome<Seen> {
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT ")).ok_or("wrk told no result")?;
    let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let &[requests, micros, errors, p50, p99, p999] = &numbers[..] else { return Err("wrk's result".into()) };
    if errors > 0.0 || requests == 0.0 {
        return Err(format!("wrk: {requests} answers, {errors} errors").into());
    }
    Ok(Seen { requests, seconds: micros / 1e6, answered: requests, p50, p99, p999 })
}

/// Drives Redis with redis-benchmark: so many requests, 100-byte values, keys drawn at random.
pub(crate) fn redis_benchmark(
    to: SocketAddr,
    cores: &str,
    connections: usize,
    requests: usize,
    keys: usize,
    command_words: &[&str],
) -> Outcome<Seen> {
    let mut command = pinned(cores, Path::new("redis-benchmark"));
    let number = |number: usize| number.to_string();
    command.args(["-h", &to.ip().to_string(), "-p", &to.port().to_string(), "-c", &number(connections)]);
    command.args(["-n", &number(requests), "-r", &number(keys), "--precision", "3"]).args(command_words);
    let output = command.stderr(Stdio::piped()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    read_redis_benchmark(&text, requests).map_err(|error| format!("{error}\n{text}").into())
}

fn read_redis_benchmark(text: &str, requests: usize) -> Outcome<Seen> {
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("throughput summary: "));
    let rate: f64 = rate.and_then(|rest| rest.split(' ').next()?.parse().ok()).ok_or("no throughput summary")?;
    // Lines like "99.902% <= 0.543 milliseconds (cumulative count 99902)".
    let points = text.lines().filter_map(|line| {
        let (percent, rest) = line.split_once("% <= ")?;
        Some((percent.parse::<f64>().ok()?, rest.split(' ').next()?.parse::<f64>().ok()?))
    });
    let points: Vec<(f64, f64)> = points.collect();
    let at = |percent: f64| points.iter().find(|(reached, _)| *reached >= percent).map(|(_, millis)| millis * 1e3);
    let (Some(p50), Some(p99), Some(p999)) = (at(50.0), at(99.0), at(99.9)) else {
        return Err("no latencies".into());
    };
    let requests = requests as f64;
    Ok(Seen { requests, seconds: requests / rate, answered: requests, p50, p99, p999 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_comes_once_in_a_cycle() {
        for keys in [1, 64, 1_000, 10_000, 1_000_000] {
            let mut seen: Vec<usize> = (0..keys).map(|at| order(keys, at)).collect();
            seen.sort_unstable();
            assert!(seen.iter().copied().eq(0..keys));
        }
    }

    #[test]
    fn one_write_in_ten() {
        assert_eq!((0..1_000).filter(|&at| Operation::Mix.writes(at)).count(), 100);
    }

    #[test]
    fn results_are_read() {
        let seen = read_wrk("Running 1s test\nRESULT 150000 1002000 0 180 310 900\n").unwrap();
        assert_eq!((seen.requests, seen.seconds, seen.p999), (150_000.0, 1.002, 900.0));
        assert!(read_wrk("RESULT 150000 1002000 3 180 310 900\n").is_err());
        assert!(read_wrk("unable to connect").is_err());
        let text = "Latency by percentile distribution:\n0.000% <= 0.063 milliseconds (cumulative count 1)\n\
            50.000% <= 0.111 milliseconds (cumulative count 60)\n99.219% <= 0.303 milliseconds (cumulative count 99)\n\
            99.902% <= 0.407 milliseconds (cumulative count 100)\n\nSummary:\n  \
            throughput summary: 144300.14 requests per second\n";
        let seen = read_redis_benchmark(text, 1_000).unwrap();
        assert_eq!((seen.p50, seen.p99, seen.p999), (111.0, 303.0, 407.0));
        assert!((seen.rate() - 144_300.14).abs() < 0.01);
    }
}
