//! Histories in every format: there and back, from elsewhere, and broken in every way.

use super::judged;
use hence_checker::format::{self, Format};
use hence_checker::generate::{Bug, Generator, Shape};
use hence_checker::history::{Action, History, Operation};
use hence_checker::{Level, Options, Verdict, judge};
use hence_sim::random::mix;

fn plain(shape: Shape) -> Shape {
    Shape { deletes: 0, exact: false, siblings: 0, unknown: 0, ..shape }
}

fn exported(history: &History, format: Format) -> String {
    let mut text = Vec::new();
    format::write(history, format, &mut text).unwrap_or_else(|error| panic!("{}: {error}", format.name()));
    String::from_utf8(text).expect("formats are text")
}

fn imported(text: &str, format: Option<Format>) -> History {
    format::read(text.as_bytes(), format).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn json_and_edn_come_back_as_they_were() {
    for seed in 0..60 {
        let bug = (seed % 3 == 0).then_some(Bug::IgnoresTokens);
        let operations: Vec<Operation> =
            Generator::new(Shape { seed, bug, exact: seed % 2 == 0, ..Shape::default() }).collect();
        let history = History::of(&operations).expect("a history");
        for format in [Format::Json, Format::Edn] {
            let back = imported(&exported(&history, format), None);
            let mut read: Vec<Operation> = back.operations().collect();
            // Jepsen's order is that of the answers.
            read.sort_by_key(|operation| operation.id);
            assert_eq!(read, operations, "seed {seed}, {}", format.name());
        }
    }
}

#[test]
fn plume_text_keeps_the_verdict() {
    let mut broken = 0;
    for seed in 0..200 {
        let bug =
            [None, Some(Bug::IgnoresTokens), Some(Bug::LosesWrites), Some(Bug::DisagreesOnWinners)][seed as usize % 4];
        let shape = plain(Shape { seed, bug, operations: 30, final_reads: false, ..Shape::default() });
        // What Plume text cannot say is taken away first: whether a write met a value.
        let mut operations: Vec<Operation> = Generator::new(shape).collect();
        for put in operations.iter_mut().filter(|put| put.action == Action::Put && matches!(put.status, 200 | 201)) {
            put.status = 204;
        }
        let history = History::of(&operations).expect("a history");
        let report = judged(&operations);
        let text = exported(&history, Format::Plume);
        let back = imported(&text, None);
        let again = judge(&back, Options::default()).expect("a history that fits together");
        for level in [Level::Causal, Level::Convergent] {
            assert_eq!(again.verdict(level), report.verdict(level), "seed {seed}, {}\n{text}", level.name());
        }
        broken += u32::from(report.is_broken());
        let hist = exported(&history, Format::Hist);
        assert!(
            hist.lines()
                .all(|line| line.starts_with("//") || line == "---" || line.starts_with('[') && line.ends_with(']'))
        );
    }
    assert!((10..190).contains(&broken), "{broken} of 200 are broken");
}

#[test]
fn shiviz_clocks_rise_by_one() {
    let operations: Vec<Operation> = Generator::new(Shape { seed: 5, ..Shape::default() }).collect();
    let log = exported(&History::of(&operations).expect("a history"), Format::ShiViz);
    let (head, events) = log.split_once("\n\n").expect("a pattern and an empty delimiter");
    assert_eq!(head, "(?<event>.*)\\n(?<host>\\S*) (?<clock>{.*})");
    let lines: Vec<&str> = events.lines().collect();
    let mut own: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    for pair in lines.chunks(2) {
        let (host, clock) = pair[1].split_once(' ').expect("a host and its clock");
        let clock: serde_json::Value = serde_json::from_str(clock).expect("a clock is JSON");
        let count = own.entry(host.to_owned()).or_default();
        *count += 1;
        assert_eq!(clock[host], *count, "{pair:?}");
    }
    assert_eq!(lines.len(), operations.len() * 2);
}

/// Two clients are two hosts, whatever they are called.
#[test]
fn shiviz_hosts_are_told_apart() {
    let names = ["a b", "a_b", "a\tb", "a%20b", "a\u{a0}b", "a\u{feff}b", "a\r\nb", "%", "", "a", "s0", "a\u{2028}b"];
    let put = |(at, name): (usize, &&str)| {
        let mut put = Operation::new(at as u64, name, Action::Put, "x");
        (put.value, put.status) = (Some(format!("\"{at}\\r\u{2028}\"")), 201);
        put
    };
    let operations: Vec<Operation> = names.iter().enumerate().map(put).collect();
    let log = exported(&History::of(&operations).expect("a history"), Format::ShiViz);
    let lines: Vec<&str> = log.split('\n').skip(2).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 2 * names.len(), "{lines:?}");
    // As a browser sees it: the pattern's parts are one line and one word.
    let is_space = |letter: char| letter.is_whitespace() || letter == '\u{feff}';
    let hosts: std::collections::BTreeSet<&str> =
        lines.chunks(2).map(|pair| pair[1].split_once(" {").expect("a host and its clock").0).collect();
    assert_eq!(hosts.len(), names.len(), "{hosts:?}");
    assert!(hosts.iter().all(|host| !host.is_empty() && !host.chars().any(is_space)), "{hosts:?}");
    assert!(!log.contains(['\r', '\u{2028}', '\u{2029}']), "{log:?}");
    for pair in lines.chunks(2) {
        let (host, clock) = pair[1].split_once(' ').expect("a host and its clock");
        assert_eq!(serde_json::from_str::<serde_json::Value>(clock).expect("JSON")[host], 1, "{pair:?}");
    }
}

