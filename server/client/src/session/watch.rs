//! A watch that goes on at another replica by itself.
//!
//! Between two ids of the stream lies one cut. What was told since the last id counts only together with the next one, so
//! a client that goes on from an id forgets it.

use super::{Item, Session};
use crate::answer::{Body, refused};
use crate::call::{Call, encode, path_of};
use crate::error::{Attempt, Error};
use crate::events::{RawEvent, Reader};
use crate::past::is_token;
use crate::retry::{self, PAUSE, PAUSE_MAX, Turn};
use crate::wire::words;
use futures_util::stream::{Stream, unfold};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A replica says something every 15 s by default. One that is silent for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Bytes of an event; beyond, the stream is none of hence.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// Bytes of a refusal.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// A watch that is yet to begin.
///
/// ```
/// # use hence_client::{Change, Client};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
/// # let address = hence_core::Address::parse(&format!("127.0.0.1:{port}"))?;
/// # let replica = hence_server::Server::start(hence_server::Settings::at(address))?;
/// # let session = Client::new([replica.local_address().to_string()])?.session();
/// session.put("user/ada", 1).await?;
/// let mut watching = session.watch().prefix("user/").begin();
/// let first = watching.next().await?;
/// assert!(first.synced && first.changes.len() == 1);
///
/// session.delete("user/ada").await?;
/// let next = watching.next().await?;
/// assert!(matches!(&next.changes[..], [Change::Delete(key)] if key == "user/ada"));
/// # Ok(()) }
/// ```
#[must_use = "a watch does nothing until it begins"]
pub struct Watch<'a> {
    session: &'a Session,
    key: Option<String>,
    prefix: String,
    keys_only: bool,
    id: Option<String>,
}

/// What became of one key.
#[derive(Debug, Clone)]
pub enum Change {
    /// It is there, or is something else now.
    Put(Item),
    /// It is absent.
    Delete(String),
}

/// Changes that belong together.
#[derive(Debug, Clone, Default)]
pub struct Cut {
    /// Everything from before is void: these changes are all that is there. `Some(true)`: writes that the watch had told
    /// are lost with the replicas that held them.
    pub reset: Option<bool>,
    /// The present state of keys. Of two of one key the later holds.
    pub changes: Vec<Change>,
    /// From here on the watch has told what is there. It is said once after the beginning, and after each reconnection.
    pub synced: bool,
}

/// One thing that a watch tells, for those who do not want to hold a whole cut.
#[derive(Debug, Clone)]
pub enum Event {
    /// A change. It counts with the next [`Event::End`].
    Change(Change),
    /// Everything from before is void. As [`Cut::reset`] says.
    Reset(bool),
    /// What was told since the last [`Event::End`] is void: the stream broke, and goes on from there.
    Broken,
    /// What was told since the last one is one cut. As [`Cut::synced`] says.
    End {
        /// The watch has told what is there.
        synced: bool,
    },
}

impl<'a> Watch<'a> {
    pub(crate) const fn of(session: &'a Session) -> Self {
        Self { session, key: None, prefix: String::new(), keys_only: false, id: None }
    }

    /// Only this key.
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Only keys that begin so. Without it, and without a key, every key is watched.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Tells no values.
    pub const fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }

    /// Goes on from where [`Watching::id`] says, perhaps of another process.
    pub fn since(mut self, id: &str) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The watch. Nothing is asked before its first cut is.
    pub fn begin(self) -> Watching {
        let mut path = self.key.as_deref().map_or_else(|| "/kvs".into(), path_of);
        let mut separator = '?';
        let mut add = |name: &str, value: &str| {
            path.push(separator);
            separator = '&';
            path.push_str(name);
            path.push('=');
            encode(value, &mut path);
        };
        if !self.prefix.is_empty() {
            add("prefix", &self.prefix);
        }
        if self.keys_only {
            add("keys-only", "true");
        }
        let Session { shared, past, turn } = self.session;
        let turn = turn.first(shared.targets.len());
        Watching {
            session: Session { shared: shared.clone(), past: past.clone(), turn: Turn::at(turn) },
            path,
            turn,
            id: self.id,
            tokens: Vec::new(),
            asked: false,
            is_fresh: true,
            pause: Duration::ZERO,
            stream: None,
            reader: Reader::default(),
            told: VecDeque::new(),
            reset: None,
            cut: Cut::default(),
        }
    }
}

