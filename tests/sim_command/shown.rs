//! What `show` writes for programs and other tools.

use super::{folder, sim, text};

/// Every line but the first has its number, and its causes stand before it. No name is a long one.
pub(crate) fn check_story(lines: &[serde_json::Value]) {
    assert_eq!(lines[0]["kind"], "run");
    assert!(lines[0]["lanes"].as_array().is_some_and(|lanes| lanes.iter().any(|lane| lane == "A")), "{}", lines[0]);
    for (at, line) in lines[1..].iter().enumerate() {
        assert_eq!(line["id"], at, "{line}");
        let causes = line["causes"].as_array().into_iter().flatten();
        assert!(causes.clone().all(|cause| cause.as_u64().is_some_and(|cause| cause < at as u64)), "{line}");
        assert!(!line.to_string().contains("10.0.0."), "{line}");
    }
    let changes = lines.iter().filter(|line| line["changes"]["vector"].is_string()).count();
    let received = lines.iter().filter(|line| line["message"].is_object() && line["kind"] == "received");
    assert!(changes > 0 && received.clone().count() > 0);
    assert!(received.into_iter().all(|line| line["causes"].as_array().is_some_and(|causes| causes.len() == 2)));
}

/// One run in every form: each is what its tool takes.
#[test]
fn a_run_is_written_for_other_tools() {
    let case = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pictures/a-delete-that-is-left-out.json");
    let files = ["run.html", "run.svg", "run.mmd", "run.pftrace", "run.shiviz"];
    let options = ["--html", "--svg", "--mermaid", "--perfetto", "--shiviz"];
    let pairs: Vec<&str> = options.iter().zip(files).flat_map(|(option, file)| [*option, file]).collect();
    let shown = sim(&[&["show", case], pairs.as_slice()].concat());
    assert_eq!(shown.status.code(), Some(1), "{}", text(&shown));
    let read = |name: &str| std::fs::read(folder().join(name)).expect("it is written");
    let as_text = |name: &str| String::from_utf8(read(name)).expect("text");
    let html = as_text("run.html");
    assert!(html.starts_with("<!doctype html>") && html.len() < 2_000_000, "{} bytes", html.len());
    // Neither the page nor the picture names another file.
    for name in ["run.html", "run.svg"] {
        let loads = ["src=", "url(", "@import", "href=\"http"].into_iter().filter(|word| as_text(name).contains(word));
        assert_eq!(loads.collect::<Vec<_>>(), [""; 0], "{name}");
    }
    let svg = as_text("run.svg");
    assert!(
        svg.starts_with("<svg ") && svg.contains("b1.2") && svg.matches("<g").count() == svg.matches("</g>").count()
    );
    let shown = include_str!("../../docs/pictures/a-delete-that-is-left-out.svg");
    assert!(svg == shown, "the picture of README is another one: write it anew with `hence-sim show --svg`");
    let diagram = as_text("run.mmd");
    assert!(diagram.starts_with("sequenceDiagram\n") && diagram.contains("B->>A: push b1.2"), "{diagram}");
    check_shiviz(&as_text("run.shiviz"));
    check_perfetto(&read("run.pftrace"));
}

/// What clients saw is a page, too, and a page never replaces what is read.
#[test]
fn a_history_is_a_page() {
    let put = r#"{"id":1,"client":"a","op":"put","key":"x","value":1,"status":201,"token_out":"t","outcome":"ok"}"#;
    let get =
        r#"{"id":2,"client":"a","op":"get","key":"x","status":404,"token_in":"t","token_out":"u","outcome":"ok"}"#;
    std::fs::write(folder().join("page.history"), format!("{put}\n{get}\n")).expect("a file");
    let check = sim(&["check", "page.history", "--html", "page.html"]);
    assert_eq!(check.status.code(), Some(1), "{}", text(&check));
    let page = std::fs::read_to_string(folder().join("page.html")).expect("a page");
    assert!(page.starts_with("<!doctype html>") && page.contains("did not show x=1"), "{} bytes", page.len());
    let refused = sim(&["check", "page.history", "--html", "./page.history"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
}

/// A message of Protocol Buffers whose only field is a list of messages; each begins and ends where it says.
fn check_perfetto(bytes: &[u8]) {
    let (mut at, mut packets) = (0, 0);
    while at < bytes.len() {
        assert_eq!(bytes[at], 1 << 3 | 2, "the field `packet` at byte {at}");
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            at += 1;
            length |= usize::from(bytes[at] & 127) << shift;
            shift += 7;
            if bytes[at] < 128 {
                break;
            }
        }
        at += 1 + length;
        packets += 1;
    }
    assert_eq!(at, bytes.len());
    assert!(packets > 50, "{packets} packets");
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("replica A") && holds("accepts b1.2") && holds("push b1.2"));
}

