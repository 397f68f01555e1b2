//! What watches tell: first states, changes, going on elsewhere, and falling behind.

use super::*;
use crate::request::{WATCH_PART_MAX, WatchChange, WatchMark, WatchRange, WatchRequest, WatchReset};
use alloc::string::{String, ToString as _};

/// A client that watches: what it holds, and its last mark.
struct Watcher {
    at: u8,
    id: RequestId,
    range: WatchRange,
    held: BTreeMap<String, String>,
    /// What it holds as of its last mark.
    marked: BTreeMap<String, String>,
    mark: Option<WatchMark>,
    resets: Vec<WatchReset>,
    parts: usize,
    changes: usize,
}

impl Watcher {
    /// Takes what it was told, until nothing more comes.
    fn take(&mut self, world: &mut World) {
        while self.take_one(world) {}
    }

    /// Takes one part.
    fn take_one(&mut self, world: &mut World) -> bool {
        let parts = world.parts.remove(&self.id).unwrap_or_default();
        assert!(parts.len() <= 1, "one part at a time");
        let Some(part) = parts.into_iter().next() else { return false };
        self.parts += 1;
        if let Some(reset) = part.reset {
            self.resets.push(reset);
            self.held.clear();
        }
        assert!(part.changes.len() <= WATCH_PART_MAX);
        self.changes += part.changes.len();
        for change in part.changes {
            assert!(self.range.contains(change.key()));
            match change {
                WatchChange::Put(listed) => {
                    let value = listed.value.map_or_else(String::new, |value| text(&value));
                    self.held.insert(listed.key.as_str().to_string(), value);
                }
                WatchChange::Delete(key) => _ = self.held.remove(key.as_str()),
            }
        }
        if let Some(mark) = part.mark {
            self.marked = self.held.clone();
            self.mark = Some(mark);
        }
        world.handle(&address(self.at), Input::Told { id: self.id });
        world.run(0);
        true
    }

    /// Goes away, and goes on at another replica from its last mark.
    fn resume(&mut self, world: &mut World, at: u8) {
        world.handle(&address(self.at), Input::Cancel { id: self.id });
        world.parts.remove(&self.id);
        self.held = self.marked.clone();
        self.at = at;
        self.id = fresh_id(world);
        let mark = self.mark.clone().expect("it has one");
        let since = mark.known.map(|known| (*known).clone());
        let request = WatchRequest { range: self.range.clone(), keys_only: false, past: mark.past, since };
        world.handle(&address(at), Input::Request { id: self.id, request: Request::Watch(Box::new(request)) });
        world.run(0);
    }

    fn agrees(&self, world: &World) {
        let shown = shown(world, self.at, &self.range);
        let differs = |key: &&String| self.marked.get(*key) != shown.get(*key);
        let other = self.marked.keys().chain(shown.keys()).find(differs);
        assert_eq!(other, None, "of {} keys, {:?} at {}", shown.len(), self.range, self.at);
        let known = self.mark.as_ref().and_then(|mark| mark.known.clone()).expect("a mark that knows something");
        assert_eq!(&*known, world.replica(self.at).vector());
    }
}

fn text(value: &Value) -> String {
    String::from_utf8(value.as_bytes().to_vec()).expect("text")
}

fn shown(world: &World, at: u8, range: &WatchRange) -> BTreeMap<String, String> {
    let within = world.replica(at).shown().filter(|(key, _)| range.contains(key));
    within.map(|(key, siblings)| (key.as_str().to_string(), text(&siblings.winner().expect("one").value))).collect()
}

fn fresh_id(world: &mut World) -> RequestId {
    world.sent += 1;
    RequestId(1 << 43 | world.sent)
}

fn prefix(text: &str) -> WatchRange {
    WatchRange::Prefix(text.into())
}

fn one(key: &str) -> WatchRange {
    WatchRange::Key(Key::new(key).expect("a key"))
}

fn nothing() -> VersionVector {
    VersionVector::new()
}

