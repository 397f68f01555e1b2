//! From a seed to a plan: swarm drawing.
//!
//! Each class of trouble is in a plan or not with probability one half, since leaving classes out finds more than
//! including all. Then its size is drawn, as often small as large. Each operation and each fault is drawn under its own
//! key, so plans of neighbouring shapes share them.

mod batches;
mod classes;
mod concerns;
mod formats;
mod lists;
mod machines;
pub mod profile;
mod scenes;
mod shape;
mod streams;
mod watches;

use crate::plan::network::NetworkPlan;
use crate::plan::settings::Settings;
use crate::plan::{Act, ConditionUse, FORMAT, Fault, FaultKind, Operation, Plan, ReplicaPlan, TokenUse};
use crate::random::{Domain, Draw, Source};
pub use profile::Profile;
use scenes::Stage;
use shape::Shape;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;

/// The plan of this seed.
#[must_use]
pub fn plan(seed: u64, profile: Profile) -> Plan {
    let source = Source::new(seed);
    let asked = profile;
    let profile = asked.of_seed(&source);
    let mut draw = source.draw(Domain::Shape, 0);
    let draw = &mut draw;
    let mut shape = general_shape(draw);
    let mut settings = Settings::draw(draw);
    let mut network = NetworkPlan::draw(draw);
    profile.bend(&mut source.draw(Domain::Shape, 2), &mut shape, &mut settings, &mut network);
    settings.draw_rounds(&mut source.draw(Domain::Shape, 2_000));
    if profile != Profile::Speed {
        settings.draw_bytes(&mut source.draw(Domain::Shape, 3_000));
        settings.draw_pieces(&mut source.draw(Domain::Shape, 2_500));
    }
    if machines::are_many(&source, profile) {
        shape.replicas = source.draw(Domain::Shape, 3_005).between(6, 9);
    }
    let drift = draw.coin();
    let replica = |draw: &mut Draw| ReplicaPlan {
        start_at: draw.below(shape.stagger + 1).min(shape.heal_at / 2),
        wall_ahead: if shape.skew { signed(draw, 400 * SECOND) } else { 0 },
        drift: if drift { signed(draw, 20_000) as i32 } else { 0 },
        knows: 0,
        formats: 0,
    };
    let replicas = (0..shape.replicas).map(|_| replica(draw)).collect();
    let watch_idle = draw.chance(100_000);
    let mut faults = faults(source, draw, &shape);
    let mut operations = (0..shape.operations as u32).map(|id| operation(source, id, &shape)).collect();
    let scenes = if profile.scenes().is_empty() { 0 } else { draw.between(1, 3) };
    for n in 0..scenes {
        let mut draw = source.draw(Domain::Shape, 3 + n);
        let scene = draw.pick(profile.scenes());
        Stage { draw, shape: &shape, operations: &mut operations, faults: &mut faults }.play(scene);
    }
    let mut plan = Plan {
        format: FORMAT,
        seed,
        replicas,
        clients: shape.clients as u8,
        keys: shape.keys as u8,
        settings,
        network,
        heal_at: shape.heal_at,
        core: 0,
        watch_idle,
        from_zero: source.draw(Domain::Shape, 3_500).coin(),
        operations,
        faults,
        watches: Vec::new(),
    };
    classes::add(&source, &mut plan, shape.faults);
    let newcomers_start = plan.heal_at;
    streams::add(&source, &mut plan, profile);
    machines::add(&source, &mut plan, profile, shape.faults);
    formats::add(&source, &mut plan, asked);
    concerns::add(&source, &mut plan, asked);
    batches::add(&source, &mut plan);
    concerns::add_to_batches(&source, &mut plan, asked);
    lists::add(&source, &mut plan);
    watches::add(&source, &mut plan, asked);
    // Newcomers start at the heal, which may have been put off since.
    let newcomers = plan.replicas.iter_mut().filter(|replica| replica.start_at == newcomers_start);
    newcomers.for_each(|newcomer| newcomer.start_at = plan.heal_at);
    plan
}

fn general_shape(draw: &mut Draw) -> Shape {
    Shape {
        replicas: draw.pick(&[1, 2, 2, 3, 3, 3, 4, 4, 5, 5]),
        clients: draw.between(1, 5),
        keys: if draw.coin() { draw.between(1, 2) } else { draw.between(2, 6) },
        operations: draw.sized(8, 160),
        heal_at: draw.sized(SECOND, 8 * SECOND),
        deletes: draw.coin(),
        conditions: draw.coin(),
        tokens: draw.coin(),
        waits: draw.coin(),
        sticky: draw.coin(),
        hot: draw.coin(),
        values: if draw.coin() { draw.sized(1, 600) } else { 0 },
        faults: 500_000,
        skew: draw.coin(),
        stagger: if draw.coin() { draw.sized(MS, 400 * MS) } else { 0 },
    }
}

fn signed(draw: &mut Draw, most: u64) -> i64 {
    let size = draw.sized(1, most) as i64;
    if draw.coin() { size } else { -size }
}

