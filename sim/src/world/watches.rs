//! Clients that watch: they open a watch, take its parts, break off, and go on elsewhere from their last mark.

use super::{Scheduled, Unsettled, World};
use crate::observe::Note;
use crate::oracle::adversity::Kind;
use crate::oracle::judge::watch::Watched;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use crate::plan::{Plan, WatchUse};
use crate::random::{Domain, mix, scale};
use crate::subject::{Input, Subject};
use hence_checker::bits;
use hence_core::{
    Dot, Dots, Key, Refusal, Reply, Request, RequestId, VersionVector, WatchChange, WatchMark, WatchPart, WatchRange,
    WatchRequest,
};

/// Requests above this are watches. Below it they are numbered as they come.
const WATCHES_FROM: u64 = 1 << 40;

/// A client whose watch is lost tries again after this, in microseconds.
const AGAIN_AFTER: u64 = 50_000;

/// One that is refused tries again after this.
const REFUSED_AFTER: u64 = 1_000_000;

/// Is this request a watch?
pub(super) const fn is_watch(id: RequestId) -> bool {
    id.0 >= WATCHES_FROM
}

/// Which watch this is, and which of its sessions.
const fn named(id: RequestId) -> (usize, u64) {
    (((id.0 - WATCHES_FROM) >> 20) as usize, (id.0 - WATCHES_FROM) & 0xf_ffff)
}

/// What a client that watches does next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    /// Opens its watch.
    Open { watcher: usize, session: u64 },
    /// Breaks off.
    Break { watcher: usize, replica: usize },
    /// Takes the part that it got.
    Take { watcher: usize, session: u64 },
    /// What its replica sees of it: it is gone.
    Gone { replica: usize, id: RequestId },
}

/// What a client holds with its last mark.
#[derive(Debug, Clone)]
struct Marked {
    mark: WatchMark,
    watched: Watched,
}

/// A client that watches.
#[derive(Debug)]
pub(super) struct Watcher {
    replica: usize,
    /// Where it was opened last.
    last: Option<usize>,
    /// How often it opened its watch.
    session: u64,
    /// Sessions of which their replicas know that they are over.
    gone: Vec<u64>,
    /// The present watch, as its replica told it.
    open: Option<Watched>,
    /// A part is on its way, or being taken. If it has a mark, this is what the client holds then.
    told: Option<Option<Box<Marked>>>,
    marked: Option<Box<Marked>>,
}

impl Watcher {
    pub(super) fn new(watch: &WatchUse) -> Self {
        Self {
            replica: watch.replica.into(),
            last: None,
            session: 0,
            gone: Vec::new(),
            open: None,
            told: None,
            marked: None,
        }
    }

    /// What its client holds, for a watch that does not come to rest.
    fn in_words(&self) -> &'static str {
        match self {
            Self { open: None, .. } => "it is not open",
            Self { told: Some(_), .. } => "a part is on its way",
            Self { marked: None, .. } => "no mark has come",
            Self { marked: Some(marked), .. } if marked.mark.known.is_none() => "its first state has not come",
            Self { .. } => "what came with its last mark is not what is there",
        }
    }
}

/// What a watch of the plan does and when.
pub(super) fn course<M>(watcher: usize, watch: &WatchUse) -> Vec<(u64, u64, Scheduled<M>)> {
    let key = |step: u64| mix(Domain::Client as u64, (0xa7c4 + u64::from(watch.id)) << 16 | step);
    let open = (watch.at, key(0), Scheduled::Watch(Turn::Open { watcher, session: 0 }));
    let breaks = watch.breaks.iter().enumerate().map(|(n, one)| {
        let turn = Turn::Break { watcher, replica: one.replica.into() };
        (one.at, key(1 + n as u64), Scheduled::Watch(turn))
    });
    std::iter::once(open).chain(breaks).collect()
}

impl<S: Subject> World<S> {
    /// Adds a watch to the plan, and opens it now.
    pub fn add_watch(&mut self, watch: WatchUse) {
        let watcher = self.watchers.len();
        self.watchers.push(Watcher::new(&watch));
        self.plan.watches.push(watch);
        self.open_watch(watcher, 0);
    }

