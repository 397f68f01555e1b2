//! Starts a replica on a thread of its own, and ends it.

use crate::access::Access;
use crate::advice;
use crate::clock::Clock;
use crate::connections::Connections;
use crate::driver;
use crate::files::{self, Watch};
use crate::http::{Browsers, Mint, Service};
use crate::listener;
use crate::memory::Shares;
use crate::names;
use crate::node::Node;
use crate::settings::{SettingError, Settings};
use crate::traces::{self, Exporter, Tracer};
use crate::trust;
use crate::wire::{self, Wire};
use hence_core::{
    Address, ClusterTag, Config, Identity, Input, LinkState, Replica, ReplicaStatus, Seed, Sound, VersionVector,
};
use hence_transport::trust::Trust;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc as blocking;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tracing::{info, warn};

/// So long requests in flight, and then data that peers lack, may hold up the end of a replica, each.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// So long the refusals of requests that would have waited on may take to go out.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(200);

/// A replica that runs on a thread of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    address: Address,
    local_address: SocketAddr,
    commands: mpsc::UnboundedSender<Command>,
    _files: Option<Watch>,
    _names: Option<names::Watch>,
    thread: Option<thread::JoinHandle<()>>,
    /// Dropped last: what the replica traced is sent first.
    _traces: Option<traces::Sending>,
}

/// Why a replica did not start.
#[derive(Debug)]
pub enum StartError {
    /// A setting is wrong.
    Setting(SettingError),
    /// It cannot listen.
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The operating system refused a thread, an event queue or randomness.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(error) => error.fmt(f),
            Self::Listen { at, error } if error.kind() == io::ErrorKind::AddrNotAvailable => {
                let port = at.port();
                write!(
                    f,
                    "cannot listen at {at}: {error}; if {at} leads here from elsewhere, set HENCE_BIND=0.0.0.0:{port}"
                )
            }
            Self::Listen { at, error } => write!(f, "cannot listen at {at}: {error}"),
            Self::System(error) => write!(f, "the operating system refused what a replica needs: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

#[derive(Debug)]
enum Command {
    /// Finish what is in flight, then end.
    Shutdown,
    /// End now, as if the process died.
    Kill,
    /// Further members have names.
    Named(Vec<Address>),
    /// Tell the state.
    Status(blocking::Sender<ReplicaStatus>),
}

impl Server {
    /// Starts a replica.
    ///
    /// # Errors
    /// [`StartError`]; then nothing runs.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        Self::start_with(settings, wire::hyper)
    }

    /// Starts a replica whose transport `make` makes, on the new thread.
    ///
    /// # Errors
    /// [`StartError`]; then nothing runs.
    pub(crate) fn start_with<T, F>(mut settings: Settings, make: F) -> Result<Self, StartError>
    where
        T: Wire + 'static,
        F: FnOnce(&Settings, Trust) -> T + Send + 'static,
    {
        settings.check().map_err(StartError::Setting)?;
        let (mut trust, mut readings) = trust::load(&settings).map_err(StartError::Setting)?;
        let access = settings.access.as_deref().map(Access::load).transpose().map_err(StartError::Setting)?;
        let access = access.map(|(access, reading)| {
            readings.push(reading);
            access
        });
        if let Some(shares) = Shares::of_settings(&settings) {
            shares.apply(&mut settings);
            if let Some(tls) = &mut trust.tls {
                tls.hold_at_most(settings.limits.read_bytes_max);
            }
        }
        let (exporter, sending) = traces::start(&settings).map_err(StartError::Setting)?.unzip();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| StartError::System(io::Error::other(error)))?;
        let (address, services, named) = (settings.address.clone(), settings.services.clone(), settings.view.clone());
        let (commands, orders) = mpsc::unbounded_channel();
        let (report, started) = blocking::channel();
        let files = files::watch(readings).map_err(StartError::System)?;
        let run = move || run(settings, Given { trust, access, exporter }, Seed(seed), make, orders, &report);
        let name = format!("hence {address}");
        let thread = thread::Builder::new().name(name).spawn(run).map_err(StartError::System)?;
        let gone = || StartError::System(io::Error::other("its thread ended at once"));
        let local_address = started.recv().map_err(|_| gone())??;
        let found = commands.clone();
        let tell = move |addresses| found.send(Command::Named(addresses)).is_ok();
        let names = names::watch(services, address.clone(), named, tell).map_err(StartError::System)?;
        Ok(Self {
            address,
            local_address,
            commands,
            _files: files,
            _names: names,
            thread: Some(thread),
            _traces: sending,
        })
    }

