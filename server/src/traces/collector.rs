//! Where a collector is: `HENCE_OTLP_ENDPOINT`.

use crate::settings::SettingError;
use http::Uri;
use std::fmt;

/// The path that OTLP has for spans.
const PATH: &str = "/v1/traces";
/// The port that OTLP over HTTP has.
const PORT: u16 = 4318;

/// A collector that takes OTLP over plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collector {
    /// `HOST:PORT`.
    pub(super) authority: String,
    pub(super) path: String,
}

impl Collector {
    /// Reads `http://HOST:PORT`. Behind it may stand a path, which goes before that of spans.
    ///
    /// # Errors
    /// [`SettingError`] for anything else, https included.
    pub(super) fn parse(text: &str) -> Result<Self, SettingError> {
        let wrong = || SettingError {
            name: "HENCE_OTLP_ENDPOINT".into(),
            value: text.into(),
            allowed: "http://HOST:PORT of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318".into(),
        };
        let uri: Uri = text.trim().parse().map_err(|_| wrong())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(wrong)?;
        let (host, port) = (authority.host(), authority.port_u16());
        let has_port = authority.as_str() != host;
        if host.is_empty() || authority.as_str().contains('@') || uri.query().is_some() || has_port && port.is_none() {
            return Err(wrong());
        }
        let path = uri.path().trim_end_matches('/');
        let path = if path.ends_with(PATH) { path.to_owned() } else { format!("{path}{PATH}") };
        Ok(Self { authority: format!("{host}:{}", port.unwrap_or(PORT)), path })
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_are_read_strictly() {
        for (text, shown) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector", "http://collector:4318/v1/traces"),
            ("http://[::1]:9/", "http://[::1]:9/v1/traces"),
            ("http://collector:9/otlp/", "http://collector:9/otlp/v1/traces"),
            (" http://collector:9/v1/traces ", "http://collector:9/v1/traces"),
        ] {
            assert_eq!(Collector::parse(text).map(|found| found.to_string()), Ok(shown.to_owned()), "{text}");
        }
        for text in ["", "collector:4318", "https://collector", "http://", "http://a:x", "http://u@a", "http://a?b"] {
            let error = Collector::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("HENCE_OTLP_ENDPOINT is \""), "{error}");
        }
    }
}
