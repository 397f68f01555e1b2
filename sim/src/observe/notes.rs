//! The notes that a world hands to an observer, and short names for the incarnations in them.

use super::words::span;
use crate::plan::network::Fate;
use crate::plan::{Fault, Plan, limits};
use hence_core::{Dot, Event, Incarnation};

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
    /// A process died.
    Died,
    /// A message left.
    Sent {
        /// Its number in the run.
        id: u64,
        /// The receiver.
        to: usize,
        /// What kind.
        name: &'static str,
        /// The write that it carries, if one.
        dot: Option<Dot>,
        /// All of it.
        content: String,
        /// What the network does with it.
        fate: Fate,
        /// The name of that choice; empty where choices are not recorded.
        choice: String,
        /// It is idle chatter.
        idle: bool,
    },
    /// A cut keeps a message until it ends.
    Held {
        /// Its number in the run.
        id: u64,
    },
    /// A message will not arrive.
    Gone {
        /// Its number in the run.
        id: u64,
        /// Why not.
        why: &'static str,
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
    /// A replica took a step that no other note tells of, and its state changed.
    Acted,
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
        /// What, with its token.
        what: String,
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
    /// The client of a watch got a part, lost its connection, or opened it anew.
    Told {
        /// Which client.
        client: usize,
        /// The number of its watch.
        watch: u32,
        /// The replica whose part it got, if it got one.
        from: Option<usize>,
        /// What.
        what: String,
        /// All of the part, with its mark.
        part: Option<String>,
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
    /// Is it about idle chatter?
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self, Self::Sent { idle: true, .. } | Self::Received { idle: true, .. })
    }

    /// Its kind, in one word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Died => "died",
            Self::Sent { .. } => "sent",
            Self::Held { .. } => "held",
            Self::Gone { .. } => "gone",
            Self::Received { .. } => "received",
            Self::Acted => "acted",
            Self::Stream { .. } => "stream",
            Self::Applied { .. } => "applied",
            Self::Event(_) => "event",
            Self::Asked { .. } => "asked",
            Self::Takes { .. } => "takes",
            Self::Replies { .. } => "replies",
            Self::Answered { .. } => "answered",
            Self::Told { .. } => "told",
            Self::Strikes { .. } => "strikes",
            Self::Ends { .. } => "ends",
        }
    }
}

/// Watches a run.
pub trait Observer: std::fmt::Debug {
    /// Something happened, at this time, at a replica or outside.
    fn note(&mut self, at: u64, replica: Option<usize>, note: Note);

    /// Does it want to see states, too? They cost more than the run.
    fn wants_states(&self) -> bool {
        false
    }

    /// A replica's step is over, and its state is this: names of fields with what they hold.
    fn on_replica_state(&mut self, _at: u64, _replica: usize, _state: Vec<(String, String)>) {}

    /// A client's state is this now.
    fn on_client_state(&mut self, _client: usize, _state: Vec<(String, String)>) {}
}

/// Short names: `a1` for the first incarnation at replica A, then `a2`, and `a1.3` for the third write of the first. An
/// address becomes its replica's letter.
#[derive(Debug, Clone, Default)]
pub struct Names(Vec<(Incarnation, String)>);

impl Names {
    /// Learns the names that a note brings.
    pub fn learn(&mut self, replica: Option<usize>, note: &Note) {
        let (Note::Started { incarnation: Some(incarnation), .. } | Note::Event(Event::Renewed(incarnation))) = note
        else {
            return;
        };
        let Some(replica) = replica else { return };
        let letter = Plan::name(replica).to_ascii_lowercase();
        let number = 1 + self.0.iter().filter(|(_, name)| name.starts_with(letter)).count();
        self.0.push((*incarnation, format!("{letter}{number}")));
    }

    /// Names that are known already.
    #[must_use]
    pub fn of(names: impl IntoIterator<Item = (Incarnation, String)>) -> Self {
        Self(names.into_iter().collect())
    }

    /// The text with short names in it.
    #[must_use]
    pub fn shorten(&self, text: &str) -> String {
        let mut short = text.to_owned();
        for (incarnation, name) in &self.0 {
            let long = incarnation.to_string();
            if short.contains(&long) {
                short = short.replace(&format!("{long}-"), &format!("{name}.")).replace(&long, name);
            }
        }
        for replica in 0..limits::REPLICAS_MAX {
            if !short.contains("10.0.0.") {
                break;
            }
            short = short.replace(&Plan::address(replica), &Plan::name(replica).to_string());
        }
        short
    }

    /// What an oracle says, with short names, and with letters where it counts replicas.
    #[must_use]
    pub fn of_oracle(&self, detail: &str) -> String {
        let letters = (0..limits::REPLICAS_MAX).rev().fold(detail.to_owned(), |text, replica| {
            text.replace(&format!("replica {replica}"), &format!("replica {}", Plan::name(replica)))
        });
        ones(&spans(&runs_of(&self.shorten(&letters))))
    }
}

