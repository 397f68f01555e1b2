//! Shrinking: the smallest plan that still fails in the same way.
//!
//! Delta debugging over faults and operations together, then simpler forms of what is left, until nothing more
//! can go. It ends 1-minimal: taking any one fault or operation away makes it pass. Candidates of one round are
//! independent, so the caller may try them on many cores; the first that fails is taken, whichever was faster.

use crate::plan::network::{Delay, NetworkPlan};
use crate::plan::settings::Settings;
use crate::plan::{Act, ConditionUse, Fault, Operation, Plan, TokenUse};
use hence_core::Config;

/// Tries candidates and returns the place of the first that still fails in the same way.
pub type Trial<'a> = dyn FnMut(&[Plan]) -> Option<usize> + 'a;

/// How far it is: the size now, and how many candidates were tried.
pub type Progress<'a> = dyn FnMut(usize, usize) + 'a;

/// Makes a failing plan smaller.
#[must_use]
pub fn shrink(plan: &Plan, trial: &mut Trial<'_>, progress: &mut Progress<'_>) -> Plan {
    let mut best = plan.clone();
    let mut tried = 0;
    loop {
        let before = best.clone();
        for round in [remove_items, fewer_replicas, simpler_world, simpler_items, earlier] {
            round(&mut best, &mut |candidates| {
                tried += candidates.len();
                let found = trial(candidates);
                progress(found.map_or(plan.size(), |at| candidates[at].size()), tried);
                found
            });
        }
        if best == before {
            return best;
        }
    }
}

/// Would any one fault or operation less make it pass?
#[must_use]
pub fn is_minimal(plan: &Plan, trial: &mut Trial<'_>) -> bool {
    let candidates: Vec<Plan> = (0..plan.size()).map(|at| without(plan, at, at + 1)).collect();
    candidates.is_empty() || trial(&candidates).is_none()
}

/// The plan without the items in this range; faults count first, then operations, then watches.
fn without(plan: &Plan, from: usize, to: usize) -> Plan {
    let faults = plan.faults.len();
    let keep = |at: usize| at < from || at >= to;
    let mut less = plan.clone();
    let mut at = 0;
    less.faults.retain(|_| {
        at += 1;
        keep(at - 1)
    });
    let mut at = faults;
    less.operations.retain(|_| {
        at += 1;
        keep(at - 1)
    });
    let mut at = faults + plan.operations.len();
    less.watches.retain(|_| {
        at += 1;
        keep(at - 1)
    });
    less
}

fn remove_items(best: &mut Plan, trial: &mut Trial<'_>) {
    let mut chunk = best.size().div_ceil(2).max(1);
    loop {
        let size = best.size();
        let candidates: Vec<Plan> =
            (0..size).step_by(chunk).map(|from| without(best, from, (from + chunk).min(size))).collect();
        match (!candidates.is_empty()).then(|| trial(&candidates)).flatten() {
            Some(at) => {
                *best = candidates[at].clone();
                chunk = chunk.min(best.size().div_ceil(2).max(1));
            }
            None if chunk > 1 => chunk = chunk.div_ceil(2),
            None => return,
        }
    }
}

/// Takes candidates one by one while any of them still fails.
fn settle(best: &mut Plan, trial: &mut Trial<'_>, candidates: impl Fn(&Plan) -> Vec<Plan>) {
    loop {
        let next: Vec<Plan> =
            candidates(best).into_iter().filter(|plan| plan != best && plan.check().is_ok()).collect();
        match (!next.is_empty()).then(|| trial(&next)).flatten() {
            Some(at) => *best = next[at].clone(),
            None => return,
        }
    }
}

fn fewer_replicas(best: &mut Plan, trial: &mut Trial<'_>) {
    settle(best, trial, |plan| {
        let count = plan.replicas.len();
        (0..count).filter(|_| count > 1).filter_map(|gone| without_replica(plan, gone)).collect()
    });
}

fn without_replica(plan: &Plan, gone: usize) -> Option<Plan> {
    let gone = gone as u8;
    let mut less = plan.clone();
    less.replicas.remove(gone.into());
    let moved = |n: u8| (n != gone).then_some(if n > gone { n - 1 } else { n });
    let without_bit = |mask: u16| {
        let (low, high) = (u32::from(mask) & ((1 << gone) - 1), u32::from(mask) >> (gone + 1) << gone);
        (low | high) as u16
    };
    for operation in &mut less.operations {
        operation.replica = moved(operation.replica)?;
    }
    for watch in &mut less.watches {
        watch.replica = moved(watch.replica)?;
        watch.breaks.retain(|one| one.replica != gone);
        for one in &mut watch.breaks {
            one.replica = moved(one.replica)?;
        }
    }
    for fault in &mut less.faults {
        fault.kind = fault.kind.renumbered(&moved, &without_bit)?;
    }
    less.core = without_bit(less.core);
    for replica in &mut less.replicas {
        replica.knows = without_bit(replica.knows);
    }
    Some(less)
}

