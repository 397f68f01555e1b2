//! A request before it is known which replica takes it, and with which tokens.

use bytes::Bytes;
use http::{HeaderMap, Method};
use std::time::Duration;

/// A write with a concern spreads for so long where its wait is not stated.
const SPREAD: Duration = Duration::from_secs(5);

/// A request before its tokens are known.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// It may be done twice without harm.
    pub(crate) reads: bool,
    /// What the caller asked to wait.
    pub(crate) wait: Option<Duration>,
    /// It has a write concern.
    pub(crate) spreads: bool,
}

impl Call {
    pub(crate) fn read(method: Method, path: String) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method, path, headers, body, reads: true, wait: None, spreads: false }
    }

    pub(crate) fn write(method: Method, path: String, body: Vec<u8>) -> Self {
        Self { body: body.into(), reads: false, ..Self::read(method, path) }
    }

    /// The time that the replica may take beyond that of any request.
    pub(crate) fn extra_time(&self) -> Duration {
        self.wait.unwrap_or(if self.spreads { SPREAD } else { Duration::ZERO })
    }
}

/// The path of a key.
pub(crate) fn path_of(key: &str) -> String {
    let mut path = "/kvs/".to_owned();
    encode(key, &mut path);
    path
}

/// Writes a text as a segment of a path, or a value of a query, has it.
pub(crate) fn encode(text: &str, path: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => path.push(char::from(byte)),
            // Dots, too: a proxy could take them for steps between folders.
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_one_segment_of_a_path() {
        assert_eq!(path_of("a-B_9~"), "/kvs/a-B_9~");
        assert_eq!(path_of("a/b?c#d%"), "/kvs/a%2Fb%3Fc%23d%25");
        assert_eq!(path_of(".."), "/kvs/%2E%2E");
        assert_eq!(path_of("ä \n"), "/kvs/%C3%A4%20%0A");
    }
}
