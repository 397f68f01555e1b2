//! The formats of other checkers of transactions, as their own commands write and read them.

use hence_checker::format::{self, Format};
use hence_checker::history::History;
use hence_checker::{Level, Options, Verdict, judge};

/// What is read of one format can be written as JSON, which has values in JSON only.
#[test]
fn what_is_read_can_be_written_as_json() {
    let event = |version: &str| format!(r#"[[{{"events":[["w",0,{version}]],"committed":true}}]]"#);
    let long = "9".repeat(30);
    for (text, value) in [
        ("[A0016:=001]".to_owned(), "1"),
        ("[x:=00]".into(), "0"),
        (format!("[x:=0{long}]"), &*long),
        (event("7"), "7"),
        (event("\"7\""), "7"),
        (event("\"007\""), "\"007\""),
        (event("\"a\\\"b\""), "\"a\\\"b\""),
    ] {
        let history = format::read(text.as_bytes(), None).expect(&text);
        assert_eq!(history.operation(0).value.as_deref(), Some(value), "{text}");
        format::write(&history, Format::Json, &mut Vec::new()).expect(&text);
    }
    assert_eq!(causal(&format::read(&b"[x:=1]\n---\n[x==01]\n"[..], None).expect("a history")), Verdict::Fine);
    let own = |siblings: &str| {
        let fields = format!(":id 1, :client \"c\", :status 200, :siblings [{siblings}]");
        let asked = "{:process 0, :type :invoke, :f :txn, :value [[:r \"x\" nil]]}";
        let answered = format!("{{:process 0, :type :ok, :f :txn, :value [[:r \"x\" \"1\"]], {fields}}}");
        format::read(format!("{asked}\n{answered}\n").as_bytes(), Some(Format::Edn))
    };
    assert!(own("\"1\"").is_ok());
    let error = own("\"1\" \"a\"").expect_err("a is no JSON");
    assert!(error.to_string().contains("\"a\" is no text of JSON"), "{error}");
}

/// The line, the value, and whether it goes with the one before, of each operation.
fn told(history: &History) -> Vec<(u32, Option<String>, bool)> {
    let told = |at: usize| (history.line(at), history.operation(at).value, history.operation(at).same_batch);
    (0..history.len()).map(told).collect()
}

fn causal(history: &History) -> Verdict {
    judge(history, Options::default()).expect("it fits together").verdict(Level::Causal)
}

#[test]
fn hist_is_read_as_dbcop_writes_it() {
    let read = |text: &str| format::read(text.as_bytes(), None);
    let text = "// what is said of it\n[x:=1 y:=2] // both\n[x:=3]!\n\n---\n[x==1 y==?][ ] [x:=4]! [x==1]\n[y==2]\n";
    let history = read(text).expect("a history");
    let value = |value: &str| Some(value.to_owned());
    let expected = [
        (2, value("1"), false),
        (2, value("2"), true),
        (6, value("1"), false),
        (6, None, true),
        (6, value("1"), false),
        (7, value("2"), false),
    ];
    assert_eq!(told(&history), expected);
    assert_eq!(history.warnings, ["2 transactions that were not committed were left out"]);
    assert_eq!(causal(&history), Verdict::Broken, "y was written with x");
    for (line, problem) in [
        ("[x:=1", "not of the form"),
        ("[x:=1] no", "not of the form"),
        ("[x=1]", "not of the form"),
        ("[1:=1]", "is no variable"),
        ("[x-y:=1]", "is no variable"),
        ("[x:=?]", "is no version"),
        ("[x==-1]", "is no version"),
        ("[x:=1];", "not of the form"),
        ("[x:=1]!![x:=2]", "not of the form"),
        ("[x:=1] [x:=2", "not of the form"),
    ] {
        let error = format::read(format!("[y:=9]\n{line}\n").as_bytes(), Some(Format::Hist)).expect_err(line);
        assert!(error.to_string().starts_with("line 2: ") && error.to_string().contains(problem), "{line}: {error}");
    }
    assert!(read("[y:=9]\n[x:=1 z").expect("the tail is cut off").truncated);
}

#[test]
fn json_is_read_as_dbcop_writes_it() {
    let read = |text: &str| format::read(text.as_bytes(), None);
    let value = |value: &str| Some(value.to_owned());
    let pretty = r#"{
  "params": { "id": 0, "n_node": 2 }, "info": "generated",
  "data": [
    [ { "events": [
        { "Write": { "variable": 0, "version": 1 } },
        ["w", "y", 2] ],
        "committed": true },
      { "committed": false, "events": [ ["w", 0, 3] ] } ],
    [],
    [ { "events": [ { "Read": { "version": 1, "variable": 0 } }, ["r", "y", null] ], "committed": true } ] ],
  "end": "2025"
}"#;
    let history = read(pretty).expect("a history");
    assert_eq!(
        told(&history),
        [(7, value("1"), false), (7, value("2"), true), (10, value("1"), false), (10, None, true)]
    );
    assert_eq!(history.warnings, ["1 transactions that were not committed were left out"]);
    assert_eq!(causal(&history), Verdict::Broken, "y was written with 0");
    let event = |event: &str| format!("[[{{\"events\":[{event}],\"committed\":true}}]]");
    for (text, problem) in [
        (event("[\"w\",0,null]"), "a write of null"),
        (event("[\"x\",0,1]"), "an event is"),
        (event("{\"Write\":{\"variable\":0}}"), "an event is"),
        (event("{\"Write\":{\"variable\":0,\"version\":-1}}"), "an event is"),
        (event("[\"w\",0,1]") + "x", "trailing characters"),
        (event("[\"w\",0,1]")[..24].to_owned(), "EOF"),
        ("[[{\"events\":[]}]]".into(), "committed"),
        ("{\"params\":{},\"info\":\"\"}".into(), "data"),
        ("{\"data\":[],\"data\":[]}".into(), "duplicate"),
        ("{\"data\":[]}".into(), "no operation"),
    ] {
        let error = read(&text).expect_err(&text).to_string();
        assert!(error.starts_with("line 1: ") && error.contains(problem), "{text}: {error}");
    }
}