/// A watch that goes on for as long as it is asked.
///
/// It keeps its own place, apart from the session's token. The session learns the token of each cut, so a later request
/// of it sees what the watch told. To drop the future of [`Self::next`] loses nothing.
pub struct Watching {
    /// The past of the session that began it, which both extend.
    session: Session,
    path: String,
    turn: usize,
    id: Option<String>,
    /// What the session learnt from the last id, or sent before the first one came.
    tokens: Vec<String>,
    /// An id came: from then on it says what was seen.
    asked: bool,
    /// No id has come over the present stream. A server that ends such streams at once is asked again after a pause.
    is_fresh: bool,
    /// How long to wait before the next stream.
    pause: Duration,
    stream: Option<Incoming>,
    reader: Reader,
    told: VecDeque<Told>,
    /// A reset came, and no cut has ended since.
    reset: Option<bool>,
    cut: Cut,
}

/// What the stream said.
enum Told {
    Event(Event),
    /// The id behind a cut.
    Id {
        id: String,
        synced: bool,
    },
}

#[derive(Deserialize)]
struct Deleted {
    key: String,
}

#[derive(Deserialize)]
struct Reset {
    lost: bool,
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watching").field("path", &self.path).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Watching {
    /// Where to go on: for [`Watch::since`]. It is that of the last cut.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The next changes that belong together. It waits for them, as long as it takes.
    ///
    /// # Errors
    /// [`Error::Refused`], and [`Error::Unavailable`] where no replica takes the watch within the client's deadline. The
    /// watch can be asked again then.
    pub async fn next(&mut self) -> Result<Cut, Error> {
        loop {
            match self.event().await? {
                Event::Change(change) => self.cut.changes.push(change),
                Event::Reset(lost) => self.cut = Cut { reset: Some(lost), ..Cut::default() },
                Event::Broken => self.cut = Cut::default(),
                Event::End { synced } => {
                    self.cut.synced = synced;
                    return Ok(std::mem::take(&mut self.cut));
                }
            }
        }
    }