    /// The replica's own address.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Where it really listens.
    #[must_use]
    pub const fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// The replica's state; `None` if it runs no more.
    #[must_use]
    pub fn status(&self) -> Option<ReplicaStatus> {
        let (answer, status) = blocking::channel();
        self.commands.send(Command::Status(answer)).ok()?;
        status.recv().ok()
    }

    /// Stops accepting, finishes requests in flight, hands on what peers lack, and ends; about four seconds
    /// at most.
    pub fn shutdown(self) {
        self.end(Command::Shutdown);
    }

    /// Ends it at once, with nothing handed on: as if its process had been killed.
    pub fn kill(self) {
        self.end(Command::Kill);
    }

    fn end(mut self, command: Command) {
        // Where no thread listens any more, it has ended already.
        let _ = self.commands.send(command);
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was told by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Kill);
        self.join();
    }
}

/// What was made of settings before the replica's thread began.
struct Given {
    /// What peers have to show.
    trust: Trust,
    /// What clients have to show.
    access: Option<Access>,
    /// Where spans go.
    exporter: Option<Exporter>,
}

type Report = blocking::Sender<Result<SocketAddr, StartError>>;

/// The whole life of a replica's thread.
fn run<T, F>(
    settings: Settings,
    given: Given,
    seed: Seed,
    make: F,
    orders: mpsc::UnboundedReceiver<Command>,
    report: &Report,
) where
    T: Wire + 'static,
    F: FnOnce(&Settings, Trust) -> T,
{
    let runtime_start = Instant::now();
    // This is no `LocalSet` in an ordinary runtime. There, whatever comes from a socket wakes a set by writing to an
    // event descriptor. That is two system calls for each turn of the loop.
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            // Without a receiver no caller wants to know.
            let _ = report.send(Err(StartError::System(error)));
            return;
        }
    };
    runtime.block_on(live(runtime_start, (settings, given), seed, make, orders, report));
}

async fn live<T, F>(
    runtime_start: Instant,
    (settings, given): (Settings, Given),
    seed: Seed,
    make: F,
    mut orders: mpsc::UnboundedReceiver<Command>,
    report: &Report,
) where
    T: Wire + 'static,
    F: FnOnce(&Settings, Trust) -> T,
{
    let candidates = listener::candidates(&settings.address, settings.bind);
    let listener = match listener::listen(&candidates) {
        Ok(listener) => listener,
        Err(error) => {
            let _ = report.send(Err(StartError::Listen { at: candidates[0], error }));
            return;
        }
    };
    let local_address = listener.local_addr().unwrap_or(candidates[0]);
    advice::on_start(&settings, local_address.ip());
    let service = assemble(&settings, given, seed, make);
    info!(replica = %settings.address, %local_address, cluster = settings.cluster, "replica started");
    spawn_local(driver::drive(service.node.clone(), service.connections.clone(), runtime_start));
    spawn_local(listener::sweep(service.clone()));
    if let Some(access) = service.access.clone() {
        spawn_local(withdraw(access, service.clone()));
    }
    let accepting = spawn_local(listener::accept(listener, service.clone()));
    let _ = report.send(Ok(local_address));
    loop {
        match orders.recv().await {
            Some(Command::Status(answer)) => _ = answer.send(service.node.status()),
            Some(Command::Named(addresses)) => _ = service.node.step(Input::Named { addresses }, None),
            Some(Command::Shutdown) => break,
            Some(Command::Kill) | None => return,
        }
    }
    accepting.abort();
    info!(replica = %settings.address, "shutting down");
    tokio::select! {
        () = finish(&service) => info!(replica = %settings.address, "replica ended"),
        () = killed(&mut orders) => {}
    }
}

