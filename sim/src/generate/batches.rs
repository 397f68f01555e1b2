//! Batches in plans of every profile: some of their operations take others along. Drawn under a key of its own and added
//! to a plan that is complete without it.

use crate::plan::{Act, Beside, ConditionUse, Plan};
use crate::random::{Domain, Draw, Source};
use hence_core::BATCH_MAX;

/// Draws which operations are batches, in three of four plans.
pub(super) fn add(source: &Source, plan: &mut Plan) {
    let mut draw = source.draw(Domain::Shape, 5_000);
    let draw = &mut draw;
    if !draw.chance(750_000) {
        return;
    }
    let parts = draw.sized(20_000, 400_000) as u32;
    let (deletes, conditions) = (plan.operations.iter().any(|one| one.act == Act::Delete), draw.coin());
    let (keys, bytes) = (u64::from(plan.keys), if draw.coin() { draw.sized(1, 200) as u32 } else { 0 });
    for operation in &mut plan.operations {
        let is_alone = matches!(operation.act, Act::View | Act::Erase) || operation.concern.is_some();
        if is_alone || !draw.chance(parts) {
            continue;
        }
        let reads_only = draw.chance(150_000);
        if reads_only {
            operation.act = Act::Get;
        }
        let most = BATCH_MAX as u64 - 1;
        // As many as there may be, now and then: what a call may do is just enough for that.
        let count = if draw.chance(50_000) { most } else { draw.between(1, most.min(keys + 2)) };
        operation.with = (0..count).map(|_| beside(draw, keys, bytes, (reads_only, deletes, conditions))).collect();
    }
}

fn beside(draw: &mut Draw, keys: u64, bytes: u32, (reads_only, deletes, conditions): (bool, bool, bool)) -> Beside {
    let key = draw.below(keys) as u8;
    let act = match draw.below(100) {
        0..=54 if !reads_only => Act::Put(if bytes > 0 { draw.sized(1, bytes.into()) as u32 } else { 0 }),
        55..=74 if deletes && !reads_only => Act::Delete,
        _ => Act::Get,
    };
    let condition = match draw.below(100) {
        0 if conditions => ConditionUse::IfAbsent,
        1 if conditions => ConditionUse::IfPresent,
        2..=5 if conditions => ConditionUse::IfSeen,
        6 if conditions => ConditionUse::IfChanged,
        _ => ConditionUse::Always,
    };
    Beside { key, act, condition }
}
