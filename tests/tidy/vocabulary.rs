//! One vocabulary: former words may not come back as names of modules, types, functions, fields, variables, metrics,
//! events, flags or terms of the glossary. The list grows with each row that is renamed.

use super::{files, is_rust_of_ours, report, root};
use std::fs;

/// Rooms that are renamed so far.
const EDGE: &[&str] = &["core/src/", "core/tests/", "transport/src/", "server/src/"];
const CORE: &[&str] = &["core/src/", "core/tests/"];
const SIM_ALONE: &[&str] = &["sim/src/"];
const SIM: &[&str] = &["sim/src/", "examples/"];

/// A name of so many parts is a sentence.
const SENTENCE_PARTS_MIN: usize = 5;

/// Words of one row, in lower case: parts of a name, or several parts joined by `_`.
struct Former {
    words: &'static [&'static str],
    now: &'static str,
    rooms: &'static [&'static str],
    /// Names in which the word has another meaning.
    except: &'static [&'static str],
}

#[rustfmt::skip]
const FORMER: &[Former] = &[
    Former { words: &["life", "lives", "me", "rebirth", "rebirths", "reborn"], now: "incarnation, renewal", rooms: EDGE,
        except: &["lives_on"] },
    Former { words: &["parked", "park", "parks", "waiting"], now: "causal buffer, blocked request", rooms: CORE, except: &[] },
    Former { words: &["covered"], now: "causal context", rooms: EDGE,
        except: &["NotCovered", "on_not_covered", "drop_covered", "is_covered"] },
    Former { words: &["wanted", "unwanted", "nobody", "row", "rows"], now: "member, removed, record", rooms: EDGE, except: &[] },
    Former { words: &["patience", "forgive", "forgiven", "farewell", "hungry", "contradict", "contradicted", "resting"],
        now: "timeout, exclude_stall, dormant, needs_initial_sync, challenge", rooms: EDGE, except: &[] },
    Former { words: &["told", "hear", "hears", "heard", "news", "walls"], now: "status sent, on_remote_vector, update, wall_sample",
        rooms: CORE, except: &["is_heard_here", "Told"] },
    Former { words: &["doubt", "doubts", "doubted"], now: "suspect, failure_detector, lost_writes, query", rooms: CORE, except: &[] },
    Former { words: &["put_aside", "folding", "folded", "layered", "spelled"], now: "staging, merge step, expanded", rooms: CORE, except: &[] },
    Former { words: &["told", "hear", "heard", "news", "doubt", "doubts", "doubted", "waiting"], now: "reported, contact, warning, blocked",
        rooms: &["transport/src/", "server/src/"], except: &["Told"] },
    Former { words: &["stimulus", "stimuli"], now: "input", rooms: SIM, except: &[] },
    Former { words: &["strike", "relieve", "impatient", "birth", "births"], now: "fault start, fault end, client timeout, start seed",
        rooms: SIM, except: &[] },
    Former { words: &["tamper", "tampering", "blind"], now: "harness mutant, disabled oracle", rooms: SIM_ALONE, except: &["Blind", "blind"] },
    Former { words: &["suspicious"], now: "buggify", rooms: SIM_ALONE, except: &["suspicious"] },
    Former { words: &["recording", "recordings"], now: "choice_log", rooms: SIM_ALONE, except: &[] },
    Former { words: &["take_seen"], now: "client_history", rooms: SIM_ALONE, except: &[] },
    Former { words: &["hungry"], now: "needs_initial_sync", rooms: SIM_ALONE, except: &[] },
    Former { words: &["wanted", "unwanted"], now: "member, removed", rooms: &["sim/src/oracle/judge"], except: &["NobodyWanted"] },
    Former { words: &["happening", "happenings"], now: "event, scheduled", rooms: SIM, except: &[] },
];

/// The names in Rust, comments and texts left out.
fn names(text: &str) -> Vec<String> {
    let mut code = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let (before, after) = rest.split_at(at);
        code.push_str(before);
        code.push(' ');
        let raw = before.len() - before.trim_end_matches('#').len();
        rest = if let Some(comment) = after.strip_prefix("//") {
            comment.find('\n').map_or("", |end| &comment[end..])
        } else if let Some(text) = after.strip_prefix('"') {
            if before.trim_end_matches('#').ends_with('r') { past_raw(text, raw) } else { past_text(text) }
        } else if let Some(letter) = after.strip_prefix('\'') {
            past_letter(letter)
        } else {
            &after[1..]
        };
    }
    code.push_str(rest);
    let words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words
        .filter(|word| word.starts_with(|first: char| first.is_alphabetic() || first == '_'))
        .map(str::to_owned)
        .collect()
}

/// What follows a text that began before.
fn past_text(text: &str) -> &str {
    let mut escaped = false;
    let end = text.find(|letter| {
        let ends = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends
    });
    end.map_or("", |end| &text[end + 1..])
}

