//! What browsers ask for: answers that pages of other origins may read, and sessions in a cookie.
//!
//! Nothing of it is sent unless a setting says so. A cookie's token joins the request as one more `Causal-Metadata`
//! line, so everything else knows of headers only.

use super::answer::{Answer, CAUSAL_METADATA, PastRefused};
use super::lines;
use crate::settings::{BrowserSettings, Origins};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ALLOW, COOKIE, ORIGIN, SET_COOKIE, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// What a page may send beside what every page may.
const ALLOWED: HeaderValue = HeaderValue::from_static(
    "authorization, causal-metadata, content-type, if-match, if-none-match, prefer, write-concern, last-event-id",
);

/// What a page may read of an answer beside what every page may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "causal-metadata, causal-siblings, causal-superseded, etag, link, preference-applied, retry-after, \
     write-concern-applied",
);

/// A browser asks again after so many seconds.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("600");

/// Browsers drop a cookie of more than 4,096 bytes, its name and attributes included.
const COOKIE_BYTES_MAX: usize = 4_000;

/// The settings, ready for use.
#[derive(Debug)]
pub(crate) struct Browsers {
    settings: BrowserSettings,
    vary: HeaderValue,
    /// Clients come within TLS, so the cookie may keep to it.
    secure: bool,
}

/// What of a request its answer depends on.
#[derive(Debug)]
pub(crate) struct Visit {
    /// The origin, if its pages may read the answer.
    origin: Option<HeaderValue>,
    is_preflight: bool,
    /// The token that the cookie brought.
    cookie: Option<String>,
}

impl Browsers {
    /// `None` where no setting asks for any of it.
    pub(crate) fn new(settings: &BrowserSettings, secure: bool) -> Option<Self> {
        if *settings == BrowserSettings::default() {
            return None;
        }
        let origin = matches!(&settings.origins, Origins::Listed(listed) if !listed.is_empty()).then_some("origin");
        let cookie = settings.cookie.as_ref().map(|_| "cookie");
        let vary = ["causal-metadata", "prefer"].into_iter().chain(origin).chain(cookie).collect::<Vec<_>>().join(", ");
        let vary = HeaderValue::from_str(&vary).expect("names of headers");
        Some(Self { settings: settings.clone(), vary, secure })
    }

    /// Looks at a request before anything else does. The cookie's token becomes a header.
    pub(crate) fn visit(&self, parts: &mut Parts) -> Visit {
        let origin = parts.headers.get(ORIGIN).filter(|origin| self.settings.origins.allow(origin.as_bytes()));
        let origin = origin.cloned();
        let is_preflight = parts.method == Method::OPTIONS && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let cookie = self.settings.cookie.as_deref().and_then(|name| cookie(&parts.headers, name));
        if let Some(token) = &cookie {
            join(&mut parts.headers, token.as_bytes());
        }
        Visit { origin, is_preflight, cookie }
    }

    /// Adds to an answer what its browser is to have. `is_readable` says whether a text is a token of this cluster.
    pub(crate) fn dress(&self, visit: &Visit, answer: &mut Answer, is_readable: impl Fn(&str) -> bool) {
        answer.headers_mut().insert(VARY, self.vary.clone());
        if let Some(origin) = &visit.origin {
            self.allow(origin, visit.is_preflight, answer.headers_mut());
        }
        let Some(name) = &self.settings.cookie else { return };
        let token = answer.headers().get(&CAUSAL_METADATA).and_then(|token| token.to_str().ok());
        let secure = if self.secure { "; Secure" } else { "" };
        let line = match (token, &visit.cookie) {
            (Some(token), held) if held.as_deref() == Some(token) || token.len() > COOKIE_BYTES_MAX => return,
            (Some(token), _) => format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax{secure}"),
            (None, Some(held)) if answer.status() == StatusCode::BAD_REQUEST => {
                let refused = answer.extensions().get::<PastRefused>().is_some();
                if !refused && is_readable(held) {
                    return;
                }
                format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{secure}")
            }
            (None, _) => return,
        };
        if let Ok(line) = HeaderValue::from_str(&line) {
            answer.headers_mut().insert(SET_COOKIE, line);
        }
    }

