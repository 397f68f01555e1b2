//! A right store that tells little. Its tokens are how far into one log of all writes a replica had come. Many answers
//! have the same one, and no answer names a version. What removed a value must be guessed for most of its reads.

use super::judged;
use hence_checker::history::{Action, Operation};
use hence_checker::{Level, Verdict};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

const KEYS: u32 = 8;
const CLIENTS: u32 = 8;
const REPLICAS: usize = 3;

/// The history of a store with one log, of which each replica has taken a prefix.
fn history(seed: u64, operations: u64) -> Vec<Operation> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |limit: u32| random.next_u32() % limit;
    let mut log: Vec<(String, Option<String>)> = Vec::new();
    let mut taken = [0_usize; REPLICAS];
    let mut known = [0_usize; CLIENTS as usize];
    let mut history = Vec::new();
    for id in 0..operations {
        let (client, at) = (below(CLIENTS) as usize, below(REPLICAS as u32) as usize);
        // Now and then a replica takes some of what is new; the client is shown no less than was seen before.
        for replica in &mut taken {
            *replica += below((log.len() - *replica) as u32 * 2 + 1).min((log.len() - *replica) as u32) as usize;
        }
        taken[at] = taken[at].max(known[client]);
        let action = [Action::Get, Action::Get, Action::Put, Action::Put, Action::Delete][below(5) as usize];
        let key = format!("k{}", below(KEYS));
        let mut operation = Operation::new(id, &format!("c{client}"), action, &key);
        operation.token_in = (known[client] > 0).then(|| known[client].to_string());
        if action != Action::Get {
            taken[at] = log.len();
        }
        let shown = log[..taken[at]].iter().rev().find(|(other, _)| *other == key).and_then(|(_, value)| value.clone());
        operation.status = match (action, &shown) {
            (Action::Get | Action::Delete, None) => 404,
            (Action::Put, None) => 201,
            (_, Some(_)) => 200,
        };
        match action {
            Action::Get => operation.value = shown,
            Action::Put => operation.value = Some(format!("\"{id}\"")),
            Action::Delete => {}
        }
        if action == Action::Put || (action == Action::Delete && operation.status == 200) {
            log.push((key, operation.value.clone()));
            taken[at] = log.len();
        }
        if operation.status != 404 {
            known[client] = taken[at];
            operation.token_out = Some(taken[at].to_string());
        }
        history.push(operation);
    }
    history
}

#[test]
fn its_histories_are_fine_within_few_walks() {
    for seed in [0, 2, 5, 7] {
        let report = judged(&history(seed, 3_000));
        println!("seed {seed}: {} walks", report.walks);
        assert_eq!(report.verdict(Level::Convergent), Verdict::Fine, "seed {seed}");
        assert!(report.walks <= 500, "seed {seed}: {} walks", report.walks);
    }
}
