//! Batches in every format: there and back, and broken in every way.

use super::batches::seen_of_a_store;
use hence_checker::format::{self, Format};
use hence_checker::history::{History, Malformed, Operation};
use hence_checker::recorder::{Error, Part, Recorder, Response};
use hence_checker::{Level, Options, Verdict, judge};

fn exported(history: &History, format: Format) -> String {
    let mut text = Vec::new();
    format::write(history, format, &mut text).unwrap_or_else(|error| panic!("{}: {error}", format.name()));
    String::from_utf8(text).expect("formats are text")
}

#[test]
fn json_and_edn_keep_batches() {
    let mut batches = 0;
    for seed in 0..200 {
        let operations = seen_of_a_store(seed);
        let history = History::of(&operations).expect("a history");
        batches += operations.iter().filter(|operation| operation.same_batch).count();
        for format in [Format::Json, Format::Edn] {
            let back = format::read(exported(&history, format).as_bytes(), None).expect("what was written is read");
            let mut read: Vec<Operation> = back.operations().collect();
            read.sort_by_key(|operation| operation.id);
            assert_eq!(read, operations, "seed {seed}, {}", format.name());
        }
    }
    assert!(batches > 500, "{batches}");
}

/// A line that says that a batch leaves is enough for it to have happened.
#[test]
fn a_batch_that_was_sent_may_have_happened() {
    let sent = r#"{"id":1,"client":"a","op":"batch","call_ns":5,"outcome":"sent","operations":[{"op":"put","key":"x","value":1},{"op":"put","key":"y","value":1}]}"#;
    let half = r#"{"id":2,"client":"b","op":"batch","call_ns":7,"return_ns":8,"status":200,"outcome":"ok","operations":[{"op":"get","key":"x"},{"op":"get","key":"y"}],"results":[{"result":"found","value":1},{"result":"absent"}]}"#;
    let whole = half.replace(r#"{"result":"absent"}"#, r#"{"result":"found","value":1}"#);
    for (read, expected) in [(half, Verdict::Broken), (&*whole, Verdict::Fine)] {
        let history = format::read(format!("{sent}\n{read}\n").as_bytes(), None).expect("a history");
        let report = judge(&history, Options::default()).expect("it fits together");
        assert_eq!(report.verdict(Level::Causal), expected, "{read}");
    }
}

#[test]
fn what_is_no_batch_is_refused() {
    let line = |operations: &str, rest: &str| {
        format!(r#"{{"id":1,"client":"a","op":"batch","outcome":"ok","operations":[{operations}]{rest}}}"#)
    };
    let (get, put) = (r#"{"op":"get","key":"x"}"#, r#"{"op":"put","key":"x","value":1}"#);
    let done = |results: &str| format!(r#","status":200,"results":[{results}]"#);
    let cases = [
        (line("", &done("")), "a batch has no \"operations\""),
        (line(get, r#","status":200"#), "a batch that was answered 200 has no \"results\""),
        (line(get, r#","status":412,"results":[{"result":"absent"}]"#), "was not answered 200 has \"results\""),
        (line(get, &done(r#"{"result":"absent"},{"result":"absent"}"#)), "one of its \"results\" for each"),
        (line(get, &done(r#"{"result":"created"}"#)), "\"created\" is no result of a get"),
        (line(put, &done(r#"{"result":"absent"}"#)), "\"absent\" is no result of a put"),
        (line(get, &done(r#"{"result":"found"}"#)), "a get answered 200 must have a value"),
        (line(get, &done(r#"{"result":"absent","value":1}"#)), "a GET answered 404 has a value"),
        (line(put, &done(r#"{"result":"created","value":1}"#)), "the field \"value\" has no meaning here"),
        (line(r#"{"op":"get","key":"x","value":1}"#, &done(r#"{"result":"absent"}"#)), "\"value\" has no meaning here"),
        (line(r#"{"op":"put","key":"x"}"#, &done(r#"{"result":"created"}"#)), "must have a value"),
        (line(r#"{"op":"batch","key":"x"}"#, &done(r#"{"result":"absent"}"#)), "\"batch\" is not an op"),
        (line(r#"{"op":"get"}"#, &done(r#"{"result":"absent"}"#)), "missing field `key`"),
        (line(get, &(done(r#"{"result":"absent"}"#) + r#","key":"x""#)), "the field \"key\" has no meaning here"),
        (line(get, &(done(r#"{"result":"absent"}"#) + r#","shown":[]"#)), "the field \"shown\" has no meaning here"),
        (
            line(
                &format!(r#"{put},{{"op":"delete","key":"x"}}"#),
                &done(r#"{"result":"created"},{"result":"absent"}"#),
            ),
            "the batch writes x twice",
        ),
        (
            r#"{"id":1,"client":"a","op":"get","key":"x","status":404,"outcome":"ok","operations":[]}"#.into(),
            "the field \"operations\" has no meaning here",
        ),
    ];
    for (line, expected) in cases {
        let error = format::read(format!("{line}\n").as_bytes(), Some(Format::Json)).expect_err(&line).to_string();
        assert!(error.starts_with("line 1: ") && error.contains(expected), "{line}\n{error}");
    }
}

#[test]
fn parts_are_of_one_request() {
    let parts = seen_of_a_store(1).into_iter().skip_while(|part| !part.same_batch).take(1);
    let alone: Vec<Operation> = parts.collect();
    assert_eq!(alone.len(), 1, "there is a batch");
    assert!(matches!(History::of(&alone), Err((0, Malformed::Contradiction(_)))));
    type Change = fn(&mut Operation);
    let changes: [Change; 7] = [
        |part| part.id += 1,
        |part| part.client.push('x'),
        |part| part.replica.push('x'),
        |part| part.token_in = Some("other".into()),
        |part| part.token_out = Some("other".into()),
        |part| part.merged_from.push("other".into()),
        |part| part.status = 412,
    ];
    let whole = seen_of_a_store(1);
    let at = whole.iter().position(|part| part.same_batch && part.value.is_none()).expect("a batch");
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = whole.clone();
        change(&mut changed[at]);
        assert!(matches!(History::of(&changed), Err((found, _)) if found == at), "change {number}");
    }
}

#[test]
fn a_recorder_takes_batches() -> Result<(), Error> {
    let mut recorder = Recorder::new();
    let asked = recorder.on_invoke_batch("a", &[Part::Put("x", "1"), Part::Delete("y")], None);
    let lost = recorder.on_invoke_batch("b", &[Part::Put("x", "2"), Part::Put("y", "2")], None);
    recorder.on_return(asked, Response::batch([Response::created(), Response::absent()]).token("t1").replica("r"))?;
    let refused = recorder.on_invoke_batch("c", &[Part::Get("x"), Part::Put("z", "1")], Some("t1"));
    recorder.on_return(refused, Response::refused())?;
    let twice = recorder.on_invoke_batch("c", &[Part::Put("x", "3"), Part::Delete("x")], Some("t1"));
    let results = Response::batch([Response::created(), Response::replaced()]);
    assert_eq!(recorder.on_return(twice, results), Err(Error::Malformed(Malformed::WrittenTwice("x".into()))));
    let short = recorder.on_invoke_batch("c", &[Part::Get("x"), Part::Get("y")], Some("t1"));
    let results = Response::batch([Response::absent()]);
    assert!(matches!(recorder.on_return(short, results), Err(Error::Malformed(Malformed::Contradiction(_)))));
    let read = recorder.on_invoke_batch("c", &[Part::Get("y"), Part::Get("x")], Some("t1"));
    let results = Response::batch([Response::found(["2"]), Response::found(["2", "1"])]).token("t2");
    recorder.on_return(read, results)?;
    assert_eq!(recorder.on_return(read, Response::absent()), Err(Error::NotOpen(read)));
    _ = lost;
    let history = recorder.history()?;
    let told: Vec<usize> = history.events().map(|event| event.len()).collect();
    assert_eq!(told, [2, 2, 2, 2], "the refused and the lost batch are there, too");
    let report = judge(&history, Options::default())?;
    assert_eq!(report.verdict(Level::Convergent), Verdict::Fine);
    Ok(())
}