/// Requests and answers are edges between clients and replicas, in cases of several kinds.
#[test]
fn shiviz_shows_who_asked_whom() {
    let run = sim(&["run", "--seeds", "0..60", "--mutant", "answer-without-past", "--cases", "asked"]);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    let printed = text(&run);
    let mut cases = 0;
    for case in printed.lines().filter_map(|line| line.strip_prefix("  case   ")) {
        sim(&["show", case, "--shiviz", "asked.shiviz"]);
        let log = std::fs::read_to_string(folder().join("asked.shiviz")).expect("the log");
        check_shiviz(&log);
        let lines: Vec<&str> = log.lines().skip(2).collect();
        let (mut taken, mut answered, mut lost) = (0, 0, 0);
        for pair in lines.chunks(2) {
            let (host, clock) = pair[1].split_once(' ').expect("host and clock");
            let clock: serde_json::Value = serde_json::from_str(clock).expect("a JSON clock");
            let knows_a_client =
                || clock.as_object().is_some_and(|clock| clock.keys().any(|host| host.starts_with('c')));
            if let Some((_, client)) =
                pair[0].split_once(" takes request ").and_then(|(_, rest)| rest.split_once(" of "))
            {
                // What the client did before it asked is known here now.
                assert!(clock[client].as_u64().is_some_and(|count| count > 0), "{pair:?}");
                taken += 1;
            } else if pair[0].contains(" gets connection lost") {
                lost += 1;
            } else if pair[0].contains(" watch") {
                // What a watch is told has no edge: it answers no request.
            } else if host.starts_with('c') && pair[0].contains(" gets ") {
                assert!(
                    clock.as_object().is_some_and(|clock| clock.keys().any(|host| !host.starts_with('c'))),
                    "{pair:?}"
                );
                answered += 1;
            } else if pair[0].contains(" applies ") {
                assert!(knows_a_client(), "{pair:?}");
            }
        }
        assert!(taken > 0 && answered > 0, "{taken} taken, {answered} answered, {lost} lost");
        cases += 1;
    }
    assert!(cases > 0);
}

/// ShiViz's rules: an event, then `host {clock}`; a host's own entry counts its events from 1.
pub(crate) fn check_shiviz(log: &str) {
    let mut lines = log.lines();
    assert_eq!(lines.next(), Some("(?<event>.*)\\n(?<host>\\S*) (?<clock>{.*})"));
    assert_eq!(lines.next(), Some(""));
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    while let (Some(_event), Some(line)) = (lines.next(), lines.next()) {
        let (host, clock) = line.split_once(' ').expect("host and clock");
        let clock: serde_json::Value = serde_json::from_str(clock).expect("a JSON clock");
        let count = counts.entry(host.to_owned()).or_default();
        *count += 1;
        assert_eq!(clock[host].as_u64(), Some(*count), "{line}");
    }
    assert!(counts.len() >= 2, "{counts:?}");
}

/// What becomes of a case, and of a smaller one, as one object each.
#[test]
fn cases_are_told_to_programs() {
    let case = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pictures/a-delete-that-is-left-out.json");
    let one = |arguments: &[&str], code: i32| {
        let output = sim(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("one object and nothing else")
    };
    let replay = one(&["replay", case, "--json"], 1);
    assert_eq!((&replay["outcome"], &replay["fingerprint"]), (&"same".into(), &"sessions/past_missing".into()));
    assert_eq!(replay["violation"]["sign"], "past_missing");
    let shrink = one(&["shrink", case, "-o", "told.json", "--json"], 1);
    assert_eq!((&shrink["case"], &shrink["minimal"]), (&"told.json".into(), &true.into()));
    assert_eq!((&shrink["to"]["operations"], &shrink["from"]["operations"]), (&4.into(), &4.into()));
    // With the sound rules it passes.
    let text = std::fs::read_to_string(case).expect("the case");
    let sound = text.replace("\"mutant\": \"answer-without-deletes\"", "\"mutant\": null");
    assert_ne!(sound, text);
    std::fs::write(folder().join("told-sound.json"), sound).expect("a file");
    let passes = one(&["replay", "told-sound.json", "--json"], 0);
    assert_eq!((&passes["outcome"], &passes["violation"]), (&"passes".into(), &serde_json::Value::Null));
    assert!(passes["unmatched"].is_u64() && passes["fresh"].is_u64(), "{passes}");
}

/// What a CI service reads: one passing test, or one failing test for each kind of failure.
#[test]
fn junit_tells_what_failed() {
    let run = |more: &[&str]| {
        let output =
            sim(&[&["run", "--seeds", "0..60", "--junit", "junit.xml", "--cases", "junit-cases"], more].concat());
        let xml = std::fs::read_to_string(folder().join("junit.xml")).expect("it is written");
        assert!(xml.starts_with("<?xml ") && xml.ends_with("</testsuite>\n"), "{xml}");
        assert_eq!(
            xml.matches("<testcase").count(),
            xml.matches("</testcase>").count() + xml.matches("\"/>\n").count(),
            "{xml}"
        );
        (output.status.code(), xml)
    };
    let (code, fine) = run(&[]);
    assert!(code == Some(0) && fine.contains("tests=\"1\" failures=\"0\""), "{fine}");
    assert!(fine.contains("value=\"60\"") && fine.contains("name=\"no promise is broken\"/>"), "{fine}");
    let (code, failed) = run(&["--mutant", "serve-uncovered"]);
    assert!(code == Some(1) && !failed.contains("failures=\"0\""), "{failed}");
    assert!(failed.contains("<failure type=\"sessions/past_missing\" message=\""), "{failed}");
    assert!(failed.contains("hence-sim replay junit-cases/"), "{failed}");
}
