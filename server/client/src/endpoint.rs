//! Where a replica is reached.

use crate::error::Error;
use http::Uri;
use std::fmt;

/// One endpoint: `HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    text: String,
    /// As `Host` names it and as it is looked up, with its port.
    pub(crate) authority: String,
    /// The host alone, as a certificate names it.
    pub(crate) host: String,
    /// Within TLS.
    pub(crate) tls: bool,
}

impl Endpoint {
    /// Reads an endpoint. Without a port it is that of the scheme.
    ///
    /// # Errors
    /// [`Error::Usage`] for another scheme, a path, a user, or what is no host.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Usage(format!("\"{text}\" is no endpoint; one is HOST:PORT or https://HOST:PORT"));
        let trimmed = text.trim();
        let (tls, rest) = match trimmed.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(wrong()),
            None => (false, trimmed),
        };
        let uri: Uri = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| wrong())?;
        let authority = uri.authority().filter(|found| uri.scheme().is_none() && !found.as_str().contains('@'));
        let authority = authority.filter(|_| uri.path_and_query().is_none()).ok_or_else(wrong)?;
        let (host, port) = (authority.host(), authority.port_u16());
        // What follows the host and is no port is not told apart from no port.
        if host.is_empty() || port == Some(0) || (port.is_none() && authority.as_str() != host) {
            return Err(wrong());
        }
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { text: trimmed.to_owned(), authority: format!("{host}:{port}"), host: bare, tls })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (text, authority, host, tls) in [
            ("127.0.0.1:8082", "127.0.0.1:8082", "127.0.0.1", false),
            (" http://alice:8090/ ", "alice:8090", "alice", false),
            ("https://alice", "alice:443", "alice", true),
            ("alice", "alice:80", "alice", false),
            ("[::1]:8090", "[::1]:8090", "::1", false),
            ("https://[::1]:8090", "[::1]:8090", "::1", true),
        ] {
            let found = Endpoint::parse(text).unwrap();
            assert_eq!((found.authority.as_str(), found.host.as_str(), found.tls), (authority, host, tls), "{text}");
        }
        for text in
            ["", ":8090", "a:0", "a:x", "a:70000", "ftp://a", "a:1/kvs", "http://a:1/x", "u@a:1", "a b", "/", "*"]
        {
            assert!(matches!(Endpoint::parse(text), Err(Error::Usage(_))), "{text}");
        }
    }
}
