//! The arguments about trust: TLS and the shared secret.

use crate::settings::{SecretText, TrustSettings};
use clap::{Args, ValueEnum};
use hence_transport::trust::Changeover;
use std::path::PathBuf;

/// What peers and clients have to show.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Trust")]
pub(crate) struct TrustArgs {
    /// The file of this replica's certificate, in PEM form; clients and peers then speak TLS
    #[arg(long, env = "HENCE_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The file of its private key, in PEM form
    #[arg(long, env = "HENCE_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The file of the authorities whose certificates peers must have, in PEM form
    #[arg(long, env = "HENCE_PEER_CA", value_name = "FILE")]
    peer_ca: Option<PathBuf>,
    /// What every peer's certificate must name [default: the peer's address]
    #[arg(long, env = "HENCE_PEER_NAME", value_name = "NAME")]
    peer_name: Option<String>,
    /// The secret that all members share; two during a rotation, separated by a comma. The first is in use. Others on the
    /// machine can see flags, and perhaps variables: a file is better
    #[arg(long, env = "HENCE_SECRET", value_name = "SECRET", hide_env_values = true, value_parser = secret)]
    secret: Option<SecretText>,
    /// The file of that secret; two during a rotation, a line each
    #[arg(long, env = "HENCE_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The step of a running cluster that begins to use TLS or a secret. accept takes both ways and uses the former one.
    /// Use takes both and uses the new one. Done takes the new one only
    #[arg(long, env = "HENCE_CHANGEOVER", value_name = "STEP", default_value = "done")]
    changeover: Step,
}

/// A step of a changeover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Takes both ways, uses the former one.
    Accept,
    /// Takes both ways, uses the new one.
    Use,
    /// Takes the new one only.
    Done,
}

/// Takes every text: the parser shows what it refuses.
fn secret(text: &str) -> Result<SecretText, std::convert::Infallible> {
    Ok(SecretText::from(text.to_owned()))
}

impl TrustArgs {
    /// The same as settings.
    pub(crate) fn settings(&self) -> TrustSettings {
        TrustSettings {
            certificate: self.tls_cert.clone(),
            key: self.tls_key.clone(),
            peer_ca: self.peer_ca.clone(),
            peer_name: self.peer_name.clone(),
            secret: self.secret.clone(),
            secret_file: self.secret_file.clone(),
            changeover: match self.changeover {
                Step::Accept => Changeover::Accept,
                Step::Use => Changeover::Use,
                Step::Done => Changeover::Done,
            },
        }
    }
}
