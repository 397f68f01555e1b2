//! The keys of a range, in order.

use super::*;
use crate::replica::WORK_MAX;
use crate::request::{LIST_MAX, ListAnswer, ListRequest, ListShape};
use crate::vector::Dot;
use alloc::string::{String, ToString as _};
use proptest::prelude::*;

impl World {
    fn list(&mut self, n: u8, list: ListRequest) -> Option<Reply> {
        let id = RequestId(1 << 42 | self.replies.len() as u64);
        let wait = list.wait.0 / 1_000;
        self.handle(&address(n), Input::Request { id, request: Request::List(Box::new(list)) });
        self.run(wait);
        self.replies.get(&id).cloned()
    }

    fn page(&mut self, n: u8, list: ListRequest) -> ListAnswer {
        match self.list(n, list) {
            Some(Reply::Listed(page)) => page,
            other => panic!("{other:?}"),
        }
    }
}

fn nothing() -> VersionVector {
    VersionVector::new()
}

fn all() -> ListRequest {
    ListRequest::all(nothing())
}

fn keys(page: &ListAnswer) -> Vec<&str> {
    page.items.iter().map(|item| item.key.as_str()).collect()
}

/// Keys and common prefixes of a whole range, in order, as a set and a filter have them.
fn model(keys: &BTreeSet<String>, list: &ListRequest) -> Vec<String> {
    let within = keys.iter().filter(|key| list.contains(key));
    let mut shown: Vec<String> = within
        .map(|key| list.common_prefix(key).map_or_else(|| key.clone(), |prefix| prefix.to_string() + "*"))
        .collect();
    shown.dedup();
    if list.reverse {
        shown.reverse();
    }
    shown
}

