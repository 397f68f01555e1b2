//! What happens in a run, for people and tools: an aligned text trace, JSON lines, and a log for ShiViz.

use crate::plan::network::Fate;
use crate::plan::{Fault, Plan};
use hence_core::{Dot, Event, Incarnation};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Note {
    /// A process started.
    Started {
        /// Which life at its address, from 0.
        life: u32,
        /// Its name, if one can look inside.
        incarnation: Option<Incarnation>,
    },
    /// A message left.
    Sent {
        /// Its number in the run.
        id: u64,
        /// The receiver.
        to: usize,
        /// What kind.
        name: &'static str,
        /// All of it.
        content: String,
        /// What the network does with it.
        fate: Fate,
        /// It is idle chatter.
        idle: bool,
    },
    /// A message was handed in.
    Received {
        /// Its number in the run.
        id: u64,
        /// The sender.
        from: usize,
        /// What kind.
        name: &'static str,
        /// It is idle chatter.
        idle: bool,
    },
    /// Something became of a connection to a peer.
    Stream {
        /// The receiver.
        to: usize,
        /// What.
        what: &'static str,
    },
    /// An operation was applied.
    Applied {
        /// Which.
        dot: Dot,
        /// It was accepted here.
        own: bool,
    },
    /// The replica told something.
    Event(Event),
    /// A client sent a request.
    Asked {
        /// Which client.
        client: usize,
        /// To which replica.
        replica: usize,
        /// The request's number in the run.
        request: usize,
        /// What.
        what: String,
    },
    /// A replica was handed a client's request.
    Takes {
        /// Which client.
        client: usize,
        /// The request's number in the run.
        request: usize,
    },
    /// A replica answered a client's request.
    Replies {
        /// Which client.
        client: usize,
        /// The request's number in the run.
        request: usize,
    },
    /// A client got its answer, or lost its connection.
    Answered {
        /// Which client.
        client: usize,
        /// The request's number in the run.
        request: usize,
        /// What.
        what: String,
    },
    /// A fault struck.
    Strikes {
        /// Which.
        fault: Fault,
    },
    /// A fault ended.
    Ends {
        /// Which.
        fault: Fault,
    },
}

impl Note {
    fn text(&self) -> String {
        match self {
            Self::Started { life, .. } => format!("starts, life {life}"),
            Self::Sent { id, to, name, fate, .. } => {
                let lost = if fate.lost { ", lost" } else { "" };
                format!("-> {}  {name} #{id} takes {} us{lost}", Plan::name(*to), fate.delay)
            }
            Self::Received { id, from, name, .. } => format!("<- {}  {name} #{id}", Plan::name(*from)),
            Self::Stream { to, what } => format!("-> {}  connection {what}", Plan::name(*to)),
            Self::Applied { dot, own: true } => format!("accepts {dot}"),
            Self::Applied { dot, own: false } => format!("applies {dot}"),
            Self::Event(event) => format!("{event:?}"),
            Self::Asked { client, what, .. } => format!("c{client} asks {what}"),
            Self::Takes { client, request } => format!("takes request {request} of c{client}"),
            Self::Replies { client, request } => format!("answers request {request} of c{client}"),
            Self::Answered { client, what, .. } => format!("c{client} gets {what}"),
            Self::Strikes { fault } => format!("fault{} strikes: {:?}", fault.id, fault.kind),
            Self::Ends { fault } => format!("fault{} ends: {:?}", fault.id, fault.kind),
        }
    }

    const fn is_idle(&self) -> bool {
        matches!(self, Self::Sent { idle: true, .. } | Self::Received { idle: true, .. })
    }

    /// Whose request it is about, and which.
    const fn request(&self) -> Option<(usize, usize)> {
        if let Self::Asked { client, request, .. }
        | Self::Takes { client, request }
        | Self::Replies { client, request }
        | Self::Answered { client, request, .. } = *self
        {
            return Some((client, request));
        }
        None
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Sent { .. } => "sent",
            Self::Received { .. } => "received",
            Self::Stream { .. } => "stream",
            Self::Applied { .. } => "applied",
            Self::Event(_) => "event",
            Self::Asked { .. } => "asked",
            Self::Takes { .. } => "takes",
            Self::Replies { .. } => "replies",
            Self::Answered { .. } => "answered",
            Self::Strikes { .. } => "strikes",
            Self::Ends { .. } => "ends",
        }
    }
}

/// Watches a run.
pub trait Observer: std::fmt::Debug {
    /// Something happened, at this time, at a replica or outside.
    fn note(&mut self, at: u64, replica: Option<usize>, note: Note);
}

/// Where an observer writes to.
pub type Sink = std::rc::Rc<std::cell::RefCell<String>>;

/// Short names of lives: `a1` for the first at replica A, then `a2`, and `a1.3` for the third write of the first.
#[derive(Debug, Clone, Default)]
pub struct Names(std::rc::Rc<std::cell::RefCell<Vec<(Incarnation, usize)>>>);

impl Names {
    fn learn(&self, replica: Option<usize>, note: &Note) {
        let (Note::Started { incarnation: Some(life), .. } | Note::Event(Event::Renewed(life))) = note else { return };
        self.0.borrow_mut().extend(replica.map(|replica| (*life, replica)));
    }

    /// The text with short names for all lives known so far.
    #[must_use]
    pub fn shorten(&self, text: &str) -> String {
        let lives = self.0.borrow();
        lives.iter().enumerate().fold(text.to_owned(), |text, (at, &(life, replica))| {
            let number = 1 + lives[..at].iter().filter(|(_, other)| *other == replica).count();
            let short = format!("{}{number}", Plan::name(replica).to_ascii_lowercase());
            let long = life.to_string();
            text.replace(&format!("{long}-"), &format!("{short}.")).replace(&long, &short)
        })
    }
}

