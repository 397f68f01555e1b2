//! Small plans under proptest, compared with a naive model: two replicas, two clients, a few operations and faults.
//!
//! The model knows what clients were told and nothing else: which dots were written, and which they replaced. When
//! all is over, every replica must show exactly what was written and never replaced. What each read must show is the
//! online oracles' business: a client's requests may overlap, and the model does not know what each one carried.

use hence_core::{Dot, Replica, Reply, Sound};
use hence_sim::plan::network::{Delay, NetworkPlan};
use hence_sim::plan::settings::Settings;
use hence_sim::plan::{Act, FORMAT, Fault, FaultKind, Operation, Plan, ReplicaPlan};
use hence_sim::subject::Subject;
use hence_sim::world::World;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SECOND: u64 = 1_000_000;

fn operation() -> impl Strategy<Value = Operation> {
    let act = prop_oneof![3 => Just(Act::Put(0)), 1 => Just(Act::Delete), 2 => Just(Act::Get)];
    (0..SECOND, 0..2u8, 0..2u8, 0..2u8, act, 0..3u8).prop_map(|(at, client, replica, key, act, retries)| Operation {
        at,
        retries,
        retry_after: 50_000,
        ..Operation::plain(client, replica, key, act)
    })
}

/// Faults that lose no memory: what was told stays true.
fn fault() -> impl Strategy<Value = Fault> {
    let hold = any::<bool>();
    let kind = prop_oneof![
        (0..2u8).prop_map(|replica| FaultKind::Pause { replica }),
        hold.prop_map(|hold| FaultKind::Pair { a: 0, b: 1, hold }),
        (0..2u8, any::<bool>()).prop_map(|(from, hold)| FaultKind::OneWay { from, to: 1 - from, hold }),
        (0..2u8).prop_map(|from| FaultKind::Burst { from, to: 1 - from, loss: 700_000 }),
    ];
    (0..SECOND, 1_000..SECOND, kind).prop_map(|(at, long, kind)| Fault { id: 0, at, until: at + long, kind })
}

fn plan() -> impl Strategy<Value = Plan> {
    let operations = prop::collection::vec(operation(), 1..9);
    let faults = prop::collection::vec(fault(), 0..3);
    (any::<u64>(), operations, faults, 20..20_000u64, 0..200_000u32).prop_map(
        |(seed, operations, faults, micros, loss)| {
            let delay = Delay::Uniform { least: 10, most: 10 + micros };
            Plan {
                format: FORMAT,
                seed,
                replicas: vec![ReplicaPlan::PLAIN; 2],
                clients: 2,
                keys: 2,
                settings: Settings::from(&hence_core::Config::default()),
                network: NetworkPlan { delay, loss, duplicate: loss, overtake: loss, ..NetworkPlan::calm(100) },
                heal_at: 2 * SECOND,
                core: 0,
                watch_idle: false,
                from_zero: false,
                operations: (0..).zip(operations).map(|(id, operation)| Operation { id, ..operation }).collect(),
                watches: Vec::new(),
                faults: (0..).zip(faults).map(|(id, fault)| Fault { id, ..fault }).collect(),
            }
        },
    )
}

/// What clients were told.
#[derive(Default)]
struct Told {
    /// The key of each write that made a version.
    made: BTreeMap<Dot, u8>,
    replaced: BTreeSet<Dot>,
}

impl Told {
    fn write(&mut self, operation: &Operation, dot: Dot, superseded: &[Dot]) {
        match operation.act {
            Act::Put(_) => _ = self.made.insert(dot, operation.key),
            Act::Delete | Act::Erase => {}
            Act::Get | Act::View => panic!("{operation:?} wrote"),
        }
        for &old in superseded {
            assert_eq!(self.made.get(&old).copied().unwrap_or(operation.key), operation.key, "{dot} replaced {old}");
            self.replaced.insert(old);
        }
    }

    fn live(&self, key: u8) -> BTreeSet<Dot> {
        let live = self.made.iter().filter(|&(dot, &of)| of == key && !self.replaced.contains(dot));
        live.map(|(&dot, _)| dot).collect()
    }
}

fn check(plan: &Plan) {
    let mut world = World::<Replica<Sound>>::new(plan, Sound);
    world.keep_answers();
    let verdict = world.run();
    assert_eq!(verdict.violation, None);
    let mut told = Told::default();
    for kept in world.answers() {
        let Some(operation) = plan.operations.iter().find(|operation| operation.id == kept.operation) else { continue };
        if let Some(Reply::Written(written)) = &kept.reply {
            told.write(operation, written.dot, &written.superseded);
        }
    }
    for replica in 0..2 {
        let probe = world.subject(replica).and_then(Subject::probe).expect("it runs");
        for key in 0..2 {
            let name = hence_core::Key::new(&format!("k{key}")).expect("a short key");
            let shown: BTreeSet<Dot> = probe.shown(&name).iter().map(|sibling| sibling.dot).collect();
            assert_eq!(shown, told.live(key), "key {key} at replica {replica}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn small_plans_end_as_a_naive_model_says(plan in plan()) {
        check(&plan);
    }
}