/// The same by pages, each where the one before ended.
fn walk(world: &mut World, mut list: ListRequest) -> Vec<String> {
    let mut shown = Vec::new();
    loop {
        let page = world.page(1, list.clone());
        assert!(page.count <= list.limit && (page.count == list.limit || page.next.is_none()));
        assert_eq!(page.count, page.items.len() + page.prefixes.len());
        let items = page.items.iter().map(|item| item.key.as_str().to_string());
        let mut both: Vec<String> = items.chain(page.prefixes.iter().map(|prefix| prefix.clone() + "*")).collect();
        both.sort_unstable_by(|one, other| one.trim_end_matches('*').cmp(other.trim_end_matches('*')));
        if list.reverse {
            both.reverse();
        }
        shown.extend(both);
        match page.next {
            Some(next) => list = list.after(next),
            None => return shown,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a set: whatever the bounds, pages show everything once and in order.
    #[test]
    fn pages_show_everything_once(
        written in proptest::collection::btree_set("[ab/]{1,4}|[a\u{e4}\u{10ffff}]{1,2}", 0..40),
        gone in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
        asked in proptest::collection::vec(("[ab/]{0,2}", "[ab/]{0,2}", proptest::option::of("[ab/]{1,2}"), 1..6_usize, any::<bool>(), "/?|ab"), 8),
    ) {
        let mut world = World::new(1);
        world.run(3_000);
        let mut left: BTreeSet<String> = written.clone();
        let names: Vec<&String> = written.iter().collect();
        for (at, (prefix, start, end, limit, reverse, delimiter)) in asked.into_iter().enumerate() {
            // Some keys come before the keys are put in order, some after. So do deletes.
            for name in names.iter().skip(at).step_by(8) {
                world.put(1, name, "1", &nothing());
            }
            if at == 7 {
                for name in gone.iter().filter(|_| !names.is_empty()).map(|index| names[index.index(names.len())]) {
                    world.ask(1, Action::Delete, name, &nothing(), 0);
                    left.remove(name);
                }
            }
            let present: BTreeSet<String> = names.iter().enumerate().filter(|(n, _)| n % 8 <= at).map(|(_, name)| (*name).clone()).collect();
            let present = if at == 7 { left.clone() } else { present };
            let list = ListRequest { prefix, start, end, limit, reverse, delimiter, ..all() };
            prop_assert_eq!(walk(&mut world, list.clone()), model(&present, &list), "{:?}", list);
        }
    }
}

#[test]
fn a_page_shows_versions_and_values_as_asked() {
    let mut world = World::new(2);
    world.run(1_000);
    world.cut.insert(address(2));
    let one = world.put(1, "a", "1", &nothing());
    let two = world.put(2, "a", "2", &nothing());
    world.cut.clear();
    world.run(4_000);
    let page = world.page(1, all());
    let dots = |token: &VersionVector| -> Vec<Dot> {
        token.entries().map(|(incarnation, counter)| Dot { incarnation, counter }).collect()
    };
    let mut both = [dots(&one), dots(&two)].concat();
    both.sort_unstable();
    assert_eq!((keys(&page), page.items[0].dots.to_vec()), (alloc::vec!["a"], both));
    let value = page.items[0].value.as_ref().map(|value| format!("{value:?}"));
    assert_eq!(value, world.get(1, "a", &nothing()).ok(), "the winner's");
    let names = world.page(1, ListRequest { shape: ListShape::Keys, ..all() });
    assert_eq!((&names.items[0].dots, &names.items[0].value), (&page.items[0].dots, &None));
    let count = world.page(1, ListRequest { shape: ListShape::Count, ..all() });
    assert_eq!((count.items.len(), count.count, &count.token), (0, 1, &page.token), "it looked at as much");
}

/// Otherwise each lister would be bound to strangers' writes that may die with this replica.
#[test]
fn a_reader_is_bound_to_what_it_was_shown_and_to_deletes() {
    let mut world = World::new(1);
    world.run(3_000);
    let a = world.put(1, "a", "1", &nothing());
    let gone = world.put(1, "b", "1", &nothing());
    let Some(Reply::Written(deleted)) = world.ask(1, Action::Delete, "b", &gone, 0) else { panic!() };
    world.put(1, "c", "1", &nothing());
    assert_eq!(
        world.page(1, ListRequest { prefix: "b".into(), ..all() }).token,
        deleted.token,
        "it saw that b is gone"
    );
    assert_eq!(world.page(1, ListRequest { prefix: "a".into(), past: a, ..all() }).token, deleted.token);
    let last = world.put(1, "d", "1", &nothing());
    assert!(world.page(1, ListRequest { end: Some("d".into()), ..all() }).token < last);
    assert_eq!(world.page(1, all()).token, last);
}

/// Puts keys there: so many, with numbers of six digits.
fn fill(world: &mut World, keys: u32) {
    for n in 0..keys {
        world.put(1, &format!("k{:06}", n.wrapping_mul(7_919) % keys), "1", &nothing());
    }
}

#[test]
fn the_first_list_of_a_large_store_waits_and_holds_up_nothing() {
    let mut world = World::new(1);
    world.run(3_000);
    fill(&mut world, 5_000);
    let asked = |world: &mut World, id, list| {
        let request = Request::List(Box::new(list));
        world.handle(&address(1), Input::Request { id: RequestId(id), request });
    };
    for id in 1..=3 {
        asked(&mut world, id, all());
    }
    world.handle(&address(1), Input::Cancel { id: RequestId(2) });
    assert_eq!(world.replica(1).blocked(), 2);
    let mut calls = 0;
    while world.replica(1).blocked() > 0 {
        calls += 1;
        for (action, key) in
            [(Action::Put(Value::new(b"1")), format!("n{calls}")), (Action::Delete, format!("k{:06}", calls * 13))]
        {
            let (past, wait, format) = (nothing(), Micros::ZERO, Formats::RELEASED.lowest);
            let (key, condition) = (Key::new(&key).expect("a key"), Condition::default());
            let request = Box::new(DataRequest { key, action, past, wait, condition, format, concern: None });
            world.handle(
                &address(1),
                Input::Request { id: RequestId(world.sent + 9_000 + calls * 2), request: Request::Data(request) },
            );
            world.sent += 1_000;
        }
        world.handle(&address(1), Input::Timeout);
        assert!(world.replica(1).work() <= WORK_MAX);
    }
    assert!((20..60).contains(&calls), "{calls} calls");
    let Some(Reply::Listed(page)) = world.replies.get(&RequestId(1)) else { panic!("{:?}", world.replies) };
    assert!(page.count > LIST_MAX / 2 && page.next.is_some(), "{} keys: what a call had room for", page.count);
    assert_eq!(page.items[0].key.as_str(), "k000000");
    assert!(world.replies.contains_key(&RequestId(3)) && !world.replies.contains_key(&RequestId(2)));
    let walked = walk(&mut world, ListRequest { limit: LIST_MAX, ..all() }).len();
    assert_eq!(walked as u32, 5_000, "as many came as went");
}

#[test]
fn a_page_is_bounded_in_bytes_and_one_value_alone_always_fits() {
    let mut world = World::new(1);
    world.run(3_000);
    let large = "x".repeat(400 << 10);
    for key in ["a", "b", "c"] {
        world.put(1, key, &large, &nothing());
    }
    world.put(1, "d", &"x".repeat(2 << 20), &nothing());
    let first = world.page(1, all());
    assert_eq!((keys(&first), first.next.as_deref()), (alloc::vec!["a", "b"], Some("b\0")));
    let second = world.page(1, ListRequest { start: "b\0".into(), ..all() });
    assert_eq!(keys(&second), ["c"]);
    assert_eq!(keys(&world.page(1, ListRequest { start: "c\0".into(), ..all() })), ["d"]);
    assert_eq!(world.page(1, ListRequest { shape: ListShape::Keys, ..all() }).count, 4, "values are not sent");
}

#[test]
fn a_list_waits_for_its_causes_and_for_the_state_that_brings_them() {
    let mut world = World::new(2);
    world.config.log_bytes_max = 0;
    world.start(1, 2, 7);
    world.start(2, 2, 8);
    world.run(3_000);
    world.put(2, "z", "1", &nothing());
    world.run(100);
    assert_eq!(keys(&world.page(2, all())), ["z"], "keys are in order from now on");
    world.cut.insert(address(2));
    fill(&mut world, 600);
    let past = world.replica(1).vector().clone();
    world.cut.clear();
    assert_eq!(world.list(2, ListRequest { past: past.clone(), ..all() }), Some(Reply::Refused(Refusal::NotCovered)));
    let waits = ListRequest { past, wait: Micros::from_seconds(5), ..all() };
    let page = world.page(2, waits);
    assert_eq!(page.count, 601);
    assert!(world.events.iter().any(|(_, event)| matches!(event, Event::Installed { .. })), "it came as a state");
}

#[test]
fn keys_in_order_give_way_to_data() {
    let mut world = World::new(2);
    world.config.memory_bytes_max = 100_000;
    world.start(1, 2, 7);
    world.run(3_000);
    fill(&mut world, 100);
    world.run(100);
    assert_eq!(world.page(1, all()).count, 100);
    let usage = world.replica(1).memory();
    assert_eq!(usage.index, 100 * 24);
    world.cut.insert(address(2));
    let mut writes = 0;
    while world.replica(1).memory().index > 0 {
        writes += 1;
        world.put(1, "k", &"x".repeat(5_000 + 31 * writes), &nothing()); // the log keeps all of them for the other
        assert!(world.replica(1).memory().total() <= 100_000 && writes < 50, "{:?}", world.replica(1).memory());
    }
    assert_eq!(world.list(1, all()), Some(Reply::Refused(Refusal::NoMemoryToList)));
    world.cut.clear();
    world.run(5_000);
    assert_eq!(world.page(1, all()).count, 101, "the log has shrunk");
}

#[test]
fn lists_wait_in_a_bounded_number() {
    let mut world = World::new(1);
    world.config.blocked_max = 2;
    world.start(1, 1, 7);
    world.run(3_000);
    fill(&mut world, 1_000);
    for id in 1..=3 {
        let request = Request::List(Box::new(all()));
        world.handle(&address(1), Input::Request { id: RequestId(id), request });
    }
    assert_eq!(world.replies.get(&RequestId(3)), Some(&Reply::Refused(Refusal::NoRoomToWait)));
    world.run(1);
    assert!([1, 2].iter().all(|&id| matches!(world.replies.get(&RequestId(id)), Some(Reply::Listed(_)))));
}
