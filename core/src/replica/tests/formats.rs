//! Replicas that speak different formats in one cluster.

use super::*;

impl World {
    fn start_speaking(&mut self, n: u8, seed: u8, formats: Formats) {
        self.config.formats = formats;
        self.start(n, 3, seed);
    }

    /// Three replicas that speak these formats.
    fn speaking(formats: [Formats; 3]) -> Self {
        let mut world = Self::new(0);
        (1..).zip(formats).for_each(|(n, formats)| world.start_speaking(n, n, formats));
        world.run(1_000);
        world
    }

    /// Deletes the key in a way that only the format for tests has a word for.
    fn erase(&mut self, n: u8, key: &str, past: &VersionVector) -> Reply {
        let (id, key) = (RequestId(1 << 40 | self.replies.len() as u64), Key::new(key).expect("a key"));
        let (action, past, wait) = (Action::Delete, past.clone(), Micros::ZERO);
        let condition = Condition::default();
        let request = DataRequest { key, action, past, wait, condition, format: Formats::TEST, concern: None };
        self.handle(&address(n), Input::Request { id, request: Request::Data(Box::new(request)) });
        self.replies.get(&id).cloned().expect("an answer at once")
    }

    fn are_upgraded(&self) -> Vec<bool> {
        (1..=3).map(|n| self.replica(n).status().upgraded).collect()
    }
}

const OLD: Formats = Formats::RELEASED;
const NEW: Formats = Formats::WITH_TEST;
const UPGRADING: Reply = Reply::Refused(Refusal::Upgrading);

#[test]
fn what_one_member_does_not_understand_is_not_done() {
    let mut world = World::speaking([NEW, NEW, OLD]);
    let token = world.put(1, "x", "1", &VersionVector::new());
    world.run(1_000);
    assert_eq!(world.erase(1, "x", &token), UPGRADING);
    assert_eq!(world.erase(3, "x", &token), UPGRADING, "it does not speak the format itself");
    assert_eq!(world.get(2, "x", &token), Ok("1".into()));
    assert_eq!(world.are_upgraded(), [false, false, true], "an old one speaks all that it knows of");

    world.start_speaking(3, 9, NEW);
    world.run(3_000);
    assert_eq!(world.are_upgraded(), [true; 3]);
    let Reply::Written(written) = world.erase(1, "x", &token) else { panic!("it is understood by all") };
    world.run(100);
    assert_eq!(world.get(3, "x", &written.token), Err(Reply::Absent { token: written.token.clone() }));
}

#[test]
fn an_address_whose_process_has_not_said_anything_counts_as_old() {
    let mut world = World::new(0);
    world.start_speaking(1, 1, NEW);
    world.start_speaking(2, 2, NEW);
    world.run(5_000);
    assert_eq!(world.erase(1, "x", &VersionVector::new()), UPGRADING, "nothing is known of the third");
    world.start_speaking(3, 3, NEW);
    world.run(3_000);
    assert!(matches!(world.erase(1, "x", &VersionVector::new()), Reply::Absent { .. }));
    // A new process there is another build, perhaps.
    world.cut.insert(address(3));
    world.run(100);
    assert!(matches!(world.erase(1, "x", &VersionVector::new()), Reply::Absent { .. }), "a cut changes no process");
    world.start_speaking(3, 9, OLD);
    world.cut.clear();
    world.run(3_000);
    assert_eq!(world.erase(1, "x", &VersionVector::new()), UPGRADING);
}

/// The member goes back to the older build while the others hold what it has no word for.
#[test]
fn what_cannot_be_told_comes_as_part_of_a_state() {
    let mut world = World::speaking([NEW; 3]);
    let token = world.put(1, "x", "1", &VersionVector::new());
    world.run(100);
    world.cut.insert(address(3));
    let Reply::Written(written) = world.erase(1, "x", &token) else { panic!("it is understood by all") };
    let token = world.put(1, "y", "2", &written.token);
    world.run(500);
    world.start_speaking(3, 9, OLD);
    world.cut.clear();
    world.run(8_000);
    assert_eq!(world.get(3, "y", &token), Ok("2".into()));
    assert!(matches!(world.get(3, "x", &token), Err(Reply::Absent { .. })));

    // The same where it goes on: the others have not heard yet that it cannot be told.
    let replica = world.replicas.get_mut(&address(1)).expect("it runs");
    let id = replica.find_peer(&address(3)).expect("a member");
    replica.peers[id].formats = Some(NEW);
    let token = world.put(1, "x", "3", &token);
    let reported = world.sent;
    let Reply::Written(written) = world.erase(1, "x", &token) else { panic!("it believes that all understand it") };
    assert!(world.sent > reported);
    let replica = world.replicas.get_mut(&address(1)).expect("it runs");
    replica.peers[id].formats = Some(OLD);
    world.run(8_000);
    assert!(matches!(world.get(3, "x", &written.token), Err(Reply::Absent { .. })));
}

#[test]
fn a_replica_with_no_format_in_common_is_told_once() {
    let mut world = World::new(0);
    world.start(1, 3, 1);
    let other = Formats::only(9);
    for theirs in [other, other, Formats::only(8)] {
        world.handle(&address(1), Input::Refused { by: address(2), why: crate::edge::Refused::Version(theirs) });
    }
    let reported = |theirs| {
        let event = Event::NoCommonFormat { address: address(2), theirs, ours: OLD };
        world.events.iter().filter(|(_, reported)| *reported == event).count()
    };
    assert_eq!((reported(other), reported(Formats::only(8))), (1, 1));
}
