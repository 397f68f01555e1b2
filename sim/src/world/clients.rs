//! Clients: they send operations with the causal past they carry, take answers in, give up and try again.

use super::batches::{dots, see_batch};
use super::concerns::may_wait;
use super::words::{describe, digest};
use super::{Attempt, Kept, Scheduled, Stage, World};
use crate::observe::Note;
use crate::oracle::adversity::Kind;
use crate::oracle::client_history::ClientHistory;
use crate::oracle::judge::Asked;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use crate::plan::{Act, ConditionUse, Operation, TokenUse};
use crate::random::{Domain, mix, scale};
use crate::subject::{Input, Subject};
use hence_checker::bits;
use hence_core::{
    Action, BatchAnswer, ClusterTag, Condition, DataRequest, Dots, Formats, ListAnswer, Match, Micros, Refusal, Reply,
    Request, RequestId, Token, Value, VersionVector,
};

/// Every so many attempts the token travels as text.
const ENCODE_EVERY: usize = 16;

/// A value is heavy if its links take so long for it, in microseconds.
const HEAVY: u64 = 300_000;

impl<S: Subject> World<S> {
    /// Writes down what clients see.
    pub fn watch_clients(&mut self) {
        self.client_history.get_or_insert_default();
    }

    /// What clients saw, if it was written down.
    pub fn take_client_history(&mut self) -> Option<ClientHistory> {
        self.client_history.take()
    }

    /// Adds an operation to the plan and schedules it.
    pub fn add_operation(&mut self, operation: Operation) {
        let (at, key, scheduled) = beginning(self.plan.operations.len(), &operation);
        self.plan.operations.push(operation);
        self.open += 1;
        self.push(at, key, scheduled);
    }

    pub(super) fn begin_operation(&mut self, index: usize, attempt: u8) {
        let operation = self.plan.operations[index].clone();
        let client = usize::from(operation.client);
        if attempt == 0 {
            self.use_token(&operation);
        }
        let hops = if operation.hop { usize::from(attempt) } else { 0 };
        let replica = (usize::from(operation.replica) + hops) % self.nodes.len();
        let (request, asked) = match operation.act {
            Act::View => (Request::View, None),
            Act::Get if operation.list.is_some() => {
                let list = operation.list.expect("asked just now");
                let (list, asked) = self.list_request(&operation, list);
                (Request::List(Box::new(list)), Some(asked))
            }
            Act::Get | Act::Put(_) | Act::Delete if operation.is_batch() => {
                let (batch, asked) = self.batch_request(&operation, attempt);
                (Request::Batch(Box::new(batch)), Some(asked))
            }
            Act::Get | Act::Put(_) | Act::Delete | Act::Erase => {
                let request = self.data_request(&operation, attempt);
                let (action, condition) = (request.action.clone(), request.condition.clone());
                let (token, past) = (request.past.clone(), self.clients[client].past.clone());
                let (key, with, concern) = (operation.key, Vec::new(), request.concern);
                let asked = Asked { key, action, condition, concern, with, list: None, token, past, wrote: None };
                (Request::Data(Box::new(request)), Some(asked))
            }
        };
        let cause = mix(mix(Domain::Operation as u64, operation.id.into()), attempt.into());
        self.name(cause, || match attempt {
            0 => format!("op{}", operation.id),
            again => format!("op{}.{again}", operation.id),
        });
        self.open -= 1;
        if let (Act::Put(bytes), bandwidth @ 1..) = (operation.act, self.bandwidth())
            && u64::from(bytes) * 1_000_000 / bandwidth >= HEAVY
        {
            self.count(Kind::Heavy);
        }
        let number = self.send_request(Some((index, attempt)), Some(client), replica, request, asked, cause);
        self.note(None, || Note::Asked { client, replica, request: number, what: describe(&operation, attempt) });
        self.show_client(client);
        if operation.patience > 0 {
            self.push(self.now + operation.patience, mix(cause, 3), Scheduled::ClientTimeout { attempt: number });
        }
    }

