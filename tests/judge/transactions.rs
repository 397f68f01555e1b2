//! Transactions in Plume text, EDN, dbcop's two formats and AWDIT's own, judged by their definition. It is a second reading of the formats and of the
//! definition, and shares nothing with the checker.
//!
//! Read consistency and causal consistency after Biswas and Enea, OOPSLA 2019, as AWDIT decides them (PLDI 2025). A
//! transaction reads no value from nowhere, none that its own transaction wrote over, and what it wrote itself after it did.
//! Some total order of the transactions contains sessions and reads. A transaction reads a key from one
//! transaction; each other one in its past that wrote the key comes before that one. The weaker level, without a total
//! order, forbids only what is overwritten in the past, after Bouajjani, Enea, Guerraoui and Hamza, POPL 2017.

use hence_checker::format::{self, Format};
use hence_checker::{Level, Options, Verdict, judge};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// A read or a write of a transaction.
#[derive(Debug, Clone, Copy)]
struct Step {
    is_write: bool,
    key: usize,
    /// 0 is what a key begins with.
    value: usize,
}

/// A transaction, in the order of its steps.
#[derive(Debug, Clone)]
struct Transaction {
    session: usize,
    steps: Vec<Step>,
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

/// Whether the history is causally consistent, and whether it is so with a total order, too.
fn by_definition(history: &[Transaction]) -> (bool, bool) {
    let count = history.len();
    let final_write = |at: usize, key: usize| {
        history[at].steps.iter().rev().find(|step| step.is_write && step.key == key).map(|step| step.value)
    };
    let mut order = vec![vec![false; count]; count];
    // Who read a key from whom; nothing stands for what keys begin with.
    let mut reads: Vec<(usize, usize, Option<usize>)> = Vec::new();
    for (at, transaction) in history.iter().enumerate() {
        for (earlier, other) in history[..at].iter().enumerate() {
            order[earlier][at] |= other.session == transaction.session;
        }
        for (place, step) in transaction.steps.iter().enumerate().filter(|(_, step)| !step.is_write) {
            let own = transaction.steps[..place].iter().rev().find(|write| write.is_write && write.key == step.key);
            match own {
                Some(own) if own.value == step.value => continue,
                Some(_) => return (false, false),
                None if step.value == 0 => reads.push((at, step.key, None)),
                None => {
                    let writer = (0..count).find(|&other| final_write(other, step.key) == Some(step.value));
                    let Some(writer) = writer else { return (false, false) };
                    order[writer][at] = true;
                    reads.push((at, step.key, Some(writer)));
                }
            }
        }
    }
    close(&mut order);
    if is_cyclic(&order) {
        return (false, false);
    }
    let (mut is_causal, mut forced) = (true, order.clone());
    for &(at, key, source) in &reads {
        for write in (0..count).filter(|&write| order[write][at] && final_write(write, key).is_some()) {
            match source {
                None => is_causal = false,
                Some(source) if source == write => {}
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

/// A random history. Each session has a view, which takes in transactions of others as a whole or, rarely, by halves.
fn random(seed: u64) -> Vec<Transaction> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |limit: usize| random.next_u32() as usize % limit;
    let (count, sessions, keys) = (3 + below(14), 2 + below(3), 2 + below(2));
    let (strange, fickle) = (below(3) == 0, below(3) == 0);
    let mut views: Vec<Vec<usize>> = vec![vec![0; keys]; sessions];
    let mut history: Vec<Transaction> = Vec::new();
    let mut value = 0;
    for _ in 0..count {
        let session = below(sessions);
        let other = below(sessions);
        match below(4) {
            0 if strange => {
                let key = below(keys);
                views[session][key] = views[other][key];
            }
            // Which of two writes wins is decided anew each time.
            0..=2 if fickle => {
                let theirs = views[other].clone();
                for (mine, theirs) in views[session].iter_mut().zip(theirs) {
                    *mine = if below(2) == 0 { theirs } else { *mine };
                }
            }
            // Views that only grow, as those of one log of all writes.
            0 | 1 => {
                let theirs = views[other].clone();
                views[session].iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine = (*mine).max(theirs));
            }
            _ => {}
        }
        let mut steps: Vec<Step> = Vec::new();
        let mut view = views[session].clone();
        for _ in 0..1 + below(4) {
            let key = below(keys);
            let has_written = steps.iter().any(|step| step.is_write && step.key == key);
            if below(5) < 2 && (!has_written || below(3) == 0) {
                value += 1;
                view[key] = value;
                steps.push(Step { is_write: true, key, value });
            } else {
                let any = 1 + below(value + 1);
                let value = if strange && below(12) == 0 { any } else { view[key] };
                steps.push(Step { is_write: false, key, value });
            }
        }
        views[session] = view;
        history.push(Transaction { session, steps });
    }
    history
}

fn as_plume(history: &[Transaction]) -> String {
    let line = |(at, transaction): (usize, &Transaction)| {
        let session = transaction.session;
        let steps = transaction.steps.iter().map(move |step| {
            format!("{}({},{},{session},{at})\n", if step.is_write { 'w' } else { 'r' }, step.key, step.value)
        });
        steps.collect::<String>()
    };
    history.iter().enumerate().map(line).collect()
}

/// The same, where the lines of transactions that went on at the same time stand between each other.
fn as_mixed_plume(history: &[Transaction], seed: u64) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let text = as_plume(history);
    let mut lines: Vec<&str> = text.lines().collect();
    let session = |line: &str| line.split(',').nth(2).map(str::to_owned);
    for _ in 0..lines.len() * 2 {
        let at = random.next_u32() as usize % lines.len();
        if at > 0 && session(lines[at - 1]) != session(lines[at]) {
            lines.swap(at - 1, at);
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn as_hist(history: &[Transaction]) -> String {
    let sessions = history.iter().map(|transaction| transaction.session).max().unwrap_or(0);
    let told = |session: usize| {
        let own = history.iter().filter(move |transaction| transaction.session == session);
        let lines = own.map(|transaction| {
            let step = |step: &Step| match step {
                Step { is_write: true, key, value } => format!("k{key}:={value}"),
                Step { key, value: 0, .. } => format!("k{key}==?"),
                Step { key, value, .. } => format!("k{key}=={value}"),
            };
            format!("[{}]\n", transaction.steps.iter().map(step).collect::<Vec<_>>().join(" "))
        });
        lines.collect::<String>()
    };
    (0..=sessions).map(told).collect::<Vec<_>>().join("----\n")
}

/// The sessions, each as its transactions are told and put together.
fn by_session(history: &[Transaction], told: impl Fn(&Transaction) -> String, between: &str) -> Vec<String> {
    let sessions = history.iter().map(|transaction| transaction.session).max().unwrap_or(0);
    let own = |session: usize| history.iter().filter(move |transaction| transaction.session == session);
    (0..=sessions).map(|session| own(session).map(&told).collect::<Vec<_>>().join(between)).collect()
}

fn as_dbcop(history: &[Transaction], is_brief: bool) -> String {
    let event = |&Step { is_write, key, value }: &Step| {
        let version = if value == 0 { "null".into() } else { value.to_string() };
        match is_brief {
            true => format!("[\"{}\", {key}, {version}]", if is_write { 'w' } else { 'r' }),
            false => {
                let kind = if is_write { "Write" } else { "Read" };
                format!("{{\"{kind}\": {{\"variable\": {key}, \"version\": {version}}}}}")
            }
        }
    };
    let told = |transaction: &Transaction| {
        let events: Vec<String> = transaction.steps.iter().map(event).collect();
        format!("{{\"events\": [{}], \"committed\": true}}", events.join(", "))
    };
    let sessions: Vec<String> =
        by_session(history, told, ",\n").into_iter().map(|session| format!("[{session}]")).collect();
    match is_brief {
        true => format!("[{}]", sessions.join(",\n")),
        false => {
            format!("{{\"params\": {{\"id\": 0}},\n\"info\": \"made\", \"data\": [\n{}]}}\n", sessions.join(",\n"))
        }
    }
}

/// Keys begin with nothing there. So a session writes 0 to each at first, and the others read that it did.
fn as_awdit(history: &[Transaction]) -> String {
    let keys = history.iter().flat_map(|transaction| &transaction.steps).map(|step| step.key).max().unwrap_or(0);
    let initial: String = (0..=keys).map(|key| format!("w {key} 0\n")).collect();
    let told = |transaction: &Transaction| {
        let step = |step: &Step| format!("{} {} {}\n", if step.is_write { 'w' } else { 'r' }, step.key, step.value);
        transaction.steps.iter().map(step).collect()
    };
    let sessions = by_session(history, told, "---\n");
    let sessions = sessions.into_iter().map(|session| format!("=====\nr 99 1\n-----\n{session}"));
    format!("{initial}w 99 1\n{}", sessions.collect::<String>())
}

fn as_edn(history: &[Transaction]) -> String {
    let told = |transaction: &Transaction| {
        let micro = |step: &Step, is_asked: bool| {
            let value =
                if step.value == 0 || is_asked && !step.is_write { "nil".into() } else { step.value.to_string() };
            format!("[{} {} {value}]", if step.is_write { ":w" } else { ":r" }, step.key)
        };
        let micros =
            |is_asked| transaction.steps.iter().map(|step| micro(step, is_asked)).collect::<Vec<_>>().join(" ");
        let process = transaction.session;
        format!(
            "{{:process {process}, :type :invoke, :f :txn, :value [{}]}}\n\
             {{:process {process}, :type :ok, :f :txn, :value [{}]}}\n",
            micros(true),
            micros(false)
        )
    };
    history.iter().map(told).collect()
}

#[test]
fn transactions_are_judged_by_their_definition() {
    let cases = std::env::var("HENCE_PLUME_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000_u64);
    let (mut fine, mut causal, mut broken) = (0, 0, 0);
    for seed in 0..cases {
        let history = random(seed);
        let expected = by_definition(&history);
        let told = [
            (as_plume(&history), Format::Plume),
            (as_mixed_plume(&history, seed), Format::Plume),
            (as_hist(&history), Format::Hist),
            (as_dbcop(&history, seed % 2 == 0), Format::Dbcop),
            (as_awdit(&history), Format::Awdit),
            (as_edn(&history), Format::Edn),
        ];
        for (text, format) in told {
            // What is read where nothing is written may be what was there before; foreign EDN says so and is refused.
            if format == Format::Edn && !text.contains(":w") {
                continue;
            }
            let history = format::read(text.as_bytes(), None).expect("a history");
            let read = format::read(text.as_bytes(), Some(format)).expect("a history");
            assert!(history.operations().eq(read.operations()), "{} is told from the others\n{text}", format.name());
            let report = judge(&history, Options::default()).expect("it fits together");
            let is_fine = |level: Level| {
                assert_ne!(report.verdict(level), Verdict::Unknown, "seed {seed}\n{text}");
                report.verdict(level) == Verdict::Fine
            };
            let verdicts = (is_fine(Level::Causal), is_fine(Level::Convergent));
            assert_eq!(verdicts, expected, "seed {seed}, {}: judged and by definition\n{text}", format.name());
            if report.is_broken() && seed % 8 == 0 {
                let found = report.counterexample(&history, Options::default()).expect("it is broken");
                assert!(found.is_minimal() && !found.told(true).is_empty(), "seed {seed}\n{text}");
            }
        }
        match expected {
            (true, true) => fine += 1,
            (true, false) => causal += 1,
            (false, _) => broken += 1,
        }
    }
    println!(
        "{cases} histories of transactions: {fine} convergent, {causal} causal only, {broken} broken; no difference"
    );
    assert!(fine.min(broken) * 10 >= cases && causal * 400 >= cases, "{fine}, {causal}, {broken}");
}

/// Small files, with what is said of causal consistency.
#[test]
fn transactions_are_not_taken_apart() {
    let cases = [
        ("a fractured read", "w(1,1,0,0)\nw(2,1,0,0)\nr(1,1,1,1)\nr(2,0,1,1)\n", Verdict::Broken),
        ("its half in another transaction", "w(1,1,0,0)\nw(2,1,0,0)\nr(1,1,1,1)\nr(2,0,1,2)\n", Verdict::Broken),
        ("all of it", "w(1,1,0,0)\nw(2,1,0,0)\nr(1,1,1,1)\nr(2,1,1,1)\n", Verdict::Fine),
        ("nothing of it", "w(1,1,0,0)\nw(2,1,0,0)\nr(1,0,1,1)\nr(2,0,1,1)\n", Verdict::Fine),
        ("two transactions, one of them seen", "w(1,1,0,0)\nw(2,1,0,1)\nr(1,1,1,2)\nr(2,0,1,2)\n", Verdict::Fine),
        ("a read that comes too late", "w(1,1,0,0)\nw(2,1,0,1)\nr(1,0,1,2)\nr(2,1,1,2)\n", Verdict::Broken),
        ("lines between each other", "w(1,1,0,0)\nr(1,1,1,1)\nw(2,1,0,0)\nr(2,0,1,1)\n", Verdict::Broken),
        ("what it wrote itself", "w(1,1,0,0)\nr(1,1,0,0)\n", Verdict::Fine),
        ("what it wrote over", "w(1,1,0,0)\nw(1,2,0,0)\nr(1,1,0,0)\n", Verdict::Broken),
        ("what another wrote over", "w(1,1,0,0)\nw(1,2,0,0)\nr(1,1,1,1)\n", Verdict::Broken),
        ("not what it wrote", "w(1,1,0,0)\nw(1,2,1,1)\nr(1,1,1,1)\n", Verdict::Broken),
        ("what it is to write", "r(1,1,0,0)\nw(1,1,0,0)\n", Verdict::Broken),
        ("each the other's", "r(1,1,0,0)\nw(2,1,0,0)\nr(2,1,1,1)\nw(1,1,1,1)\n", Verdict::Broken),
    ];
    for (name, text, expected) in cases {
        let history = format::read(text.as_bytes(), Some(Format::Plume)).expect("a history");
        let report = judge(&history, Options::default()).expect("it fits together");
        assert_eq!(report.verdict(Level::Causal), expected, "{name}");
        if expected == Verdict::Broken {
            let found = report.counterexample(&history, Options::default()).expect("it is broken");
            let mut kept = Vec::new();
            format::write(found.history(), Format::Json, &mut kept).expect("memory takes it");
            let again = format::read(kept.as_slice(), Some(Format::Json)).expect("what was written is read");
            let again = judge(&again, Options::default()).expect("it fits together");
            assert_eq!(again.verdict(Level::Causal), Verdict::Broken, "{name}: {}", String::from_utf8_lossy(&kept));
            println!("{name}:\n{}", found.told(false));
        }
    }
}