#[test]
fn foreign_histories_are_read() {
    let jepsen = "{:type :invoke, :f :write, :value [:x 1], :process 0, :time 1, :index 0}
{:type :ok, :f :write, :value [:x 1], :process 0, :time 2, :index 1}
{:type :info, :f :start, :process :nemesis, :time 3}
{:type :invoke, :f :read, :value [:x nil], :process 0, :time 4, :index 2}
{:type :ok, :f :read, :value [:x nil], :process 0, :time 5, :index 3}
";
    let report = judge(&imported(jepsen, None), Options::default()).expect("it fits together");
    assert_eq!(report.weakest_broken(), Some(Level::ReadYourWrites));
    let fine = jepsen.replace(":ok, :f :read, :value [:x nil]", ":ok, :f :read, :value [:x 1]");
    assert!(!judge(&imported(&fine, None), Options::default()).expect("it fits together").is_broken());
    let plume = "w(0,1,0,0)\nw(0,2,0,1)\nr(0,2,1,2)\nr(0,1,1,3)\n";
    let report = judge(&imported(plume, None), Options::default()).expect("it fits together");
    assert_eq!(report.weakest_broken(), Some(Level::MonotonicReads));
}

const GOOD: &str = "{\"id\":1,\"client\":\"a\",\"op\":\"put\",\"key\":\"x\",\"value\":1,\"status\":201,\"token_out\":\"t\",\"outcome\":\"ok\"}\n";

fn complaint(text: &str) -> String {
    match format::read(text.as_bytes(), None) {
        Err(error) => error.to_string(),
        Ok(history) => match judge(&history, Options::default()) {
            Err(error) => error.to_string(),
            Ok(report) => format!("read, with warnings {:?}", report.warnings),
        },
    }
}

