//! Clients that ask for the keys of a range.

use super::World;
use crate::oracle::adversity::Kind;
use crate::oracle::judge::Asked;
use crate::plan::{ListUse, Operation, ShapeUse};
use crate::subject::Subject;
use hence_core::{Action, Condition, ListRequest, ListShape, Micros, Request};

impl<S: Subject> World<S> {
    /// What a list asks a replica, and what the judge remembers of it.
    pub(super) fn list_request(&mut self, operation: &Operation, list: ListUse) -> (ListRequest, Asked) {
        let token = self.token_of(operation.client);
        let past = self.clients[usize::from(operation.client)].past.clone();
        let name = |key: u8| self.keys[usize::from(key)].as_str().to_owned();
        let request = ListRequest {
            prefix: String::new(),
            start: list.start.map(name).unwrap_or_default(),
            end: list.end.map(name),
            limit: list.limit.into(),
            reverse: list.reverse,
            delimiter: list.delimiter.map_or_else(String::new, |digit| digit.to_string()),
            shape: match list.shape {
                ShapeUse::Values => ListShape::Values,
                ShapeUse::Keys => ListShape::Keys,
                ShapeUse::Count => ListShape::Count,
            },
            past: token.clone(),
            wait: Micros(operation.wait),
        };
        let (key, action, condition) = (operation.key, Action::Get, Condition::default());
        let list = Some(Box::new(request.clone()));
        (request, Asked { key, action, condition, concern: None, with: Vec::new(), list, token, past, wrote: None })
    }

    /// A request arrives: is it a list, while a state is merged in?
    pub(super) fn count_list(&mut self, replica: usize, request: &Request) {
        if matches!(request, Request::List(_)) {
            let probe = self.nodes[replica].subject.as_ref().and_then(S::probe);
            let merging = probe.is_some_and(|probe| probe.digest().is_none());
            self.judge.counts.add_if(Kind::ListMerging, merging);
        }
    }
}
