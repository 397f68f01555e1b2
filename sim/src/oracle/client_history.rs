//! What the clients of a run saw, as a history for the checker.
//!
//! Each attempt at a data request is one operation, and each answer's token has a name of its own. So the history's
//! lineage is exactly what each client did: what it kept, dropped, merged, took over and took up again. An answer that
//! was on its way when the run ended counts as seen. So the answer that broke a promise is always in the history.

use crate::oracle::judge::Asked;
use crate::oracle::truth::{Holding, Number, Truth};
use crate::plan::{Plan, TokenUse};
use hence_checker::bits;
use hence_checker::history::{Action, Operation, Outcome};
use hence_checker::proof::{self, Proof};
use hence_core::{Dot, Refusal, Reply, Siblings, Value};
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
        let (action, value) = match &asked.action {
            hence_core::Action::Get => (Action::Get, None),
            hence_core::Action::Put(value) => (Action::Put, Some(text(value))),
            hence_core::Action::Delete => (Action::Delete, None),
        };
        let name = client.map_or_else(|| "operator".into(), |client| numbered('c', client));
        let mut operation =
            Operation::new(self.operations.len() as u64, &name, action, &numbered('k', asked.key.into()));
        operation.replica = Plan::name(replica).to_string();
        operation.value = value;
        operation.outcome = Outcome::Unknown;
        operation.call_ns = Some(at * 1_000);
        let carried = client.and_then(|client| self.clients.get(&client)).map(|(own, _)| own.as_slice());
        let mut tokens = carried.unwrap_or_default().iter().map(|&attempt| numbered('t', attempt));
        operation.token_in = tokens.next();
        operation.merged_from = tokens.collect();
        self.places.insert(attempt, self.operations.len());
        self.operations.push(operation);
    }

    /// A replica answers; the client is going to see it, unless it gives up before.
    pub(crate) fn reply(&mut self, attempt: usize, at: u64, reply: &Reply) {
        let Some(&place) = self.places.get(&attempt) else { return };
        let operation = &mut self.operations[place];
        operation.outcome = Outcome::Ok;
        operation.return_ns = Some(at * 1_000);
        operation.status = match reply {
            Reply::Found { .. } => 200,
            Reply::NotModified { .. } => 304,
            Reply::Absent { .. } => 404,
            Reply::Written(written) if written.superseded.is_empty() && operation.action == Action::Put => 201,
            Reply::Written(_) => 200,
            Reply::PreconditionFailed { .. } => 412,
            Reply::Lost { .. } => 424,
            Reply::Refused(Refusal::Impossible) => 400,
            Reply::Refused(Refusal::NotReady | Refusal::NotCovered | Refusal::WriteLimit | Refusal::Upgrading) => 503,
            // No data request is answered like this; an answer without a meaning has no status that says one.
            Reply::View(_) | Reply::ViewAdded { .. } | Reply::ViewRemoved | Reply::ViewUnknown | Reply::ViewLast => 999,
        };
        if operation.status < 400 || matches!(operation.status, 404 | 412 | 424) {
            operation.token_out = Some(numbered('t', attempt));
        }
        if let Reply::Found { siblings, .. } = reply
            && operation.action == Action::Get
        {
            operation.value = siblings.winner().map(|winner| text(&winner.value));
            operation.shown = Some(dots(siblings));
            // Every other read asks for all values, and all the others have the versions to go by.
            if attempt.is_multiple_of(2) {
                operation.siblings = Some(siblings.iter().map(|sibling| text(&sibling.value)).collect());
            }
        } else if let Reply::NotModified { siblings, .. } = reply {
            operation.shown = Some(dots(siblings));
        } else if let Reply::Written(written) = reply {
            operation.superseded = Some(written.superseded.iter().map(Dot::to_string).collect());
            operation.shown = (operation.action == Action::Put).then(|| vec![written.dot.to_string()]);
        }
    }

    /// A replica went ahead with a write, whether its client will learn of it or not. What truly shaped it beside its
    /// client's past: the versions that it replaced and the deletes of its key.
    pub(crate) fn wrote(&mut self, attempt: usize, dot: Dot, truth: &Truth, replica: usize) {
        let (Some(&place), Some(own)) = (self.places.get(&attempt), truth.number(dot)) else { return };
        let (place, write) = (place as u32, &truth.writes[own as usize]);
        self.makers.insert(own, place);
        // Where a memory was copied the name may be that of a retirement, which has no key.
        let Some(deletes) = truth.holdings[replica].deletes.get(usize::from(write.key)) else { return };
        let deletes = deletes.iter().filter(|&&delete| delete != own);
        self.shaped.extend(write.replaced.iter().chain(deletes).map(|&write| (write, place)));
    }

    /// What truly shaped an answer: the live versions of its key and its deletes, as its replica held them just then.
    /// All else that was there had been replaced by one of them.
    pub(crate) fn shaped_by(&mut self, attempt: usize, key: u8, reply: &Reply, holding: &Holding) {
        let shown = matches!(
            reply,
            Reply::Found { .. } | Reply::Absent { .. } | Reply::NotModified { .. } | Reply::PreconditionFailed { .. }
        );
        if let (true, Some(&place)) = (shown, self.places.get(&attempt)) {
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
        let mut order: Vec<u32> = made.into_iter().map(|(_, place)| place).collect();
        let mut is_made = vec![false; self.operations.len()];
        order.iter().for_each(|&place| is_made[place as usize] = true);
        let perhaps = |&place: &usize| !is_made[place] && proof::may_have_written(&self.operations[place]);
        order.extend((0..self.operations.len()).filter(perhaps).map(|place| place as u32));
        Proof { edges, order }
    }

    /// The answer with its token arrives. Its client goes on with that token if it has no other since it asked.
    pub(crate) fn hear(&mut self, attempt: usize, at: u64, client: usize, instead: bool) {
        if let Some(&place) = self.places.get(&attempt) {
            self.operations[place].return_ns = Some(at * 1_000);
        }
        let (own, _) = self.clients.entry(client).or_default();
        if instead {
            own.clear();
        }
        join(own, &[attempt]);
    }

    /// The client no longer waits: it will never know.
    pub(crate) fn give_up(&mut self, attempt: usize) {
        if let Some(&place) = self.places.get(&attempt) {
            forget_answer(&mut self.operations[place]);
        }
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
