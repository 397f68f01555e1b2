//! From a request's path to what it names.
//!
//! The path is taken raw: dots are not resolved, `%2F` is part of a key, and a key is exactly one
//! non-empty segment below `/kvs/`. What decodes to no text is refused, never replaced.

use super::bad_request::BadRequest;
use super::failure::Failure;
use crate::access::Scope;
use http::Method;
use std::borrow::Cow;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// `/kvs/<key>`, decoded, of any length.
    Key(Cow<'a, str>),
    /// `/kvs`: several keys.
    Keys,
    /// `/view`.
    View,
    /// `/health`.
    Health,
    /// `/ready`.
    Ready,
    /// `/metrics`.
    Metrics,
    /// `/replica/state`.
    State,
    /// `/openapi.json`.
    OpenApi,
    /// `/ui`.
    Ui,
    /// `/up`, where several replicas run in one process.
    Up,
    /// `*`: the server as a whole, which only OPTIONS asks about.
    Server,
    /// Everything else below `/replica/`: other replicas talk here.
    Peer,
}

/// Only replicas of `hence up` have it, so it is no part of the API.
const UP: &str = "/up";

impl<'a> Route<'a> {
    /// Reads a raw path.
    ///
    /// # Errors
    /// [`Failure::UnknownPath`], or [`Failure::Bad`] where a key's percent-encoding is broken.
    pub(crate) fn parse(path: &'a str) -> Result<Self, Failure> {
        if let Some(segment) = path.strip_prefix("/kvs/") {
            if segment.is_empty() || has(segment, b'/') {
                return Err(Failure::UnknownPath);
            }
            return Ok(Self::Key(percent_decode(segment)?));
        }
        match path {
            "/kvs" => Ok(Self::Keys),
            "/view" => Ok(Self::View),
            "/health" => Ok(Self::Health),
            "/ready" => Ok(Self::Ready),
            "/metrics" => Ok(Self::Metrics),
            "/replica/state" => Ok(Self::State),
            "/openapi.json" => Ok(Self::OpenApi),
            "/ui" => Ok(Self::Ui),
            UP => Ok(Self::Up),
            "*" => Ok(Self::Server),
            other if other.starts_with("/replica/") => Ok(Self::Peer),
            _ => Err(Failure::UnknownPath),
        }
    }

    /// The methods that this route answers, as the header `Allow` lists them; `None` where another
    /// party decides.
    pub(crate) const fn allow(&self) -> Option<&'static str> {
        match self {
            Self::Key(_) | Self::View | Self::Server => Some("GET, HEAD, PUT, DELETE, OPTIONS"),
            Self::Keys | Self::Up => Some("GET, HEAD, POST, OPTIONS"),
            Self::Health | Self::Ready | Self::Metrics | Self::State | Self::OpenApi | Self::Ui => {
                Some("GET, HEAD, OPTIONS")
            }
            Self::Peer => None,
        }
    }

    /// What a token must be good for to ask this; none where no token is asked for. Links between replicas are not a
    /// client's.
    pub(crate) fn scopes(&self, method: &Method) -> &'static [Scope] {
        match self {
            Self::Health | Self::Ready | Self::OpenApi | Self::Ui | Self::Up | Self::Server | Self::Peer => &[],
            _ if *method == Method::OPTIONS => &[],
            Self::View => &[Scope::View],
            Self::Metrics | Self::State => &[Scope::Metrics],
            Self::Key(_) | Self::Keys if *method == Method::GET || *method == Method::HEAD => &[Scope::Read],
            Self::Key(_) => &[Scope::Write],
            Self::Keys => &[Scope::Read, Scope::Write],
        }
    }

    /// Does this route answer that method?
    ///
    /// # Errors
    /// [`Failure::Method`] where it does not; [`Failure::UnknownPath`] where `*` is asked for with another method than
    /// OPTIONS.
    pub(crate) fn check_method(&self, method: &Method) -> Result<(), Failure> {
        let Some(allow) = self.allow() else { return Ok(()) };
        let takes_writes = matches!(self, Self::Key(_) | Self::View);
        match *method {
            Method::OPTIONS => Ok(()),
            _ if *self == Self::Server => Err(Failure::UnknownPath),
            Method::POST if matches!(self, Self::Keys | Self::Up) => Ok(()),
            Method::GET | Method::HEAD => Ok(()),
            Method::PUT | Method::DELETE if takes_writes => Ok(()),
            _ => Err(Failure::Method { allow }),
        }
    }
}

/// Does this short text have that byte? To set up a search for a character takes longer than to look at all of it.
fn has(text: &str, byte: u8) -> bool {
    text.bytes().any(|own| own == byte)
}

/// Decodes `%XX`. Text without any is borrowed.
pub(super) fn percent_decode(segment: &str) -> Result<Cow<'_, str>, BadRequest> {
    if !has(segment, b'%') {
        return Ok(Cow::Borrowed(segment));
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (pair, tail) = rest.split_first_chunk::<2>().ok_or(BadRequest::KeyEncoding)?;
        rest = tail;
        let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(BadRequest::KeyEncoding);
        let value = digit(0)? * 16 + digit(1)?;
        bytes.push(u8::try_from(value).expect("two hexadecimal digits make one byte"));
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| BadRequest::KeyNotText)
}

