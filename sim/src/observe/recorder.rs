//! Keeps what a world tells, and makes a story of it at the end, when all short names are known.

use super::notes::{Names, Note, Observer};
use super::story::{Band, Blame, Carriage, Lane, Moment, Story, Tone};
use super::words;
use crate::oracle::verdict::Violation;
use crate::plan::{Effect, Fault, OnProcess, OnView, Plan};
use hence_core::Event;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Which idle chatter a story has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// All of it.
    All,
    /// What changed a state, and what that came from.
    Changing,
}

/// The fields of a state with what they hold.
type State = Vec<(String, String)>;

#[derive(Debug)]
struct Line {
    at: u64,
    lane: Lane,
    note: Note,
    changes: State,
}

impl Line {
    /// It becomes a moment, not only a fact about a message.
    const fn is_told(&self) -> bool {
        !matches!(self.note, Note::Held { .. } | Note::Gone { .. })
    }
}

#[derive(Debug, Default)]
struct Raw {
    lines: Vec<Line>,
    states: BTreeMap<Lane, BTreeMap<String, String>>,
    /// Where the present step begins.
    step: usize,
}

/// An observer that keeps everything. A copy of it looks at the same.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Rc<RefCell<Raw>>);

impl Observer for Recorder {
    fn note(&mut self, at: u64, replica: Option<usize>, note: Note) {
        let lane = match (&note, replica) {
            (Note::Asked { client, .. } | Note::Answered { client, .. } | Note::Told { client, .. }, _) => {
                Lane::Client(*client)
            }
            (_, Some(replica)) => Lane::Replica(replica),
            (_, None) => Lane::Outside,
        };
        let mut raw = self.0.borrow_mut();
        if matches!(note, Note::Died) {
            raw.states.remove(&lane);
        }
        raw.lines.push(Line { at, lane, note, changes: Vec::new() });
    }

    fn wants_states(&self) -> bool {
        true
    }

    fn on_replica_state(&mut self, at: u64, replica: usize, state: State) {
        let (raw, lane) = (&mut *self.0.borrow_mut(), Lane::Replica(replica));
        let changes = raw.changes(lane, state);
        let step = std::mem::replace(&mut raw.step, raw.lines.len());
        if changes.is_empty() {
            return;
        }
        // What a step changes belongs to what began it.
        let begins = |line: &&mut Line| line.lane == lane && line.at == at && line.is_told();
        match raw.lines[step..].iter_mut().find(begins) {
            Some(line) => line.changes = changes,
            None => raw.lines.push(Line { at, lane, note: Note::Acted, changes }),
        }
        raw.step = raw.lines.len();
    }

    fn on_client_state(&mut self, client: usize, state: State) {
        let (raw, lane) = (&mut *self.0.borrow_mut(), Lane::Client(client));
        let changes = raw.changes(lane, state);
        if let Some(line) = raw.lines.iter_mut().rev().find(|line| line.lane == lane) {
            line.changes.extend(changes);
        }
    }
}

impl Raw {
    /// What is different in a lane's state from what it was.
    fn changes(&mut self, lane: Lane, state: State) -> State {
        let known = self.states.entry(lane).or_default();
        let gone = |name: &&String| !state.iter().any(|(other, _)| other == *name);
        let gone: Vec<String> = known.keys().filter(gone).cloned().collect();
        let mut changes: State = Vec::new();
        for name in gone {
            known.remove(&name);
            changes.push((name, String::new()));
        }
        for (name, value) in state {
            if known.get(&name) != Some(&value) {
                known.insert(name.clone(), value.clone());
                changes.push((name, value));
            }
        }
        changes
    }

    /// Which lines a story has.
    fn kept(&self, idle: Idle) -> Vec<bool> {
        let mut kept: Vec<bool> = self
            .lines
            .iter()
            .map(|line| line.is_told() && (idle == Idle::All || !line.note.is_idle() || !line.changes.is_empty()))
            .collect();
        let arrived = |(line, kept): (&Line, &bool)| {
            let Note::Received { id, .. } = line.note else { return None };
            kept.then_some(id)
        };
        let arrived: std::collections::BTreeSet<u64> = self.lines.iter().zip(&kept).filter_map(arrived).collect();
        for (at, line) in self.lines.iter().enumerate() {
            if let Note::Sent { id, .. } = line.note {
                kept[at] |= arrived.contains(&id);
            }
        }
        kept
    }
}

impl Recorder {
    /// When each message was sent, idle chatter included, and the name of the choice of what became of it.
    #[must_use]
    pub fn choices(&self) -> Vec<(u64, String)> {
        let of = |line: &Line| {
            let Note::Sent { choice, .. } = &line.note else { return None };
            Some((line.at, choice.clone()))
        };
        self.0.borrow().lines.iter().filter_map(of).collect()
    }

