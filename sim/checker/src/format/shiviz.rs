//! A log for ShiViz: each operation as an event of its client, with a vector clock over clients. Only written.
//!
//! A host's own entry starts at 1 and rises by one with each of its events, as ShiViz demands. A client that dropped
//! its token keeps its place in its own line, so the picture shows a little more order than the tokens give.
//!
//! A host of ShiViz has no space in its name, so `%` and two digits stand for each byte of one that a client has.

use crate::format::error::WriteError;
use crate::graph::Problem;
use crate::history::{History, NONE};
use crate::terms::Node;
use std::collections::BTreeMap;
use std::io::Write;

/// Writes a history.
///
/// # Errors
///
/// When the history does not fit together, has a cycle, or the output fails.
pub fn write(history: &History, output: &mut impl Write) -> Result<(), WriteError> {
    let problem = Problem::of(history, true).map_err(WriteError::Unreadable)?;
    if let Some(cycle) = &problem.cycle {
        let id = history.id(cycle[0] as usize);
        return Err(WriteError::Inexpressible { id, what: "events that precede themselves" });
    }
    // The parser's pattern, then the delimiter of executions, of which there is one.
    writeln!(output, "(?<event>.*)\\n(?<host>\\S*) (?<clock>{{.*}})\n")?;
    let mut clocks: Vec<BTreeMap<u32, u64>> = vec![BTreeMap::new(); problem.nodes()];
    let mut own: BTreeMap<u32, u64> = BTreeMap::new();
    for node in problem.in_order() {
        let mut clock: BTreeMap<u32, u64> = BTreeMap::new();
        for before in problem.predecessors(node) {
            for (&host, &count) in &clocks[before as usize] {
                let known = clock.entry(host).or_default();
                *known = count.max(*known);
            }
        }
        if let Some(&client) = history.client.get(node as usize) {
            let count = own.entry(client).or_default();
            *count += 1;
            clock.insert(client, *count);
            event(history, node, &clock, output)?;
        }
        clocks[node as usize] = clock;
    }
    Ok(())
}

fn event(history: &History, node: Node, clock: &BTreeMap<u32, u64>, output: &mut impl Write) -> Result<(), WriteError> {
    let host = |client: u32| match client {
        client if history.clients.is_empty() => format!("s{client}"),
        NONE => "%%".into(),
        client => host(history.clients.text(client)),
    };
    let clock: BTreeMap<String, u64> = clock.iter().map(|(&client, &count)| (host(client), count)).collect();
    let parts = history.batches.parts(node).map(|part| crate::history::words::summary(history, part as usize));
    let text = parts.collect::<Vec<_>>().join(", ").replace(ends_a_line, " ");
    let clock = serde_json::to_string(&clock).map_err(std::io::Error::from)?;
    writeln!(output, "{text}\n{} {clock}", host(history.client[node as usize]))?;
    Ok(())
}

/// A name that no other client's becomes, and that ShiViz takes as one word; not that of operations without a client.
fn host(client: &str) -> String {
    if client.is_empty() {
        return "%".into();
    }
    let mut name = String::new();
    for letter in client.chars() {
        // Browsers count U+FEFF among the spaces, and Rust does not.
        if letter.is_whitespace() || letter.is_control() || matches!(letter, '%' | '\u{feff}') {
            letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| name.push_str(&format!("%{byte:02x}")));
        } else {
            name.push(letter);
        }
    }
    name
}

/// What a pattern's dot does not match in a browser.
const fn ends_a_line(letter: char) -> bool {
    matches!(letter, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}
