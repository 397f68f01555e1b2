//! What the clients of a run saw, as a history for the checker.
//!
//! Each attempt at a data request is one operation, or one batch of them. Each answer's token has a name of its own. So
//! the history's lineage is exactly what each client did: what it kept, dropped, merged, took over and took up again. An answer that
//! was on its way when the run ended counts as seen. So the answer that broke a promise is always in the history.

use crate::oracle::judge::Asked;
use crate::oracle::truth::{Holding, Number, Truth};
use crate::plan::{Plan, TokenUse};
use hence_checker::bits;
use hence_checker::history::{Action, Operation, Outcome};
use hence_checker::proof::{self, Proof};
use hence_core::{Dot, Outcome as Answer, Refusal, Reply, Siblings, Value};
use std::collections::BTreeMap;

/// The answers whose tokens a client joined into its present one.
type Carried = Vec<usize>;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct ClientHistory {
    operations: Vec<Operation>,
    /// Where each attempt's operation is.
    places: BTreeMap<usize, usize>,
    /// Each client's token, and the one it put aside.
    clients: BTreeMap<usize, (Carried, Option<Carried>)>,
    /// Which operation made each write.
    makers: BTreeMap<Number, u32>,
    /// Writes, and operations whose answers they truly shaped.
    shaped: Vec<(Number, u32)>,
}

impl ClientHistory {
    /// A client uses a token other than its own, or puts its own aside.
    pub(crate) fn use_token(&mut self, client: usize, token: TokenUse) {
        let other = |from: u8| self.clients.get(&usize::from(from)).cloned().unwrap_or_default().0;
        let theirs = match token {
            TokenUse::Take(from) | TokenUse::Merge(from) => other(from),
            TokenUse::Keep | TokenUse::Drop | TokenUse::Save | TokenUse::Recall => Carried::new(),
        };
        let (own, saved) = self.clients.entry(client).or_default();
        match token {
            TokenUse::Keep => {}
            TokenUse::Drop => own.clear(),
            TokenUse::Save => *saved = Some(own.clone()),
            // A client that put nothing aside goes on with its own token.
            TokenUse::Recall => {
                if let Some(saved) = saved {
                    own.clone_from(saved);
                }
            }
            TokenUse::Take(_) => *own = theirs,
            TokenUse::Merge(_) => join(own, &theirs),
        }
    }

    /// A request leaves its client, if it has one.
    pub(crate) fn ask(&mut self, attempt: usize, at: u64, client: Option<usize>, replica: usize, asked: &Asked) {
        let name = client.map_or_else(|| "operator".into(), |client| numbered('c', client));
        let carried = client.and_then(|client| self.clients.get(&client)).map(|(own, _)| own.as_slice());
        let mut tokens = carried.unwrap_or_default().iter().map(|&attempt| numbered('t', attempt));
        let (token_in, merged_from) = (tokens.next(), tokens.collect());
        let id = self.operations.len() as u64;
        let mut parts: Vec<Operation> = asked.parts().map(|(key, action, _)| part(id, &name, key, action)).collect();
        let first = &mut parts[0];
        first.replica = Plan::name(replica).to_string();
        first.outcome = Outcome::Unknown;
        first.call_ns = Some(at * 1_000);
        (first.token_in, first.merged_from) = (token_in, merged_from);
        self.places.insert(attempt, self.operations.len());
        self.operations.extend(Operation::batch(parts));
    }

    /// The parts of what an attempt asked for.
    fn parts_of(&mut self, attempt: usize) -> &mut [Operation] {
        let Some(&place) = self.places.get(&attempt) else { return &mut [] };
        let rest = &mut self.operations[place..];
        let more = rest.iter().skip(1).take_while(|operation| operation.same_batch).count();
        &mut rest[..=more]
    }

    /// A replica answers; the client is going to see it, unless it gives up before.
    pub(crate) fn reply(&mut self, attempt: usize, at: u64, reply: &Reply) {
        if let Reply::Spread { answer, .. } = reply {
            return self.reply(attempt, at, answer); // how far it spread is no part of what clients may expect to read
        }
        if let Reply::Listed(_) = reply {
            return; // lists are left out: what they bound a client to is not asked of later answers
        }
        let parts = self.parts_of(attempt);
        let statuses: Vec<u16> = parts.iter().enumerate().map(|(at, part)| status(reply, part.action, at)).collect();
        let is_seen = statuses.iter().all(|status| *status < 400 || matches!(status, 404 | 412 | 424));
        for (place, (operation, status)) in parts.iter_mut().zip(statuses).enumerate() {
            operation.outcome = Outcome::Ok;
            operation.return_ns = Some(at * 1_000);
            operation.status = status;
            operation.token_out = is_seen.then(|| numbered('t', attempt));
            // Every other read asks for all values, and all the others have the versions to go by.
            let lists = attempt.is_multiple_of(2);
            if let (Reply::Found { siblings, .. }, Action::Get) = (reply, operation.action) {
                found(operation, siblings, lists);
            } else if let Reply::NotModified { siblings, .. } = reply {
                operation.shown = Some(dots(siblings));
            } else if let Reply::Written(written) = reply {
                wrote(operation, &written.superseded, Some(written.dot));
            } else if let Reply::Batch(answer) = reply {
                match answer.outcomes.get(place) {
                    Some(Answer::Read(siblings)) if !siblings.is_empty() => found(operation, siblings, false),
                    Some(Answer::Put(replaced) | Answer::Deleted(replaced)) => wrote(operation, replaced, answer.dot),
                    Some(Answer::Read(_)) | None => {}
                }
            }
        }
    }