    /// What was kept, as a story.
    #[must_use]
    pub fn story(&self, plan: &Plan, violation: Option<&Violation>, idle: Idle) -> Story {
        let raw = self.0.borrow();
        let mut names = Names::default();
        for line in &raw.lines {
            let replica = if let Lane::Replica(replica) = line.lane { Some(replica) } else { None };
            names.learn(replica, &line.note);
        }
        let kept = raw.kept(idle);
        let mut teller = Teller::new(plan, names);
        raw.lines.iter().zip(kept).for_each(|(line, is_kept)| teller.take(line, is_kept));
        teller.finish(violation)
    }
}

/// Makes moments of lines.
struct Teller<'a> {
    plan: &'a Plan,
    names: Names,
    story: Story,
    messages: BTreeMap<u64, usize>,
    requests: BTreeMap<usize, usize>,
    answers: BTreeMap<usize, usize>,
    /// What was asked in each request.
    asked: BTreeMap<usize, String>,
    /// For each message when it was to arrive.
    due: BTreeMap<usize, u64>,
}

impl<'a> Teller<'a> {
    fn new(plan: &'a Plan, names: Names) -> Self {
        let story = Story {
            replicas: plan.replicas.len(),
            clients: plan.clients.into(),
            moments: Vec::new(),
            carriages: Vec::new(),
            bands: Vec::new(),
            hidden: 0,
            violation: None,
            blame: None,
        };
        let (messages, requests, answers, asked, due) = Default::default();
        Self { plan, names, story, messages, requests, answers, asked, due }
    }

    fn take(&mut self, line: &Line, is_kept: bool) {
        if let Note::Held { id } = line.note {
            return self.on_message(id, |carriage| carriage.held = true);
        }
        if let Note::Gone { id, why } = line.note {
            return self.on_message(id, |carriage| carriage.lost = Some(why.to_owned()));
        }
        if let Note::Ends { fault } = &line.note
            && words::relents(fault, self.plan.replicas.len()).is_none()
        {
            return self.end_band(fault, self.story.moments.len().saturating_sub(1));
        }
        if !is_kept {
            self.story.hidden += 1;
            return;
        }
        let place = self.story.moments.len();
        let carriage = self.carriage(line, place);
        let text = self.names.shorten(&self.text(line));
        let about = carriage.and_then(|at| self.story.carriages[at].write.clone());
        let mut writes: Vec<String> = about.into_iter().collect();
        if let Note::Applied { dot, .. } = &line.note {
            writes.push(self.names.shorten(&dot.to_string()));
        }
        let request = request_of(&line.note);
        let mut keys = keys_in(&text);
        if let Some(asked) = request.and_then(|request| self.asked.get(&request)) {
            keys.extend(keys_in(asked));
        }
        keys.sort_unstable();
        keys.dedup();
        let shorten = |(name, value): &(String, String)| (self.names.shorten(name), self.names.shorten(value));
        let changes = line.changes.iter().map(shorten).collect();
        let (at, lane, idle) = (line.at, line.lane, line.note.is_idle());
        let (kind, tone) = (kind_of(&line.note), tone_of(&line.note));
        self.on_fault(&line.note, place);
        self.story.moments.push(Moment { at, lane, kind, text, tone, idle, keys, writes, carriage, request, changes });
    }

    fn on_message(&mut self, id: u64, change: impl FnOnce(&mut Carriage)) {
        if let Some(&at) = self.messages.get(&id) {
            change(&mut self.story.carriages[at]);
        }
    }

