//! Arguments and environment. Every setting is a flag and a variable; a wrong one names itself.
//!
//! The defaults shown by `--help` are texts; a test holds them equal to the defaults of the types.

use super::browser_args::BrowserArgs;
use super::client::args::{
    BatchArgs, BenchArgs, DelArgs, EXIT_CODES, ExportArgs, GetArgs, ImportArgs, LsArgs, PutArgs, StatusArgs, ViewArgs,
    WatchArgs,
};
use super::examples::{HEALTH_EXAMPLES, SERVE_EXAMPLES, UP_EXAMPLES};
use super::health_args::HealthArgs;
use super::trust_args::TrustArgs;
use super::values::{address, bind, bytes, number, time};
use crate::formats;
use crate::memory::MemoryMax;
use crate::settings::{DEFAULT_CLUSTER, Limits, Listed, Settings};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use hence_core::{Address, Config, Micros, Token};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// However long tokens may be: vectors are gone through for every request.
const VECTOR_MAX: usize = 512;

const ABOUT: &str = "A replicated, causally consistent key-value store in memory";

const EXAMPLES: &str = "\
Examples:
  Three replicas in one process, to try things out:
    hence up
  One replica of three:
    SOCKET_ADDRESS=10.10.0.2:8090 VIEW=10.10.0.2:8090,10.10.0.3:8090,10.10.0.4:8090 hence serve
  Write at one replica of these, and read at another with what the write returned:
    hence put x 1 --session ME
    hence get x --session ME --endpoints 127.0.0.1:8083
  Does a replica run?
    hence health localhost:8082

Exit codes:
  0    it went well
  1    it went wrong while running
  2    usage, or a wrong setting, which is named
  101  a mistake of ours, which is told

The help of each command says what that means there.";

/// The version, and the commit that it was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("HENCE_BUILT_FROM"), ")");

/// The command line of `hence`.
#[derive(Debug, Parser)]
#[command(name = "hence", version = VERSION, about = ABOUT, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one replica
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Run a whole cluster in this process, on loopback, and play with it
    #[command(after_help = UP_EXAMPLES)]
    Up(Box<UpArgs>),
    /// Ask a replica whether it runs; exit code 0 if so, 1 if not
    #[command(after_help = HEALTH_EXAMPLES)]
    Health(HealthArgs),
    /// Read a key
    #[command(after_help = EXIT_CODES)]
    Get(Box<GetArgs>),
    /// Write a key
    #[command(after_help = EXIT_CODES)]
    Put(Box<PutArgs>),
    /// Delete a key
    #[command(after_help = EXIT_CODES)]
    Del(Box<DelArgs>),
    /// List the keys of a range, in the order of their bytes
    #[command(after_help = EXIT_CODES)]
    Ls(Box<LsArgs>),
    /// Print what is there of some keys, and then what changes, at whichever replica answers
    #[command(after_help = EXIT_CODES)]
    Watch(Box<WatchArgs>),
    /// Read and write several keys at one moment: all writes or none
    #[command(after_help = EXIT_CODES)]
    Batch(Box<BatchArgs>),
    /// List the members, add one or remove one
    #[command(after_help = EXIT_CODES)]
    View(Box<ViewArgs>),
    /// Ask each endpoint how it is; exit code 0 if all are ready
    #[command(after_help = EXIT_CODES)]
    Status(Box<StatusArgs>),
    /// Write all keys as lines of JSON
    #[command(after_help = EXIT_CODES)]
    Export(Box<ExportArgs>),
    /// Put the keys of such lines, in batches
    #[command(after_help = EXIT_CODES)]
    Import(Box<ImportArgs>),
    /// Read and write for a while, and say how long that took
    #[command(after_help = EXIT_CODES)]
    Bench(Box<BenchArgs>),
}

