//! Requests for several keys at one moment: batches, and lists of a range. Each is one event of the history.

use super::{Client, ending};
use crate::http;
use crate::torture::recorder;
use crate::torture::tally::Ending;
use crate::torture::token::{Said, Token, versions};
use hence_checker::history::{Action, Operation};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::ops::Range;

/// A batch has at most so many operations.
const BATCH_MAX: u64 = 4;

/// A list is of a range of at most so many keys of the run.
const RANGE_MAX: u64 = 32;

/// The result of one operation of a batch, or one key of a list.
#[derive(Deserialize)]
struct Item<'a> {
    result: Option<&'a str>,
    key: Option<&'a str>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    etag: Option<String>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    results: Option<Vec<Item<'a>>>,
    #[serde(borrow)]
    items: Option<Vec<Item<'a>>>,
    #[serde(borrow)]
    next: Option<&'a RawValue>,
}

/// A list that is asked for: keys of the run in order, and how many may come.
struct Page {
    keys: Range<usize>,
    limit: usize,
    reverse: bool,
}

impl Client<'_> {
    /// Asks for a batch of some keys.
    pub(super) fn ask_batch(&mut self, merged: Option<Token>) {
        let run = self.run;
        let mut keys: Vec<usize> = Vec::new();
        for _ in 0..2 + self.draw.below(BATCH_MAX - 1) {
            let key = self.draw.below(run.keys.len() as u64) as usize;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let if_absent = self.draw.chance(100_000);
        let (mut parts, mut asked) = (Vec::new(), Vec::new());
        for key in keys {
            let action = [Action::Put, Action::Put, Action::Put, Action::Get, Action::Get, Action::Delete]
                [self.draw.below(6) as usize];
            let mut part = self.part(action, &run.keys[key]);
            part.value = (action == Action::Put).then(|| self.next_value());
            let name = action.name();
            let value = part.value.as_ref().map_or_else(String::new, |value| format!(",\"value\":{value}"));
            let tested = if if_absent && action == Action::Put { ",\"if-none-match\":\"*\"" } else { "" };
            asked.push(format!("{{\"op\":\"{name}\",\"key\":\"{}\"{value}{tested}}}", part.key));
            parts.push(part);
        }
        let metadata = self.token.as_ref().map_or("null", Token::json);
        let body = format!("{{\"operations\":[{}],\"causal-metadata\":{metadata}}}", asked.join(","));
        self.ask_event(parts, merged, ("POST", "/kvs"), &body, |parts, body| {
            let Some(results) = body.results.filter(|results| results.len() == parts.len()) else { return false };
            parts.iter_mut().zip(&results).all(|(part, item)| take_result(part, item))
        });
    }

    /// Asks for a page of the run's keys.
    pub(super) fn ask_list(&mut self, merged: Option<Token>) {
        let run = self.run;
        let first = self.draw.below(run.sorted.len() as u64) as usize;
        let last = run.sorted.len().min(first + 1 + self.draw.below(RANGE_MAX) as usize);
        let limit = if self.draw.chance(500_000) { 1 + self.draw.below(5) } else { 1_000 } as usize;
        let page = Page { keys: first..last, limit, reverse: self.draw.chance(250_000) };
        // Behind all digits: other keys of this run's prefix are no clients'.
        let behind = format!("{}-:", run.prefix);
        let (start, end) = (&run.sorted[first], run.sorted.get(last).unwrap_or(&behind));
        let reverse = if page.reverse { "&reverse=true" } else { "" };
        let path = format!("/kvs?prefix={}-&start={start}&end={end}&limit={limit}{reverse}", run.prefix);
        let metadata = self.token.as_ref().map_or("null", Token::json);
        let body = format!("{{\"causal-metadata\":{metadata}}}");
        let parts = run.sorted[first..last].iter().map(|key| self.part(Action::Get, key)).collect();
        self.ask_event(parts, merged, ("GET", &path), &body, |parts, body| {
            body.items.is_some_and(|items| take_page(parts, &items, &page, body.next.is_some()))
        });
    }

    fn part(&mut self, action: Action, key: &str) -> Operation {
        Operation::new(0, &self.name, action, key)
    }

    /// Asks, and records what came as one event. `take` reads the body of an answer with 200; where that says nothing
    /// usable it returns `false`.
    fn ask_event(
        &mut self,
        mut parts: Vec<Operation>,
        merged: Option<Token>,
        (method, path): (&str, &str),
        body: &str,
        take: impl FnOnce(&mut Vec<Operation>, Body<'_>) -> bool,
    ) {
        let (run, at) = (self.run, self.at);
        let first = &mut parts[0];
        first.id = self.pen.next_id();
        first.replica.clone_from(&run.targets[at].address);
        first.token_in = self.token.as_ref().map(|token| token.plain().to_owned());
        first.merged_from = merged.iter().map(|token| token.plain().to_owned()).collect();
        first.call_ns = Some(run.recorder.now_ns());
        let mut parts = Operation::batch(parts);
        let writes = parts.iter().any(|part| part.action != Action::Get);
        if writes && !self.pen.sent_event(&parts) {
            self.ends.extend(merged);
            return;
        }
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(merged.iter().map(|token| ("causal-metadata", token.plain())));
        http::request(&mut self.request, &run.targets[at], method, path, &headers, Some(body.as_bytes()));
        let answer = match self.connections[at].exchange(&self.request, false) {
            Ok(answer) => answer,
            Err(error) => {
                let (outcome, ending) = super::missing(&error);
                run.tally.count(at, ending);
                self.refused += 1;
                parts.iter_mut().for_each(|part| part.outcome = outcome);
                if writes {
                    self.pen.ended_event(&mut parts);
                }
                self.ends.extend(merged);
                return;
            }
        };
        let (said, status) = (Said::by(&answer), answer.status);
        let token = said.token.as_ref().map(|token| token.plain().to_owned());
        for part in &mut parts {
            (part.status, part.token_out) = (status, token.clone());
        }
        let is_whole = status != 200 || serde_json::from_slice(answer.body).is_ok_and(|body| take(&mut parts, body));
        let ending = if matches!(status, 201 | 304 | 404) { Ending::Odd } else { ending(status, !is_whole) };
        if ending == Ending::Odd {
            let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
            run.tally.odd(|| format!("{method} {path} at {} answered {status} {body}", run.targets[at].address));
        }
        let returned = Some(run.recorder.now_ns());
        for part in &mut parts {
            part.return_ns = returned;
            if ending == Ending::Odd {
                recorder::forget(part);
            }
        }
        // Of a page that shows nothing of the range nothing can be recorded, and so its token is no one's past.
        let is_recorded = !parts.is_empty() && self.pen.ended_event(&mut parts);
        run.tally.count(at, if is_recorded || parts.is_empty() { ending } else { Ending::Odd });
        let token = said.token.filter(|_| is_recorded && ending != Ending::Odd);
        if !self.go_on(ending, token, merged.is_some()) {
            self.ends.extend(merged);
        }
    }
}

/// Takes over the result of one operation of a batch.
fn take_result(part: &mut Operation, item: &Item<'_>) -> bool {
    part.status = match (part.action, item.result) {
        (Action::Get, Some("found")) | (Action::Put, Some("replaced")) | (Action::Delete, Some("deleted")) => 200,
        (Action::Put, Some("created")) => 201,
        (Action::Get | Action::Delete, Some("absent")) => 404,
        (Action::Get | Action::Put | Action::Delete, _) => return false,
    };
    match part.action {
        Action::Get if part.status == 200 => show(part, item),
        Action::Put => {
            part.shown = item.etag.as_deref().map(versions).filter(|versions| versions.len() == 1);
            true
        }
        Action::Get | Action::Delete => true,
    }
}

/// What a read of this key shows.
fn show(part: &mut Operation, item: &Item<'_>) -> bool {
    part.value = item.value.map(|value| value.get().to_owned());
    part.shown = item.etag.as_deref().map(versions);
    part.value.is_some()
}

/// Takes over a page: what is there, what is absent, and nothing of what lies beyond it. Returns `false` where it is no
/// page of what was asked.
fn take_page(parts: &mut Vec<Operation>, items: &[Item<'_>], page: &Page, has_next: bool) -> bool {
    let keys: Vec<&str> = items.iter().filter_map(|item| item.key).collect();
    let in_order = |two: &[&str]| if page.reverse { two[0] > two[1] } else { two[0] < two[1] };
    if keys.len() != items.len() || keys.len() > page.limit || !keys.windows(2).all(in_order) {
        return false;
    }
    if has_next {
        // Up to where it goes on is known, and here it is enough to know what the last key tells.
        let last = keys.last().copied();
        let beyond = |key: &str| last.is_none_or(|last| if page.reverse { key < last } else { key > last });
        parts.retain(|part| !beyond(&part.key));
    }
    let mut found: BTreeMap<&str, &Item<'_>> = keys.into_iter().zip(items).collect();
    let mut is_whole = true;
    for part in parts.iter_mut() {
        part.status = 404;
        if let Some(item) = found.remove(&*part.key) {
            part.status = 200;
            is_whole &= show(part, item);
        }
    }
    // The first of what is left carries what all of them have in common.
    if let Some(first) = parts.first_mut() {
        first.same_batch = false;
    }
    is_whole && parts.len() <= page.keys.len() && found.is_empty()
}