#[test]
fn bad_input_is_named_with_its_line() {
    let second = |line: &str| complaint(&format!("{GOOD}{line}\n"));
    let get = "{\"id\":2,\"client\":\"a\",\"op\":\"get\",\"key\":\"x\",\"value\":1,\"status\":200,\"outcome\":\"ok\"";
    let cases = [
        (second(GOOD.trim_end()), "line 2: another operation has the id 1"),
        (second(&GOOD.trim_end().replace("\"id\":1", "\"id\":9")), "line 2: writes x=1, which line 1 wrote already"),
        (
            second(&format!("{get},\"token_in\":\"u\"}}")),
            "line 2: sends the token \"u\", which no earlier response carried",
        ),
        (
            second(&format!("{get},\"call_ns\":9,\"return_ns\":3}}")),
            "line 2: the times run backwards: it was called at 9",
        ),
        (second(&format!("{get},\"colour\":3}}")), "line 2: column 88: unknown field `colour`"),
        (second("{\"id\":2"), "line 2: column 7: EOF"),
        (
            second("{\"id\":2,\"client\":\"a\",\"op\":\"get\",\"outcome\":\"ok\",\"status\":404}"),
            "line 2: the field \"key\" is missing",
        ),
        (second(&format!("{get},\"superseded\":[]}}")), "line 2: the field \"superseded\" has no meaning here"),
        (complaint("hello\n"), "line 1: no known format begins with \"hello\""),
        (complaint(""), "line 1: the history is empty"),
        (complaint("w(1,2,3,4)\nw(1,2,3)\n"), "line 2: not of the form"),
        (complaint("w(1,2,3,4)\nw(1,2,5,6)\n"), "line 2: writes 1=2, which line 1 wrote already"),
        (complaint("w(1,2,3,4)\nw(1,-2,5,6)\n"), "line 2: key, value and session are non-negative integers"),
        (complaint("[{:process 1 :type :ok :f :scan :value 3}]"), "line 1: the operation :scan is not known here"),
        (complaint("[{\"type\": \"ok\"}]"), "line 1: this is an array of JSON"),
        (complaint(" [ { \"type\":\"ok\"}"), "line 1: this is an array of JSON"),
        (complaint("[{:process 1]"), "line 1: ']' closes nothing"),
    ];
    for (complaint, start) in cases {
        assert!(complaint.starts_with(start), "{complaint:?} does not start with {start:?}");
    }
}

#[test]
fn a_cut_off_tail_is_a_warning() {
    let tail = "{\"id\":2,\"client\":\"a\",\"op\":\"ge";
    assert_eq!(
        complaint(&format!("{GOOD}{tail}")),
        "read, with warnings [\"line 2 is cut off; the verdict is about the lines before it\"]"
    );
    let read =
        "{\"id\":2,\"client\":\"b\",\"op\":\"get\",\"key\":\"x\",\"value\":9,\"status\":200,\"outcome\":\"ok\"}\n";
    let history = imported(&format!("{GOOD}{read}{tail}"), None);
    let report = judge(&history, Options::default()).expect("it fits together");
    assert!(!report.is_broken(), "the PUT of 9 may have been cut off");
    assert_eq!(report.warnings.len(), 2, "{:?}", report.warnings);
    // Every cut of a good file gives a verdict or an error, and no panic.
    let whole = exported(
        &History::of(&Generator::new(Shape::default()).take(12).collect::<Vec<_>>()).expect("a history"),
        Format::Json,
    );
    let first = whole.find('\n').expect("a line");
    for end in 1..whole.len() {
        let start = if end < first { "line 1: no operation is in this file; line 1 is cut off" } else { "read" };
        assert!(complaint(&whole[..end]).starts_with(start), "{}", complaint(&whole[..end]));
    }
}

/// A recorder that dies hides no write: what was only sent may have happened.
#[test]
fn what_was_sent_counts_without_an_answer() {
    let good = GOOD.trim_end().replace("\"outcome\"", "\"call_ns\":1,\"return_ns\":2,\"outcome\"");
    let sent = "{\"id\":2,\"client\":\"b\",\"op\":\"delete\",\"key\":\"x\",\"call_ns\":3,\"outcome\":\"sent\"}";
    let answered = sent.replace("\"outcome\":\"sent\"", "\"status\":200,\"return_ns\":4,\"outcome\":\"ok\"");
    let token = good.split("\"token_out\":").nth(1).and_then(|rest| rest.split(',').next()).expect("a token");
    let read = format!(
        "{{\"id\":3,\"client\":\"a\",\"op\":\"get\",\"key\":\"x\",\"status\":404,\"token_in\":{token},\"call_ns\":5,\
         \"return_ns\":6,\"outcome\":\"ok\"}}"
    );
    let is_broken = |lines: &[&str]| {
        let history = imported(&(lines.join("\n") + "\n"), None);
        judge(&history, Options::default()).expect("it fits together").is_broken()
    };
    assert!(is_broken(&[&good, &read]), "nobody deleted it");
    assert!(!is_broken(&[&good, sent, &read]));
    assert!(!is_broken(&[&good, &read, sent]), "lines may come in any order");
    assert!(!is_broken(&[&good, sent, &read, &answered]));
    let history = imported(&[good.as_str(), sent, &answered, ""].join("\n"), None);
    assert_eq!(history.len(), 2, "it is one operation");
    let late = sent.replace(":\"sent\"", ":\"sent\",\"status\":200");
    let cases = [
        ([sent, sent].join("\n"), "line 2: another operation has the id 2"),
        ([answered.as_str(), sent].join("\n"), "line 2: another operation has the id 2"),
        (sent.replace(",\"call_ns\":3", ""), "line 1: a line with the outcome \"sent\" needs \"call_ns\""),
        (late, "line 1: the outcome is \"sent\" and there is an answer"),
    ];
    for (text, start) in cases {
        assert!(complaint(&format!("{text}\n")).starts_with(start), "{}", complaint(&format!("{text}\n")));
    }
}