/// `hence serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// This replica's own address, IP:PORT or HOST:PORT, as peers and clients reach it. It listens there; with
    /// a host name, at that port of all interfaces
    #[arg(long, env = "SOCKET_ADDRESS", value_name = "SOCKET_ADDRESS", value_parser = address("SOCKET_ADDRESS"))]
    pub(crate) socket_address: Address,
    /// The cluster's members, separated by commas. For dns:NAME:PORT, the SRV records of NAME name members, again and
    /// again [default: only this replica]
    #[arg(long, env = "VIEW", value_name = "VIEW", value_parser = Listed::parse)]
    pub(crate) view: Option<Listed>,
    /// The cluster's name; metadata and peers of a cluster of another name are refused
    #[arg(long, env = "CLUSTER", value_name = "NAME", default_value = DEFAULT_CLUSTER)]
    pub(crate) cluster: String,
    /// Listen here instead of at the own address
    #[arg(long, env = "HENCE_BIND", value_name = "IP:PORT", value_parser = bind)]
    pub(crate) bind: Option<SocketAddr>,
    /// Clients must bear a token of this file: lines of scopes and a SHA-256, such as read,write HASH
    #[arg(long, env = "HENCE_ACCESS_FILE", value_name = "FILE")]
    pub(crate) access_file: Option<PathBuf>,
    /// Send spans of traced requests to this collector (OTLP over HTTP), such as http://127.0.0.1:4318
    #[arg(long, env = "HENCE_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    #[command(flatten)]
    pub(crate) browsers: BrowserArgs,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) timings: TimingArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// `hence up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// How many replicas, 1 to 26
    #[arg(value_name = "N", default_value = "3", value_parser = number("N", 1, 26))]
    pub(crate) replicas: u64,
    /// The first replica's port; the others follow
    #[arg(long, env = "HENCE_UP_PORT", value_name = "PORT", default_value = "8082",
          value_parser = number("HENCE_UP_PORT", 1, 65_510))]
    pub(crate) port: u64,
    /// Speak TLS, with certificates of an authority that is made for this run
    #[arg(long)]
    pub(crate) tls: bool,
    /// The cluster's name
    #[arg(long, env = "CLUSTER", value_name = "NAME", default_value = DEFAULT_CLUSTER)]
    pub(crate) cluster: String,
    #[command(flatten)]
    pub(crate) browsers: BrowserArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) timings: TimingArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// How to log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log, to standard error")]
pub(crate) struct LogArgs {
    /// Level: error, warn, info, debug or trace; also per module, as hence_server=debug,warn [default: info; for up: warn]
    #[arg(long, env = "HENCE_LOG", value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// Form of a line
    #[arg(long, env = "HENCE_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For eyes.
    Text,
    /// One JSON object per line.
    Json,
}