impl World {
    fn watch(&mut self, at: u8, range: WatchRange, past: &VersionVector) -> Watcher {
        let id = fresh_id(self);
        let request = WatchRequest { range: range.clone(), keys_only: false, past: past.clone(), since: None };
        self.handle(&address(at), Input::Request { id, request: Request::Watch(Box::new(request)) });
        self.run(0);
        let (held, marked, resets) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Watcher { at, id, range, held, marked, mark: None, resets, parts: 0, changes: 0 }
    }

    fn delete(&mut self, n: u8, key: &str, past: &VersionVector) {
        self.ask(n, Action::Delete, key, past, 0);
    }
}

#[test]
fn the_first_state_comes_as_one_cut_and_changes_follow() {
    let mut world = World::new(1);
    world.run(3_000);
    for n in 0..1_000 {
        world.put(1, &format!("k{n}"), "0", &nothing());
    }
    world.put(1, "other", "0", &nothing());
    let mut watcher = world.watch(1, prefix("k"), &nothing());
    assert!(watcher.take_one(&mut world));
    let begun = watcher.mark.clone().expect("the beginning");
    assert!(begun.known.is_none() && !begun.synced && watcher.held.is_empty() && watcher.resets.is_empty());
    assert!(watcher.take_one(&mut world));
    assert!(watcher.marked.is_empty(), "no mark in the middle");
    world.put(1, "k0", "1", &nothing());
    world.delete(1, "k999", &nothing());
    watcher.take(&mut world);
    watcher.agrees(&world);
    assert!(watcher.mark.as_ref().expect("it has one").synced);
    assert_eq!(watcher.held.len(), 999);
    let parts = watcher.parts;
    world.put(1, "other", "1", &nothing());
    world.run(1_000);
    watcher.take(&mut world);
    assert_eq!(watcher.parts, parts, "nothing of its range changed");
    world.put(1, "k5", "2", &nothing());
    watcher.take(&mut world);
    watcher.agrees(&world);
    assert_eq!((watcher.parts, watcher.mark.as_ref().expect("it has one").synced), (parts + 1, false));
}

#[test]
fn a_thousand_watches_of_one_key_are_told_in_a_few_calls() {
    let mut world = World::new(1);
    world.run(3_000);
    let mut watchers: Vec<_> = (0..1_000).map(|_| world.watch(1, one("x"), &nothing())).collect();
    world.run(10);
    watchers.iter_mut().for_each(|watcher| watcher.take(&mut world));
    assert!(watchers.iter().all(|watcher| watcher.mark.as_ref().is_some_and(|mark| mark.synced)));
    world.put(1, "x", "1", &nothing());
    world.run(0);
    assert_eq!(world.parts.len(), 1_000);
    watchers.iter_mut().for_each(|watcher| watcher.take(&mut world));
    watchers.iter().for_each(|watcher| watcher.agrees(&world));
    assert_eq!(world.replica(1).watches.ranges().changes(), 0);
}

#[test]
fn it_goes_on_elsewhere_with_what_is_new() {
    let mut world = World::new(3);
    world.run(3_000);
    for n in 0..20 {
        world.put(1, &format!("k{n}"), "0", &nothing());
    }
    world.run(5_000);
    let mut watcher = world.watch(1, prefix("k"), &nothing());
    watcher.take(&mut world);
    watcher.agrees(&world);
    world.put(2, "k3", "1", &nothing());
    world.delete(3, "k4", &nothing());
    world.put(2, "new", "1", &nothing());
    world.run(5_000);
    watcher.resume(&mut world, 2);
    let before = watcher.changes;
    watcher.take(&mut world);
    watcher.agrees(&world);
    assert_eq!(watcher.changes - before, 2, "what the mark knew is not told again");
    assert!(watcher.mark.as_ref().is_some_and(|mark| mark.synced));
    assert!(watcher.resets.is_empty());
    watcher.resume(&mut world, 3);
    watcher.take(&mut world);
    watcher.agrees(&world);
}