    fn use_token(&mut self, operation: &Operation) {
        let client = usize::from(operation.client);
        if let Some(history) = &mut self.client_history {
            history.use_token(client, operation.token);
        }
        match operation.token {
            TokenUse::Keep => return,
            TokenUse::Save => {
                let own = &mut self.clients[client];
                own.saved = Some((own.token.clone(), own.past.clone()));
                return;
            }
            TokenUse::Drop => {
                self.clients[client].token = VersionVector::new();
                self.clients[client].past.fill(0);
            }
            TokenUse::Recall => {
                if let Some((token, past)) = self.clients[client].saved.clone() {
                    (self.clients[client].token, self.clients[client].past) = (token, past);
                }
            }
            TokenUse::Take(from) => {
                let other = &self.clients[usize::from(from)];
                let (token, past) = (other.token.clone(), other.past.clone());
                (self.clients[client].token, self.clients[client].past) = (token, past);
            }
            TokenUse::Merge(from) => {
                let other = self.clients[usize::from(from)].clone();
                self.clients[client].token.join(&other.token);
                bits::join(&mut self.clients[client].past, &other.past);
            }
        }
        self.clients[client].turns += 1;
        self.count(Kind::TokenMoved);
    }

    /// What a client means by its condition on a key.
    pub(super) fn condition(&self, client: u8, key: u8, condition: ConditionUse) -> Condition {
        let seen = &self.clients[usize::from(client)].seen[usize::from(key)];
        let seen = || if seen.is_empty() { Match::Any } else { Match::OneOf(vec![seen.to_vec()]) };
        let (if_match, if_none_match) = match condition {
            ConditionUse::Always => (None, None),
            ConditionUse::IfAbsent => (None, Some(Match::Any)),
            ConditionUse::IfPresent => (Some(Match::Any), None),
            ConditionUse::IfSeen => (Some(seen()), None),
            ConditionUse::IfChanged => (None, Some(seen())),
        };
        Condition { if_match, if_none_match }
    }

    /// What the n-th part of an operation does; one that is no batch has only the first.
    pub(super) fn action(&mut self, operation: &Operation, (attempt, part): (u8, usize), act: Act) -> Action {
        match act {
            Act::Put(bytes) => Action::Put(value((operation.id, attempt, part), bytes, &mut self.text)),
            Act::Delete | Act::Erase => Action::Delete,
            Act::Get | Act::View => Action::Get,
        }
    }

    /// The token that a client sends, now and then by way of its text.
    pub(super) fn token_of(&mut self, client: u8) -> VersionVector {
        let past = self.clients[usize::from(client)].token.clone();
        if self.attempts.len().is_multiple_of(ENCODE_EVERY) { self.through_text(&past) } else { past }
    }

    fn data_request(&mut self, operation: &Operation, attempt: u8) -> DataRequest {
        DataRequest {
            key: self.keys[usize::from(operation.key)].clone(),
            action: self.action(operation, (attempt, 0), operation.act),
            past: self.token_of(operation.client),
            wait: Micros(operation.wait),
            condition: self.condition(operation.client, operation.key, operation.condition),
            format: if operation.act == Act::Erase { Formats::TEST } else { Formats::RELEASED.lowest },
            concern: operation.write_concern(),
        }
    }

    fn through_text(&mut self, past: &VersionVector) -> VersionVector {
        let cluster = ClusterTag::of("hence");
        let text = Token(past.clone()).encode(cluster);
        match Token::decode(&text, cluster, 8_192) {
            Ok(token) if token.0 == *past => {}
            other => self.judge.fail(Invariant::Sessions, Sign::TokenText, None, || {
                let read = other.map_or_else(|problem| problem.to_string(), |token| words::past(&token.0));
                format!("a token of {} is written {text}, which reads as {read}", words::past(past))
            }),
        }
        past.clone()
    }

