//! The laws of transports, as tests for a transport of one's own.
//!
//! A transport may lose, delay, duplicate and reorder. It must not corrupt, invent or block, and its memory
//! is bounded. Give [`check_all`] a [`Laboratory`] that starts and stops transports of your kind, and it
//! tries to catch them at breaking one of the [`Law`]s. `examples/unix_sockets.rs` does.
//!
//! The laws run in one task: the laboratory's runtime has to make progress while one of its sleeps or a
//! `receive` is awaited. A `send` that never returns cannot be caught from inside; give the test a timeout.

mod garbage;
mod sample;
mod scene;
#[cfg(test)]
mod tests;

use crate::Transport;
use crate::codec::HEAD_BYTES;
use async_trait::async_trait;
use core::fmt;
use hence_core::{Address, ClusterTag, Message, Micros};
use sample::Samples;
use scene::Scene;
use std::time::Instant;

/// Starts and stops transports of one kind, all connected with each other.
#[async_trait(?Send)]
pub trait Laboratory {
    /// The kind.
    type Transport: Transport;

    /// An address that no transport has or has had.
    fn address(&mut self) -> Address;

    /// Starts a transport at an address where none runs, as a process that starts there would.
    async fn start(&mut self, address: &Address) -> Self::Transport;

    /// Ends a transport, as the death of its process would. What it held is gone and its address is free.
    async fn stop(&mut self, transport: Self::Transport) {
        drop(transport);
    }

    /// Lets so much time go by.
    async fn sleep(&self, length: Micros);

    /// Throws bytes at what listens at this address, as a stranger on the network could. Says whether this
    /// kind of transport has such a door at all.
    async fn throw(&mut self, at: &Address, bytes: &[u8]) -> bool {
        let _ = (at, bytes);
        false
    }

    /// What the transports promise beyond the laws.
    fn character(&self) -> Character {
        Character::default()
    }
}

/// What the laws need to know about a kind of transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Character {
    /// On a working link, to a peer that keeps up, nothing is lost. Then cancelled waits are counted exactly.
    pub lossless: bool,
    /// Bytes of operations that may be under way between two transports at a time. They lie in the queues of both sides
    /// and whatever is between, the kernel's buffers included.
    pub underway_bytes_max: usize,
    /// After so long without an arrival nothing more is under way.
    pub quiet_after: Micros,
    /// The cluster whose frames a stranger should damage. Only for kinds that use this crate's codec.
    pub cluster: ClusterTag,
}

impl Default for Character {
    /// Lossless, 32 MiB, 100 ms, the default cluster.
    fn default() -> Self {
        Self {
            lossless: true,
            underway_bytes_max: 32 << 20,
            quiet_after: Micros::from_millis(100),
            cluster: ClusterTag::of("hence"),
        }
    }
}

/// What no transport may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// What arrives is what was sent, to the last bit.
    NeverCorrupts,
    /// What arrives was sent, to this address, by the one whose address it bears; and no connection is accepted where
    /// no member is.
    NeverInvents,
    /// Sending returns at once: to a dead address, to a peer that does not read, thousands of times in a row.
    NeverBlocks,
    /// On a working link, what is said again and again arrives: every kind of message, either way, up to an
    /// operation of 8 MiB.
    Delivers,
    /// A wait for arrivals that is given up loses nothing.
    CancelLosesNothing,
    /// An opening message drops what was queued for its address.
    OpeningDropsQueued,
    /// What is sent to the own address comes back as it was or is lost, and disturbs no link.
    SelfIsHarmless,
    /// A peer that does not read costs bounded memory, and is served again when it reads.
    MemoryIsBounded,
    /// A peer that died and started again at its address is reached after an opening message, either way.
    SurvivesRestart,
    /// What a stranger throws never surfaces, and harms no link for long.
    RefusesGarbage,
}

/// A law was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// How.
    pub how: String,
}