/// A file that was damaged anywhere is refused with its line or judged; what is judged broken is explained.
#[test]
fn damaged_files_are_refused_or_judged() {
    let mut counts = std::collections::BTreeMap::<&str, u32>::new();
    for round in 0..3_000_u64 {
        let draw = |at: u64, below: usize| (mix(mix(round, 7), at) % below as u64) as usize;
        let format = [Format::Json, Format::Plume, Format::Edn][draw(0, 3)];
        let shape = Shape {
            seed: round / 50,
            operations: 30,
            bug: [None, Some(Bug::IgnoresTokens)][draw(1, 2)],
            ..Shape::default()
        };
        let shape = if format == Format::Plume { plain(shape) } else { shape };
        let history = History::of(&Generator::new(shape).collect::<Vec<_>>()).expect("a history");
        let mut text = exported(&history, format).into_bytes();
        for blow in 1..=1 + draw(2, 3) as u64 {
            damage(&mut text, |what, below| draw(blow * 100 + what, below));
        }
        let end = match format::read(&text[..], Some(format)).map_err(|error| error.to_string()) {
            Err(error) => refused(&error),
            Ok(history) => match judge(&history, Options::default()) {
                Err(error) => refused(&error.to_string()),
                Ok(report) if report.weakest_broken().is_some() => {
                    let found = report.counterexample(&history, Options::default()).expect("it is broken");
                    assert!(!found.prose().is_empty() && !found.diagram().is_empty() && !found.svg().is_empty());
                    "broken"
                }
                Ok(_) => "not broken",
            },
        };
        *counts.entry(end).or_default() += 1;
    }
    println!("{counts:?}");
    assert!(counts.len() == 3 && counts.values().all(|&count| count >= 100), "{counts:?}");
}

fn refused(error: &str) -> &'static str {
    assert!(error.starts_with("line "), "{error}");
    "refused"
}

/// One blow: a byte changed, lost or added, a piece lost or told twice, the rest cut off, another digit.
fn damage(text: &mut Vec<u8>, draw: impl Fn(u64, usize) -> usize) {
    let (at, to) = (draw(0, text.len()), draw(1, text.len()));
    let piece = at..(at + 1 + draw(2, 200)).min(text.len());
    match draw(3, 8) {
        0 => text[at] = draw(4, 256) as u8,
        1 => _ = text.remove(at),
        2 => text.insert(at, b"09\\\"{}[](),:-rw\n"[draw(4, 16)]),
        3 => _ = text.drain(piece),
        4 => {
            let again = text[piece].to_vec();
            text.splice(to..to, again);
        }
        5 => text.truncate(at + 1),
        _ => {
            let digit = text[at..].iter().position(u8::is_ascii_digit).map_or(at, |next| at + next);
            text[digit] = b'0' + draw(4, 10) as u8;
        }
    }
}

#[test]
fn an_endless_line_ends_the_reading() {
    let mut text = String::from(GOOD);
    text.push_str("{\"id\":2,\"client\":\"");
    text.push_str(&"x".repeat(100_000_000));
    assert_eq!(complaint(&text), "line 2: longer than 67108864 bytes");
}

