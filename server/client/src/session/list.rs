//! The keys of a range, page by page.

use super::Session;
use super::request::Asking;
use crate::answer::{Body, Listed, Tag};
use crate::call::{Call, encode};
use crate::error::Error;
use http::Method;
use http::uri::PathAndQuery;
use serde_json::value::RawValue;
use std::time::Duration;

/// A list of keys; await it for a page.
///
/// ```
/// # use hence_client::Client;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
/// # let address = hence_core::Address::parse(&format!("127.0.0.1:{port}"))?;
/// # let replica = hence_server::Server::start(hence_server::Settings::at(address))?;
/// # let session = Client::new([replica.local_address().to_string()])?.session();
/// for user in ["ada", "bob", "eve"] {
///     session.put(&format!("user/{user}"), 1).await?;
/// }
/// let mut page = session.list().prefix("user/").limit(2).await?;
/// let mut keys: Vec<String> = Vec::new();
/// loop {
///     keys.extend(page.items.into_iter().map(|item| item.key));
///     let Some(next) = page.next else { break };
///     page = session.list_from(&next).await?;
/// }
/// assert_eq!(keys, ["user/ada", "user/bob", "user/eve"]);
/// # Ok(()) }
/// ```
#[must_use = "a request does nothing until it is awaited"]
pub struct List<'a> {
    session: &'a Session,
    path: String,
    wait: Option<Duration>,
}

/// Where a page goes on. It carries no token: the session does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextPage(String);

/// Keys of one moment.
#[derive(Debug, Clone)]
pub struct Page {
    /// The keys, in the order asked for.
    pub items: Vec<Item>,
    /// Where the list has a delimiter: what keys have in common up to it, in place of these keys.
    pub prefixes: Vec<String>,
    /// Of a list that only counts: the keys of this page.
    pub count: Option<u64>,
    /// The page after this one, which may show a later moment.
    pub next: Option<NextPage>,
}

/// A key of a list.
#[derive(Debug, Clone)]
pub struct Item {
    /// The key.
    pub key: String,
    /// The winner's value, unless only keys were asked for.
    pub value: Option<Box<RawValue>>,
    /// All versions that the replica shows.
    pub tag: Tag,
    /// How many versions these are, at least 1.
    pub versions: usize,
}

impl<'a> List<'a> {
    pub(crate) const fn of(session: &'a Session) -> Self {
        Self { session, path: String::new(), wait: None }
    }

    pub(crate) fn from(session: &'a Session, next: &NextPage) -> Self {
        Self { session, path: next.0.clone(), wait: None }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.path.push_str(if self.path.is_empty() { "/kvs?" } else { "&" });
        self.path.push_str(name);
        self.path.push('=');
        encode(value, &mut self.path);
        self
    }

    /// Only keys that begin so.
    pub fn prefix(self, prefix: &str) -> Self {
        self.with("prefix", prefix)
    }

    /// Only this key and those after it.
    pub fn start(self, start: &str) -> Self {
        self.with("start", start)
    }

    /// Only keys before this one.
    pub fn end(self, end: &str) -> Self {
        self.with("end", end)
    }

    /// Keys of a page: 1 to 1,000. Default 100.
    pub fn limit(self, limit: usize) -> Self {
        self.with("limit", &limit.to_string())
    }

    /// From the last key to the first.
    pub fn reverse(self) -> Self {
        self.with("reverse", "true")
    }

    /// Keys that have this text behind the prefix are shown as one prefix, up to the text.
    pub fn delimiter(self, delimiter: &str) -> Self {
        self.with("delimiter", delimiter)
    }

    /// Shows no values.
    pub fn keys_only(self) -> Self {
        self.with("keys-only", "true")
    }

    /// Shows no keys, and counts them.
    pub fn count_only(self) -> Self {
        self.with("count-only", "true")
    }

    /// Waits at one replica for what the session saw. At most 30 s.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }
}

impl<'a> IntoFuture for List<'a> {
    type Output = Result<Page, Error>;
    type IntoFuture = Asking<'a, Page>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let path = if self.path.is_empty() { "/kvs".into() } else { self.path };
            let call = Call { wait: self.wait, ..Call::read(Method::GET, path) };
            let (answer, body) = self.session.ask(call).await?;
            Page::read_from(body.expect_success(answer.status)?).ok_or_else(|| {
                let text = "the answer is no list of keys; a proxy may change it";
                Error::Refused { status: answer.status.as_u16(), text: text.into(), index: None }
            })
        })
    }
}

impl Page {
    fn read_from(body: Body) -> Option<Self> {
        let items = body.items?.into_iter().map(Item::read_from).collect::<Option<_>>()?;
        let next = match body.next {
            Some(next) => Some(NextPage::of(&next)?),
            None => None,
        };
        Some(Self { items, prefixes: body.prefixes.unwrap_or_default(), count: body.count, next })
    }
}

impl Item {
    pub(super) fn read_from(listed: Listed) -> Option<Self> {
        let Listed { key, value, etag, siblings } = listed;
        Some(Self { key, value, tag: etag.parse().ok()?, versions: siblings.unwrap_or(1) })
    }
}

impl NextPage {
    /// Reads what a page names. The session has its token by now, and a second one would only be longer.
    fn of(next: &str) -> Option<Self> {
        let query = next.strip_prefix("/kvs?")?;
        let parts: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("causal-metadata=")).collect();
        let path = format!("/kvs?{}", parts.join("&"));
        let is_path = !path.contains('#') && path.parse::<PathAndQuery>().is_ok();
        is_path.then_some(Self(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_page_leaves_the_token_to_the_session() {
        let read = |next: &str| NextPage::of(next).map(|next| next.0);
        assert_eq!(read("/kvs?start=c0&limit=3&causal-metadata=AV").as_deref(), Some("/kvs?start=c0&limit=3"));
        assert_eq!(
            read("/kvs?start=%26causal-metadata=&limit=3").as_deref(),
            Some("/kvs?start=%26causal-metadata=&limit=3")
        );
        for wrong in ["", "/kvs", "http://other/kvs?start=a", "/kvs?start=a b", "/kvs?start=a\r\nx", "/kvs?a#b"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