impl Violation {
    fn new(law: Law, how: impl Into<String>) -> Self {
        Self { law, how: how.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is broken: {}", self.law, self.how)
    }
}

impl core::error::Error for Violation {}

/// Whether a law was kept.
pub type Verdict = Result<(), Violation>;

/// Runs all laws, each on transports of its own.
///
/// # Errors
/// The first [`Violation`].
pub async fn check_all<L: Laboratory>(laboratory: &mut L) -> Verdict {
    delivers_all_kinds_unchanged(laboratory).await?;
    never_blocks(laboratory).await?;
    cancel_loses_nothing(laboratory).await?;
    opening_drops_queued(laboratory).await?;
    self_is_harmless(laboratory).await?;
    memory_is_bounded(laboratory).await?;
    survives_restart(laboratory).await?;
    refuses_garbage(laboratory).await
}

/// The bytes of the largest value that a client can write: what every transport has to carry.
const VALUE_BYTES_MAX: usize = 8 << 20;

/// How often something is said before its loss is a broken law, and how long each time is waited for it.
const TRIES: usize = 50;
const TIMEOUT: Micros = Micros::from_millis(100);

const SHORT: Micros = Micros::from_millis(20);

/// [`Law::Delivers`], [`Law::NeverCorrupts`] and [`Law::NeverInvents`], among three transports.
///
/// # Errors
/// See [`Violation`].
pub async fn delivers_all_kinds_unchanged<L: Laboratory>(laboratory: &mut L) -> Verdict {
    let mut samples = Samples::new(1);
    let mut scene = Scene::of(laboratory, 3).await;
    for kind in 0..Samples::KINDS {
        for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 0)] {
            scene.say(from, to, &samples.of_kind(kind, 300)).await?;
        }
    }
    scene.say(0, 1, &samples.push(VALUE_BYTES_MAX)).await?;
    // Many at once and mixed, so that they share whatever frames there are.
    for round in 0..400 {
        for (from, to) in [(0, 1), (0, 2), (1, 0), (2, 1)] {
            let message = samples.any(if round % 50 == 0 { 100_000 } else { 200 });
            scene.send(from, to, &message);
        }
        if round % 20 == 0 {
            scene.listen(Micros::from_millis(1), &[0, 1, 2]).await?;
        }
    }
    scene.quiet().await?;
    scene.end().await;
    Ok(())
}

/// [`Law::NeverBlocks`].
///
/// # Errors
/// See [`Violation`].
pub async fn never_blocks<L: Laboratory>(laboratory: &mut L) -> Verdict {
    const SENDS: u32 = 20_000;
    // Half a microsecond would be fine, and a machine that tests on the side may take a hundred times that.
    const MICROS_EACH_MAX: u128 = 100;
    let mut samples = Samples::new(2);
    let messages: Vec<Message> = (0..64).map(|n| samples.of_kind(n, 200)).collect();
    let mut scene = Scene::of(laboratory, 2).await;
    let dead = scene.one_more_address();
    for (to, name) in [(dead, "a dead address"), (1, "a peer that does not read")] {
        messages.iter().for_each(|message| scene.note(0, to, message));
        let (transport, to) = (scene.transport(0), &scene.addresses[to]);
        let start = Instant::now();
        for (sent, message) in (0..SENDS).zip(messages.iter().cycle()) {
            transport.send(to, message.clone());
            let elapsed = start.elapsed().as_micros();
            if elapsed > MICROS_EACH_MAX * u128::from(SENDS) {
                let how = format!("{} sends to {name} took {} ms", sent + 1, elapsed / 1_000);
                return Err(Violation::new(Law::NeverBlocks, how));
            }
        }
        scene.listen(SHORT, &[0]).await?;
    }
    scene.quiet().await?;
    scene.end().await;
    Ok(())
}

/// [`Law::CancelLosesNothing`].
///
/// # Errors
/// See [`Violation`].
pub async fn cancel_loses_nothing<L: Laboratory>(laboratory: &mut L) -> Verdict {
    const ROUNDS: u64 = 100;
    const EACH: usize = 5;
    let mut samples = Samples::new(3);
    let mut scene = Scene::of(laboratory, 2).await;
    scene.say(0, 1, &samples.opening()).await?;
    scene.quiet().await?;
    let mut sent = Vec::new();
    for round in 0..ROUNDS {
        for _ in 0..EACH {
            let message = samples.push(100);
            scene.send(0, 1, &message);
            sent.push(message);
        }
        // Given up at its first poll, and given up while it waits.
        scene.peek(1).await?;
        scene.listen(Micros(100 * (round % 8)), &[0, 1]).await?;
    }
    scene.quiet().await?;
    let missing = sent.iter().filter(|message| !scene.has_arrived(0, 1, message)).count();
    if scene.laboratory.character().lossless && missing > 0 {
        let how = format!("{missing} of {} messages are lost after {ROUNDS} waits were given up", sent.len());
        return Err(Violation::new(Law::CancelLosesNothing, how));
    }
    scene.say(0, 1, &samples.push(1)).await?;
    scene.end().await;
    Ok(())
}