    /// The client of a watch breaks off, and goes on at this replica.
    pub fn move_watch(&mut self, id: u32, replica: usize) {
        if let Some(watcher) = self.plan.watches.iter().position(|watch| watch.id == id) {
            self.break_watch(watcher, replica);
        }
    }

    /// What the client of a watch holds of a key with its last mark.
    #[must_use]
    pub fn watch_holds(&self, id: u32, key: u8) -> String {
        let watcher = self.plan.watches.iter().position(|watch| watch.id == id);
        let marked = watcher.and_then(|watcher| self.watchers[watcher].marked.as_ref());
        let dots = marked.map(|marked| marked.watched.told[usize::from(key)].clone()).unwrap_or_default();
        let value = |&dot: &Dot| {
            let write = &self.judge.truth.writes[self.judge.truth.number(dot)? as usize];
            Some(String::from_utf8_lossy(write.value_of(key)?.as_bytes()).into_owned())
        };
        dots.iter().filter_map(value).collect::<Vec<_>>().join("|")
    }

    pub(super) fn take_turn(&mut self, turn: Turn) {
        match turn {
            Turn::Open { watcher, session } => self.open_watch(watcher, session),
            Turn::Break { watcher, replica } => self.break_watch(watcher, replica),
            Turn::Take { watcher, session } => self.take_part(watcher, session),
            Turn::Gone { replica, id } => {
                if self.nodes[replica].pauses > 0 {
                    return self.nodes[replica].backlog.push(Scheduled::Watch(turn));
                }
                let (watcher, session) = named(id);
                self.watchers[watcher].gone.push(session);
                self.step(replica, Input::Cancel { id }, mix(id.0, 7));
            }
        }
    }

    fn watch_id(&self, watcher: usize) -> RequestId {
        RequestId(WATCHES_FROM + ((watcher as u64) << 20) + self.watchers[watcher].session)
    }

    fn cause_of(&self, watcher: usize, step: u64) -> u64 {
        let id = u64::from(self.plan.watches[watcher].id);
        mix(mix(Domain::Client as u64, (0xa7c4 + id) << 16 | step), self.watchers[watcher].session)
    }

    fn open_watch(&mut self, watcher: usize, session: u64) {
        if self.judge.over {
            return; // all is said: a client that is refused again and again gives up, and the run comes to rest
        }
        if self.watchers[watcher].session != session || self.watchers[watcher].open.is_some() || self.keys.is_empty() {
            return;
        }
        let core: Vec<usize> = self.core().collect();
        let mut replica = self.watchers[watcher].replica;
        if self.recovery.is_healed() && !self.plan.is_core(replica) {
            replica = core[watcher % core.len()];
        }
        if !self.is_alive(replica) || self.is_lost(replica) {
            return self.open_later(watcher, (replica + 1) % self.nodes.len());
        }
        if self.nodes[replica].pauses > 0 {
            self.watchers[watcher].replica = replica;
            return self.nodes[replica].backlog.push(Scheduled::Watch(Turn::Open { watcher, session }));
        }
        if self.subject(replica).is_some_and(|subject| subject.probe().is_none()) {
            return; // it is judged by what is inside
        }
        let (watched, since) = self.begin_session(watcher, replica);
        let watch = &self.plan.watches[watcher];
        let range = watch.key.map_or_else(|| WatchRange::Prefix("k".into()), |key| self.range_of(key));
        let request = WatchRequest { range, keys_only: watch.keys_only, past: watched.token.clone(), since };
        let what = words_of(&request, replica);
        let own = &mut self.watchers[watcher];
        (own.replica, own.last) = (replica, Some(replica));
        (own.open, own.told) = (Some(watched), None);
        own.session += 1;
        self.tell_of(watcher, || what);
        let (id, cause) = (self.watch_id(watcher), self.cause_of(watcher, 0));
        self.step(replica, Input::Request { id, request: Request::Watch(Box::new(request)) }, cause);
    }

    fn range_of(&self, key: u8) -> WatchRange {
        WatchRange::Key(self.keys[usize::from(key)].clone())
    }

