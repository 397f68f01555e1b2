//! What the help of commands shows at its end: examples and exit codes.

/// Of `hence health`.
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

/// Of `hence serve`.
pub(super) const SERVE_EXAMPLES: &str = "\
Examples:
  SOCKET_ADDRESS=10.10.0.2:8090 VIEW=10.10.0.2:8090,10.10.0.3:8090 hence serve
  hence serve --socket-address alice:8090 --view alice:8090,bob:8090 --log debug

Ends with exit code 0 on SIGTERM or Ctrl-C, after requests in flight are answered and peers have taken what
only this replica holds (four seconds at most). A second signal ends it at once.

Exit codes:
  0    a signal ended it
  1    it could not start, as where another process listens at its address
  2    usage, or a wrong setting, which is named
  101  a mistake of ours, which is told; nothing goes on from there
  130  a second signal ended it at once";

/// Of `hence up`.
pub(super) const UP_EXAMPLES: &str = "\
Examples:
  hence up             three replicas, a to c, at 127.0.0.1:8082 to 8084
  hence up 5 --port 9000
  hence up --tls       the same within TLS; it says where the authority's certificate is

While it runs, type help, view, cut b, heal b, kill b, restart b or quit. The page /ui of each replica has
buttons for that.

Exit codes:
  0    quit, or a signal, ended it
  1    it could not start, as where another process listens at one of the addresses
  2    usage, or a wrong setting, which is named
  101  a mistake of ours, which is told";
