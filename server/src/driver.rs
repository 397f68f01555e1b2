//! The task that hands a replica what its peers say and the passing of time.
//!
//! Bounded work per turn: after a batch it yields, so that clients and peers share the thread fairly.

use crate::clock::Clock;
use crate::connections::Connections;
use crate::node::Node;
use hence_core::{Input, Time};
use hence_transport::{Incoming, Transport};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Messages handed in before other tasks get their turn.
const BATCH_MESSAGES_MAX: usize = 64;

/// So long the driver sleeps where the replica names no time.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

/// One turn of the first of the wheels by which tokio keeps timers.
const TURN: Duration = Duration::from_millis(64);

/// Drives the replica for ever, in a runtime that was begun at `runtime_start` or less than a millisecond after. Dropping
/// the future stops it between two inputs.
pub(crate) async fn drive<T: Transport>(node: Rc<Node<T>>, connections: Rc<Connections>, runtime_start: Instant) {
    let mut incoming: Vec<Incoming> = Vec::new();
    let mut alarm = Alarm { sleep: Box::pin(tokio::time::sleep(SLEEP_MAX)), set_for: None, runtime_start };
    let mut backlog = false;
    loop {
        if backlog {
            // Not by the alarm: no timer of tokio rings before the next millisecond, so each piece would wait for one.
            tokio::select! {
                biased;
                () = node.transport().receive(&mut incoming) => {}
                () = std::future::ready(()) => {}
            }
        } else {
            wait(&node, &mut incoming, &mut alarm).await;
        }
        let mut batch = 0;
        let mut now = node.clock().now();
        for message in incoming.drain(..) {
            // One reading of the clock for all of a batch: reading it for each took a tenth of a follower's time.
            node.step_at(now, message.into(), None);
            batch += 1;
            if batch % BATCH_MESSAGES_MAX == 0 {
                hand_in_time(&node);
                connections.shed();
                tokio::task::yield_now().await;
                now = node.clock().now();
            }
        }
        hand_in_time(&node);
        // What peers replaced may be held by answers alone from now on.
        connections.shed();
        backlog = is_due(&node);
        if backlog {
            // Others get their turn between its pieces. Without one they get it while this task waits, and to
            // yield costs a look at all sockets.
            tokio::task::yield_now().await;
        }
    }
}

/// Waits for a message, for the replica's timeout, or for a request that moved it forward.
async fn wait<T: Transport>(node: &Node<T>, incoming: &mut Vec<Incoming>, alarm: &mut Alarm) {
    let timeout = node.timeout().unwrap_or(Time::NEVER);
    node.sleeps_until(timeout);
    alarm.set(timeout, node.clock(), node.was_busy());
    tokio::select! {
        () = node.transport().receive(incoming) => {}
        () = alarm.rings() => {}
        () = node.woken() => {}
    }
    node.is_awake();
}

fn hand_in_time<T: Transport>(node: &Node<T>) {
    if is_due(node) {
        node.step(Input::Timeout, None);
    }
}

fn is_due<T: Transport>(node: &Node<T>) -> bool {
    node.timeout().is_some_and(|timeout| timeout <= node.clock().now().monotonic)
}

/// The driver's one timer, which is set anew only where the time changed. With one timer for each wait, whatever came
/// from a peer took three system calls more. The reason is that tokio wakes its own thread through a descriptor when a
/// timer is set.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// For this time, and to the point.
    set_for: Option<(Time, bool)>,
    runtime_start: Instant,
}

impl Alarm {
    fn set(&mut self, time: Time, clock: &Clock, precise: bool) {
        if self.set_for == Some((time, precise)) {
            return;
        }
        self.set_for = Some((time, precise));
        let now = Instant::now();
        let at = clock.instant(time).map_or(now + SLEEP_MAX, |at| at.min(now + SLEEP_MAX));
        let at = if precise || at <= now + TURN { at } else { end_of_turn(self.runtime_start, at) };
        // Not `reset`: that leaves a timer that is put off where it is, and it wakes the process to be moved.
        self.sleep.set(tokio::time::sleep_until(at.into()));
    }

    async fn rings(&mut self) {
        self.sleep.as_mut().await;
        self.set_for = None;
    }
}

/// The end of the turn in which this time lies. The runtime, tokio, sorts a timer that is further ahead than the
/// present turn into the first wheel when its turn begins. It wakes the process for that. A timer that ends a turn is
/// fired at once. So an idle replica wakes up seven times a second instead of fourteen. Its statuses leave up to a turn
/// later, which is less than what the replica takes for a stall.
fn end_of_turn(start: Instant, at: Instant) -> Instant {
    let turns = (at - start).as_micros().div_ceil(TURN.as_micros());
    u32::try_from(turns).map_or(at, |turns| start + TURN * turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_end_every_64_ms() {
        let start = Instant::now();
        let after = |millis: u64| start + Duration::from_millis(millis);
        for (at, end) in [(1, 64), (64, 64), (65, 128), (200, 256), (3_600_000, 3_600_000)] {
            assert_eq!(end_of_turn(start, after(at)), after(end), "{at}");
        }
    }
}