/// [`Law::OpeningDropsQueued`].
///
/// # Errors
/// See [`Violation`].
pub async fn opening_drops_queued<L: Laboratory>(laboratory: &mut L) -> Verdict {
    let mut samples = Samples::new(4);
    let mut scene = Scene::of(laboratory, 1).await;
    let dead = scene.one_more_address();
    let old: Vec<Message> = (0..50).map(|_| samples.push(100)).collect();
    old.iter().for_each(|message| scene.send(0, dead, message));
    // Nothing ran in between, so whatever is not lost is still queued.
    scene.send(0, dead, &samples.opening());
    scene.start(dead).await;
    scene.say(0, dead, &samples.opening()).await?;
    scene.quiet().await?;
    match old.iter().filter(|message| scene.has_arrived(0, dead, message)).count() {
        0 => {}
        count => {
            let how = format!("{count} of {} messages sent before an opening one came after it", old.len());
            return Err(Violation::new(Law::OpeningDropsQueued, how));
        }
    }
    scene.end().await;
    Ok(())
}

/// [`Law::SelfIsHarmless`].
///
/// # Errors
/// See [`Violation`].
pub async fn self_is_harmless<L: Laboratory>(laboratory: &mut L) -> Verdict {
    let mut samples = Samples::new(5);
    let mut scene = Scene::of(laboratory, 2).await;
    for n in 0..200 {
        let message = if n % 50 == 0 { samples.opening() } else { samples.any(100) };
        scene.send(0, 0, &message);
    }
    scene.quiet().await.map_err(|violation| Violation::new(Law::SelfIsHarmless, violation.how))?;
    scene.say(0, 1, &samples.push(10)).await?;
    scene.end().await;
    Ok(())
}

/// [`Law::MemoryIsBounded`].
///
/// # Errors
/// See [`Violation`].
pub async fn memory_is_bounded<L: Laboratory>(laboratory: &mut L) -> Verdict {
    const VALUE_BYTES: usize = 64 << 10;
    let mut samples = Samples::new(6);
    let mut scene = Scene::of(laboratory, 2).await;
    scene.say(0, 1, &samples.opening()).await?;
    scene.quiet().await?;
    let allowed = scene.laboratory.character().underway_bytes_max;
    let flood: Vec<Message> = (0..8).map(|_| samples.push(VALUE_BYTES)).collect();
    for (n, message) in flood.iter().cycle().take(2 * allowed / VALUE_BYTES).enumerate() {
        scene.send(0, 1, message);
        if n % 16 == 0 {
            scene.listen(Micros::from_millis(1), &[0]).await?;
        }
    }
    scene.listen(SHORT, &[0]).await?;
    scene.arrived[1].clear();
    scene.quiet().await?;
    let surfaced = VALUE_BYTES * scene.arrived[1].len();
    if surfaced > allowed {
        let how = format!("{surfaced} bytes were kept for a peer that did not read; {allowed} are allowed");
        return Err(Violation::new(Law::MemoryIsBounded, how));
    }
    scene.say(0, 1, &samples.push(10)).await?;
    scene.end().await;
    Ok(())
}

/// [`Law::SurvivesRestart`].
///
/// # Errors
/// See [`Violation`].
pub async fn survives_restart<L: Laboratory>(laboratory: &mut L) -> Verdict {
    let lives_on = |violation: Violation| {
        let silent = violation.law == Law::Delivers;
        if silent { Violation::new(Law::SurvivesRestart, violation.how) } else { violation }
    };
    let mut samples = Samples::new(7);
    let mut scene = Scene::of(laboratory, 2).await;
    for _ in 0..3 {
        for (from, to) in [(0, 1), (1, 0)] {
            for message in [samples.opening(), samples.push(100)] {
                scene.say(from, to, &message).await.map_err(lives_on)?;
            }
        }
        scene.stop(1).await;
        for _ in 0..200 {
            scene.send(0, 1, &samples.push(1_000));
        }
        scene.listen(SHORT, &[0]).await?;
        scene.start(1).await;
    }
    scene.end().await;
    Ok(())
}

/// [`Law::RefusesGarbage`].
///
/// # Errors
/// See [`Violation`].
pub async fn refuses_garbage<L: Laboratory>(laboratory: &mut L) -> Verdict {
    let mut samples = Samples::new(8);
    let mut scene = Scene::of(laboratory, 2).await;
    scene.say(0, 1, &samples.opening()).await?;
    let cluster = scene.laboratory.character().cluster;
    for bytes in garbage::thrown(cluster, &scene.addresses[0], &mut samples) {
        if !scene.laboratory.throw(&scene.addresses[1], &bytes).await {
            break; // no door
        }
        let snapshot_entry = &bytes[..bytes.len().min(HEAD_BYTES)];
        scene.listen(Micros::from_millis(2), &[0, 1]).await.map_err(|violation| {
            let how = format!("{} thrown bytes {snapshot_entry:02x?}: {}", bytes.len(), violation.how);
            Violation::new(Law::RefusesGarbage, how)
        })?;
    }
    scene.say(0, 1, &samples.push(10)).await?;
    scene.quiet().await?;
    scene.end().await;
    Ok(())
}