/// The text with long times in larger units: `854055 us` is `854.055 ms`.
fn spans(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let mut said: Vec<String> = Vec::new();
    for word in words {
        let bare = word.trim_end_matches([',', '.', ';', ':']);
        let before = said.last().and_then(|number| number.parse::<u64>().ok());
        match before.filter(|_| bare == "us") {
            Some(micros) => {
                said.pop();
                said.push(span(micros) + &word[bare.len()..]);
            }
            None => said.push(word.to_owned()),
        }
    }
    said.join(" ")
}

/// What oracles count, and one of it.
const COUNTED: [(&str, &str); 11] = [
    ("bytes", "byte"),
    ("entries", "entry"),
    ("inputs", "input"),
    ("keys", "key"),
    ("members", "member"),
    ("messages", "message"),
    ("operations", "operation"),
    ("replicas", "replica"),
    ("requests", "request"),
    ("units", "unit"),
    ("writes", "write"),
];

/// The text with one of a thing said as one: `1 requests are open` is `1 request is open`.
fn ones(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        let bare = words[at].trim_end_matches([',', '.', ';', ':']).to_owned();
        let counted = COUNTED.iter().find(|(many, _)| *many == bare);
        let Some((many, one)) = counted.filter(|_| words[at - 1] == "1") else { continue };
        words[at] = words[at].replacen(many, one, 1);
        match words.get_mut(at + 1) {
            Some(verb) if *verb == "are" => *verb = "is".into(),
            Some(verb) if *verb == "wait" => *verb = "waits".into(),
            Some(_) | None => {}
        }
    }
    words.join(" ")
}

/// At least so many names of writes in a row are said by the first and the last.
const RUN_MIN: usize = 3;

/// The text with runs of names in it by their first and last: `b1.1, b1.2, b1.3` is `b1.1 to b1.3`.
fn runs_of(text: &str) -> String {
    let parts: Vec<&str> = text.split(", ").collect();
    let (mut kept, mut at): (Vec<String>, usize) = (Vec::new(), 0);
    while at < parts.len() {
        let mut end = at;
        while end + 1 < parts.len() && follows(parts[end], parts[end + 1]) {
            end += 1;
        }
        // What stands before the first name, and behind the last, stays.
        let run = end + 1 - at;
        if run >= RUN_MIN {
            kept.push(format!("{} to {}", parts[at], parts[end]));
        } else {
            kept.extend(parts[at..=end].iter().map(|&part| part.to_owned()));
        }
        at = end + 1;
    }
    kept.join(", ")
}

/// Does one part end in the name of a write, and the next begin with that of the next one?
fn follows(one: &str, next: &str) -> bool {
    let name = |word: Option<&str>| {
        let (incarnation, counter) = word?.split_once('.')?;
        Some((incarnation.trim_start_matches('[').to_owned(), counter.trim_end_matches(']').parse::<u64>().ok()?))
    };
    let (one, next) = (name(one.rsplit(' ').next()), name(next.split(' ').next()));
    one.zip(next).is_some_and(|(one, next)| one.0 == next.0 && one.1 + 1 == next.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_oracles_say_is_short() {
        let names = Names::default();
        let said = |text: &str| names.of_oracle(text);
        assert_eq!(said("without b1.1, b1.2, b1.3, b1.5, a1.6"), "without b1.1 to b1.3, b1.5, a1.6");
        assert_eq!(said("holds [b1.9, b1.10, b1.11] instead"), "holds [b1.9 to b1.11] instead");
        assert_eq!(said("b1.1, b1.2"), "b1.1, b1.2");
        assert_eq!(said("late by 854055 us, and 101 us, and us"), "late by 854.055 ms, and 101 us, and us");
        assert_eq!(said("1 requests are open"), "1 request is open");
        assert_eq!(said("1 requests with 1 bytes wait"), "1 request with 1 byte waits");
        assert_eq!(said("11 requests are open, 1 keys, 2 keys"), "11 requests are open, 1 key, 2 keys");
        assert_eq!(said("which replica 1 holds, and replica 12"), "which replica B holds, and replica M");
    }

    #[test]
    fn names_are_short() {
        let mut names = Names::default();
        let life = |number| Note::Started { life: 0, incarnation: Some(Incarnation(number)) };
        names.learn(Some(1), &life(7));
        names.learn(Some(0), &life(8));
        names.learn(Some(1), &Note::Event(Event::Renewed(Incarnation(9))));
        names.learn(None, &life(10));
        let dot = |incarnation, counter| Dot { incarnation: Incarnation(incarnation), counter };
        let text = format!("{} {} {} {} of {}", dot(7, 2), dot(8, 1), dot(9, 12), Incarnation(9), Plan::address(2));
        assert_eq!(names.shorten(&text), "b1.2 a1.1 b2.12 b2 of C");
        assert_eq!(names.shorten(&Incarnation(10).to_string()), Incarnation(10).to_string());
    }
}