#[test]
fn awdit_text_is_read_as_awdit_reads_it() {
    let read = |text: &str| format::read(text.as_bytes(), None);
    let value = |value: &str| Some(value.to_owned());
    let fork = "w 0 0\nw 1 0\n=====\nw 0 1\n-----\nr 0 1\nr 1 0\n=====\nw 1 1\n-----\nr 1 1\nr 0 0";
    let history = read(fork).expect("a history");
    assert_eq!(history.len(), 8);
    assert_eq!(told(&history)[3..5], [(6, value("1"), false), (7, value("0"), true)]);
    let report = judge(&history, Options::default()).expect("it fits together");
    assert_eq!(report.verdict(Level::Convergent), Verdict::Fine, "a long fork is causally consistent");
    let halves = "====\n w 1 01 \nw 02 1\n\n=\nr 001 1\n- \nr 2 0\n==\nw 2 0";
    assert_eq!(causal(&read(halves).expect("a history")), Verdict::Fine, "0 came later");
    let halves = "w 2 0\n--\nw 1 1\nw 2 1\n==\nr 1 1\nr 2 0";
    assert_eq!(causal(&read(halves).expect("a history")), Verdict::Broken, "half of a transaction");
    assert_eq!(causal(&read("w 1 1\n=\nr 1 0").expect("a history")), Verdict::Broken, "no client writes 0");
    for (line, problem) in [
        ("r 1", "not of the form"),
        ("x 1 1", "not of the form"),
        ("w 1 1 1", "not of the form"),
        ("w -1 1", "is no number"),
        ("w 1 y", "is no number"),
        ("-=", "not of the form"),
    ] {
        let error = format::read(format!("w 9 9\n{line}\n").as_bytes(), Some(Format::Awdit)).expect_err(line);
        assert!(error.to_string().starts_with("line 2: ") && error.to_string().contains(problem), "{line}: {error}");
    }
    assert!(read("w 9 9\nw 1").expect("the tail is cut off").truncated);
    let error = format::write(&history, Format::Awdit, &mut Vec::new()).expect_err("it is only read");
    assert_eq!(error.to_string(), "awdit is only read, not written");
}