    pub(super) fn send_request(
        &mut self,
        operation: Option<(usize, u8)>,
        client: Option<usize>,
        replica: usize,
        request: Request,
        asked: Option<Asked>,
        cause: u64,
    ) -> usize {
        let attempt = self.attempts.len();
        if let (Some(history), Some(asked)) = (&mut self.client_history, &asked) {
            history.ask(attempt, self.now, client, replica, asked);
        }
        if let Request::ViewRemove(address) | Request::ViewAdd(address) = &request
            && let Some(about) = self.addresses.iter().position(|known| known == address)
        {
            self.judge.on_operator(about, matches!(request, Request::ViewRemove(_)));
        }
        let request = Some(request);
        let stage = Stage::Sent;
        let turn = client.map_or(0, |client| self.clients[client].turns);
        self.attempts.push(Attempt {
            operation,
            client,
            replica,
            stage,
            request,
            asked,
            reply: None,
            arrived_at: 0,
            turn,
            cause,
        });
        self.open += 1;
        let delay =
            scale(self.source.words(mix(cause, Domain::Client as u64)).word(0), self.plan.network.client_delay_max + 1);
        self.push(self.now + delay, cause, Scheduled::Arrive { attempt });
        attempt
    }

    pub(super) fn arrive(&mut self, number: usize) {
        let attempt = &self.attempts[number];
        if attempt.stage != Stage::Sent {
            return;
        }
        let (replica, cause) = (attempt.replica, attempt.cause);
        if self.nodes[replica].subject.is_none() || self.is_lost(replica) {
            return self.lose_attempt(number);
        }
        if self.nodes[replica].pauses > 0 {
            return self.nodes[replica].backlog.push(Scheduled::Arrive { attempt: number });
        }
        let attempt = &mut self.attempts[number];
        (attempt.stage, attempt.arrived_at) = (Stage::Arrived, self.now);
        let client = attempt.client;
        let Some(request) = attempt.request.take() else { return };
        let waits = may_wait(&request);
        self.count_list(replica, &request);
        client.inspect(|&client| self.note(Some(replica), || Note::Takes { client, request: number }));
        self.step(replica, Input::Request { id: RequestId(number as u64), request }, cause);
        if !waits && self.attempts[number].stage == Stage::Arrived {
            self.judge.fail(Invariant::Liveness, Sign::KeptWaiting, Some(replica), || {
                "a request that did not want to wait got no answer in its step".into()
            });
        }
    }

    /// The connection is lost: the client learns nothing.
    pub(super) fn lose_attempt(&mut self, attempt: usize) {
        if self.attempts[attempt].stage == Stage::Abandoned {
            return;
        }
        self.attempts[attempt].stage = Stage::Replied;
        let cause = mix(self.attempts[attempt].cause, 5);
        self.push(self.now + 1, cause, Scheduled::Answer { attempt });
    }

    /// All requests that a process which died had not answered.
    pub(super) fn lose_attempts_at(&mut self, replica: usize) {
        let open = |attempt: &Attempt| attempt.replica == replica && attempt.stage == Stage::Arrived;
        let lost: Vec<usize> = (0..self.attempts.len()).filter(|&n| open(&self.attempts[n])).collect();
        lost.into_iter().for_each(|attempt| self.lose_attempt(attempt));
        self.lose_watches_at(replica);
    }

