//! Watches in plans of every profile, in half of the plans. Drawn under a key of their own and added to a plan that is
//! complete without them.

use crate::generate::profile::Profile;
use crate::plan::{BreakUse, Plan, WatchUse};
use crate::random::{Domain, Draw, Source};

const MS: u64 = 1_000;

/// Draws the watches of a plan.
pub(super) fn add(source: &Source, plan: &mut Plan, asked: Profile) {
    let mut draw = source.draw(Domain::Shape, 8_000);
    if asked == Profile::Speed || draw.coin() || plan.keys == 0 {
        return;
    }
    plan.settings.draw_watches(&mut draw);
    for id in 0..draw.between(1, 4) as u32 {
        let watch = watch(&mut draw, plan, id);
        plan.watches.push(watch);
    }
}

fn watch(draw: &mut Draw, plan: &Plan, id: u32) -> WatchUse {
    let replicas = plan.replicas.len() as u64;
    let time = plan.heal_at.max(1);
    let mut breaks: Vec<BreakUse> =
        (0..draw.below(6)).map(|_| BreakUse { at: draw.below(time), replica: draw.below(replicas) as u8 }).collect();
    breaks.sort_by_key(|one| one.at);
    WatchUse {
        id,
        at: draw.sized(1, time),
        client: draw.below(plan.clients.into()) as u8,
        replica: draw.below(replicas) as u8,
        key: draw.chance(300_000).then(|| draw.below(plan.keys.into()) as u8),
        keys_only: draw.chance(200_000),
        pace: if draw.coin() { draw.sized(MS, 400 * MS) } else { 0 },
        breaks,
    }
}