/// The same for a raw text with so many marks.
fn past_raw(text: &str, marks: usize) -> &str {
    text.split_once(&format!("\"{}", "#".repeat(marks))).map_or("", |(_, rest)| rest)
}

/// What follows a letter in marks; a lifetime has no second mark.
fn past_letter(text: &str) -> &str {
    let mut letters = text.char_indices();
    let escaped = matches!(letters.next(), Some((_, '\\')));
    match (escaped, letters.next()) {
        (true, _) => text[2..].split_once('\'').map_or("", |(_, rest)| rest),
        (false, Some((at, '\''))) => &text[at + 1..],
        (false, _) => text,
    }
}

/// The parts of a name, in lower case and between `_`: `OldLife` is `_old_life_`.
fn parts(name: &str) -> String {
    let mut parts = "_".to_owned();
    let mut was_lower = false;
    for letter in name.chars() {
        if letter.is_uppercase() && was_lower {
            parts.push('_');
        }
        was_lower = letter.is_lowercase() || letter.is_ascii_digit();
        parts.push(if letter == '-' { '_' } else { letter.to_ascii_lowercase() });
    }
    parts + "_"
}

/// What stands against a name at this place, if anything does. The name of a test is a sentence, and may use any verb.
fn complaint(place: &str, name: &str) -> Option<String> {
    let parts = parts(name);
    if parts.matches('_').count() > SENTENCE_PARTS_MIN {
        return None;
    }
    let has = |word: &&&str| parts.contains(&format!("_{word}_"));
    let here = FORMER.iter().filter(|row| row.rooms.iter().any(|room| place.starts_with(room)));
    here.filter(|row| !row.except.contains(&name)).find_map(|row| {
        let word = row.words.iter().find(has)?;
        Some(format!("{place}: {name}: not \"{word}\" but one of: {}", row.now))
    })
}

#[test]
fn former_words_do_not_come_back() {
    let mut complaints = Vec::new();
    for (path, text) in files(&[".rs"]).into_iter().filter(|(path, _)| is_rust_of_ours(path)) {
        let modules = path.trim_end_matches(".rs").split('/').map(str::to_owned);
        complaints.extend(modules.chain(names(&text)).filter_map(|name| complaint(&path, &name)));
    }
    complaints.sort();
    complaints.dedup();
    report("one word means one thing", &complaints);
}

#[test]
fn former_words_name_no_metric_no_flag_and_no_term() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("a file of ours");
    let (metrics, flags, glossary) =
        (read("server/src/metrics.rs"), read("server/src/cli/args.rs"), read("docs/protocol.md"));
    let mut named: Vec<(&str, String)> = Vec::new();
    // A former name stands beside the present one for a version, and says so.
    for line in metrics.lines().filter(|line| !line.contains("The former name of ")) {
        named.extend(
            line.split('"')
                .skip(1)
                .step_by(2)
                .filter(|text| text.starts_with("hence_"))
                .map(|text| ("metric", text.to_owned())),
        );
    }
    named.extend(flags.split("env = \"").skip(1).filter_map(|text| Some(("flag", text.split_once('"')?.0.to_owned()))));
    let terms = glossary.split("\n## Glossary").nth(1).expect("the protocol has a glossary").lines();
    let terms =
        terms.filter_map(|line| line.strip_prefix("| ")?.split_once(" |")).flat_map(|(terms, _)| terms.split(", "));
    named.extend(terms.map(|term| ("term", term.replace(' ', "_"))));
    for kind in ["metric", "flag", "term"] {
        assert!(named.iter().filter(|(one, _)| *one == kind).count() > 10, "no {kind} is read");
    }
    let complaints = named.iter().filter_map(|(kind, name)| Some(format!("{kind} {}", complaint("core/src/", name)?)));
    report("metrics, flags and the glossary speak as the code does", &complaints.collect::<Vec<_>>());
}

#[test]
fn a_former_word_is_seen_wherever_it_stands() {
    let text =
        "fn a_life(x: &'a str) { let c = '\"'; r#\"life \"quoted\" life\"#; \"life \\\" life\" } // life\nOldLife 'l'";
    let found: Vec<String> = names(text).into_iter().filter(|name| parts(name).contains("_life_")).collect();
    assert_eq!(found, ["a_life", "OldLife"]);
    for name in ["life", "old_life", "OldLife", "LIVES_MIN", "takes-life"] {
        assert!(complaint("core/src/view.rs", name).is_some(), "{name}");
    }
    for (place, name) in
        [("core/src/view.rs", "lifetime"), ("transport/src/laws/mod.rs", "lives_on"), ("docs/", "life")]
    {
        assert_eq!(complaint(place, name), None);
    }
}