    fn allow(&self, origin: &HeaderValue, is_preflight: bool, headers: &mut HeaderMap) {
        let any = self.settings.origins == Origins::Any;
        let named = if any { HeaderValue::from_static("*") } else { origin.clone() };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, named);
        // The standard forbids it together with *.
        if self.settings.cookie.is_some() && !any {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if !is_preflight {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            return;
        }
        if let Some(allow) = headers.get(ALLOW).cloned() {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
            headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
        }
    }
}

/// The token of the query, `?causal-metadata=TOKEN`, becomes a header: a GET with a header of its own costs a page two
/// requests.
pub(crate) fn join_query(parts: &mut Parts) {
    const FIELD: &str = "causal-metadata=";
    let Some(query) = parts.uri.query().filter(|query| query.contains(FIELD)) else { return };
    let given = query.split('&').filter_map(|pair| pair.strip_prefix(FIELD));
    let tokens: Vec<Vec<u8>> = given.map(percent_decode).collect();
    tokens.iter().filter(|token| !token.is_empty()).for_each(|token| join(&mut parts.headers, token));
}

/// What no header can hold is no token, and is refused as such.
fn join(headers: &mut HeaderMap, token: &[u8]) {
    let value = HeaderValue::from_bytes(token).unwrap_or(HeaderValue::from_static("?"));
    headers.append(&CAUSAL_METADATA, value);
}

/// Decodes what is encoded well, and leaves the rest as it stands.
fn percent_decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digit = |at: usize| tail.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        let decoded = if byte == b'%' { digit(0).zip(digit(1)) } else { None };
        let decoded = decoded.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        bytes.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    bytes
}

