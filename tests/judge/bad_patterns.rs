//! Plume text, judged by the definitions that Plume and AWDIT check. It is a second reading of the format and the bad
//! patterns, and shares nothing with the checker.
//!
//! Causal consistency after Bouajjani, Enea, Guerraoui and Hamza, POPL 2017: no cycle of session order and reads, and
//! no value from nowhere. There is no read of a value, or of nothing, although a newer write of the key is in its past.
//! Causal convergence after Biswas and Enea, OOPSLA 2019, is what AWDIT decides. Some total order of the transactions
//! contains sessions and reads. It has each other write of the key in a read's past before the write that it reads.

use hence_checker::format::{self, Format};
use hence_checker::{Level, Options, Verdict, judge};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

struct Event {
    is_write: bool,
    key: u64,
    value: u64,
    session: u64,
}

fn parsed(text: &str) -> Vec<Event> {
    let event = |line: &str| {
        let (kind, rest) = line.split_at(1);
        let numbers: Vec<u64> =
            rest.trim_matches(['(', ')']).split(',').map(|number| number.parse().expect("a number")).collect();
        Event { is_write: kind == "w", key: numbers[0], value: numbers[1], session: numbers[2] }
    };
    text.lines().map(event).collect()
}

fn close(matrix: &mut [Vec<bool>]) {
    for middle in 0..matrix.len() {
        let through = matrix[middle].clone();
        for row in matrix.iter_mut().filter(|row| row[middle]) {
            row.iter_mut().zip(&through).for_each(|(to, reached)| *to |= reached);
        }
    }
}

fn is_cyclic(matrix: &[Vec<bool>]) -> bool {
    (0..matrix.len()).any(|at| matrix[at][at])
}

/// Whether the history is causally consistent, and whether it is convergent, too.
fn by_definition(text: &str) -> (bool, bool) {
    let events = parsed(text);
    let count = events.len();
    let mut order = vec![vec![false; count]; count];
    let mut read_from: Vec<Option<usize>> = vec![None; count];
    for (at, event) in events.iter().enumerate() {
        for (earlier, other) in events[..at].iter().enumerate() {
            order[earlier][at] |= other.session == event.session;
        }
        if !event.is_write && event.value != 0 {
            let wrote = |other: &Event| other.is_write && other.key == event.key && other.value == event.value;
            let Some(write) = events.iter().position(wrote) else { return (false, false) };
            read_from[at] = Some(write);
            order[write][at] = true;
        }
    }
    close(&mut order);
    if is_cyclic(&order) {
        return (false, false);
    }
    let (mut is_causal, mut forced) = (true, order.clone());
    for (at, event) in events.iter().enumerate().filter(|(_, event)| !event.is_write) {
        let past = |&write: &usize| events[write].is_write && events[write].key == event.key && order[write][at];
        for write in (0..count).filter(past).filter(|&write| read_from[at] != Some(write)) {
            match read_from[at] {
                // What reads nothing has no write of its key in its past.
                None => is_causal = false,
                Some(source) => {
                    is_causal &= !order[source][write];
                    forced[write][source] = true;
                }
            }
        }
    }
    close(&mut forced);
    (is_causal, is_causal && !is_cyclic(&forced))
}

/// A random history: values are read from earlier writes of their key, recent ones most often, and rarely from later ones.
fn random(seed: u64) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |limit: usize| random.next_u32() as usize % limit;
    let (operations, sessions, keys) = (4 + below(40), 2 + below(5), 1 + below(4));
    let strange = below(4) == 0;
    let mut written: Vec<Vec<usize>> = vec![Vec::new(); keys];
    let mut known = vec![vec![0_usize; keys]; sessions];
    let mut text = String::new();
    for at in 1..=operations {
        let (session, key) = (below(sessions), below(keys));
        if below(5) < 2 {
            written[key].push(at);
            known[session][key] = written[key].len();
            text.push_str(&format!("w({key},{at},{session},{at})\n"));
            continue;
        }
        let count = written[key].len();
        // A session that looks back sees no less than it knows, mostly.
        let least = if strange || below(30) == 0 { 0 } else { known[session][key] };
        let index = least + below(count - least + 1);
        known[session][key] = known[session][key].max(index);
        let value = match index.checked_sub(1) {
            Some(index) => written[key][index],
            None if strange && below(20) == 0 => at + 1 + below(operations),
            None => 0,
        };
        text.push_str(&format!("r({key},{value},{session},{at})\n"));
    }
    text
}

/// The same history by Jepsen's conventions: one register for each key, and a session as a process.
fn as_edn(text: &str) -> String {
    let told = |event: Event| {
        let (key, process) = (event.key, event.session);
        let f = if event.is_write { ":write" } else { ":read" };
        let value = if event.value == 0 { "nil".into() } else { event.value.to_string() };
        let asked = if event.is_write { &value } else { "nil" };
        format!(
            "{{:process {process}, :type :invoke, :f {f}, :value [{key} {asked}]}}\n\
             {{:process {process}, :type :ok, :f {f}, :value [{key} {value}]}}\n"
        )
    };
    parsed(text).into_iter().map(told).collect()
}

#[test]
fn plume_text_is_judged_by_its_definition() {
    let cases = std::env::var("HENCE_PLUME_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000_u64);
    let (mut fine, mut causal, mut broken) = (0, 0, 0);
    for seed in 0..cases {
        let text = random(seed);
        let expected = by_definition(&text);
        for (told, format) in [(text.clone(), Format::Plume), (as_edn(&text), Format::Edn)] {
            // What is read where nothing is written may be what was there before; foreign EDN says so and is refused.
            if format == Format::Edn && !text.contains('w') {
                continue;
            }
            let history = format::read(told.as_bytes(), Some(format)).expect("a history");
            let report = judge(&history, Options::default()).expect("it fits together");
            let is_fine = |level: Level| {
                assert_ne!(report.verdict(level), Verdict::Unknown, "seed {seed}\n{told}");
                report.verdict(level) == Verdict::Fine
            };
            let verdicts = (is_fine(Level::Causal), is_fine(Level::Convergent));
            assert_eq!(verdicts, expected, "seed {seed}, {}: told and by definition\n{told}", format.name());
        }
        match expected {
            (true, true) => fine += 1,
            (true, false) => causal += 1,
            (false, _) => broken += 1,
        }
    }
    println!(
        "{cases} histories, as Plume text and as EDN: {fine} convergent, {causal} causal only, {broken} broken; no difference"
    );
    assert!([fine, causal, broken].iter().all(|&count| count * 50 >= cases), "{fine}, {causal}, {broken}");
}
