//! What `hence health --help` shows at its end.

/// Examples and exit codes.
pub(super) const HEALTH_EXAMPLES: &str = "\
Examples:
  hence health
  hence health 10.10.0.2:8090
  hence health https://10.10.0.2:8090 --ca ca.pem

Without an address it asks the replica that runs in the same container, wherever that listens: as the first
process, or as the only one. If there is none or there are several, it asks at SOCKET_ADDRESS. It needs no
bearer token.

Exit codes:
  0    the replica answers, and serves
  1    it does not answer in time, or not with 200
  2    usage, as where it is not known which replica to ask";
