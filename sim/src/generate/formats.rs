//! Replicas of builds that speak different formats in one cluster, in a tenth of the mixed plans: while it is upgraded, or
//! goes back. Drawn under a key of its own and added to a plan that is complete without it.

use crate::generate::profile::Profile;
use crate::plan::{Act, Fault, FaultKind, Plan, Speaks};
use crate::random::{Domain, Source};

/// So many of a million plans of the mixed profile have several formats.
const PARTS: u32 = 100_000;
const MS: u64 = 1_000;

/// Draws which formats each process speaks, if the seed of this plan says so. `asked` is the profile that was asked for.
pub(super) fn add(source: &Source, plan: &mut Plan, asked: Profile) {
    let mut draw = source.draw(Domain::Shape, 4_000);
    let mixed = asked == Profile::Mixed && draw.chance(PARTS);
    if !mixed && asked != Profile::Upgrades {
        return;
    }
    // Whatever runs at a time has a format in common: to skip one on the way up is the operator's mistake.
    let choices = match draw.below(10) {
        0..=3 => [Speaks::Old, Speaks::Both],
        4..=6 => [Speaks::First, Speaks::Old],
        _ => [Speaks::Both, Speaks::New],
    };
    for replica in &mut plan.replicas {
        // Upgraded at some restart and perhaps taken back at another, or as it comes.
        let (up, down) = (draw.below(4) as u32, if draw.coin() { draw.between(2, 7) as u32 } else { u32::MAX });
        let rolls = draw.coin();
        for life in 0..Speaks::LIVES {
            let later = if rolls { life >= up && life < down } else { draw.coin() };
            replica.set_speaks(life, choices[usize::from(later)]);
        }
    }
    if let Some(streams) = &mut plan.network.streams {
        streams.codec = true;
    }
    if draw.coin() {
        // Before the heal, which is when newcomers start: later it may not be.
        let most = plan.heal_at / (plan.replicas.len() as u64 + 1);
        roll(plan, draw.between(most / 8, most), draw.sized(MS, 100 * MS));
    }
    let (deletes, puts) = (draw.between(100_000, 1_000_000) as u32, draw.between(0, 200_000) as u32);
    for operation in &mut plan.operations {
        let erases = match operation.act {
            Act::Delete => draw.chance(deletes),
            Act::Put(_) => draw.chance(puts),
            Act::Get | Act::View | Act::Erase => false,
        };
        if erases {
            operation.act = Act::Erase;
        }
    }
}

/// One replica after the other is restarted, so long after the one before.
fn roll(plan: &mut Plan, pause: u64, down: u64) {
    let first = plan.faults.iter().map(|fault| fault.id + 1).max().unwrap_or(0);
    for (replica, id) in (0..plan.replicas.len() as u8).zip(first..) {
        let at = (u64::from(replica) + 1) * pause;
        plan.faults.push(Fault { id, at, until: at + down, kind: FaultKind::Crash { replica } });
    }
}