/// One line for each thing that happened, in columns.
#[derive(Debug)]
pub struct TextTrace {
    sink: Sink,
    idle: bool,
    names: Names,
}

impl TextTrace {
    /// Writes into this sink; idle chatter only if asked for.
    #[must_use]
    pub fn new(sink: Sink, idle: bool) -> Self {
        Self { sink, idle, names: Names::default() }
    }

    /// The names that it gives to lives, as it learns of them.
    #[must_use]
    pub fn names(&self) -> Names {
        self.names.clone()
    }
}

impl Observer for TextTrace {
    fn note(&mut self, at: u64, replica: Option<usize>, note: Note) {
        self.names.learn(replica, &note);
        // The client's own lines tell of its requests.
        let is_told = matches!(note, Note::Takes { .. } | Note::Replies { .. });
        if note.is_idle() && !self.idle || is_told {
            return;
        }
        let who = replica.map_or(' ', Plan::name);
        let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
        _ = writeln!(self.sink.borrow_mut(), "{seconds:>4}.{micros:06}  {who}  {}", self.names.shorten(&note.text()));
    }
}

/// One JSON object on a line for each thing that happened.
#[derive(Debug)]
pub struct JsonLines {
    sink: Sink,
}

impl JsonLines {
    /// Writes into this sink.
    #[must_use]
    pub const fn new(sink: Sink) -> Self {
        Self { sink }
    }
}

impl Observer for JsonLines {
    fn note(&mut self, at: u64, replica: Option<usize>, note: Note) {
        let mut line = serde_json::json!({ "at": at, "kind": note.kind(), "text": note.text() });
        if let Some(replica) = replica {
            line["replica"] = Plan::name(replica).to_string().into();
        }
        if let Note::Sent { id, to, name, content, fate, .. } = &note {
            line["message"] = serde_json::json!({ "id": id, "to": Plan::name(*to).to_string(), "name": name,
                "content": content, "delay": fate.delay, "lost": fate.lost });
        }
        if let Note::Received { id, from, name, .. } = &note {
            line["message"] = serde_json::json!({ "id": id, "from": Plan::name(*from).to_string(), "name": name });
        }
        if let Some((client, request)) = note.request() {
            line["request"] = serde_json::json!({ "id": request, "client": client });
        }
        if let Note::Asked { replica, .. } = &note {
            line["request"]["to"] = Plan::name(*replica).to_string().into();
        }
        _ = writeln!(self.sink.borrow_mut(), "{line}");
    }
}

/// A vector clock over hosts.
type HostClock = BTreeMap<String, u64>;

/// What leaves one host and comes in at another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Carrier {
    Message(u64),
    Request(usize),
    Reply(usize),
}

/// A log that ShiViz draws: each event with a vector clock over hosts, which are replicas and clients.
#[derive(Debug)]
pub struct ShiViz {
    sink: Sink,
    clocks: BTreeMap<String, HostClock>,
    sent: BTreeMap<Carrier, HostClock>,
}

impl ShiViz {
    /// Writes into this sink, header first.
    #[must_use]
    pub fn new(sink: Sink) -> Self {
        // The parser's pattern, then the delimiter of executions, of which there is one.
        sink.borrow_mut().push_str("(?<event>.*)\\n(?<host>\\S*) (?<clock>{.*})\n\n");
        Self { sink, clocks: BTreeMap::new(), sent: BTreeMap::new() }
    }
}

impl Observer for ShiViz {
    fn note(&mut self, at: u64, replica: Option<usize>, note: Note) {
        let host = match (&note, replica) {
            (Note::Asked { client, .. } | Note::Answered { client, .. }, _) => format!("c{client}"),
            (_, Some(replica)) => Plan::name(replica).to_string(),
            (_, None) => return,
        };
        if note.is_idle() {
            return;
        }
        let clock = self.clocks.entry(host.clone()).or_default();
        if let Some(carrier) = comes_in(&note) {
            for (other, &count) in self.sent.get(&carrier).into_iter().flatten() {
                let known = clock.entry(other.clone()).or_default();
                *known = (*known).max(count);
            }
        }
        *clock.entry(host.clone()).or_default() += 1;
        if let Some(carrier) = leaves(&note) {
            self.sent.insert(carrier, clock.clone());
        }
        let clock = serde_json::to_string(clock).unwrap_or_default();
        let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
        _ = writeln!(self.sink.borrow_mut(), "{seconds}.{micros:06} {}\n{host} {clock}", note.text());
    }
}

/// What an event took in. Of an answer that never came nothing was sent.
const fn comes_in(note: &Note) -> Option<Carrier> {
    if let Note::Received { id, .. } = *note {
        return Some(Carrier::Message(id));
    }
    if let Note::Takes { request, .. } = *note {
        return Some(Carrier::Request(request));
    }
    if let Note::Answered { request, .. } = *note {
        return Some(Carrier::Reply(request));
    }
    None
}

/// What left with an event.
const fn leaves(note: &Note) -> Option<Carrier> {
    if let Note::Sent { id, .. } = *note {
        return Some(Carrier::Message(id));
    }
    if let Note::Asked { request, .. } = *note {
        return Some(Carrier::Request(request));
    }
    if let Note::Replies { request, .. } = *note {
        return Some(Carrier::Reply(request));
    }
    None
}