    /// What leaves or comes in with a line.
    fn carriage(&mut self, line: &Line, place: usize) -> Option<usize> {
        let new = |name, id, from, to| Carriage {
            id,
            name,
            from,
            to,
            sent: Some(place),
            arrived: Vec::new(),
            held: false,
            lost: None,
            under_way: false,
            write: None,
            content: String::new(),
            choice: String::new(),
        };
        let next = self.story.carriages.len();
        match &line.note {
            Note::Sent { id, to, name, dot, content, fate, choice, .. } => {
                let carriage = Carriage {
                    choice: choice.clone(),
                    write: dot.map(|dot| self.names.shorten(&dot.to_string())),
                    content: self.names.shorten(content),
                    lost: (fate.lost && self.plan.network.streams.is_none()).then(|| "the network loses it".to_owned()),
                    ..new(name, *id, line.lane, Lane::Replica(*to))
                };
                self.story.carriages.push(carriage);
                self.messages.insert(*id, next);
                self.due.insert(next, line.at + fate.delay);
                Some(next)
            }
            Note::Received { id, .. } => self.arrives(self.messages.get(id).copied(), place),
            Note::Asked { replica, request, what, .. } => {
                self.asked.insert(*request, what.clone());
                let to = Lane::Replica(*replica);
                self.story.carriages.push(new("request", *request as u64, line.lane, to));
                self.requests.insert(*request, next);
                Some(next)
            }
            Note::Takes { request, .. } => self.arrives(self.requests.get(request).copied(), place),
            Note::Replies { request, client, what } => {
                let answer = new("answer", *request as u64, line.lane, Lane::Client(*client));
                self.story.carriages.push(Carriage { content: self.names.shorten(what), ..answer });
                self.answers.insert(*request, next);
                Some(next)
            }
            Note::Answered { request, .. } => self.arrives(self.answers.get(request).copied(), place),
            Note::Told { watch, from: Some(replica), part: content, .. } => {
                let from = Lane::Replica(*replica);
                let mut step = self.story.moments.iter().rposition(|moment| moment.lane == from);
                step = step.filter(|&step| self.story.moments[step].at == line.at);
                let part = new("part", u64::from(*watch), from, line.lane);
                let content = self.names.shorten(content.as_deref().unwrap_or_default());
                self.story.carriages.push(Carriage { sent: step, arrived: vec![place], content, ..part });
                Some(next)
            }
            Note::Started { .. }
            | Note::Died
            | Note::Held { .. }
            | Note::Gone { .. }
            | Note::Acted
            | Note::Stream { .. }
            | Note::Applied { .. }
            | Note::Event(_)
            | Note::Told { from: None, .. }
            | Note::Strikes { .. }
            | Note::Ends { .. } => None,
        }
    }

    fn arrives(&mut self, carriage: Option<usize>, place: usize) -> Option<usize> {
        self.story.carriages[carriage?].arrived.push(place);
        carriage
    }

    fn until(&self, fault: &Fault) -> u64 {
        fault.until.min(self.plan.heal_at)
    }

    fn text(&self, line: &Line) -> String {
        let replicas = self.plan.replicas.len();
        match &line.note {
            Note::Started { incarnation: Some(incarnation), .. } => {
                format!("starts as {incarnation}, with empty memory")
            }
            Note::Started { life, .. } => format!("starts, life {life}"),
            Note::Died => "dies, and its memory is gone".into(),
            Note::Sent { id, to, name, dot, fate, .. } => {
                let (lost, what) = (if fate.lost { ", lost" } else { "" }, carried(name, *dot));
                format!("-> {}  {what} #{id} takes {}{lost}", Plan::name(*to), words::span(fate.delay))
            }
            Note::Received { id, from, name, .. } => {
                let carriage = self.messages.get(id).map(|&at| &self.story.carriages[at]);
                let write = carriage.and_then(|carriage| carriage.write.as_deref());
                let write = write.map(|write| format!(" {write}")).unwrap_or_default();
                format!("<- {}  {name}{write} #{id}", Plan::name(*from))
            }
            Note::Held { .. } | Note::Gone { .. } => String::new(),
            Note::Acted => "acts by itself".into(),
            Note::Stream { to, what } => format!("-> {}  connection {what}", Plan::name(*to)),
            Note::Applied { dot, own: true } => format!("accepts {dot}"),
            Note::Applied { dot, own: false } => format!("applies {dot}"),
            Note::Event(event) => words::event(Some(event)).unwrap_or_else(|| format!("{event:?}")),
            Note::Asked { what, .. } => format!("asks {what}"),
            Note::Takes { client, request } => format!("takes request {request} of c{client}"),
            Note::Replies { client, request, .. } => format!("answers request {request} of c{client}"),
            Note::Answered { what, .. } => format!("gets {what}"),
            Note::Told { what, .. } => what.clone(),
            Note::Strikes { fault } => {
                format!("fault{}: {}", fault.id, words::strikes(fault, replicas, self.until(fault)))
            }
            Note::Ends { fault } => match words::relents(fault, replicas) {
                Some(text) => format!("fault{} ends: {text}", fault.id),
                None => String::new(),
            },
        }
    }

    fn end_band(&mut self, fault: &Fault, place: usize) {
        let is_it = |band: &&mut Band| band.fault == fault.id && band.to.is_none();
        if let Some(band) = self.story.bands.iter_mut().rev().find(is_it) {
            band.to = Some(place.max(band.from));
        }
    }