/// What clients may do, and what memory it may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Bytes of a request's line and headers; beyond, 431
    #[arg(long, env = "HENCE_HEAD_BYTES_MAX", value_name = "BYTES", default_value = "16KiB",
          value_parser = bytes("HENCE_HEAD_BYTES_MAX", 8 << 10, 1 << 20))]
    head_bytes_max: u64,
    /// Bytes of a request's body; beyond, 413
    #[arg(long, env = "HENCE_BODY_BYTES_MAX", value_name = "BYTES", default_value = "8MiB",
          value_parser = bytes("HENCE_BODY_BYTES_MAX", 1 << 10, 8 << 20))]
    body_bytes_max: u64,
    /// Bytes of all bodies that are being read at a time; beyond, 503. What clients are slow to take counts, too, if only
    /// answers hold it; such clients lose their connections first
    #[arg(long, env = "HENCE_BODIES_BYTES_MAX", value_name = "BYTES", default_value = "256MiB",
          value_parser = bytes("HENCE_BODIES_BYTES_MAX", 1 << 10, u64::MAX))]
    bodies_bytes_max: u64,
    /// Levels of arrays and objects in a body; beyond, 400
    #[arg(long, env = "HENCE_NESTING_MAX", value_name = "NUMBER", default_value = "128",
          value_parser = number("HENCE_NESTING_MAX", 1, 100_000))]
    nesting_max: u64,
    /// Bytes of causal metadata; beyond, 400
    #[arg(long, env = "HENCE_TOKEN_BYTES_MAX", value_name = "BYTES", default_value = "8KiB",
          value_parser = bytes("HENCE_TOKEN_BYTES_MAX", 256, 1 << 20))]
    token_bytes_max: u64,
    /// Time for a request's head; beyond, the connection is closed
    #[arg(long, env = "HENCE_HEAD_TIME_MAX", value_name = "TIME", default_value = "10s",
          value_parser = time("HENCE_HEAD_TIME_MAX", 100, 3_600_000))]
    head_time_max: Micros,
    /// Time for a request's body; beyond, 408
    #[arg(long, env = "HENCE_BODY_TIME_MAX", value_name = "TIME", default_value = "30s",
          value_parser = time("HENCE_BODY_TIME_MAX", 100, 3_600_000))]
    body_time_max: Micros,
    /// Time between requests; beyond, the connection is closed
    #[arg(long, env = "HENCE_IDLE_TIME_MAX", value_name = "TIME", default_value = "75s",
          value_parser = time("HENCE_IDLE_TIME_MAX", 100, 86_400_000))]
    idle_time_max: Micros,
    /// Time for a client to take an answer, and a second more per 64 KiB of it
    #[arg(long, env = "HENCE_ANSWER_TIME_MAX", value_name = "TIME", default_value = "30s",
          value_parser = time("HENCE_ANSWER_TIME_MAX", 100, 3_600_000))]
    answer_time_max: Micros,
    /// A client that watches is sent a line that means nothing this often
    #[arg(long, env = "HENCE_WATCH_HEARTBEAT", value_name = "TIME", default_value = "15s",
          value_parser = time("HENCE_WATCH_HEARTBEAT", 100, 30_000))]
    watch_heartbeat: Micros,
    /// Connections; beyond, the longest idle one makes room
    #[arg(long, env = "HENCE_CONNECTIONS_MAX", value_name = "NUMBER", default_value = "4096",
          value_parser = number("HENCE_CONNECTIONS_MAX", 1, 1_000_000))]
    connections_max: u64,
    /// Clients that watch, at most three quarters of all connections; beyond, one more gets 503
    #[arg(long, env = "HENCE_WATCHES_MAX", value_name = "NUMBER", default_value = "3072",
          value_parser = number("HENCE_WATCHES_MAX", 0, 1_000_000))]
    watches_max: u64,
    /// Keys that changed and were not told yet; beyond, watches that are behind look through what they watch again
    #[arg(long, env = "HENCE_WATCH_CHANGES_MAX", value_name = "NUMBER", default_value = "65536",
          value_parser = number("HENCE_WATCH_CHANGES_MAX", 1, 1 << 30))]
    watch_changes_max: u64,
    /// Deletes remembered for watches that go on; one that goes on from before them is told the present state
    #[arg(long, env = "HENCE_WATCH_DELETES_MAX", value_name = "NUMBER", default_value = "65536",
          value_parser = number("HENCE_WATCH_DELETES_MAX", 0, 1 << 30))]
    watch_deletes_max: u64,
    /// Bytes of operations kept for repair; beyond, a peer that needs older ones gets the whole state
    #[arg(long, env = "HENCE_LOG_BYTES_MAX", value_name = "BYTES", default_value = "64MiB",
          value_parser = bytes("HENCE_LOG_BYTES_MAX", 0, u64::MAX))]
    log_bytes_max: u64,
    /// Operations that wait for causally earlier ones; beyond, they are fetched later
    #[arg(long, alias = "parked-max", env = "HENCE_CAUSAL_BUFFER_MAX", value_name = "NUMBER", default_value = "16384",
          value_parser = number("HENCE_CAUSAL_BUFFER_MAX", 1, 1 << 30))]
    causal_buffer_max: u64,
    /// Requests that wait for their dependencies or write concern; beyond, they are refused at once
    #[arg(long, alias = "waiting-max", env = "HENCE_BLOCKED_MAX", value_name = "NUMBER", default_value = "4096",
          value_parser = number("HENCE_BLOCKED_MAX", 0, 1 << 30))]
    blocked_max: u64,
    /// Operations on their way to a peer; beyond, it gets them later
    #[arg(long, env = "HENCE_CREDIT_OPS_MAX", value_name = "NUMBER", default_value = "4096",
          value_parser = number("HENCE_CREDIT_OPS_MAX", 1, 1 << 30))]
    credit_ops_max: u64,
    /// Bytes on their way to a peer
    #[arg(long, env = "HENCE_CREDIT_BYTES_MAX", value_name = "BYTES", default_value = "4MiB",
          value_parser = bytes("HENCE_CREDIT_BYTES_MAX", 1, 1 << 40))]
    credit_bytes_max: u64,
    /// Operations in one frame of a fetch
    #[arg(long, env = "HENCE_FRAME_OPS_MAX", value_name = "NUMBER", default_value = "256",
          value_parser = number("HENCE_FRAME_OPS_MAX", 1, 1 << 20))]
    frame_ops_max: u64,
    /// Bytes in one frame of a fetch
    #[arg(long, env = "HENCE_FRAME_BYTES_MAX", value_name = "BYTES", default_value = "64KiB",
          value_parser = bytes("HENCE_FRAME_BYTES_MAX", 1, 4 << 20))]
    frame_bytes_max: u64,
    /// Frames of a fetch on their way at a time
    #[arg(long, env = "HENCE_FRAMES_AHEAD_MAX", value_name = "NUMBER", default_value = "8",
          value_parser = number("HENCE_FRAMES_AHEAD_MAX", 1, 1 << 20))]
    frames_ahead_max: u64,
    /// Bytes of memory that the process may take, or "none". Near it, writes that add get 503 [default: what the
    /// container may take]
    #[arg(long, env = "HENCE_MEMORY_MAX", value_name = "BYTES", value_parser = MemoryMax::parse)]
    pub(crate) memory_max: Option<MemoryMax>,
    /// Bytes of keys and values; beyond, writes that add get 503 and reads go on [default: no limit]
    #[arg(long, env = "HENCE_STORE_BYTES_MAX", value_name = "BYTES",
          value_parser = bytes("HENCE_STORE_BYTES_MAX", 0, u64::MAX))]
    store_bytes_max: Option<u64>,
}

