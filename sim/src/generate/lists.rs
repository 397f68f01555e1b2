//! Lists in plans of every profile: some reads are of a range. Drawn under a key of its own and added to a plan that is
//! complete without it.

use crate::plan::{Act, ListUse, Plan, ShapeUse};
use crate::random::{Domain, Draw, Source};

/// Draws which reads are lists, in half of the plans.
pub(super) fn add(source: &Source, plan: &mut Plan) {
    let mut draw = source.draw(Domain::Shape, 7_000);
    let draw = &mut draw;
    if draw.coin() {
        return;
    }
    let parts = draw.between(100_000, 900_000) as u32;
    let keys = u64::from(plan.keys);
    for operation in &mut plan.operations {
        if operation.act == Act::Get && !operation.is_batch() && draw.chance(parts) {
            operation.list = Some(list(draw, keys));
        }
    }
}

fn list(draw: &mut Draw, keys: u64) -> ListUse {
    let key = |draw: &mut Draw| draw.chance(250_000).then(|| draw.below(keys) as u8);
    let (start, end) = (key(draw), key(draw));
    let limit = if draw.coin() { draw.between(1, 3) } else { 100 } as u16;
    let reverse = draw.chance(300_000);
    let delimiter = draw.chance(250_000).then(|| draw.below(keys.min(10)) as u8);
    let shape = match draw.below(10) {
        0..=5 => ShapeUse::Values,
        6..=7 => ShapeUse::Keys,
        _ => ShapeUse::Count,
    };
    ListUse { start, end, limit, reverse, delimiter, shape }
}