    /// A fault in force is a band.
    fn on_fault(&mut self, note: &Note, place: usize) {
        if let Note::Ends { fault } = note {
            return self.end_band(fault, place);
        }
        let Note::Strikes { fault } = note else { return };
        let count = self.plan.replicas.len();
        let (mut replica, mut links, mut removes) = (None, Vec::new(), None);
        match fault.kind.effect() {
            Effect::Process(hit, what) => replica = Some((hit, what)),
            Effect::Links(hit, _) => {
                let all = (0..count * count).map(|link| (link / count, link % count));
                links = all.filter(|&(from, to)| hit.have(from, to)).collect();
            }
            Effect::View { via, order: OnView::RemoveForAWhile(gone) | OnView::Remove(gone) } => {
                removes = Some((via.into(), gone.into()));
            }
            Effect::View { via, order: OnView::Replace { old, .. } } => removes = Some((via.into(), old.into())),
            Effect::Frame { .. } | Effect::View { order: OnView::Add(_), .. } => {}
        }
        let replica = replica.filter(|(_, what)| !matches!(what, OnProcess::Jump { .. }));
        let text = words::strikes(fault, count, self.until(fault));
        self.story.bands.push(Band {
            fault: fault.id,
            name: fault.kind.name(),
            text,
            from: place,
            to: None,
            replica: replica.map(|(replica, _)| usize::from(replica)),
            links,
            removes,
        });
    }

    fn finish(mut self, violation: Option<&Violation>) -> Story {
        let has_streams = self.plan.network.streams.is_some();
        let end = self.story.moments.last().map_or(0, |moment| moment.at);
        for (place, carriage) in self.story.carriages.iter_mut().enumerate() {
            let is_lost = carriage.arrived.is_empty() && carriage.lost.is_none();
            match self.due.get(&place) {
                Some(&due) if is_lost && due >= end && !carriage.held => carriage.under_way = true,
                Some(_) if is_lost && carriage.held => carriage.lost = Some("a cut holds it back to the end".into()),
                Some(_) if is_lost && has_streams => carriage.lost = Some("its connection does not deliver it".into()),
                Some(_) if is_lost => carriage.lost = Some("it does not arrive".into()),
                None if is_lost && carriage.name == "request" => carriage.under_way = true,
                Some(_) | None => {}
            }
        }
        let has_arrived = |moment: &Moment| {
            moment.carriage.is_none_or(|at| {
                let carriage = &self.story.carriages[at];
                carriage.lost.is_none() || !carriage.arrived.is_empty()
            })
        };
        let lost: Vec<bool> = self.story.moments.iter().map(|moment| !has_arrived(moment)).collect();
        for (moment, _) in self.story.moments.iter_mut().zip(lost).filter(|(_, lost)| *lost) {
            moment.tone = Tone::Lost;
        }
        if let Some(violation) = violation {
            let detail = self.names.shorten(&violation.detail);
            let lane = violation.replica.map_or(Lane::Outside, Lane::Replica);
            self.story.moments.push(Moment {
                at: violation.at,
                lane,
                kind: "violation",
                text: format!("breaks a promise, {}: {detail}", violation.fingerprint()),
                tone: Tone::Violation,
                idle: false,
                keys: keys_in(&detail),
                writes: super::blame::writes_in(&detail),
                carriage: None,
                request: None,
                changes: Vec::new(),
            });
            self.story.violation = Some(Violation { detail, ..violation.clone() });
            self.story.blame = Some(Blame::of(&self.story, &self.asked));
        }
        self.story
    }
}

fn carried(name: &str, dot: Option<hence_core::Dot>) -> String {
    dot.map_or_else(|| name.to_owned(), |dot| format!("{name} {dot}"))
}

const fn request_of(note: &Note) -> Option<usize> {
    if let Note::Asked { request, .. }
    | Note::Takes { request, .. }
    | Note::Replies { request, .. }
    | Note::Answered { request, .. } = *note
    {
        return Some(request);
    }
    None
}

fn kind_of(note: &Note) -> &'static str {
    if matches!(note, Note::Event(Event::Dropped { .. })) { "refused" } else { note.kind() }
}

fn tone_of(note: &Note) -> Tone {
    if matches!(note, Note::Strikes { .. } | Note::Ends { .. } | Note::Died) {
        return Tone::Fault;
    }
    let answer = if let Note::Answered { what, .. } = note { what.as_str() } else { "" };
    if answer.starts_with("connection lost") {
        return Tone::Lost;
    }
    let is_refusal = answer.starts_with('5') || answer.starts_with("42");
    if is_refusal || kind_of(note) == "refused" { Tone::Refused } else { Tone::Plain }
}

/// The names of keys in a text: `k0`, `k1`.
fn keys_in(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    let is_key = |word: &&str| {
        word.strip_prefix('k').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    words.filter(is_key).map(str::to_owned).collect()
}