    /// The cuts as a stream, which ends only with an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Cut, Error>> + Send {
        unfold(Some(self), async |watching| {
            let mut watching = watching?;
            let cut = watching.next().await;
            let goes_on = cut.is_ok();
            Some((cut, Some(watching).filter(|_| goes_on)))
        })
    }

    /// The next thing that is told. It waits for it, as long as it takes.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn event(&mut self) -> Result<Event, Error> {
        loop {
            match self.told.pop_front() {
                Some(Told::Event(event)) => {
                    if let Event::Reset(lost) = event {
                        self.reset = Some(lost);
                    }
                    return Ok(event);
                }
                Some(Told::Id { id, synced }) => {
                    // What knows nothing ends no cut: the first state is yet to come.
                    if self.learn(id) {
                        self.reset = None;
                        return Ok(Event::End { synced });
                    }
                    continue;
                }
                None => {}
            }
            if self.stream.is_none() {
                tokio::time::sleep(self.pause).await;
                self.connect().await?;
                self.is_fresh = true;
            }
            if !self.read().await {
                if self.is_fresh {
                    self.pause = (self.pause * 2).clamp(PAUSE, PAUSE_MAX);
                }
                self.stream = None;
                self.turn += 1;
                self.reader = Reader::default();
                self.told.clear();
                self.told.extend(self.reset.map(|lost| Told::Event(Event::Reset(lost))));
                return Ok(Event::Broken);
            }
        }
    }

    /// Reads on, and says whether the stream does. A change that cannot be read ends it: to pass over one would lose it.
    async fn read(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let Ok(Some(Ok(frame))) = timeout(SILENCE_MAX, stream.frame()).await else { return false };
        let Ok(bytes) = frame.into_data() else { return true };
        for RawEvent { name, data, id } in self.reader.read(&bytes) {
            let event = match name.as_str() {
                "put" => serde_json::from_str(&data).ok().and_then(Item::read_from).map(Change::Put).map(Event::Change),
                "delete" => {
                    let gone = serde_json::from_str::<Deleted>(&data);
                    gone.ok().map(|gone| Event::Change(Change::Delete(gone.key)))
                }
                "reset" => serde_json::from_str::<Reset>(&data).ok().map(|reset| Event::Reset(reset.lost)),
                _ => {
                    self.told.extend(id.map(|id| Told::Id { id, synced: name == "synced" }));
                    continue;
                }
            };
            let Some(event) = event else { return false };
            self.told.push_back(Told::Event(event));
            self.told.extend(id.map(|id| Told::Id { id, synced: name == "synced" }));
        }
        self.reader.waiting() <= EVENT_BYTES_MAX
    }

    /// Goes on from this id from now on. Says whether it knows something.
    fn learn(&mut self, id: String) -> bool {
        if let Some(token) = id.split('~').nth(1).filter(|token| is_token(token)) {
            // It covers what the one before brought, and what was sent.
            let before = std::mem::replace(&mut self.tokens, vec![token.to_owned()]);
            self.session.past().learn(&before, token.to_owned());
        }
        (self.is_fresh, self.pause, self.asked) = (false, Duration::ZERO, true);
        let knows = !id.ends_with("~-");
        self.id = Some(id);
        knows
    }

    /// Asks one endpoint after another until one takes the watch.
    async fn connect(&mut self) -> Result<(), Error> {
        let call = Call::read(Method::GET, self.path.clone());
        retry::check(&call)?;
        if !self.asked {
            self.tokens = self.joined().await?;
        }
        let headers = self.headers()?;
        let end = Instant::now() + self.session.shared.deadline;
        let count = self.session.shared.targets.len();
        let mut attempts: Vec<Option<Attempt>> = vec![None; count];
        let mut pause = PAUSE;
        loop {
            for at in (0..count).map(|offset| (self.turn + offset) % count) {
                match self.attempt(at, &call, &headers).await? {
                    Ok(stream) => {
                        (self.turn, self.stream) = (at, Some(stream));
                        return Ok(());
                    }
                    Err(why) => {
                        let endpoint = self.session.shared.targets[at].endpoint.to_string();
                        attempts[at] = Some(Attempt { endpoint, why });
                    }
                }
            }
            if Instant::now() + pause > end {
                return Err(Error::Unavailable { attempts: attempts.into_iter().flatten().collect() });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// The tokens to send. If writes are lost, the watch tells that, as it does where its replica finds it out.
    async fn joined(&mut self) -> Result<Vec<String>, Error> {
        loop {
            match self.session.joined().await {
                Err(Error::Lost(lost)) => {
                    self.session.go_on_after(&lost);
                    if self.reset != Some(true) {
                        self.reset = Some(true);
                        self.told.push_back(Told::Event(Event::Reset(true)));
                    }
                }
                joined => return joined,
            }
        }
    }

    /// The id, if one came, and the session's tokens until one comes over a stream of this watch.
    fn headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = &self.id {
            let id = HeaderValue::from_str(id).map_err(|_| Error::Usage("this is no id of a watch".into()))?;
            headers.insert("last-event-id", id);
        }
        if !self.asked && !self.tokens.is_empty() {
            let value = HeaderValue::from_str(&self.tokens.join(", ")).expect("tokens are printable");
            headers.insert("causal-metadata", value);
        }
        Ok(headers)
    }

    /// The stream, or why this endpoint gives none.
    async fn attempt(&self, at: usize, call: &Call, headers: &HeaderMap) -> Result<Result<Incoming, String>, Error> {
        let shared = &*self.session.shared;
        let request = retry::request(shared, at, call, headers);
        let answer = match shared.targets[at].stream(&shared.dialling, request, shared.attempt).await {
            Ok(answer) => answer,
            Err(failed) => return Ok(Err(failed.why)),
        };
        let (parts, body) = answer.into_parts();
        let is_stream = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        if parts.status == StatusCode::OK && is_stream {
            return Ok(Ok(body));
        }
        let read = timeout(shared.attempt, Limited::new(body, REFUSAL_BYTES_MAX).collect()).await;
        let text = match read {
            Ok(Ok(body)) => serde_json::from_slice::<Body>(&body.to_bytes()).ok().and_then(|body| body.error),
            Ok(Err(error)) => return Ok(Err(words(&*error))),
            Err(_) => None,
        };
        match text.or_else(|| retry::bare(parts.status).map(str::to_owned)) {
            Some(text) if parts.status.is_client_error() => Err(refused(parts.status, Some(text), None)),
            Some(text) => Ok(Err(text)),
            None => Ok(Err(format!("HTTP {}, and no stream of events of hence", parts.status))),
        }
    }
}