fn simpler_world(best: &mut Plan, trial: &mut Trial<'_>) {
    settle(best, trial, |plan| {
        let mut simpler = Vec::new();
        let mut with = |change: &dyn Fn(&mut Plan)| {
            let mut next = plan.clone();
            change(&mut next);
            simpler.push(next);
        };
        with(&|plan| plan.network = NetworkPlan::calm(1_000));
        with(&|plan| plan.settings = Settings::from(&Config::default()));
        with(&|plan| plan.watch_idle = false);
        with(&|plan| plan.from_zero = false);
        with(&|plan| plan.core = 0);
        with(&|plan| plan.replicas.iter_mut().for_each(|replica| replica.knows = 0));
        with(&|plan| plan.network.back = None);
        with(&|plan| plan.network.bandwidth = 0);
        with(&|plan| plan.network.damage = 0);
        with(&|plan| plan.network.loss = 0);
        with(&|plan| plan.network.duplicate = 0);
        with(&|plan| plan.network.overtake = 0);
        with(&|plan| plan.network.connects = true);
        with(&|plan| plan.network.client_delay_max = 0);
        with(&|plan| plan.network.delay = Delay::Constant { micros: 1_000 });
        with(&|plan| plan.replicas.iter_mut().for_each(|replica| (replica.drift, replica.wall_ahead) = (0, 0)));
        with(&|plan| plan.replicas.iter_mut().for_each(|replica| replica.start_at = 0));
        with(&|plan| plan.replicas.iter_mut().for_each(|replica| replica.drift = 0));
        with(&|plan| plan.watches.iter_mut().for_each(|watch| watch.breaks.clear()));
        with(&|plan| plan.watches.iter_mut().for_each(|watch| watch.pace = 0));
        with(&|plan| plan.watches.iter_mut().for_each(|watch| watch.client = 0));
        with(&|plan| plan.operations.iter_mut().for_each(|operation| operation.client = 0));
        with(&|plan| plan.operations.iter_mut().for_each(|operation| operation.key = 0));
        with(&fewer_names);
        simpler
    });
}

/// Clients and keys that nothing uses go.
fn fewer_names(plan: &mut Plan) {
    let tokens = plan.operations.iter().filter_map(|operation| match operation.token {
        TokenUse::Merge(other) | TokenUse::Take(other) => Some(other),
        TokenUse::Keep | TokenUse::Drop | TokenUse::Save | TokenUse::Recall => None,
    });
    let watchers = plan.watches.iter().map(|watch| watch.client);
    let clients = plan.operations.iter().map(|operation| operation.client).chain(tokens).chain(watchers).max();
    plan.clients = plan.clients.min(clients.map_or(1, |most| most + 1));
    let watched = plan.watches.iter().filter_map(|watch| watch.key);
    let keys = plan.operations.iter().map(|operation| operation.key).chain(watched).max();
    plan.keys = plan.keys.min(keys.map_or(1, |most| most + 1));
}

fn simpler_items(best: &mut Plan, trial: &mut Trial<'_>) {
    settle(best, trial, |plan| {
        let operations = plan.operations.iter().enumerate().flat_map(|(at, operation)| {
            simpler_operations(operation).into_iter().map(move |simpler| {
                let mut next = plan.clone();
                next.operations[at] = simpler;
                next
            })
        });
        let faults = plan.faults.iter().enumerate().flat_map(|(at, fault)| {
            simpler_faults(fault, plan.heal_at).into_iter().map(move |simpler| {
                let mut next = plan.clone();
                next.faults[at] = simpler;
                next
            })
        });
        operations.chain(faults).collect()
    });
}

fn simpler_operations(operation: &Operation) -> Vec<Operation> {
    let mut simpler = Vec::new();
    let mut with = |change: &dyn Fn(&mut Operation)| {
        let mut next = operation.clone();
        change(&mut next);
        if next != *operation {
            simpler.push(next);
        }
    };
    with(&|operation| operation.retries = 0);
    with(&|operation| (operation.patience, operation.wait) = (0, 0));
    with(&|operation| operation.concern = None);
    with(&|operation| operation.condition = ConditionUse::Always);
    with(&|operation| operation.token = TokenUse::Keep);
    with(&|operation| operation.key = 0);
    with(&|operation| operation.with.clear());
    with(&|operation| operation.with.truncate(operation.with.len().div_ceil(2)));
    for at in 0..operation.with.len() {
        with(&|operation| _ = operation.with.remove(at));
        with(&|operation| operation.with[at].condition = ConditionUse::Always);
    }
    with(&|operation| operation.act = if operation.act == Act::Get { Act::Get } else { Act::Put(0) });
    if operation.retries == 0 {
        with(&|operation| (operation.hop, operation.retry_after) = (false, 0));
    }
    simpler
}

fn simpler_faults(fault: &Fault, heal_at: u64) -> Vec<Fault> {
    let until = |until: u64| Fault { until, ..fault.clone() };
    let half = fault.at + fault.until.min(heal_at).saturating_sub(fault.at) / 2;
    let round = half.div_ceil(1_000) * 1_000;
    let mut simpler = if round < fault.until { vec![until(round)] } else { Vec::new() };
    if fault.until > heal_at {
        simpler.push(until(heal_at));
    }
    simpler
}

/// Earlier times and a shorter run.
fn earlier(best: &mut Plan, trial: &mut Trial<'_>) {
    settle(best, trial, |plan| {
        let watches = plan.watches.iter().flat_map(|watch| watch.breaks.iter().map(|one| one.at).chain([watch.at]));
        let others = plan.operations.iter().map(|o| o.at).chain(plan.faults.iter().map(|f| f.at));
        let last = others.chain(watches).max().unwrap_or(0);
        let least = last.max(plan.replicas.iter().map(|replica| replica.start_at).max().unwrap_or(0)) + 1_000;
        let mut next = Vec::new();
        for heal_at in [least, (plan.heal_at + least) / 2] {
            if heal_at < plan.heal_at {
                next.push(Plan { heal_at, ..plan.clone() });
            }
        }
        next
    });
}
