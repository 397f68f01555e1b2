//! Writes that are to be elsewhere before they are answered, in half of the plans. Drawn under a key of its own and added
//! to a plan that is complete without them.

use crate::generate::profile::Profile;
use crate::plan::{Act, ConcernUse, Fault, FaultKind, HoldersUse, Operation, Plan};
use crate::random::{Domain, Draw, Source};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;

/// So many of a million concerns do not wait: they only count.
const UNWAITING_PARTS: u32 = 100_000;

/// In so many of a million plans batches have concerns.
const BATCHES_PARTS: u32 = 333_333;

/// So many of a million plans in which there is time have a holder that restarts.
const RESTARTED_PARTS: u32 = 500_000;
const RESTARTED_TAKES: u64 = 3 * SECOND;

/// Draws the write concerns of a plan.
pub(super) fn add(source: &Source, plan: &mut Plan, asked: Profile) {
    let mut draw = source.draw(Domain::Shape, 5_000);
    if asked == Profile::Speed || draw.coin() {
        return;
    }
    let parts = draw.between(50_000, 700_000) as u32;
    let members = plan.replicas.len() as u64;
    if members > 2 && plan.heal_at > RESTARTED_TAKES && draw.chance(RESTARTED_PARTS) {
        holder_restarts(&mut draw, plan);
    }
    for operation in &mut plan.operations {
        let writes = matches!(operation.act, Act::Put(_) | Act::Delete);
        if writes && draw.chance(parts) {
            operation.concern = Some(concern(&mut draw, members));
        }
    }
}

/// Draws which batches are to be elsewhere before they are answered, in a third of the plans. Under a key of its own, when
/// batches are drawn.
pub(super) fn add_to_batches(source: &Source, plan: &mut Plan, asked: Profile) {
    let mut draw = source.draw(Domain::Shape, 5_500);
    if asked == Profile::Speed || !draw.chance(BATCHES_PARTS) {
        return;
    }
    let (parts, members) = (draw.between(100_000, 900_000) as u32, plan.replicas.len() as u64);
    for operation in plan.operations.iter_mut().filter(|operation| operation.is_batch()) {
        let writes = |act| matches!(act, Act::Put(_) | Act::Delete);
        let writes = writes(operation.act) || operation.with.iter().any(|beside| writes(beside.act));
        if writes && draw.chance(parts) {
            operation.concern = Some(concern(&mut draw, members));
        }
    }
}

fn concern(draw: &mut Draw, members: u64) -> ConcernUse {
    let holders = match draw.below(8) {
        0..=2 => HoldersUse::Majority,
        3..=4 => HoldersUse::All,
        // Now and then more than there are.
        _ => HoldersUse::AtLeast(draw.between(1, members + 1) as u8),
    };
    let wait = if draw.chance(UNWAITING_PARTS) { 0 } else { draw.sized(MS, 5 * SECOND) };
    ConcernUse { holders, wait }
}

/// A replica has a write and says so, is cut off, and begins anew. Its next process is heard of over a third, while the
/// link to the first seems to stand.
fn holder_restarts(draw: &mut Draw, plan: &mut Plan) {
    let members = plan.replicas.len() as u64;
    let a = draw.below(members);
    let [b, c] = [1, 2].map(|by| ((a + by) % members) as u8);
    let (at, a) = (draw.below(plan.heal_at - RESTARTED_TAKES), a as u8);
    let client = draw.below(plan.clients.into()) as u8;
    let id = plan.operations.iter().map(|operation| operation.id + 1).max().unwrap_or(0);
    let concern = Some(ConcernUse { holders: HoldersUse::All, wait: draw.between(SECOND, 5 * SECOND / 2) });
    plan.operations.push(Operation { id, at, concern, ..Operation::plain(client, a, 0, Act::Put(0)) });
    let cut = at + draw.sized(5 * MS, 200 * MS);
    let until = at + RESTARTED_TAKES;
    let kinds = [
        (at.saturating_sub(50 * MS), until, FaultKind::OneWay { from: a, to: c, hold: false }),
        (cut, until, FaultKind::Pair { a, b, hold: false }),
        (cut + MS, cut + draw.sized(2 * MS, 200 * MS), FaultKind::Crash { replica: b }),
    ];
    for (at, until, kind) in kinds {
        let id = plan.faults.iter().map(|fault| fault.id + 1).max().unwrap_or(0);
        plan.faults.push(Fault { id, at, until, kind });
    }
}
