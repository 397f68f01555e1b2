//! Names and values of others in what people read: one line each, bounded, and nothing that steers a terminal.

use hence_checker::format;
use hence_checker::history::{Action, History, Operation};
use hence_checker::{Level, Options, Verdict, judge};

/// Ends lines, clears the screen, turns the direction of writing.
const STEERING: &str = "x\ny\u{1b}[2J\u{85}\u{202e}\u{2028}z";

fn is_quiet(told: &str) -> bool {
    let is_plain = |letter: char| !letter.is_control() && !('\u{2028}'..='\u{202e}').contains(&letter);
    told.lines().all(|line| line.chars().all(is_plain))
}

/// A put, and what its client read then: nothing, or a value of nobody.
fn history(name: &str, read: Option<&str>) -> History {
    let mut put = Operation::new(0, name, Action::Put, name);
    (put.value, put.status, put.token_out) = (Some("1".into()), 201, Some("t".into()));
    let mut get = Operation::new(1, name, Action::Get, name);
    (get.value, get.status) = (read.map(str::to_owned), if read.is_some() { 200 } else { 404 });
    (get.token_in, get.token_out, get.replica) = (Some("t".into()), Some("u".into()), name.into());
    History::of(&[put, get]).expect("a history")
}

#[test]
fn names_steer_no_terminal() {
    let steering = STEERING.repeat(9);
    for (name, read) in
        [(STEERING, None), (&steering, None), (STEERING, Some("\"\u{202e}\u{9b}2J\"")), ("x", Some("7"))]
    {
        let history = history(name, read);
        let report = judge(&history, Options::default()).expect("it fits together");
        let found = report.counterexample(&history, Options::default()).expect("it is broken");
        for full in [false, true] {
            let told = found.told(full);
            assert!(is_quiet(&told), "{told:?}");
            assert!(told.lines().count() < 20, "{told}");
        }
    }
    // What differs in the end names its replicas.
    let mut operations: Vec<Operation> = history(STEERING, None).operations().collect();
    let mut other = operations[1].clone();
    (other.id, other.value, other.status, other.token_out) = (2, Some("1".into()), 200, Some("v".into()));
    other.replica.push('2');
    operations.push(other);
    let history = History::of(&operations).expect("a history");
    let report = judge(&history, Options::default()).expect("it fits together");
    assert_eq!(report.convergence, Some(Verdict::Broken));
    assert!(is_quiet(&report.disagreement(&history).expect("two reads")));
}

/// Nothing that is said of a long text is long: verdicts, reports for programs, complaints.
#[test]
fn long_texts_are_told_shortly() {
    let long = "l".repeat(50_000);
    for (name, read) in [(&*long, None), ("x", Some(format!("\"{long}\"")))] {
        let history = history(name, read.as_deref());
        let report = judge(&history, Options::default()).expect("it fits together");
        assert_eq!(report.verdict(Level::Convergent), Verdict::Broken);
        let found = report.counterexample(&history, Options::default()).expect("it is broken");
        let value = report.value(&history, Some(&found), false).to_string();
        assert!(
            found.told(false).len() < 4_000 && value.len() < 8_000,
            "{} and {}",
            found.told(false).len(),
            value.len()
        );
    }
    let put = |id: u32, more: &str| format!("{{\"id\":{id},\"client\":\"a\",\"op\":\"put\",\"status\":201{more}}}\n");
    let of_one_value = format!(",\"key\":\"x\",\"value\":\"{long}\"");
    let twice = put(1, &of_one_value) + &put(2, &of_one_value);
    let complaints = [
        twice,
        put(1, &format!(",\"key\":\"x\",\"value\":1,\"token_in\":\"{long}\"")),
        put(1, &format!(",\"key\":\"x\",\"value\":1,\"outcome\":\"{long}\"")),
        format!("{{:process 0 :type :ok :f :{long} :value 1}}"),
        format!("{{:process 0 :type :ok :f :write :value {long}/{long}/a}}"),
        format!("[k0:={long}]\n"),
    ];
    for text in complaints {
        let complaint = match format::read(text.as_bytes(), None) {
            Err(error) => error.to_string(),
            Ok(history) => judge(&history, Options::default()).expect_err("it does not fit together").to_string(),
        };
        assert!(complaint.len() < 1_000 && complaint.starts_with("line "), "{} bytes", complaint.len());
    }
}