/// The first cookie of this name that is not empty.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let pairs = lines(headers, &COOKIE).filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let values = pairs.filter_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    let mut values = values.map(|value| value.trim_matches('"'));
    values.find(|value| !value.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::answer;
    use http::{HeaderName, Request};

    fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn past(parts: &Parts) -> Vec<&[u8]> {
        parts.headers.get_all(&CAUSAL_METADATA).iter().map(HeaderValue::as_bytes).collect()
    }

    fn browsers(origins: Origins, cookie: Option<&str>) -> Browsers {
        Browsers::new(&BrowserSettings { origins, cookie: cookie.map(str::to_owned) }, false).unwrap()
    }

    #[test]
    fn without_settings_there_is_nothing() {
        assert!(Browsers::new(&BrowserSettings::default(), true).is_none());
    }

    #[test]
    fn tokens_of_the_query_and_of_a_cookie_are_headers() {
        let mut one = parts("GET", "/kvs/k?siblings=true&causal-metadata=a%2C%20b&causal-metadata=%0A", &[]);
        join_query(&mut one);
        assert_eq!(past(&one), [&b"a, b"[..], b"?"]);
        let mut none = parts("GET", "/kvs/k?xcausal-metadata=a&causal-metadata=&causal-metadata", &[]);
        join_query(&mut none);
        assert_eq!(past(&none), Vec::<&[u8]>::new());

        let served = browsers(Origins::default(), Some("s"));
        for (line, token) in [("s=a", "a"), ("x=1; s=\"a.b\" ; s=c", "a.b"), ("ss=1;s=;s=d", "d")] {
            let mut one = parts("GET", "/kvs/k", &[("cookie", line), ("causal-metadata", "h")]);
            assert_eq!(served.visit(&mut one).cookie.as_deref(), Some(token), "{line}");
            assert_eq!(past(&one), [b"h", token.as_bytes()], "{line}");
        }
        let mut none = parts("GET", "/kvs/k", &[("cookie", "xs=1; s; S=2")]);
        assert_eq!(served.visit(&mut none).cookie, None);
    }

    fn answered(status: StatusCode, token: Option<&'static str>) -> Answer {
        let mut answer = answer::options("GET, OPTIONS");
        *answer.status_mut() = status;
        if let Some(token) = token {
            answer.headers_mut().insert(&CAUSAL_METADATA, HeaderValue::from_static(token));
        }
        answer
    }

    fn cookie_after(status: StatusCode, held: Option<&str>, token: Option<&'static str>) -> Option<String> {
        let mut answer = answered(status, token);
        let visit = Visit { origin: None, is_preflight: false, cookie: held.map(str::to_owned) };
        browsers(Origins::default(), Some("s")).dress(&visit, &mut answer, |text| text == "good");
        answer.headers().get(SET_COOKIE).map(|line| line.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_cookie_follows_the_token() {
        let set = Some("s=new; Path=/; HttpOnly; SameSite=Lax".to_owned());
        let ended = Some("s=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax".to_owned());
        let bad = StatusCode::BAD_REQUEST;
        assert_eq!(cookie_after(StatusCode::OK, None, Some("new")), set);
        assert_eq!(cookie_after(StatusCode::FAILED_DEPENDENCY, Some("good"), Some("new")), set);
        assert_eq!(cookie_after(StatusCode::OK, Some("new"), Some("new")), None, "it has it");
        assert_eq!(cookie_after(bad, Some("bad"), None), ended);
        assert_eq!(cookie_after(bad, Some("good"), None), None, "something else was wrong");
        assert_eq!(cookie_after(bad, None, None), None);
        let mut answer = answered(bad, None);
        answer.extensions_mut().insert(PastRefused);
        let visit = Visit { origin: None, is_preflight: false, cookie: Some("good".into()) };
        browsers(Origins::default(), Some("s")).dress(&visit, &mut answer, |_| true);
        assert!(answer.headers().contains_key(SET_COOKIE));
    }

    fn allowed(browsers: &Browsers, method: &str, headers: &[(&str, &str)]) -> Vec<(HeaderName, String)> {
        let mut parts = parts(method, "/kvs/k", headers);
        let visit = browsers.visit(&mut parts);
        let mut answer = answered(StatusCode::NO_CONTENT, None);
        browsers.dress(&visit, &mut answer, |_| true);
        let own = answer.headers().iter().filter(|(name, _)| name.as_str().starts_with("access") || *name == VARY);
        own.map(|(name, value)| (name.clone(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn origins() {
        let page = "http://a:1";
        let value = |found: &[(HeaderName, String)], name: HeaderName| {
            found.iter().find(|(own, _)| *own == name).map(|(_, value)| value.clone())
        };
        let listed = browsers(Origins::Listed(vec![page.into()]), Some("s"));
        let found = allowed(&listed, "GET", &[("origin", page)]);
        assert_eq!(value(&found, ACCESS_CONTROL_ALLOW_ORIGIN).as_deref(), Some(page));
        assert_eq!(value(&found, ACCESS_CONTROL_ALLOW_CREDENTIALS).as_deref(), Some("true"));
        assert!(
            value(&found, ACCESS_CONTROL_EXPOSE_HEADERS).is_some_and(|list| list.contains("write-concern-applied"))
        );
        assert_eq!(value(&found, VARY).as_deref(), Some("causal-metadata, prefer, origin, cookie"));
        assert_eq!(allowed(&listed, "GET", &[("origin", "http://b")]).len(), 1, "another origin");
        assert_eq!(allowed(&listed, "GET", &[]).len(), 1, "no origin");

        let any = browsers(Origins::Any, None);
        let asks = [("origin", "null"), ("access-control-request-method", "PUT")];
        let found = allowed(&any, "OPTIONS", &asks);
        assert_eq!(value(&found, ACCESS_CONTROL_ALLOW_ORIGIN).as_deref(), Some("*"));
        assert_eq!(value(&found, ACCESS_CONTROL_ALLOW_METHODS).as_deref(), Some("GET, OPTIONS"));
        assert!(value(&found, ACCESS_CONTROL_ALLOW_HEADERS).is_some_and(|list| list.contains("causal-metadata")));
        assert_eq!(value(&found, ACCESS_CONTROL_ALLOW_CREDENTIALS), None);
        assert_eq!(value(&found, VARY).as_deref(), Some("causal-metadata, prefer"));
    }
}