#[test]
fn a_long_session_needs_no_stack() {
    let count = 300_000;
    let text: String = (1..=count)
        .map(|at| format!("w(0,{at},0,{at})\n"))
        .chain([format!("r(0,{},0,{})\n", count - 1, count + 1)])
        .collect();
    let report = judge(&imported(&text, None), Options::default()).expect("it fits together");
    assert_eq!(report.verdict(Level::Causal), Verdict::Broken);
    let found = report.counterexample(&imported(&text, None), Options::default()).expect("it is broken");
    assert_eq!(found.history().len(), 3);
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// Blank lines, a byte order mark, other line ends and gzip are the same history, in each format and however it arrives.
#[test]
fn wrappings_change_nothing() {
    let shape = plain(Shape { seed: 3, bug: Some(Bug::IgnoresTokens), ..Shape::default() });
    let history = History::of(&Generator::new(shape).collect::<Vec<_>>()).expect("a history");
    for format in [Format::Json, Format::Plume, Format::Edn] {
        let text = exported(&history, format);
        let verdicts = |bytes: &[u8], asked: Option<Format>| {
            let read = format::read(std::io::BufReader::with_capacity(7, bytes), asked);
            let read = read.unwrap_or_else(|error| panic!("{}: {error}", format.name()));
            judge(&read, Options::default()).expect("it fits together").verdicts
        };
        let expected = verdicts(text.as_bytes(), None);
        let wrapped: [Vec<u8>; 10] = [
            format!("{text}\n").into_bytes(),
            format!("{text}\r\n  \n\n").into_bytes(),
            format!("\n \n{text}").into_bytes(),
            text.replace('\n', "\r\n").into_bytes(),
            text.replace('\n', "\n\n").into_bytes(),
            format!("\u{feff}{text}").into_bytes(),
            gzipped(text.as_bytes()),
            [gzipped(&text.as_bytes()[..100]), gzipped(&text.as_bytes()[100..])].concat(),
            [gzipped(text.as_bytes()), vec![0; 512]].concat(),
            [gzipped(&text.as_bytes()[..100]), vec![0; 9], gzipped(b""), gzipped(&text.as_bytes()[100..])].concat(),
        ];
        for bytes in &wrapped {
            assert_eq!(verdicts(bytes, None), expected, "{}", format.name());
            assert_eq!(verdicts(bytes, Some(format)), expected, "{}", format.name());
        }
        let marked = gzipped(format!("\u{feff}{text}\n\n").as_bytes());
        assert_eq!(verdicts(&marked, None), expected, "{}", format.name());
        let error = format::read(&marked[..marked.len() / 2], None).expect_err("it is cut").to_string();
        assert!(error.contains("gzip around it is damaged or cut off"), "{error}");
    }
    let refused = [
        (gzipped(&gzipped(GOOD.as_bytes())), "gzip within gzip"),
        (b"PK\x03\x04rest".to_vec(), "a zip archive"),
        (b"\x28\xb5\x2f\xfdrest".to_vec(), "compressed by zstd"),
        (b"\xff\xfe{\0".to_vec(), "UTF-16"),
        (gzipped(b""), "the history is empty"),
        ([gzipped(GOOD.as_bytes()), b"\0\0rest".to_vec()].concat(), "gzip around it is damaged or cut off"),
        (b"\xef\xbb\xbf\n \n".to_vec(), "the history is empty"),
    ];
    for (bytes, says) in refused {
        let error = format::read(&bytes[..], None).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(hence_checker::format::json::scan(&gzipped(GOOD.as_bytes())[..]).expect("it is read"), 1);
}

/// Lines are counted with the blank ones.
#[test]
fn blank_lines_are_counted() {
    let again = GOOD.replace("\"id\":1", "\"id\":2");
    let complaint = complaint(&format!("\n{GOOD}\n\n{again}"));
    assert!(complaint.starts_with("line 5: writes x=1, which line 2 wrote already"), "{complaint}");
}
