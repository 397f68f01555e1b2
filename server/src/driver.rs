//! The task that hands a replica what its peers say and the passing of time.
//!
//! Bounded work per turn: after a batch it yields, so that clients and peers share the thread fairly.

use crate::node::Node;
use hence_core::{Input, Time};
use hence_transport::{Incoming, Transport};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Messages handed in before other tasks get their turn.
const BATCH_MESSAGES_MAX: usize = 64;

/// So long the driver sleeps where the replica names no time.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

/// Drives the replica for ever. Dropping the future stops it between two inputs.
pub(crate) async fn drive<T: Transport>(node: Rc<Node<T>>) {
    let mut incoming: Vec<Incoming> = Vec::new();
    loop {
        wait(&node, &mut incoming).await;
        let mut batch = 0;
        let mut now = node.clock().now();
        for message in incoming.drain(..) {
            // One reading of the clock for all of a batch: reading it for each took a tenth of a follower's time.
            node.step_at(now, message.into(), None);
            batch += 1;
            if batch % BATCH_MESSAGES_MAX == 0 {
                hand_in_time(&node);
                tokio::task::yield_now().await;
                now = node.clock().now();
            }
        }
        hand_in_time(&node);
        tokio::task::yield_now().await;
    }
}

/// Waits for a message, for the replica's timeout, or for a request that moved it forward.
async fn wait<T: Transport>(node: &Node<T>, incoming: &mut Vec<Incoming>) {
    let timeout = node.timeout().unwrap_or(Time::NEVER);
    node.sleeps_until(timeout);
    let latest = Instant::now() + SLEEP_MAX;
    let until = node.clock().instant(timeout).map_or(latest, |instant| instant.min(latest));
    tokio::select! {
        () = node.transport().receive(incoming) => {}
        () = tokio::time::sleep_until(until.into()) => {}
        () = node.woken() => {}
    }
    node.is_awake();
}

fn hand_in_time<T: Transport>(node: &Node<T>) {
    let due = node.timeout().is_some_and(|timeout| timeout <= node.clock().now().monotonic);
    if due {
        node.step(Input::Timeout, None);
    }
}