/// When things happen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Timings")]
pub(crate) struct TimingArgs {
    /// A peer that heard nothing for so long gets a sign of life
    #[arg(long, env = "HENCE_HEARTBEAT_INTERVAL", value_name = "TIME", default_value = "200ms",
          value_parser = time("HENCE_HEARTBEAT_INTERVAL", 10, 10_000))]
    heartbeat_interval: Micros,
    /// A write that came from a peer is acknowledged after this at the latest
    #[arg(long, env = "HENCE_ACK_DELAY", value_name = "TIME", default_value = "10ms",
          value_parser = time("HENCE_ACK_DELAY", 0, 1_000))]
    ack_delay: Micros,
    /// A peer that does not answer is tried again after this; suspected, after twice this
    #[arg(long, env = "HENCE_HELLO_INTERVAL", value_name = "TIME", default_value = "250ms",
          value_parser = time("HENCE_HELLO_INTERVAL", 10, 60_000))]
    hello_interval: Micros,
    /// A peer that has been gone for a minute is tried this often
    #[arg(long, env = "HENCE_PROBE_INTERVAL_MAX", value_name = "TIME", default_value = "2s",
          value_parser = time("HENCE_PROBE_INTERVAL_MAX", 10, 600_000))]
    probe_interval_max: Micros,
    /// A write that comes later than this is discarded and repaired
    #[arg(long, env = "HENCE_LATE_MAX", value_name = "TIME", default_value = "500ms",
          value_parser = time("HENCE_LATE_MAX", 1, 600_000))]
    late_max: Micros,
    /// A gap is repaired when it has stood for so long
    #[arg(long, env = "HENCE_REPAIR_DELAY", value_name = "TIME", default_value = "2500ms",
          value_parser = time("HENCE_REPAIR_DELAY", 0, 600_000))]
    repair_delay: Micros,
    /// A fetch without progress for so long is tried elsewhere
    #[arg(long, env = "HENCE_PULL_TIMEOUT", value_name = "TIME", default_value = "1s",
          value_parser = time("HENCE_PULL_TIMEOUT", 10, 600_000))]
    pull_timeout: Micros,
    /// The shortest silence after which a peer is suspected
    #[arg(long, env = "HENCE_SUSPECT_AFTER_MIN", value_name = "TIME", default_value = "3s",
          value_parser = time("HENCE_SUSPECT_AFTER_MIN", 10, 600_000))]
    suspect_after_min: Micros,
    /// The longest silence before a peer is suspected
    #[arg(long, env = "HENCE_SUSPECT_AFTER_MAX", value_name = "TIME", default_value = "4s",
          value_parser = time("HENCE_SUSPECT_AFTER_MAX", 10, 600_000))]
    suspect_after_max: Micros,
    /// A replica that no member answers starts alone after this
    #[arg(long, env = "HENCE_JOIN_ALONE_AFTER", value_name = "TIME", default_value = "1s",
          value_parser = time("HENCE_JOIN_ALONE_AFTER", 0, 600_000))]
    join_alone_after: Micros,
    /// The same while some address accepts connections but does not answer yet
    #[arg(long, env = "HENCE_JOIN_ALONE_AFTER_CONTACT", value_name = "TIME", default_value = "3s",
          value_parser = time("HENCE_JOIN_ALONE_AFTER_CONTACT", 0, 600_000))]
    join_alone_after_contact: Micros,
    /// A replica that started alone is ready after this although members were never met; it serves all the time
    #[arg(long, env = "HENCE_READY_ALONE_AFTER", value_name = "TIME", default_value = "30s",
          value_parser = time("HENCE_READY_ALONE_AFTER", 0, 86_400_000))]
    ready_alone_after: Micros,
    /// A wall clock that is ahead of all peers' by more than this is not used
    #[arg(long, env = "HENCE_WALL_AHEAD_MAX", value_name = "TIME", default_value = "60s",
          value_parser = time("HENCE_WALL_AHEAD_MAX", 1, 86_400_000))]
    wall_ahead_max: Micros,
    /// A member that was silent for so long no longer delays the retirement of incarnations that are over
    #[arg(long, alias = "retire-patience", env = "HENCE_RETIRE_TIMEOUT", value_name = "TIME", default_value = "10m",
          value_parser = time("HENCE_RETIRE_TIMEOUT", 0, 86_400_000))]
    retire_timeout: Micros,
    /// A removed address that does not answer is looked for no longer than this
    #[arg(long, alias = "removed-patience", env = "HENCE_REMOVED_TIMEOUT", value_name = "TIME", default_value = "10m",
          value_parser = time("HENCE_REMOVED_TIMEOUT", 0, 86_400_000))]
    removed_timeout: Micros,
    /// The longest that a request may wait for its dependencies
    #[arg(long, env = "HENCE_WAIT_MAX", value_name = "TIME", default_value = "30s",
          value_parser = time("HENCE_WAIT_MAX", 0, 30_000))]
    wait_max: Micros,
}