    /// What the oracle knows of a watch that is opened, and what the client's last mark knew.
    fn begin_session(&mut self, watcher: usize, replica: usize) -> (Watched, Option<VersionVector>) {
        let watch = &self.plan.watches[watcher];
        let client = &self.clients[usize::from(watch.client)];
        let (keys, keys_only) = (self.keys.len(), watch.keys_only);
        let range = watch.key.map_or_else(|| (0..keys).map(|key| key as u8).collect(), |key| vec![key]);
        let (mut token, mut past) = (client.token.clone(), client.past.clone());
        let empty = self.judge.truth.closures.empty();
        let own = &self.watchers[watcher];
        let elsewhere = own.last.is_some_and(|last| last != replica);
        let mut watched = match &own.marked {
            Some(marked) => {
                token.join(&marked.mark.past);
                bits::join(&mut past, &marked.watched.past);
                marked.watched.clone()
            }
            None => Watched {
                range,
                keys_only,
                token: VersionVector::new(),
                past: Vec::new(),
                told: vec![Dots::new(); keys],
                seen: empty,
                is_synced: false,
                is_open: false,
            },
        };
        (watched.token, watched.past) = (token, past);
        (watched.is_synced, watched.is_open) = (false, false);
        let since = own.marked.as_ref().and_then(|marked| marked.mark.known.as_deref().cloned());
        if since.is_none() {
            watched.told.iter_mut().for_each(Dots::clear);
        }
        self.count(Kind::WatchOpened);
        self.judge.counts.add_if(Kind::WatchResumed, since.is_some());
        self.judge.counts.add_if(Kind::WatchElsewhere, since.is_some() && elsewhere);
        (watched, since)
    }

    fn open_later(&mut self, watcher: usize, replica: usize) {
        self.open_after(watcher, replica, AGAIN_AFTER);
    }

    fn open_after(&mut self, watcher: usize, replica: usize, after: u64) {
        self.watchers[watcher].replica = replica;
        let (session, cause) = (self.watchers[watcher].session, mix(self.cause_of(watcher, 1), self.now));
        self.push(self.now + after, cause, Scheduled::Watch(Turn::Open { watcher, session }));
    }

    /// The client goes away and goes on at another replica, from its last mark.
    fn break_watch(&mut self, watcher: usize, replica: usize) {
        if self.watchers[watcher].open.is_none() {
            self.watchers[watcher].replica = replica;
            if self.now >= self.plan.watches[watcher].at {
                self.watchers[watcher].session += 1; // it waits nowhere else any more
                self.open_later(watcher, replica);
            }
            return;
        }
        let (before, id) = (self.watchers[watcher].replica, self.watch_id(watcher));
        self.end_session(watcher);
        self.tell_of(watcher, || format!("breaks off, goes on at {}", Plan::name(replica)));
        if self.is_alive(before) {
            self.take_turn(Turn::Gone { replica: before, id });
        }
        self.open_later(watcher, replica);
    }

    fn end_session(&mut self, watcher: usize) {
        let own = &mut self.watchers[watcher];
        let marked = own.marked.as_ref().is_some_and(|marked| marked.mark.known.is_some());
        let open = own.open.take();
        own.told = None;
        // What comes later of this session is of none.
        own.session += 1;
        if let Some(watched) = open {
            self.judge.counts.add_if(Kind::WatchBroken, watched.is_open);
            self.judge.counts.add_if(Kind::WatchBrokenFirst, watched.is_open && !watched.is_synced && !marked);
        }
    }

    /// The replica died, or answers nobody any more.
    pub(super) fn lose_watches_at(&mut self, replica: usize) {
        for watcher in 0..self.watchers.len() {
            if self.watchers[watcher].replica != replica {
                continue;
            }
            if self.watchers[watcher].open.is_some() {
                self.end_session(watcher);
                self.count(Kind::WatchOrphaned);
                self.open_later(watcher, (replica + 1) % self.nodes.len());
            } else if self.now >= self.plan.watches[watcher].at {
                self.open_later(watcher, replica); // what was on its way may never arrive
            }
        }
    }