/// Whenever tokens of clients were read again, ends the watches of those who may not watch any more.
async fn withdraw<T: Wire>(access: Access, service: Rc<Service<T>>) {
    loop {
        access.changed().await;
        service.node.watches().look();
    }
}

fn assemble<T: Wire>(
    settings: &Settings,
    Given { trust, access, exporter }: Given,
    seed: Seed,
    make: impl FnOnce(&Settings, Trust) -> T,
) -> Rc<Service<T>> {
    let clock = Clock::start();
    let mut view = settings.view.clone();
    if !view.contains(&settings.address) {
        view.push(settings.address.clone());
    }
    let identity = Identity { address: settings.address.clone(), view };
    // Watches leave a quarter of all connections to those who ask.
    let connections_max = settings.limits.connections_max;
    let watches_max = settings.config.watches_max.min(connections_max - connections_max.div_ceil(4));
    let config = Config { watches_max, ..settings.config.clone() };
    let replica = Replica::new(Sound, config, identity, seed, clock.now());
    let node = Node::new(replica, make(settings, trust.clone()), clock, Tracer::new(exporter));
    // A new replica may have something to say before anything happens.
    node.flush();
    Rc::new(Service {
        node,
        connections: Connections::new(&settings.limits, trust.tls.is_some()),
        limits: settings.limits.clone(),
        access,
        mint: Mint::new(ClusterTag::of(&settings.cluster), &trust),
        browsers: Browsers::new(&settings.browsers, trust.tls.is_some()),
        trust,
        memory_max: settings.memory_max,
        console: settings.console.clone(),
    })
}

async fn killed(orders: &mut mpsc::UnboundedReceiver<Command>) {
    while let Some(Command::Status(_) | Command::Named(_) | Command::Shutdown) = orders.recv().await {}
}

/// Lets requests in flight finish, then lets peers take what only this replica has.
async fn finish<T: Wire>(service: &Service<T>) {
    service.connections.stop();
    // Watches have no end of their own. Their clients go on elsewhere.
    service.node.watches().end();
    let answered = || service.connections.len() == 0;
    if !holds_within(SHUTDOWN_TIMEOUT, answered).await {
        service.node.refuse_blocked();
    }
    if !holds_within(REFUSAL_TIMEOUT, answered).await {
        warn!(connections = service.connections.len(), "requests in flight were cut off");
    }
    // Peers fetch at once what they lack, instead of waiting until a gap has stood for a while.
    service.node.step(Input::Leave, None);
    // What comes from now on is with its senders.
    let held = service.node.status().vector;
    if !holds_within(SHUTDOWN_TIMEOUT, || peers_have(&held, &service.node.status())).await {
        warn!("a peer did not take everything in time");
    }
}

/// Does every peer that answers cover what was held here? A peer has what it wrote itself, said or not, and every peer
/// has what was retired meanwhile.
fn peers_have(held: &VersionVector, status: &ReplicaStatus) -> bool {
    let mut answering = status.peers.iter().filter(|peer| peer.link == LinkState::Established && !peer.suspected);
    answering.all(|peer| {
        let record = status.view.iter().find(|record| record.address == peer.address);
        let own = record.and_then(|record| record.newest).map(|newest| newest.incarnation);
        held.entries().all(|(incarnation, counter)| {
            Some(incarnation) == own
                || peer.vector.counter(incarnation) >= counter.min(status.vector.counter(incarnation))
        })
    })
}

async fn holds_within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() >= limit {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}