#[test]
fn it_waits_for_its_past_and_hears_what_is_lost() {
    let mut world = World::new(3);
    world.run(3_000);
    world.cut.insert(address(1));
    let token = world.put(1, "x", "1", &nothing());
    world.put(2, "y", "2", &nothing());
    let mut watcher = world.watch(2, prefix(""), &token);
    world.run(1_000);
    assert!(!watcher.take_one(&mut world), "its past is not here");
    assert_eq!(world.replica(2).pending_watches(), 1);
    // Replica 1 crashes with what only it held.
    world.start(1, 3, 77);
    world.cut.clear();
    world.run(6_000);
    watcher.take(&mut world);
    assert_eq!(watcher.resets, [WatchReset::Lost]);
    watcher.agrees(&world);
    assert_eq!(watcher.held.len(), 1);
}

#[test]
fn a_past_that_comes_later_is_waited_for() {
    let mut world = World::new(2);
    world.run(3_000);
    world.cut.insert(address(1));
    let token = world.put(1, "x", "1", &nothing());
    let mut watcher = world.watch(2, one("x"), &token);
    world.run(500);
    assert!(!watcher.take_one(&mut world));
    world.cut.clear();
    world.run(6_000);
    watcher.take(&mut world);
    watcher.agrees(&world);
    assert!(watcher.resets.is_empty());
    assert_eq!(watcher.held.get("x").map(String::as_str), Some("1"));
}

#[test]
fn forgotten_deletes_are_a_reset() {
    let mut world = World::new(1);
    world.config.watch_deletes_max = 2;
    world.start(1, 1, 9);
    world.run(3_000);
    for n in 0..9 {
        world.put(1, &format!("k{n}"), "0", &nothing());
    }
    let mut watcher = world.watch(1, prefix("k"), &nothing());
    watcher.take(&mut world);
    (0..2).for_each(|n| world.delete(1, &format!("k{n}"), &nothing()));
    watcher.resume(&mut world, 1);
    watcher.take(&mut world);
    watcher.agrees(&world);
    assert!(watcher.resets.is_empty());
    world.handle(&address(1), Input::Cancel { id: watcher.id });
    (2..5).for_each(|n| world.delete(1, &format!("k{n}"), &nothing()));
    watcher.resume(&mut world, 1);
    watcher.take(&mut world);
    watcher.agrees(&world);
    assert_eq!(watcher.resets, [WatchReset::Forgotten]);
}

#[test]
fn a_slow_watch_is_told_anew_what_it_may_lack() {
    for deletes_max in [0, 1_000] {
        let mut world = World::new(1);
        (world.config.watch_changes_max, world.config.watch_deletes_max) = (8, deletes_max);
        world.start(1, 1, 9);
        world.run(3_000);
        for n in 0..600 {
            world.put(1, &format!("k{n}"), "0", &nothing());
        }
        let mut watcher = world.watch(1, prefix("k"), &nothing());
        watcher.take_one(&mut world);
        watcher.take_one(&mut world);
        // In the middle of the first state, behind its cursor and ahead of it.
        for n in 0..30 {
            world.put(1, &format!("k1{n:02}"), "1", &nothing());
            world.delete(1, &format!("k5{n:02}"), &nothing());
        }
        watcher.take(&mut world);
        watcher.agrees(&world);
        world.put(1, "k7", "1", &nothing());
        for n in 0..30 {
            world.put(1, &format!("k2{n:02}"), "2", &nothing());
            world.delete(1, &format!("k3{n:02}"), &nothing());
        }
        watcher.take(&mut world);
        watcher.agrees(&world);
        let fell = |(_, event): &&(Address, Event)| matches!(event, Event::FellBehind(_));
        assert!(world.events.iter().filter(fell).count() >= 2);
        assert_eq!(watcher.resets.is_empty(), deletes_max > 0, "{:?}", watcher.resets);
        assert!(world.replica(1).watches.ranges().changes() <= 8);
    }
}