impl ServeArgs {
    /// The settings of the replica, and whether its own address was missing from the view it was given.
    pub(crate) fn settings(&self) -> (Settings, bool) {
        let address = self.socket_address.clone();
        let Listed { addresses: mut view, services } = self.view.clone().unwrap_or_default();
        let missing = !view.is_empty() && !view.contains(&address) && services.is_empty();
        if !view.contains(&address) {
            view.push(address.clone());
        }
        let settings = Settings {
            address,
            view,
            services,
            cluster: self.cluster.clone(),
            bind: self.bind,
            access: self.access_file.clone(),
            trust: self.trust.settings(),
            config: config(&self.limits, &self.timings),
            limits: self.limits.limits(),
            browsers: self.browsers.settings(),
            traces_to: self.otlp_endpoint.clone(),
            memory_max: None,
            console: None,
        };
        (settings, missing)
    }
}

impl UpArgs {
    /// How many connections each replica may have.
    pub(crate) fn connections_max(&self) -> usize {
        size(self.limits.connections_max)
    }

    /// The settings that all replicas share, with this address and view.
    pub(crate) fn settings(&self, address: Address, view: Vec<Address>) -> Settings {
        Settings {
            view,
            cluster: self.cluster.clone(),
            config: config(&self.limits, &self.timings),
            limits: self.limits.limits(),
            browsers: self.browsers.settings(),
            ..Settings::at(address)
        }
    }
}

