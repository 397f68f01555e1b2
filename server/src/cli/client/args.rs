//! The arguments of the commands that ask replicas.

use crate::settings::{SettingError, parse_time};
use clap::{Args, Subcommand};
use hence_client::{Concern, Tag};
use std::path::PathBuf;
use std::time::Duration;

/// The replicas that `hence up` starts.
const DEFAULT_ENDPOINTS: &str = "127.0.0.1:8082,127.0.0.1:8083,127.0.0.1:8084";

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
  101  a mistake of ours, which is told";

/// Which replicas, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Replicas")]
pub(crate) struct AskArgs {
    /// Where replicas are reached, separated by commas: HOST:PORT, or https://HOST:PORT
    #[arg(long, env = "HENCE_ENDPOINTS", value_name = "ENDPOINTS", value_delimiter = ',',
          default_value = DEFAULT_ENDPOINTS)]
    pub(crate) endpoints: Vec<String>,
    /// The file of the authorities that may have signed the replicas' certificates, for https
    #[arg(long, env = "HENCE_PEER_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The file of a bearer token, for replicas with an access file
    #[arg(long, env = "HENCE_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The time for all attempts together
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    pub(crate) timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the request is to follow.
#[derive(Debug, Args)]
#[command(next_help_heading = "Session")]
pub(crate) struct SessionArgs {
    /// The file that keeps what was seen from one command to the next. It is made where it is missing, and replaced by
    /// renaming. Commands at a time lose nothing of each other's
    #[arg(long, env = "HENCE_SESSION", value_name = "FILE")]
    pub(crate) session: Option<PathBuf>,
    /// Where writes that the session saw are lost, go on with what is left
    #[arg(long)]
    pub(crate) accept_loss: bool,
    /// Seconds to wait for what the session saw, and for a write concern; at most 30
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=30))]
    pub(crate) wait: Option<u64>,
}

/// How to write.
#[derive(Debug, Args)]
#[command(next_help_heading = "Writes")]
pub(crate) struct WriteArgs {
    /// Send a write again although its answer is lost. It may replace what came in between
    #[arg(long)]
    pub(crate) retry_unknown: bool,
}

/// How far a write of one key is to spread.
#[derive(Debug, Args)]
#[command(next_help_heading = "Writes")]
pub(crate) struct ConcernArgs {
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
    pub(crate) key: String,
    /// Print the values of all concurrent versions, a line each, the winner first
    #[arg(long)]
    pub(crate) siblings: bool,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// `hence put`.
#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// The key
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
    pub(crate) write: WriteArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// `hence del`.
#[derive(Debug, Args)]
pub(crate) struct DelArgs {
    /// The key
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) concern: ConcernArgs,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// `hence batch`.
#[derive(Debug, Args)]
pub(crate) struct BatchArgs {
    /// The file of a JSON list of operations, such as [{"op":"put","key":"x","value":1},{"op":"get","key":"y"}]; without
    /// it, or for -, standard input
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    #[command(flatten)]
    pub(crate) session: SessionArgs,
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

fn timeout(text: &str) -> Result<Duration, SettingError> {
    parse_time("--timeout", text, Duration::from_millis(1), Duration::from_secs(3_600))
}