    pub(super) fn on_reply(&mut self, replica: usize, id: RequestId, reply: Box<Reply>) {
        let number = id.0 as usize;
        self.hash = mix(self.hash, id.0 ^ digest(&reply));
        let stage = self.attempts.get(number).map(|attempt| (attempt.stage, attempt.replica));
        if stage != Some((Stage::Arrived, replica)) {
            if self.judge.copied.is_so() || self.recovery.is_healed() && !self.plan.is_core(replica) {
                return; // both of two images answer, or one without a listener any more
            }
            return self.judge.fail(Invariant::Liveness, Sign::AnsweredTwice, Some(replica), || {
                format!(
                    "request {number} {} and is answered {}",
                    stage.map_or("was never sent here", |(stage, _)| stage.in_words()),
                    words::answer(&reply)
                )
            });
        }
        if let Some(history) = &mut self.client_history {
            history.reply(number, self.now, &reply);
        }
        let cut = self.cut_at(replica);
        let attempt = &mut self.attempts[number];
        attempt.stage = Stage::Replied;
        let (late, client) = (attempt.arrived_at < self.now, attempt.client);
        let unready = matches!(*reply, Reply::Refused(Refusal::NotReady));
        let uncovered = matches!(*reply, Reply::Refused(Refusal::NotCovered));
        let cause = attempt.cause;
        let probe = self.nodes[replica].subject.as_ref().and_then(S::probe);
        let white = probe.is_some();
        let spread = matches!(*reply, Reply::Spread { .. });
        if let (Some(asked), Some(probe)) = (attempt.asked.as_mut(), probe) {
            let known = reply.dot().is_some_and(|dot| self.judge.truth.number(dot).is_some());
            if !known {
                self.judge.on_answer(replica, asked, &reply, probe);
            }
            let listed = matches!(*reply, Reply::Listed(_));
            self.judge.counts.add_if(Kind::ListWaited, late && listed);
            let served = !matches!(*reply, Reply::Refused(_));
            if cut && served {
                self.judge.counts.add(Kind::ServedCut);
            }
            if late && served && !spread {
                self.judge.counts.add(Kind::WaitServed);
            }
        }
        if let (true, Some(history), Some(asked)) = (white, &mut self.client_history, &self.attempts[number].asked) {
            history.shaped_by(number, asked, &reply, &self.judge.truth.holdings[replica]);
        }
        if unready {
            self.judge_unready(replica);
        }
        self.judge.counts.add_if(Kind::Upgrading, *reply == Reply::Refused(Refusal::Upgrading));
        self.judge_concern(replica, number, &reply);
        if uncovered && white {
            self.check_sent_away(replica, number);
        }
        if !white {
            self.judge_history(replica, number, &reply);
        }
        if late && self.runs_well(replica) {
            self.check_waited(replica, number);
        }
        let delay =
            scale(self.source.words(mix(cause, Domain::Client as u64)).word(1), self.plan.network.client_delay_max + 1);
        let what = || words::answer_with_token(&reply);
        client.inspect(|&client| self.note(Some(replica), || Note::Replies { client, request: number, what: what() }));
        self.attempts[number].reply = Some(reply);
        self.push(self.now + delay, mix(cause, 4), Scheduled::Answer { attempt: number });
    }

    /// A subject without a probe is judged by what its clients see alone.
    fn judge_history(&mut self, replica: usize, number: usize, reply: &Reply) {
        let attempt = &mut self.attempts[number];
        let Some(asked) = &mut attempt.asked else { return };
        let mut wrong = self.history.see(asked, reply);
        if attempt.operation.is_none() {
            wrong = wrong.and_then(|()| self.history.close(asked, reply, attempt.client.is_none()));
        }
        if let Err((invariant, sign, detail)) = wrong {
            self.judge.fail(invariant, sign, Some(replica), || detail);
        }
    }

    pub(super) fn answer(&mut self, number: usize) {
        let reply = self.attempts[number].reply.take();
        if self.attempts[number].stage != Stage::Replied {
            return; // the client gave up meanwhile
        }
        self.tally.on_event();
        self.attempts[number].stage = Stage::Done;
        self.open -= 1;
        let (client, operation) = (self.attempts[number].client, self.attempts[number].operation);
        if let Some(client) = client {
            let what = || reply.as_deref().map_or("connection lost".into(), words::answer);
            self.note(None, || Note::Answered { client, request: number, what: what() });
        }
        if let (Some(kept), Some((index, _))) = (&mut self.kept, operation) {
            let operation = self.plan.operations[index].id;
            kept.push(Kept { operation, at: self.now, reply: reply.as_deref().cloned() });
        }
        let refused = match reply.as_deref() {
            None
            | Some(Reply::Refused(
                Refusal::NotReady
                | Refusal::NotCovered
                | Refusal::Upgrading
                | Refusal::NoRoomToWait
                | Refusal::NoRoomToWatch
                | Refusal::NoMemoryToList,
            )) => true,
            Some(reply) => {
                self.take_in(number, reply);
                client.inspect(|&client| self.show_client(client));
                false
            }
        };
        if refused {
            self.tally.on_refused();
            self.retry(number);
        }
    }

