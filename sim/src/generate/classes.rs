//! Some classes of trouble change which replicas belong together. Clusters start apart, and addresses are replaced and
//! removed for good. Sides remove each other, or a core is healed while the others stay as they are. Other classes need
//! a certain moment: what is hit in flight, a process told to end, a memory image copied.
//!
//! Each class is drawn under a key of its own and added to a plan that is complete without it.

use crate::plan::{Fault, FaultKind, Hit, Plan, ReplicaPlan, limits};
use crate::random::{Domain, Draw, Source};

const MS: u64 = 1_000;
/// Copying a memory image switches most oracles off for the rest of a run, so it is rare.
const TWIN_PARTS: u32 = 60_000;
/// Clusters that start apart have little to do with each other for long, so it is rarer than the others.
const APART_PARTS: u32 = 200_000;

/// Adds to a plan what is drawn for this seed; `parts` of a million is the probability of each class.
pub(super) fn add(source: &Source, plan: &mut Plan, parts: u32) {
    let key = |n: u64| source.draw(Domain::Shape, 1_000 + n);
    let classes: [fn(&mut Plan, &mut Draw); 7] = [bridge, in_flight, leave, remove, mutual, replace, core];
    let founders = plan.replicas.len();
    for (n, class) in classes.iter().enumerate() {
        let mut draw = key(n as u64);
        if draw.chance(parts) && (founders > 1 || n == 2) {
            class(plan, &mut draw);
        }
    }
    let mut draw = key(100);
    if founders > 1 && draw.chance(APART_PARTS) {
        apart(plan, &mut draw, founders as u64);
    }
    let mut draw = key(101);
    if draw.chance(TWIN_PARTS) {
        let replica = draw.below(founders as u64) as u8;
        push(plan, &mut draw, FaultKind::Twin { replica });
    }
}

fn any(plan: &Plan, draw: &mut Draw) -> u8 {
    draw.below(plan.replicas.len() as u64) as u8
}

fn other(plan: &Plan, draw: &mut Draw, than: u8) -> u8 {
    let count = plan.replicas.len() as u64;
    ((u64::from(than) + 1 + draw.below(count.max(2) - 1)) % count) as u8
}

/// Some on one side and some on the other.
fn groups(plan: &Plan, draw: &mut Draw) -> u16 {
    1 + draw.below((1 << plan.replicas.len()) - 2) as u16
}

fn push_at(plan: &mut Plan, at: u64, until: u64, kind: FaultKind) {
    let id = plan.faults.iter().map(|fault| fault.id + 1).max().unwrap_or(0);
    plan.faults.push(Fault { id, at, until: until.min(limits::TIME_MAX), kind });
}

fn push(plan: &mut Plan, draw: &mut Draw, kind: FaultKind) {
    let at = draw.below(plan.heal_at);
    let until = at + draw.sized(MS, plan.heal_at);
    push_at(plan, at, until, kind);
}

fn bridge(plan: &mut Plan, draw: &mut Draw) {
    for _ in 0..draw.sized(1, 3) {
        let kind = FaultKind::Bridge { replica: any(plan, draw), mask: groups(plan, draw), hold: draw.coin() };
        push(plan, draw, kind);
    }
}

fn in_flight(plan: &mut Plan, draw: &mut Draw) {
    for _ in 0..draw.sized(1, 4) {
        let hit = draw.pick(&[Hit::Sender, Hit::Receiver, Hit::Pause, Hit::Cut, Hit::Hold]);
        // Pushes, pulls and what is supplied are where something is lost.
        let message = draw.pick(&[0, 2, 2, 3, 4, 5, 5, 5, 6, 7]);
        let kind = FaultKind::InFlight { message, skip: draw.sized(1, 16) as u8 - 1, hit };
        push(plan, draw, kind);
    }
}

fn leave(plan: &mut Plan, draw: &mut Draw) {
    for _ in 0..draw.sized(1, 3) {
        let replica = any(plan, draw);
        push(plan, draw, FaultKind::Leave { replica });
    }
}

fn remove(plan: &mut Plan, draw: &mut Draw) {
    let replica = any(plan, draw);
    let via = other(plan, draw, replica);
    push(plan, draw, FaultKind::Remove { replica, via });
}

/// Two sides of a cut remove each other.
fn mutual(plan: &mut Plan, draw: &mut Draw) {
    let (mask, hold) = (groups(plan, draw), draw.coin());
    let at = draw.below(plan.heal_at);
    let until = at + draw.sized(100 * MS, plan.heal_at);
    push_at(plan, at, until, FaultKind::Split { mask, hold });
    let count = plan.replicas.len() as u8;
    for replica in 0..count {
        let side = |n: &u8| mask >> n & 1 != mask >> replica & 1;
        let across: Vec<u8> = (0..count).filter(side).collect();
        let via = draw.pick(&across);
        let said = at + 1 + draw.below((until - at).min(plan.heal_at));
        push_at(plan, said, said + 1, FaultKind::Remove { replica, via });
    }
}

/// A newcomer at another address takes the place of one that is there.
fn replace(plan: &mut Plan, draw: &mut Draw) {
    let old = any(plan, draw);
    let via = other(plan, draw, old);
    let new = plan.replicas.len() as u8;
    let before = (1 << new) - 1;
    for replica in &mut plan.replicas {
        replica.knows = if replica.knows == 0 { before } else { replica.knows };
    }
    // It may be told of all others, or only of the one that takes it in.
    let knows = if draw.coin() { 0 } else { 1 << via };
    plan.replicas.push(ReplicaPlan { start_at: plan.heal_at, knows, ..ReplicaPlan::PLAIN });
    push(plan, draw, FaultKind::Replace { old, new, via });
    for operation in &mut plan.operations {
        if draw.chance(200_000) {
            operation.replica = new;
        }
    }
}

fn core(plan: &mut Plan, draw: &mut Draw) {
    plan.core = groups(plan, draw);
}

/// Two clusters that start apart and meet by an operator's word, at the heal at the latest.
fn apart(plan: &mut Plan, draw: &mut Draw, founders: u64) {
    let mask = 1 + draw.below((1 << founders) - 2) as u16;
    let all = ((1_u32 << founders) - 1) as u16;
    for (n, replica) in plan.replicas.iter_mut().enumerate().take(founders as usize) {
        replica.knows = if mask >> n & 1 == 1 { mask } else { all & !mask };
    }
    let side = |wanted: bool| (0..founders as u8).filter(move |n| (mask >> n & 1 == 1) == wanted).collect::<Vec<u8>>();
    let (replica, via) = (draw.pick(&side(true)), draw.pick(&side(false)));
    push(plan, draw, FaultKind::Want { replica, via });
}
