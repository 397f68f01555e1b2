//! The arguments of `hence health`.

use clap::Args;
use std::path::PathBuf;

/// `hence health`.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// The replica: HOST:PORT, http://HOST:PORT or https://HOST:PORT [default: the one that runs beside this command]
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: Option<String>,
    /// The replica to ask where none or several run here
    #[arg(long = "socket-address", env = "SOCKET_ADDRESS", value_name = "ADDRESS", hide = true)]
    pub(crate) named: Option<String>,
    /// The file of the authorities that may have signed the replica's certificate, for https
    #[arg(long = "ca", env = "HENCE_PEER_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The replica's certificate: it speaks TLS
    #[arg(long = "tls-cert", env = "HENCE_TLS_CERT", value_name = "FILE", hide = true)]
    pub(crate) tls_cert: Option<PathBuf>,
}
