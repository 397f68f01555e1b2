//! Processes and clusters that have an address in common.

use super::*;

fn start(world: &mut World, n: u8, view: &[u8], seed: u8) {
    let identity = Identity { address: address(n), view: view.iter().copied().map(address).collect() };
    let replica = Replica::new(Sound, Config::default(), identity, Seed([seed; 32]), world.now());
    world.replicas.insert(address(n), replica);
}

fn put(world: &mut World, n: u8, key: &str) {
    world.put(n, key, "1", &VersionVector::new());
}

fn has(world: &World, n: u8, key: &str) -> bool {
    world.replica(n).shown().any(|(shown, _)| *shown == Key::new(key).expect("a key"))
}

fn merges(world: &World) -> Vec<(Address, Vec<Address>, Vec<Address>)> {
    let merge = |(at, event): &(Address, Event)| {
        let Event::ClustersMerge { ours, theirs } = event else { return None };
        Some((at.clone(), ours.clone(), theirs.clone()))
    };
    world.events.iter().filter_map(merge).collect()
}

/// The replica at this address is found at that one from now on.
fn move_to(world: &mut World, from: &Address, to: &Address, input: Option<Address>) {
    let replica = world.replicas.remove(from).expect("it is there");
    world.replicas.insert(to.clone(), replica);
    world.handle(to, Input::Aside { address: input });
}

#[test]
fn one_that_stands_aside_hands_over_what_it_holds_and_comes_back() {
    let mut world = World::new(3);
    world.run(3_000);
    let (third, nowhere) = (address(3), Address::nowhere(7));
    world.cut.insert(third.clone());
    put(&mut world, 3, "late");
    world.cut.clear();
    move_to(&mut world, &third, &nowhere, Some(nowhere.clone()));
    world.start(3, 3, 33);
    world.run(10_000);
    let aside = &world.replicas[&nowhere];
    assert_eq!((aside.readiness(), aside.is_ready()), (Readiness::Displaced, false));
    for n in 1..=3 {
        assert!(has(&world, n, "late") && world.replica(n).readiness() == Readiness::Ready, "at {n}");
        assert_eq!(world.replica(n).status().listed, [1, 2, 3].map(address));
    }
    put(&mut world, 1, "meanwhile");
    // To be told twice changes nothing.
    world.handle(&nowhere, Input::Aside { address: Some(Address::nowhere(8)) });
    world.run(2_000);
    // The other process ends.
    world.replicas.remove(&third);
    move_to(&mut world, &nowhere, &third, None);
    world.handle(&third, Input::Aside { address: None });
    assert!(matches!(world.replica(3).readiness(), Readiness::Provisional(_)), "others went on meanwhile");
    world.run(10_000);
    assert!(has(&world, 3, "meanwhile") && world.replica(3).readiness() == Readiness::Ready);
    put(&mut world, 3, "again");
    world.run(2_000);
    assert!(has(&world, 1, "again") && has(&world, 2, "again"));
    assert_eq!(world.replica(1).status().listed, [1, 2, 3].map(address));
    assert!(merges(&world).is_empty());
}

/// Two clusters of one name: 1, 2, 3 and 4, 5. The second gets the third's address, and its data there.
#[test]
fn a_cluster_that_gets_an_address_of_another_is_told_of() {
    for (seed, empty) in [(1, false), (2, false), (1, true), (2, true)] {
        let mut world = World::new(3);
        start(&mut world, 4, &[4, 5], 4);
        start(&mut world, 5, &[4, 5], 5);
        world.run(3_000);
        put(&mut world, 1, "ours");
        put(&mut world, 4, "theirs");
        world.run(1_000);
        world.replicas.remove(&address(3));
        let apart: Vec<(Address, Address)> = [1, 2].map(|n| (address(n), address(3))).to_vec();
        let both_ways = apart.iter().flat_map(|(a, b)| [(a.clone(), b.clone()), (b.clone(), a.clone())]);
        world.cut_one_way.extend(both_ways);
        start(&mut world, 3, &[3, 4, 5], 30 + seed);
        if !empty {
            world.run(10_000);
            assert!(has(&world, 3, "theirs") && merges(&world).is_empty());
        }
        world.cut_one_way.clear();
        world.run(20_000);
        let merges = merges(&world);
        assert!(!merges.is_empty() && merges.len() <= 5, "each replica tells it once: {merges:?}");
        for (at, ours, theirs) in &merges {
            let on_our_side = [1, 2].map(address).contains(at);
            let theirs_are = |side: [u8; 2]| theirs.iter().any(|theirs| side.map(address).contains(theirs));
            assert!(theirs_are(if on_our_side { [4, 5] } else { [1, 2] }), "{theirs:?} at {at}");
            assert!(!theirs_are(if on_our_side { [1, 2] } else { [4, 5] }), "{theirs:?} at {at}");
            assert!(ours.contains(at), "{ours:?} at {at}");
        }
    }
}

#[test]
fn whoever_joins_or_returns_is_no_other_cluster() {
    let mut world = World::new(3);
    world.run(3_000);
    put(&mut world, 1, "a");
    // A newcomer that served alone and was written to.
    world.cut.insert(address(4));
    start(&mut world, 4, &[1, 2, 3, 4], 4);
    world.run(5_000);
    put(&mut world, 4, "alone");
    world.cut.clear();
    world.run(10_000);
    // One that an operator adds, and that has data of its own.
    start(&mut world, 5, &[5], 5);
    world.run(5_000);
    put(&mut world, 5, "own");
    world.handle(&address(1), Input::Request { id: RequestId(901), request: Request::ViewAdd(address(5)) });
    world.run(10_000);
    // One that is removed, restarted, written to and added again.
    world.handle(&address(1), Input::Request { id: RequestId(902), request: Request::ViewRemove(address(2)) });
    world.run(5_000);
    world.cut.insert(address(2));
    world.start(2, 4, 22);
    world.run(5_000);
    put(&mut world, 2, "removed");
    world.cut.clear();
    world.handle(&address(1), Input::Request { id: RequestId(903), request: Request::ViewAdd(address(2)) });
    world.run(10_000);
    // Sides of a cut, one of which gets a new member and restarts another.
    let sides = [1, 4].into_iter().flat_map(|a| [2, 3, 5, 6].map(|b| (address(a), address(b))));
    world.cut_one_way.extend(sides.flat_map(|(a, b)| [(a.clone(), b.clone()), (b, a)]));
    world.start(3, 6, 33);
    world.start(6, 6, 6);
    world.run(10_000);
    put(&mut world, 4, "left");
    put(&mut world, 6, "right");
    world.cut_one_way.clear();
    world.run(20_000);
    assert!(has(&world, 1, "right") && has(&world, 6, "left") && has(&world, 3, "alone"));
    assert_eq!(merges(&world), []);
}
