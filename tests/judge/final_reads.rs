//! Whether final reads agree: reads of one key, at different replicas, with every answered write in their past.

use super::judged;
use hence_checker::Verdict;
use hence_checker::history::{Action, History, Operation, Outcome};
use hence_checker::{Options, judge};

/// Two clients write x, a third reads it with both tokens wherever it is told to; each read says what it showed.
struct Told {
    operations: Vec<Operation>,
}

impl Told {
    fn new() -> Self {
        let mut told = Self { operations: Vec::new() };
        for value in ["1", "2"] {
            let put = told.add(Action::Put);
            (put.value, put.status, put.token_out) = (Some(value.into()), 204, Some(format!("t{value}")));
            put.shown = Some(vec![format!("v{value}")]);
        }
        told
    }

    fn add(&mut self, action: Action) -> &mut Operation {
        self.operations.push(Operation::new(self.operations.len() as u64, "a", action, "x"));
        self.operations.last_mut().expect("it was just pushed")
    }

    fn delete(mut self, status: u16, outcome: Outcome) -> Self {
        let delete = self.add(Action::Delete);
        (delete.status, delete.outcome) = (status, outcome);
        (delete.token_in, delete.merged_from) = (Some("t1".into()), vec!["t2".into()]);
        self
    }

    /// A read with all tokens: `404`, one value, `{1,2}` for exactly these, or `304 v1`.
    fn read(mut self, replica: &str, what: &str) -> Self {
        let read = self.add(Action::Get);
        read.replica = replica.into();
        (read.token_in, read.merged_from) = (Some("t1".into()), vec!["t2".into()]);
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        if what == "404" {
            read.status = 404;
        } else if let Some(versions) = what.strip_prefix("304 ") {
            (read.status, read.shown) = (304, Some(list(versions)));
        } else {
            read.status = 200;
            match what.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(all) => read.siblings = Some(list(all)),
                None => read.value = Some(what.into()),
            }
        }
        self
    }

    fn verdict(&self) -> Option<Verdict> {
        judged(&self.operations).convergence
    }
}

/// What two reads say of the same key's end, and whether both can be true.
#[test]
fn reads_agree_if_one_state_shows_both() {
    let apart = [
        ("1", "2"),
        ("404", "1"),
        ("404", "{2,1}"),
        ("404", "304 v1"),
        ("{1}", "2"),
        ("{2,1}", "1"),
        ("{2,1}", "{1,2}"),
        ("{1}", "{2,1}"),
        ("{2}", "304 v1"),
    ];
    for (one, other) in apart {
        for (first, second) in [(one, other), (other, one)] {
            let told = Told::new().read("r0", first).read("r1", second);
            assert_eq!(told.verdict(), Some(Verdict::Broken), "{first} and {second}");
            let differ = judged(&told.operations).disagreement(&History::of(&told.operations).expect("a history"));
            assert!(differ.is_some_and(|text| text.contains(" at r0 ") && text.contains(" at r1 ")));
        }
    }
    for (one, other) in
        [("1", "1"), ("404", "404"), ("{2,1}", "2"), ("{2,1}", "{2,1}"), ("{2,1}", "304 v1,v2"), ("304 v1,v2", "1")]
    {
        for (first, second) in [(one, other), (other, one)] {
            let told = Told::new().read("r0", first).read("r1", second);
            assert_eq!(told.verdict(), Some(Verdict::Fine), "{first} and {second}");
        }
    }
}

/// Every pair of replicas is compared, not each with the first.
#[test]
fn all_replicas_are_compared() {
    let told = Told::new().read("r0", "1").read("r1", "1").read("r0", "404");
    assert_eq!(told.verdict(), Some(Verdict::Broken));
    let told = Told::new().read("r0", "{2,1}").read("r1", "2").read("r2", "{2}");
    assert_eq!(told.verdict(), Some(Verdict::Broken));
    let told = Told::new().read("r0", "1").read("r0", "2");
    assert_eq!(told.verdict(), None, "there is one replica");
}

/// A write that may yet arrive explains any difference: one without an answer, or one that failed inside the store.
#[test]
fn what_may_yet_arrive_leaves_it_open() {
    for (status, outcome) in [(0, Outcome::Unknown), (500, Outcome::Ok), (504, Outcome::Ok)] {
        let told = Told::new().delete(status, outcome).read("r0", "404").read("r1", "1");
        assert_eq!(told.verdict(), Some(Verdict::Unknown), "{status} {outcome:?}");
    }
    for (status, outcome) in [(503, Outcome::Ok), (0, Outcome::Fail)] {
        let told = Told::new().delete(status, outcome).read("r0", "404").read("r1", "1");
        assert_eq!(told.verdict(), Some(Verdict::Broken), "{status} {outcome:?}");
    }
}

/// Replicas that never agree are named with what they showed.
#[test]
fn final_reads_that_differ_are_told() {
    let told = Told::new().read("r0", "1").read("r1", "404");
    let history = History::of(&told.operations).expect("a history");
    let report = judge(&history, Options::default()).expect("it fits together");
    let told = report.disagreement(&history).expect("they differ");
    assert!(told.contains("GET x: 1 at r0 [id 2]") && told.contains("GET x: 404 at r1 [id 3]"), "{told}");
}