    /// The process died before it came to this turn.
    pub(super) fn lose_turn(&mut self, turn: Turn) {
        if let Turn::Open { watcher, session } = turn
            && self.watchers[watcher].session == session
            && self.watchers[watcher].open.is_none()
        {
            self.open_later(watcher, self.watchers[watcher].replica);
        }
    }

    /// A replica tells a watch.
    pub(super) fn on_tell(&mut self, replica: usize, id: RequestId, part: Box<WatchPart>) {
        self.hash = mix(self.hash, id.0 ^ digest(&part));
        let (watcher, session) = named(id);
        let own = &self.watchers[watcher];
        if session < own.session && !own.gone.contains(&session) {
            return; // it does not know yet that its client is gone
        }
        if own.replica != replica || own.told.is_some() || own.open.is_none() || own.session != session {
            if self.judge.copied.is_so() || self.recovery.is_healed() && !self.plan.is_core(replica) {
                return; // both of two images tell it, or it has no listener any more
            }
            return self.judge.fail(Invariant::Watch, Sign::WatchTurn, Some(replica), || {
                format!("tells {} to a watch that does not listen", words::part(&part))
            });
        }
        let Some(mut watched) = self.watchers[watcher].open.take() else { return };
        if let Some(probe) = self.nodes[replica].subject.as_ref().and_then(S::probe)
            && !self.judge.copied.is_so()
        {
            self.judge.on_part(replica, &mut watched, &part, probe);
        }
        let marked = part.mark.clone().map(|mark| Box::new(Marked { mark, watched: watched.clone() }));
        let own = &mut self.watchers[watcher];
        (own.open, own.told) = (Some(watched), Some(marked));
        let (of, what) = (&self.plan.watches[watcher], || words(&part));
        let (client, watch) = (usize::from(of.client), of.id);
        self.note(None, || Note::Told {
            client,
            watch,
            from: Some(replica),
            what: format!("watch{watch} {}", what()),
            part: Some(words::part(&part)),
        });
        let (cause, session) = (self.cause_of(watcher, 2), self.watchers[watcher].session);
        let cause = mix(cause, self.now);
        let delay = scale(self.source.words(cause).word(0), self.plan.network.client_delay_max + 1);
        let at = self.now + delay + self.plan.watches[watcher].pace;
        self.push(at, cause, Scheduled::Watch(Turn::Take { watcher, session }));
    }

    fn take_part(&mut self, watcher: usize, session: u64) {
        let own = &mut self.watchers[watcher];
        if own.session != session || own.open.is_none() {
            return;
        }
        let replica = own.replica;
        if self.nodes[replica].pauses > 0 {
            let turn = Turn::Take { watcher, session };
            return self.nodes[replica].backlog.push(Scheduled::Watch(turn));
        }
        let own = &mut self.watchers[watcher];
        let Some(marked) = own.told.take() else { return };
        own.marked = marked.or(own.marked.take());
        let (id, cause) = (self.watch_id(watcher), mix(self.cause_of(watcher, 3), self.now));
        self.step(replica, Input::Told { id }, cause);
    }

    /// There are too many watches.
    pub(super) fn on_watch_refused(&mut self, replica: usize, id: RequestId, reply: &Reply) {
        let (watcher, session) = named(id);
        if self.watchers[watcher].session != session {
            return; // its client is gone, or two images answer
        }
        self.count(Kind::WatchRefused);
        let probe = self.nodes[replica].subject.as_ref().and_then(S::probe);
        let watches = probe.map_or(0, |probe| probe.load().watches);
        let settings = &self.plan.settings;
        let is_full = watches >= settings.watches_max || settings.memory_bytes_max != u64::MAX;
        if !is_full || !matches!(reply, Reply::Refused(Refusal::NoRoomToWatch)) {
            self.judge.fail(Invariant::Watch, Sign::SentAway, Some(replica), || {
                format!("a watch is answered {} beside {watches} others", words::answer(reply))
            });
        }
        self.end_session(watcher);
        self.tell_of(watcher, || "is refused: too many watch".into());
        self.open_after(watcher, (replica + 1) % self.nodes.len(), REFUSED_AFTER);
    }