fn operation(source: Source, id: u32, shape: &Shape) -> Operation {
    let mut draw = source.draw(Domain::Operation, id.into());
    let draw = &mut draw;
    let at = draw.below(shape.heal_at);
    let client = draw.below(shape.clients) as u8;
    let own = u64::from(client) % shape.replicas;
    let replica = if shape.sticky && draw.chance(700_000) { own } else { draw.below(shape.replicas) } as u8;
    let key = if shape.hot && draw.coin() { 0 } else { draw.below(shape.keys) } as u8;
    let bytes = if shape.values > 0 { draw.sized(1, shape.values) as u32 } else { 0 };
    let act = match draw.below(100) {
        0..=44 => Act::Put(bytes),
        45..=59 if shape.deletes => Act::Delete,
        60..=61 => Act::View,
        _ => Act::Get,
    };
    let other = draw.below(shape.clients) as u8;
    let token = match draw.below(12) {
        0 if shape.tokens => TokenUse::Drop,
        1 if shape.tokens => TokenUse::Merge(other),
        2 if shape.tokens => TokenUse::Take(other),
        3 if shape.tokens => TokenUse::Save,
        4 if shape.tokens => TokenUse::Recall,
        _ => TokenUse::Keep,
    };
    let condition = match (draw.below(10), act) {
        (0, Act::Put(_)) if shape.conditions => ConditionUse::IfAbsent,
        (1, Act::Put(_) | Act::Delete) if shape.conditions => ConditionUse::IfPresent,
        (2 | 3, Act::Put(_) | Act::Delete) if shape.conditions => ConditionUse::IfSeen,
        (0..=3, Act::Get) if shape.conditions => ConditionUse::IfChanged,
        _ => ConditionUse::Always,
    };
    let wait = if shape.waits && draw.coin() { draw.sized(MS, 3 * SECOND) } else { 0 };
    let patience = if draw.chance(100_000) { draw.sized(100, SECOND) } else { 0 };
    let retries = if draw.coin() { draw.between(1, 3) as u8 } else { 0 };
    let retry_after = draw.sized(MS, 500 * MS);
    let hop = draw.coin();
    let (concern, with, list) = (None, Vec::new(), None);
    Operation {
        id,
        at,
        client,
        replica,
        key,
        act,
        token,
        condition,
        with,
        list,
        wait,
        concern,
        patience,
        retries,
        retry_after,
        hop,
    }
}

/// A class of faults, all of which are in a plan or none. Their order is that of what is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Crash,
    Pause,
    Isolate,
    Pair,
    OneWay,
    Split,
    Jump,
    Unwant,
    /// The same cut again and again.
    Flap,
    Burst,
    Slow,
}

impl Class {
    const ALL: [Self; 11] = [
        Self::Crash,
        Self::Pause,
        Self::Isolate,
        Self::Pair,
        Self::OneWay,
        Self::Split,
        Self::Jump,
        Self::Unwant,
        Self::Flap,
        Self::Burst,
        Self::Slow,
    ];
}

fn faults(source: Source, draw: &mut Draw, shape: &Shape) -> Vec<Fault> {
    let counts = Class::ALL.map(|_| if draw.chance(shape.faults) { draw.sized(1, 4) } else { 0 });
    let mut faults = Vec::new();
    for (class, count) in Class::ALL.into_iter().zip(counts) {
        for _ in 0..count {
            let id = faults.len() as u32;
            let mut draw = source.draw(Domain::Fault, id.into());
            let first = fault(id, class, &mut draw, shape);
            let again = if class == Class::Flap { draw.between(2, 6) } else { 0 };
            faults.extend(first.iter().cloned());
            faults.extend(first.iter().flat_map(|first| flaps(first, again, &mut draw)));
        }
    }
    faults
}

fn fault(id: u32, class: Class, draw: &mut Draw, shape: &Shape) -> Option<Fault> {
    let at = draw.below(shape.heal_at);
    let until = at + draw.sized(MS, shape.heal_at);
    let replica = draw.below(shape.replicas) as u8;
    let other = ((u64::from(replica) + 1 + draw.below(shape.replicas.max(2) - 1)) % shape.replicas) as u8;
    let hold = draw.coin();
    let kind = match class {
        Class::Crash => FaultKind::Crash { replica },
        Class::Pause => FaultKind::Pause { replica },
        Class::Isolate => FaultKind::Isolate { replica, hold },
        Class::Pair | Class::Flap => FaultKind::Pair { a: replica, b: other, hold },
        Class::OneWay => FaultKind::OneWay { from: replica, to: other, hold },
        Class::Split => FaultKind::Split { mask: draw.below(1 << shape.replicas) as u16, hold },
        Class::Burst => FaultKind::Burst { from: replica, to: other, loss: draw.between(300_000, 1_000_000) as u32 },
        Class::Slow => FaultKind::Slow { replica, by: draw.sized(MS, 500 * MS) },
        Class::Jump => FaultKind::Jump { replica, by: signed(draw, 1_000 * SECOND) },
        Class::Unwant => FaultKind::Unwant { replica, via: other },
    };
    let until = if class == Class::Flap { at + draw.sized(MS, 300 * MS) } else { until };
    let alone = shape.replicas == 1;
    (!alone || kind.strikes_one_alone()).then_some(Fault { id, at, until, kind })
}

/// The same cut again and again, soon after each end.
fn flaps(first: &Fault, again: u64, draw: &mut Draw) -> Vec<Fault> {
    let mut last = first.clone();
    let mut next = || {
        let at = last.until + draw.sized(MS, 150 * MS);
        last = Fault { id: last.id + 1, at, until: at + draw.sized(MS, 300 * MS), kind: last.kind };
        last.clone()
    };
    (0..again).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_plans_pass_their_check_and_survive_json() {
        for seed in 0..500 {
            for &profile in Profile::ALL {
                let plan = plan(seed, profile);
                assert_eq!(plan.check(), Ok(()), "seed {seed}");
                let text = serde_json::to_string(&plan).expect("plans are plain data");
                assert_eq!(serde_json::from_str::<Plan>(&text).expect("what was written reads"), plan);
            }
        }
    }

    #[test]
    fn one_operation_less_leaves_the_others() {
        let (a, b) = (plan(5, Profile::Speed), plan(5, Profile::Speed));
        assert_eq!(a, b);
        assert_ne!(a, plan(6, Profile::Speed));
    }
}
