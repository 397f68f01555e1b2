//! Connections instead of single frames, in half of the plans. They are drawn under a key of their own, so that the
//! other half is what it was. Some of them stage what connections are about: a replica that is cut off while others
//! write.

use crate::generate::profile::Profile;
use crate::plan::stream::StreamPlan;
use crate::plan::{Act, Fault, FaultKind, Operation, Plan, TokenUse};
use crate::random::{Domain, Draw, Source};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;

/// So many plans with connections of a million lead all messages through the codec.
const CODEC_PARTS: u32 = 250_000;

/// Gives a plan connections, if its seed says so. What is measured for its speed has none.
pub(super) fn add(source: &Source, plan: &mut Plan, profile: Profile) {
    let mut draw = source.draw(Domain::Shape, 2_000);
    if profile == Profile::Speed {
        return;
    }
    if !draw.coin() {
        return;
    }
    // A connection keeps its messages apart and in order.
    (plan.network.duplicate, plan.network.overtake) = (0, 0);
    let streams = StreamPlan::draw(&mut draw);
    let codec = source.draw(Domain::Shape, 2_003).chance(CODEC_PARTS);
    plan.network.streams = Some(StreamPlan { codec, ..streams });
    if plan.replicas.len() > 1 && draw.coin() {
        interruption(plan, &mut source.draw(Domain::Shape, 2_001));
    }
}

/// A replica is cut off for longer than it takes to notice, and others write until the last moment. Then clients ask it
/// for what it missed.
fn interruption(plan: &mut Plan, draw: &mut Draw) {
    let settings = &plan.settings;
    let noticed = (settings.heartbeat_interval + settings.late_max) * 11 / 10 + 10 * MS;
    let replicas = plan.replicas.len() as u64;
    let alone = draw.below(replicas) as u8;
    let at = draw.between(300 * MS, plan.heal_at.max(400 * MS));
    let mended = at + noticed.max(SECOND) + draw.sized(MS, 2 * SECOND);
    let late_max = settings.late_max.max(MS);
    plan.heal_at = plan.heal_at.max(mended + draw.sized(100 * MS, 2 * SECOND));
    let id = plan.faults.iter().map(|fault| fault.id + 1).max().unwrap_or(0);
    let hold = draw.coin();
    plan.faults.push(Fault { id, at, until: mended, kind: FaultKind::Isolate { replica: alone, hold } });
    let mut reads = Vec::new();
    for _ in 0..draw.between(2, 5) {
        let (client, key) = (draw.below(plan.clients.into()) as u8, draw.below(plan.keys.into()) as u8);
        let writer = ((u64::from(alone) + 1 + draw.below(replicas - 1)) % replicas) as u8;
        let before = if draw.chance(250_000) { draw.below(mended - at) } else { draw.below(late_max) };
        ask(plan, mended - before.min(mended - at - MS), Operation::plain(client, writer, key, Act::Put(0)));
        reads.push((client, key));
    }
    for (client, key) in reads {
        let when = mended + draw.sized(MS, SECOND);
        let token = if draw.coin() { TokenUse::Keep } else { TokenUse::Drop };
        ask(plan, when, Operation { token, ..Operation::plain(client, alone, key, Act::Get) });
        ask(plan, when + MS, Operation::plain(client, alone, key, Act::Put(0)));
    }
}

fn ask(plan: &mut Plan, at: u64, operation: Operation) {
    let id = plan.operations.iter().map(|operation| operation.id + 1).max().unwrap_or(0);
    plan.operations.push(Operation { id, at, ..operation });
}