    /// A replica went ahead with a write, whether its client will learn of it or not. What truly shaped it beside its
    /// client's past: the versions that it replaced, those that it read, and the deletes of its keys.
    pub(crate) fn wrote(&mut self, attempt: usize, asked: &Asked, dot: Dot, truth: &Truth, replica: usize) {
        let (Some(&place), Some(own)) = (self.places.get(&attempt), truth.number(dot)) else { return };
        let (place, write) = (place as u32, &truth.writes[own as usize]);
        self.makers.insert(own, place);
        // Where a memory was copied the name may be that of a retirement, which changes no key.
        for change in &write.changes {
            self.shaped.extend(change.replaced.iter().map(|&write| (write, place)));
        }
        // What a batch only reads, or deletes in vain, is in its past, too.
        let holding = &truth.holdings[replica];
        for key in asked.parts().map(|(key, ..)| usize::from(key)) {
            let there = holding.live[key].iter().chain(&holding.deletes[key]).filter(|&&write| write != own);
            self.shaped.extend(there.map(|&write| (write, place)));
        }
    }

    /// What truly shaped an answer: the live versions of its keys and their deletes, as its replica held them just then.
    /// All else that was there had been replaced by one of them.
    pub(crate) fn shaped_by(&mut self, attempt: usize, asked: &Asked, reply: &Reply, holding: &Holding) {
        let is_read = matches!(
            reply,
            Reply::Found { .. }
                | Reply::Absent { .. }
                | Reply::NotModified { .. }
                | Reply::PreconditionFailed { .. }
                | Reply::BatchFailed { .. }
        );
        // What writes was shaped when it was applied.
        let shows = is_read || matches!(reply, Reply::Batch(answer) if answer.dot.is_none());
        let Some(&place) = self.places.get(&attempt).filter(|_| shows) else { return };
        for (key, ..) in asked.parts() {
            let key = usize::from(key);
            self.shaped
                .extend(holding.live[key].iter().chain(&holding.deletes[key]).map(|&write| (write, place as u32)));
        }
    }

    /// What truly explains the history: what was visible to which client, and all writes in the order of their stamps.
    /// A delete whose stamp no client saw stands right behind the last write that it knew; what never happened stands
    /// last.
    #[must_use]
    pub(crate) fn explanation(&self, truth: &Truth) -> Proof {
        let edges = self.shaped.iter().filter_map(|&(write, place)| Some((*self.makers.get(&write)?, place))).collect();
        let stamped = |number: usize| truth.writes[number].stamp.map(|stamp| (stamp, truth.writes[number].dot));
        let last_known = |number: Number| bits::numbers(truth.closures.row(number as usize)).filter_map(stamped).max();
        let mut made: Vec<(Number, u32)> = self.makers.iter().map(|(&number, &place)| (number, place)).collect();
        made.sort_by_cached_key(|&(number, _)| (last_known(number), stamped(number as usize).is_none(), number));
        let parts = |place: u32| {
            let rest = self.operations[place as usize + 1..].iter().take_while(|operation| operation.same_batch);
            place..=place + rest.count() as u32
        };
        let is_write = |place: &u32| proof::may_have_written(&self.operations[*place as usize]);
        let mut order: Vec<u32> = made.into_iter().flat_map(|(_, place)| parts(place).filter(is_write)).collect();
        let mut is_made = vec![false; self.operations.len()];
        order.iter().for_each(|&place| is_made[place as usize] = true);
        let perhaps = |&place: &usize| !is_made[place] && proof::may_have_written(&self.operations[place]);
        order.extend((0..self.operations.len()).filter(perhaps).map(|place| place as u32));
        Proof { edges, order }
    }

    /// The answer with its token arrives. Its client goes on with that token if it has no other since it asked.
    pub(crate) fn hear(&mut self, attempt: usize, at: u64, client: usize, instead: bool) {
        if self.parts_of(attempt).first().is_none_or(|operation| operation.outcome != Outcome::Ok) {
            return; // it was a list
        }
        self.parts_of(attempt).iter_mut().for_each(|operation| operation.return_ns = Some(at * 1_000));
        let (own, _) = self.clients.entry(client).or_default();
        if instead {
            own.clear();
        }
        join(own, &[attempt]);
    }

