//! What machines and their network are like beyond single faults. Machines are suspended with their clocks, links take
//! seconds for one value, and queues are short. The network can be no good after the heal either. Each is drawn under a
//! key of its own and added to a plan that is complete without it. What is measured for its speed has none.

use crate::generate::profile::Profile;
use crate::plan::network::BANDWIDTH_MIN;
use crate::plan::{Act, Fault, FaultKind, Operation, Plan};
use crate::random::{Domain, Draw, Source};

const MS: u64 = 1_000;
/// So many heals of a million leave a mediocre network.
const SLOW_HEAL_PARTS: u32 = 250_000;
/// So many plans of a million stage a machine that is suspended for long and writes afterwards.
const STAGED_PARTS: u32 = 90_000;

/// So many plans of a million have narrow links and values that take them seconds.
const NARROW_PARTS: u32 = 60_000;
/// So many plans of a million that limit the bandwidth count queues in bytes. Others count them in time.
const SHORT_QUEUE_PARTS: u32 = 500_000;

/// So many plans of a million limit what data may hold in memory.
const SCARCE_PARTS: u32 = 50_000;
/// About what a written value costs besides its bytes.
const VALUE_COSTS: u64 = 200;
/// Memory has room for a few keys.
const LEAST_MEMORY: u64 = 500;

/// A queue has room for at least so many pieces of values.
const QUEUED_PIECES: u64 = 4;

/// So many plans of a million have more replicas than others.
const MANY_PARTS: u32 = 12_000;

/// Adds to a plan what is drawn for this seed; `parts` of a million is the probability of each class of faults.
pub(super) fn add(source: &Source, plan: &mut Plan, profile: Profile, parts: u32) {
    if profile == Profile::Speed {
        return;
    }
    plan.network.heals_slowly = source.draw(Domain::Shape, 3_001).chance(SLOW_HEAL_PARTS);
    let mut draw = source.draw(Domain::Shape, 3_002);
    if draw.chance(parts / 3) {
        for _ in 0..draw.sized(1, 3) {
            let (replica, at) = (any(plan, &mut draw), draw.below(plan.heal_at));
            let until = at + draw.sized(MS, plan.heal_at);
            suspend(plan, replica, at, until);
        }
    }
    let mut draw = source.draw(Domain::Shape, 3_003);
    if plan.replicas.len() > 1 && draw.chance(STAGED_PARTS) {
        stage(plan, &mut draw);
    }
    let mut draw = source.draw(Domain::Shape, 3_005);
    if draw.chance(NARROW_PARTS) {
        narrow(plan, &mut draw);
    }
    let mut draw = source.draw(Domain::Shape, 3_007);
    if draw.chance(SCARCE_PARTS) {
        scarce(plan, &mut draw);
    }
    let mut draw = source.draw(Domain::Shape, 3_006);
    if plan.network.bandwidth > 0 && draw.chance(SHORT_QUEUE_PARTS) {
        let least = QUEUED_PIECES * plan.settings.piece_bytes.min(plan.settings.whole_bytes_max) as u64;
        plan.network.queue_bytes = draw.sized(4_000, 256_000).max(least.min(256_000));
    }
}

/// Memory is limited to some part, or some times, of what a run may write.
fn scarce(plan: &mut Plan, draw: &mut Draw) {
    let written = |operation: &Operation| match operation.act {
        Act::Put(bytes) => (u64::from(bytes) + VALUE_COSTS) * (u64::from(operation.retries) + 1),
        Act::Get | Act::Delete | Act::Erase | Act::View => 0,
    };
    let all: u64 = plan.operations.iter().map(written).sum();
    plan.settings.memory_bytes_max = (all * draw.sized(20, 1_500) / 1_000).max(LEAST_MEMORY);
}

/// Links become narrow, and some values take them up to seconds. As in production a piece takes a small part of that.
fn narrow(plan: &mut Plan, draw: &mut Draw) {
    let bandwidth = draw.sized(BANDWIDTH_MIN, 64_000);
    plan.network.bandwidth = bandwidth;
    let piece = draw.between(bandwidth / 40, bandwidth / 10).max(64);
    (plan.settings.whole_bytes_max, plan.settings.piece_bytes) = (piece as usize, piece as usize);
    if let Some(streams) = &mut plan.network.streams {
        // As in production, what waits for a peer is many pieces.
        streams.queue_bytes_max = streams.queue_bytes_max.max(QUEUED_PIECES * piece);
    }
    let mut heavy = draw.between(1, 4);
    for operation in &mut plan.operations {
        if let Act::Put(bytes) = &mut operation.act
            && heavy > 0
            && draw.coin()
        {
            heavy -= 1;
            *bytes = (bandwidth * draw.between(300, 3_000) / 1_000) as u32;
        }
    }
}

/// Has this plan more replicas than others? Everything takes much longer then, so it is rare.
pub(super) fn are_many(source: &Source, profile: Profile) -> bool {
    profile != Profile::Speed && source.draw(Domain::Shape, 3_004).chance(MANY_PARTS)
}

fn any(plan: &Plan, draw: &mut Draw) -> u8 {
    draw.below(plan.replicas.len() as u64) as u8
}

fn suspend(plan: &mut Plan, replica: u8, at: u64, until: u64) {
    let id = plan.faults.iter().map(|fault| fault.id + 1).max().unwrap_or(0);
    plan.faults.push(Fault { id, at, until, kind: FaultKind::Suspend { replica } });
}

/// A machine is suspended for so long that its clock is far behind. It writes when others have had the time to learn that.
fn stage(plan: &mut Plan, draw: &mut Draw) {
    let replica = any(plan, draw);
    let at = draw.between(300 * MS, 1_000 * MS);
    let until = at + draw.between(1_600 * MS, 2_500 * MS);
    suspend(plan, replica, at, until);
    plan.settings.late_max = draw.between(650 * MS, 800 * MS);
    plan.settings.heartbeat_interval = plan.settings.heartbeat_interval.min(400 * MS);
    for _ in 0..draw.between(3, 6) {
        let (client, key) = (draw.below(plan.clients.into()) as u8, draw.below(plan.keys.into()) as u8);
        let id = plan.operations.iter().map(|operation| operation.id + 1).max().unwrap_or(0);
        let at = until + draw.between(2_400 * MS, 3_400 * MS);
        plan.operations.push(Operation { id, at, ..Operation::plain(client, replica, key, Act::Put(0)) });
    }
    plan.heal_at = plan.heal_at.max(until + 3_500 * MS);
}