#[test]
fn survivors_of_a_delete_are_told() {
    let mut world = World::new(2);
    world.run(3_000);
    world.cut.insert(address(2));
    world.put(1, "k", "1", &nothing());
    let token = world.put(2, "k", "2", &nothing());
    let mut watcher = world.watch(2, prefix(""), &token);
    watcher.take(&mut world);
    world.delete(1, "k", &nothing());
    world.cut.clear();
    world.run(6_000);
    watcher.take(&mut world);
    watcher.agrees(&world);
    assert_eq!(watcher.held.get("k").map(String::as_str), Some("2"));
    watcher.resume(&mut world, 1);
    watcher.take(&mut world);
    watcher.agrees(&world);
}

#[test]
fn an_installed_state_is_told_and_no_mark_goes_out_before() {
    let mut world = World::new(2);
    world.config.log_bytes_max = 0;
    (1..=2).for_each(|n| world.start(n, 2, n + 9));
    world.run(5_000);
    for n in 0..900 {
        world.put(1, &format!("k{n}"), "0", &nothing());
        if n % 64 == 0 {
            world.run(5);
        }
    }
    world.run(6_000);
    let mut watcher = world.watch(2, prefix("k"), &nothing());
    watcher.take(&mut world);
    watcher.agrees(&world);
    world.cut.insert(address(2));
    for n in 0..600 {
        world.delete(1, &format!("k{n}"), &nothing());
        world.put(1, &format!("k{}", n + 500), "1", &nothing());
    }
    world.run(3_000);
    world.cut.clear();
    let end = world.now + 8_000_000;
    while world.now < end {
        world.run(1);
        let before = watcher.mark.clone();
        let merging = world.replica(2).store().is_merging();
        watcher.take_one(&mut world);
        assert!(!merging || watcher.mark == before, "a mark while a state is merged in");
    }
    watcher.take(&mut world);
    watcher.agrees(&world);
    assert!(world.events.iter().any(|(_, event)| matches!(event, Event::Installed { .. })));
}

#[test]
fn there_is_a_bound_and_who_goes_makes_room() {
    let mut world = World::new(1);
    world.config.watches_max = 2;
    world.start(1, 1, 9);
    world.run(3_000);
    let first = world.watch(1, prefix("a"), &nothing());
    world.watch(1, prefix("b"), &nothing());
    let refused = world.watch(1, prefix("c"), &nothing());
    assert_eq!(world.replies.get(&refused.id), Some(&Reply::Refused(Refusal::NoRoomToWatch)));
    world.handle(&address(1), Input::Cancel { id: first.id });
    let mut watcher = world.watch(1, prefix("c"), &nothing());
    watcher.take(&mut world);
    watcher.agrees(&world);
    assert_eq!(world.replica(1).watches(), 2);
}

/// They have a sixteenth of the memory, and what is remembered for them a 64th each.
#[test]
fn watches_take_a_small_share_of_memory() {
    let mut world = World::new(1);
    world.config.memory_bytes_max = 1 << 17;
    world.start(1, 1, 9);
    world.run(3_000);
    let mut watchers = Vec::new();
    loop {
        let watcher = world.watch(1, prefix("k"), &nothing());
        if world.replies.get(&watcher.id) == Some(&Reply::Refused(Refusal::NoRoomToWatch)) {
            break;
        }
        watchers.push(watcher);
        assert!(watchers.len() < 1_000, "no watch is ever refused");
    }
    let replica = world.replica(1);
    let (own, share) = (replica.watches.own_bytes(), replica.memory().max / 16);
    assert!(own <= share && own > share / 2, "{own} of {share} bytes");
    watchers[0].take(&mut world);
    for n in 0..400 {
        world.put(1, &format!("k{n}"), "1", &nothing());
        world.delete(1, &format!("k{n}"), &nothing());
        let memory = world.replica(1).memory();
        assert!(memory.watches <= memory.max * 3 / 32, "{memory:?}");
    }
    watchers[0].take(&mut world);
    watchers[0].agrees(&world);
}