impl LimitArgs {
    fn limits(&self) -> Limits {
        Limits {
            head_bytes_max: size(self.head_bytes_max),
            body_bytes_max: size(self.body_bytes_max),
            bodies_bytes_max: size(self.bodies_bytes_max),
            nesting_max: size(self.nesting_max),
            token_bytes_max: size(self.token_bytes_max),
            head_time_max: Duration::from_micros(self.head_time_max.0),
            body_time_max: Duration::from_micros(self.body_time_max.0),
            idle_time_max: Duration::from_micros(self.idle_time_max.0),
            answer_time_max: Duration::from_micros(self.answer_time_max.0),
            connections_max: size(self.connections_max),
            watch_heartbeat: Duration::from_micros(self.watch_heartbeat.0),
            ..Limits::default()
        }
    }
}

fn config(limits: &LimitArgs, timings: &TimingArgs) -> Config {
    Config {
        heartbeat_interval: timings.heartbeat_interval,
        ack_delay: timings.ack_delay,
        hello_interval: timings.hello_interval,
        probe_interval_max: timings.probe_interval_max,
        late_max: timings.late_max,
        repair_delay: timings.repair_delay,
        pull_timeout: timings.pull_timeout,
        suspect_after_min: timings.suspect_after_min,
        suspect_after_max: timings.suspect_after_max,
        join_alone_after: timings.join_alone_after,
        join_alone_after_contact: timings.join_alone_after_contact,
        ready_alone_after: timings.ready_alone_after,
        wall_ahead_max: timings.wall_ahead_max,
        retire_timeout: timings.retire_timeout,
        vector_max: vector_max(size(limits.token_bytes_max)),
        removed_timeout: timings.removed_timeout,
        log_bytes_max: size(limits.log_bytes_max),
        causal_buffer_max: size(limits.causal_buffer_max),
        blocked_max: size(limits.blocked_max),
        watches_max: size(limits.watches_max),
        watch_changes_max: size(limits.watch_changes_max),
        watch_deletes_max: size(limits.watch_deletes_max),
        wait_max: timings.wait_max,
        credit_ops_max: limits.credit_ops_max,
        credit_bytes_max: size(limits.credit_bytes_max),
        frame_ops_max: size(limits.frame_ops_max),
        frame_bytes_max: size(limits.frame_bytes_max),
        frames_ahead_max: u32::try_from(limits.frames_ahead_max).unwrap_or(u32::MAX),
        store_bytes_max: limits.store_bytes_max.unwrap_or(u64::MAX),
        formats: formats::spoken(),
        ..Config::default()
    }
}

/// The environment variables of all settings of all commands.
pub(crate) fn variables() -> Vec<String> {
    let command = Cli::command();
    let arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
    arguments.filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned)).collect()
}

/// Vectors of twice as many entries make tokens that are still accepted.
fn vector_max(token_bytes_max: usize) -> usize {
    (Token::entries_within(token_bytes_max) / 2).clamp(1, VECTOR_MAX)
}

