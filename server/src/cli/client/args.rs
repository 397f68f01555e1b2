//! The arguments of the commands that ask replicas.

use crate::settings::{SettingError, parse_time};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use hence_client::{Concern, Tag};
use std::path::PathBuf;
use std::time::Duration;

/// The replicas that `hence up` starts.
const DEFAULT_ENDPOINTS: &str = "127.0.0.1:8082,127.0.0.1:8083,127.0.0.1:8084";

/// A body of 8 MiB, the most that a replica takes by default, without `{"value":""}`.
const VALUE_BYTES_MAX: u64 = (8 << 20) - 12;

/// What `--help` of each of these commands shows at its end.
pub(crate) const EXIT_CODES: &str = "\
A read is asked again at the next endpoint, with the same session. A write is asked again only where no replica did
it: after 503, or without a connection.

Exit codes:
  0    it was done
  1    it was not done: no replica serves it, or a replica refuses it
  2    usage, or what is no value, session or certificate
  3    get: the key does not exist
  4    a precondition does not hold, and nothing was done
  5    a write was sent and its answer is lost: it was done, or it was not
  6    the write is done, and fewer replicas have it than --write-concern asks for
  7    what the session saw is lost; --accept-loss goes on with what is left
  101  a mistake of ours, which is told
  130  Ctrl-C ended it; 143: SIGTERM did. A watch and a load end with 0";

/// Which replicas, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Replicas")]
pub(crate) struct AskArgs {
    /// Where replicas are reached, separated by commas: HOST:PORT, or https://HOST:PORT. Without a port it is 80 or 443
    #[arg(long, global = true, env = "HENCE_ENDPOINTS", value_name = "ENDPOINTS", value_delimiter = ',',
          default_value = DEFAULT_ENDPOINTS)]
    pub(crate) endpoints: Vec<String>,
    /// The file of the authorities that may have signed the replicas' certificates, for https
    #[arg(long, global = true, env = "HENCE_PEER_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The file of a bearer token, for replicas with an access file
    #[arg(long, global = true, env = "HENCE_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The time for all attempts together
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    pub(crate) timeout: Duration,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What the request is to follow.
#[derive(Debug, Args)]
#[command(next_help_heading = "Session")]
pub(crate) struct SessionArgs {
    /// The file that keeps what was seen from one command to the next. It is made where it is missing. Commands at a time lose nothing of each other's
    #[arg(long, env = "HENCE_SESSION", value_name = "FILE")]
    pub(crate) session: Option<PathBuf>,
    /// Where writes that the session saw are lost, go on with what is left
    #[arg(long)]
    pub(crate) accept_loss: bool,
    /// Seconds to wait for what the session saw, and for a write concern; at most 30
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=30))]
    pub(crate) wait: Option<u64>,
}

/// A request of a session: of which replicas, and what it is to follow.
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// How to write.
#[derive(Debug, Args)]
#[command(next_help_heading = "Writes")]
pub(crate) struct WriteArgs {
    /// Send a write again although its answer is lost. It may replace what came in between
    #[arg(long)]
    pub(crate) retry_unknown: bool,
}

/// How to write one key.
#[derive(Debug, Args)]
#[command(next_help_heading = "Writes")]
pub(crate) struct ConcernArgs {
    #[command(flatten)]
    pub(crate) write: WriteArgs,
    /// Replicas that are to have the write before it is answered: a number, majority or all
    #[arg(long, value_name = "N")]
    pub(crate) write_concern: Option<Concern>,
    /// Only if the replica shows exactly these versions, as --json shows them in etag
    #[arg(long, value_name = "ETAG")]
    pub(crate) if_match: Option<Tag>,
}

/// `hence get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The key
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) key: String,
    /// Print the values of all concurrent versions, a line each, the winner first
    #[arg(long)]
    pub(crate) siblings: bool,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
}

/// `hence put`.
#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// The key
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) key: String,
    /// The value in JSON; without it, it is read from standard input
    #[arg(allow_hyphen_values = true)]
    pub(crate) value: Option<String>,
    /// The value is a text, and is written as a JSON string
    #[arg(long)]
    pub(crate) text: bool,
    /// Only if the replica shows no version
    #[arg(long, conflicts_with = "if_match")]
    pub(crate) if_absent: bool,
    #[command(flatten)]
    pub(crate) concern: ConcernArgs,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
}