    /// A state is installed: is somebody told of what is there?
    pub(super) fn count_watched_install(&mut self, replica: usize) {
        let watched = self.watchers.iter().any(|own| own.open.is_some() && own.replica == replica);
        self.judge.counts.add_if(Kind::WatchInstalled, watched);
    }

    /// A watch that does not hold, with a mark, what there is.
    pub(super) fn unsettled_watch(&self) -> Option<Unsettled> {
        let settings = &self.plan.settings;
        let room = settings.memory_bytes_max == u64::MAX && settings.watches_max >= self.watchers.len();
        if !room || self.judge.copied.is_so() || self.judge.off || self.keys.is_empty() {
            return None;
        }
        for (at, own) in self.watchers.iter().enumerate() {
            if self.subject(own.replica).is_some_and(|subject| subject.probe().is_none()) {
                continue;
            }
            let holds = |marked: &Marked| {
                marked.mark.known.is_some() && self.judge.differs(own.replica, &marked.watched).is_none()
            };
            let is_settled = own.open.is_some() && own.told.is_none() && own.marked.as_deref().is_some_and(holds);
            if !is_settled {
                let detail = format!("watch {} holds no present state: {}", self.plan.watches[at].id, own.in_words());
                return Some(Unsettled { sign: Sign::WatchStuck, replica: Some(own.replica), detail });
            }
        }
        None
    }

    fn tell_of(&mut self, watcher: usize, what: impl FnOnce() -> String) {
        let of = &self.plan.watches[watcher];
        let (client, watch) = (usize::from(of.client), of.id);
        self.note(None, || Note::Told {
            client,
            watch,
            from: None,
            what: format!("watch{watch} {}", what()),
            part: None,
        });
    }
}

/// A watch that is opened, in words.
fn words_of(request: &WatchRequest, replica: usize) -> String {
    let range = match &request.range {
        WatchRange::Key(key) => key.as_str().to_owned(),
        WatchRange::Prefix(prefix) => format!("{prefix}*"),
    };
    let place = Plan::name(replica);
    match &request.since {
        None => format!("of {range} begins at {place}"),
        Some(known) => format!("of {range} goes on at {place} from what it knows: {}", words::past(known)),
    }
}

/// A part in words.
fn words(part: &WatchPart) -> String {
    let mut text = String::from("gets");
    if let Some(reset) = part.reset {
        text += &format!(" reset: {}", words::reset(reset));
    }
    for change in &part.changes {
        match change {
            WatchChange::Put(listed) => {
                let value = listed.value.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
                let value = value.map(|value| format!("={}", value.trim_end())).unwrap_or_default();
                let siblings = if listed.dots.len() > 1 { format!(" of {}", listed.dots.len()) } else { String::new() };
                text += &format!(" {}{value}{siblings}", listed.key.as_str());
            }
            WatchChange::Delete(key) => text += &format!(" -{}", key.as_str()),
        }
    }
    match &part.mark {
        Some(WatchMark { known: None, .. }) => text += " begins",
        Some(WatchMark { synced: true, .. }) => text += " synced",
        Some(_) => text += " mark",
        None => {}
    }
    text
}

fn digest(part: &WatchPart) -> u64 {
    let of = |hash: u64, vector: &VersionVector| {
        vector.entries().fold(hash, |hash, (incarnation, counter)| mix(hash, incarnation.0 ^ counter))
    };
    let name = |key: &Key| key.as_str().bytes().fold(7, |hash, byte| mix(hash, byte.into()));
    let changes = part.changes.iter().fold(u64::from(part.reset.is_some()), |hash, change| {
        let dots = match change {
            WatchChange::Put(listed) => listed.dots.as_slice(),
            WatchChange::Delete(_) => &[],
        };
        let hash = mix(hash, name(change.key()));
        dots.iter().fold(hash, |hash, dot| mix(hash, dot.incarnation.0 ^ dot.counter))
    });
    part.mark.as_ref().map_or(changes, |mark| {
        let hash = of(mix(changes, 1 + u64::from(mark.synced)), &mark.past);
        mark.known.as_ref().map_or(hash, |known| of(mix(hash, 2), known))
    })
}