/// A number of things in memory; what does not fit memory anyway is no limit.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variables that other tests' environment could set are cleared by name, in the parser itself.
    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        let command = without_environment(Cli::command());
        let matches = command.try_get_matches_from([&["hence"], arguments].concat())?;
        <Cli as clap::FromArgMatches>::from_arg_matches(&matches)
    }

    fn without_environment(command: clap::Command) -> clap::Command {
        let command = command.mut_args(|argument| argument.env(None::<&str>));
        let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        names.into_iter().fold(command, |command, name| command.mut_subcommand(name, without_environment))
    }

    fn serve(arguments: &[&str]) -> ServeArgs {
        let parsed = parse(&[&["serve"], arguments].concat()).unwrap().command;
        let Command::Serve(serve) = parsed else { panic!("{parsed:?}") };
        *serve
    }

    #[test]
    fn the_command_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_help_shows_is_what_the_types_default_to() {
        let (settings, missing) = serve(&["--socket-address", "127.0.0.2:8090"]).settings();
        assert_eq!(settings, Settings::at(Address::parse("127.0.0.2:8090").unwrap()));
        assert!(!missing);
        assert_eq!(settings.check(), Ok(()));
    }

    #[test]
    fn the_own_address_joins_the_view() {
        let (settings, missing) = serve(&["--socket-address", "a:1", "--view", "b:1, c:1"]).settings();
        let texts: Vec<&str> = settings.view.iter().map(Address::as_str).collect();
        assert_eq!((texts, missing), (vec!["b:1", "c:1", "a:1"], true));
        let (settings, missing) = serve(&["--socket-address", "a:1", "--view", ""]).settings();
        assert_eq!((settings.view.len(), missing), (1, false));
    }

    #[test]
    fn every_setting_has_a_variable_of_its_name() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        for argument in serve.get_arguments().filter(|argument| argument.get_long().is_some()) {
            let long = argument.get_long().unwrap();
            if matches!(long, "help" | "version") {
                continue;
            }
            let variable = long.replace('-', "_").to_uppercase();
            let expected = match long {
                "socket-address" | "view" | "cluster" => variable,
                _ => format!("HENCE_{variable}"),
            };
            assert_eq!(argument.get_env().unwrap().to_str().unwrap(), expected);
        }
    }

    #[test]
    fn wrong_values_name_the_setting_and_the_range() {
        for (flag, value, expected) in [
            (
                "--late-max",
                "5",
                "HENCE_LATE_MAX is \"5\"; it must be a time with its unit (us, ms, s, m, h) from 1ms to 10m",
            ),
            (
                "--body-bytes-max",
                "9MiB",
                "HENCE_BODY_BYTES_MAX is \"9MiB\"; it must be a number of bytes, with or without a unit (KiB, MiB, GiB), from 1KiB to 8MiB",
            ),
            ("--nesting-max", "0", "HENCE_NESTING_MAX is \"0\"; it must be a whole number from 1 to 100000"),
            ("--socket-address", "x", "SOCKET_ADDRESS is \"x\"; it must be IP:PORT or HOST:PORT"),
            (
                "--socket-address",
                "0.0.0.0:8090",
                "SOCKET_ADDRESS is \"0.0.0.0:8090\"; it must be an address that peers",
            ),
            ("--view", "a:1,[::]:1", "VIEW is \"[::]:1\"; it must be an address that peers"),
            ("--bind", "0.0.0.0:0", "HENCE_BIND is \"0.0.0.0:0\"; it must be IP:PORT"),
            ("--view", "a:1,b", "VIEW is \"b\"; it must be IP:PORT or HOST:PORT"),
            ("--bind", "localhost:1", "HENCE_BIND is \"localhost:1\"; it must be IP:PORT"),
        ] {
            let own: &[&str] = if flag == "--socket-address" { &[] } else { &["--socket-address", "a:1"] };
            let error = parse(&[&["serve", flag, value], own].concat()).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains(expected), "{text}");
        }
        assert_eq!(parse(&["serve"]).unwrap_err().exit_code(), 2);
        assert!(
            parse(&["up", "27"])
                .unwrap_err()
                .to_string()
                .contains("N is \"27\"; it must be a whole number from 1 to 26")
        );
    }
}