/// `hence del`.
#[derive(Debug, Args)]
pub(crate) struct DelArgs {
    /// The key
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) concern: ConcernArgs,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
}

/// `hence batch`.
#[derive(Debug, Args)]
pub(crate) struct BatchArgs {
    /// The file of a JSON list of operations, such as [{"op":"put","key":"x","value":1},{"op":"get","key":"y"}]; without
    /// it, or for -, standard input
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
    /// Replicas that are to have the writes before they are answered: a number, majority or all
    #[arg(long, value_name = "N", help_heading = "Writes")]
    pub(crate) write_concern: Option<Concern>,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
}

/// `hence ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// From the last key to the first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Print what keys have in common up to this text, once, instead of the keys
    #[arg(long, value_name = "TEXT")]
    pub(crate) delimiter: Option<String>,
    /// End after so many keys
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Print the winner's value behind each key, after a tab
    #[arg(long, conflicts_with = "count")]
    pub(crate) values: bool,
    /// Print how many keys there are, and none of them
    #[arg(long, conflicts_with_all = ["limit", "delimiter", "reverse"])]
    pub(crate) count: bool,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
}

/// `hence watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The key; without it and without --prefix, every key is watched
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) key: Option<String>,
    /// Only keys that begin so
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, conflicts_with = "key")]
    pub(crate) prefix: String,
    /// Print no values
    #[arg(long)]
    pub(crate) keys_only: bool,
    /// Go on from where an earlier watch of the same keys was, as --json shows it in id
    #[arg(long, value_name = "ID")]
    pub(crate) since: Option<String>,
    /// End when what is there now was printed
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
}

/// Which keys.
#[derive(Debug, Args)]
#[command(next_help_heading = "Keys")]
pub(crate) struct RangeArgs {
    /// Only keys that begin so
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// Only this key and those after it, in the order of their bytes
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    pub(crate) start: String,
    /// Only keys before this one
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    pub(crate) end: String,
}

/// `hence export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file to write; without it, or for -, standard output. A file appears when it is whole; a pipe or
    /// a device is written straight into
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
}

/// `hence import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file of lines as hence export writes them; without it, or for -, standard input
    pub(crate) file: Option<PathBuf>,
    /// A file that notes which lines are written. Where it is there, they are passed over
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
    /// Batches on their way at a time
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) batches: u16,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
}

/// `hence bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Sessions that ask at a time, a connection each
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) connections: u32,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// Percent of the requests that read
    #[arg(long, value_name = "PERCENT", default_value = "50", value_parser = clap::value_parser!(u64).range(0..=100))]
    pub(crate) reads: u64,
    /// Letters of each value
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u64).range(0..=VALUE_BYTES_MAX))]
    pub(crate) value_bytes: u64,
    /// How many keys; all are written first, and stay
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) keys: u64,
    /// What the names of the keys begin with
    #[arg(long, value_name = "TEXT", default_value = "bench/")]
    pub(crate) prefix: String,
    /// Requests a second, all connections together; without it, as many as are answered. A time counts from the moment
    /// when its request is due
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) rate: Option<u64>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

/// `hence view`.
#[derive(Debug, Args)]
pub(crate) struct ViewArgs {
    #[command(subcommand)]
    pub(crate) change: Option<ViewChange>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

/// A change of the view.
#[derive(Debug, Subcommand)]
pub(crate) enum ViewChange {
    /// Make an address a member
    Add {
        /// IP:PORT or HOST:PORT
        address: String,
    },
    /// Remove a member, for good
    Remove {
        /// IP:PORT or HOST:PORT
        address: String,
    },
}

/// `hence status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

fn duration(text: &str) -> Result<Duration, SettingError> {
    parse_time("--duration", text, Duration::from_millis(10), Duration::from_secs(86_400))
}

fn timeout(text: &str) -> Result<Duration, SettingError> {
    parse_time("--timeout", text, Duration::from_millis(1), Duration::from_secs(3_600))
}