    /// The client no longer waits: it will never know.
    pub(crate) fn give_up(&mut self, attempt: usize) {
        self.parts_of(attempt).iter_mut().for_each(forget_answer);
    }

    /// What clients ask and hear from then on is left out.
    pub(crate) fn end_at(&mut self, at: u64) {
        let before = |at_ns: Option<u64>| at_ns.is_some_and(|at_ns| at_ns < at * 1_000);
        self.operations.retain(|operation| before(operation.call_ns));
        self.operations.iter_mut().filter(|operation| !before(operation.return_ns)).for_each(forget_answer);
    }

    /// The history.
    #[must_use]
    pub fn into_operations(self) -> Vec<Operation> {
        self.operations
    }
}

/// One operation, as it is asked for.
fn part(id: u64, client: &str, key: u8, action: &hence_core::Action) -> Operation {
    let (action, value) = match action {
        hence_core::Action::Get => (Action::Get, None),
        hence_core::Action::Put(value) => (Action::Put, Some(text(value))),
        hence_core::Action::Delete => (Action::Delete, None),
    };
    Operation { value, ..Operation::new(id, client, action, &numbered('k', key.into())) }
}

/// What an answer says, told as a single operation of this kind would be answered; the n-th of those asked for.
fn status(reply: &Reply, action: Action, at: usize) -> u16 {
    match reply {
        Reply::Found { .. } => 200,
        Reply::NotModified { .. } => 304,
        Reply::Absent { .. } => 404,
        Reply::Written(written) if written.superseded.is_empty() && action == Action::Put => 201,
        Reply::Written(_) => 200,
        Reply::Batch(answer) => match (action, answer.outcomes.get(at)) {
            (Action::Get, Some(Answer::Read(siblings))) if siblings.is_empty() => 404,
            (Action::Put, Some(Answer::Put(replaced))) if replaced.is_empty() => 201,
            (Action::Delete, Some(Answer::Deleted(replaced))) if replaced.is_empty() => 404,
            (Action::Get, Some(Answer::Read(_)))
            | (Action::Put, Some(Answer::Put(_)))
            | (Action::Delete, Some(Answer::Deleted(_))) => 200,
            (Action::Get | Action::Put | Action::Delete, _) => 999,
        },
        Reply::PreconditionFailed { .. } | Reply::BatchFailed { .. } => 412,
        Reply::Lost { .. } => 424,
        Reply::Refused(Refusal::Impossible | Refusal::TooFewMembers) => 400,
        Reply::Refused(Refusal::BatchTooLarge { .. }) => 413,
        Reply::Refused(
            Refusal::NotReady
            | Refusal::NotCovered
            | Refusal::WriteLimit
            | Refusal::Upgrading
            | Refusal::NoRoomToWait
            | Refusal::NoRoomToWatch
            | Refusal::NoMemoryToList,
        ) => 503,
        // No data request is answered like this.
        Reply::Spread { .. }
        | Reply::Listed(_)
        | Reply::View(_)
        | Reply::ViewAdded { .. }
        | Reply::ViewRemoved
        | Reply::ViewUnknown
        | Reply::ViewLast => 999,
    }
}

fn found(operation: &mut Operation, siblings: &Siblings, lists: bool) {
    operation.value = siblings.winner().map(|winner| text(&winner.value));
    operation.shown = Some(dots(siblings));
    operation.siblings = lists.then(|| siblings.iter().map(|sibling| text(&sibling.value)).collect());
}

fn wrote(operation: &mut Operation, replaced: &[Dot], dot: Option<Dot>) {
    operation.superseded = Some(replaced.iter().map(Dot::to_string).collect());
    operation.shown = dot.filter(|_| operation.action == Action::Put).map(|dot| vec![dot.to_string()]);
}

fn forget_answer(operation: &mut Operation) {
    if operation.action == Action::Get {
        operation.value = None;
    }
    (operation.outcome, operation.status, operation.return_ns) = (Outcome::Unknown, 0, None);
    (operation.token_out, operation.siblings, operation.shown, operation.superseded) = (None, None, None, None);
}

fn join(into: &mut Carried, other: &[usize]) {
    for token in other {
        if !into.contains(token) {
            into.push(*token);
        }
    }
}

/// A letter and a number. Made by hand, since formatting took 1.5 % of all instructions of a campaign.
fn numbered(letter: char, number: usize) -> String {
    let mut name = String::with_capacity(8);
    name.push(letter);
    push_digits(&mut name, number);
    name
}

fn push_digits(text: &mut String, number: usize) {
    if number >= 10 {
        push_digits(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.as_bytes()).trim_end().to_owned()
}

fn dots(siblings: &Siblings) -> Vec<String> {
    siblings.iter().map(|sibling| sibling.dot.to_string()).collect()
}