/// Is `?siblings=true` there? Other parameters are not ours and are ignored.
///
/// # Errors
/// [`BadRequest::SiblingsParameter`] where it is neither `true` nor `false`.
pub(crate) fn wants_siblings(query: Option<&str>) -> Result<bool, BadRequest> {
    let mut wants = false;
    for pair in query.iter().flat_map(|query| query.split('&')) {
        if let Some(value) = pair.strip_prefix("siblings=") {
            wants = match value {
                "true" => true,
                "false" => false,
                other => return Err(BadRequest::SiblingsParameter(other.into())),
            };
        }
    }
    Ok(wants)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths() {
        let key = |text: &'static str| Ok(Route::Key(Cow::Borrowed(text)));
        let cases: &[(&str, Result<Route<'_>, Failure>)] = &[
            ("/kvs/a", key("a")),
            ("/kvs/..", key("..")),
            ("/kvs/.", key(".")),
            ("/kvs/%2e%2E", key("..")),
            ("/kvs/a%2Fb", key("a/b")),
            ("/kvs/%20", key(" ")),
            ("/kvs/a+b", key("a+b")),
            ("/kvs/%E2%82%AC", key("€")),
            ("/kvs/%00", key("\0")),
            ("/kvs/%", Err(Failure::Bad(BadRequest::KeyEncoding))),
            ("/kvs/%4", Err(Failure::Bad(BadRequest::KeyEncoding))),
            ("/kvs/%g1", Err(Failure::Bad(BadRequest::KeyEncoding))),
            ("/kvs/%+1", Err(Failure::Bad(BadRequest::KeyEncoding))),
            ("/kvs/%ff", Err(Failure::Bad(BadRequest::KeyNotText))),
            ("/kvs/%ED%A0%80", Err(Failure::Bad(BadRequest::KeyNotText))),
            ("/kvs/", Err(Failure::UnknownPath)),
            ("/kvs", Ok(Route::Keys)),
            ("/kvs//", Err(Failure::UnknownPath)),
            ("/kvs/a/", Err(Failure::UnknownPath)),
            ("/kvs/../view", Err(Failure::UnknownPath)),
            ("//kvs/a", Err(Failure::UnknownPath)),
            ("/KVS/a", Err(Failure::UnknownPath)),
            ("", Err(Failure::UnknownPath)),
            ("*", Ok(Route::Server)),
            ("/", Err(Failure::UnknownPath)),
            ("/view", Ok(Route::View)),
            ("/view/", Err(Failure::UnknownPath)),
            ("/health", Ok(Route::Health)),
            ("/ready", Ok(Route::Ready)),
            ("/metrics", Ok(Route::Metrics)),
            ("/replica", Err(Failure::UnknownPath)),
            ("/replica/state", Ok(Route::State)),
            ("/openapi.json", Ok(Route::OpenApi)),
            ("/ui", Ok(Route::Ui)),
            ("/openapi", Err(Failure::UnknownPath)),
            ("/replica/link", Ok(Route::Peer)),
        ];
        for (path, expected) in cases {
            assert_eq!(&Route::parse(path), expected, "{path}");
        }
    }

    #[test]
    fn methods() {
        let names = ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "POST", "PATCH", "TRACE", "get", "FOO"];
        for name in names {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            for route in [Route::Keys, Route::View, Route::Health, Route::Server] {
                let listed = route.allow().unwrap().split(", ").any(|listed| listed == name);
                let expected = if route == Route::Server { name == "OPTIONS" } else { listed };
                assert_eq!(route.check_method(&method).is_ok(), expected, "{name} {route:?}");
            }
            assert!(Route::Peer.check_method(&method).is_ok());
        }
    }

    #[test]
    fn the_query() {
        for (query, expected) in [
            (None, Ok(false)),
            (Some(""), Ok(false)),
            (Some("siblings=true"), Ok(true)),
            (Some("a=b&siblings=true&c"), Ok(true)),
            (Some("siblings=false"), Ok(false)),
            (Some("xsiblings=true"), Ok(false)),
            (Some("siblings=1"), Err(BadRequest::SiblingsParameter("1".into()))),
        ] {
            assert_eq!(wants_siblings(query), expected, "{query:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_key_once_encoded(text in "\\PC{1,60}|[%/?#. a]{1,9}") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let path = format!("/kvs/{encoded}");
            prop_assert_eq!(Route::parse(&path), Ok(Route::Key(Cow::Owned(text))));
        }

        #[test]
        fn no_path_panics(path in "\\PC*", tail in "[%0-9a-fA-F/.]{0,20}") {
            let _ = Route::parse(&path);
            let _ = Route::parse(&format!("/kvs/{tail}"));
        }
    }
}