    fn take_in(&mut self, number: usize, reply: &Reply) {
        let reply = reply.apart_from_spread();
        let (token, seen) = if let Reply::Found { siblings, token }
        | Reply::NotModified { siblings, token }
        | Reply::PreconditionFailed { siblings, token } = reply
        {
            (token, dots(siblings))
        } else if let Reply::Absent { token } | Reply::Lost { token } = reply {
            (token, Dots::new())
        } else if let Some(written) = reply.written() {
            (&written.token, Dots::from_slice(&[written.dot]))
        } else if let Reply::Batch(BatchAnswer { token, .. })
        | Reply::BatchFailed { token, .. }
        | Reply::Listed(ListAnswer { token, .. }) = reply
        {
            (token, Dots::new())
        } else {
            return;
        };
        // Let go here and not at the end of the run, so that what comes next gets the same memory, still warm. Where
        // the connection was lost it stays: a replica may go ahead all the same.
        let attempt = &mut self.attempts[number];
        let (Some(client), Some(mut asked)) = (attempt.client, attempt.asked.take()) else { return };
        if let Some(history) = &mut self.client_history {
            history.hear(number, self.now, client, self.clients[client].turns == attempt.turn);
        }
        let client = &mut self.clients[client];
        if client.turns == attempt.turn {
            // The contract: a client sends the last value that it received.
            client.token.clone_from(token);
            client.past = std::mem::take(&mut asked.past);
        } else {
            client.token.join(token);
            bits::join(&mut client.past, &asked.past);
        }
        client.turns += 1;
        if asked.with.is_empty() && asked.list.is_none() {
            client.seen[usize::from(asked.key)] = seen;
        } else if let Reply::Batch(answer) = reply {
            see_batch(client, &asked, answer);
        }
    }

    fn retry(&mut self, number: usize) {
        let Some((index, attempt)) = self.attempts[number].operation else { return };
        let operation = &self.plan.operations[index];
        if attempt < operation.retries {
            let (id, after) = (operation.id, operation.retry_after);
            self.count(Kind::Retried);
            self.open += 1;
            let key = mix(mix(Domain::Operation as u64, id.into()), u64::from(attempt) + 1);
            self.push(self.now + after, key, Scheduled::Operation { index, attempt: attempt + 1 });
        }
    }

    pub(super) fn give_up(&mut self, number: usize) {
        let attempt = &mut self.attempts[number];
        if matches!(attempt.stage, Stage::Done | Stage::Abandoned) {
            return;
        }
        if attempt.stage == Stage::Arrived && self.nodes[attempt.replica].pauses > 0 {
            // The socket closes while the process is not run; it sees that when it is.
            return self.nodes[attempt.replica].backlog.push(Scheduled::ClientTimeout { attempt: number });
        }
        let (stage, replica, cause) = (attempt.stage, attempt.replica, attempt.cause);
        attempt.stage = Stage::Abandoned;
        if let Some(history) = &mut self.client_history {
            history.give_up(number);
        }
        self.open -= 1;
        self.count(Kind::Abandoned);
        self.retry(number);
        if stage == Stage::Arrived {
            self.step(replica, Input::Cancel { id: RequestId(number as u64) }, mix(cause, 6));
        }
    }
}

/// When an operation begins, under which key.
pub(super) fn beginning<M>(index: usize, operation: &Operation) -> (u64, u64, Scheduled<M>) {
    let key = mix(Domain::Operation as u64, operation.id.into());
    (operation.at, key, Scheduled::Operation { index, attempt: 0 })
}

/// The value of the n-th attempt at a part of an operation: unique in a run. Made by hand, since formatting took 2 % of
/// all instructions.
fn value((operation, attempt, part): (u32, u8, usize), bytes: u32, text: &mut Vec<u8>) -> Value {
    text.clear();
    text.push(b'"');
    push_digits(text, operation);
    text.push(b'.');
    push_digits(text, attempt.into());
    if part > 0 {
        text.push(b'.');
        push_digits(text, part as u32);
    }
    text.push(b'"');
    text.resize(text.len().max(bytes as usize), b' ');
    Value::new(text)
}

fn push_digits(text: &mut Vec<u8>, number: u32) {
    if number >= 10 {
        push_digits(text, number / 10);
    }
    text.push(b'0' + (number % 10) as u8);
}
