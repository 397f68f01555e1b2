//! Serves lists (LIST-1 to LIST-5).
//!
//! A page is made in one call, so it shows one moment. A call has room for a full page if it does little else. Where it
//! does more, the page is shorter and says where the next one begins. Keys stand in order from the first list on.

use super::Replica;
use super::blocked::ForKeys;
use super::lists::PAGE_ROOM;
use crate::data::Key;
use crate::op::Dots;
use crate::request::{LIST_MAX, ListAnswer, ListRequest, ListShape, Listed, Refusal, Reply, RequestId, above_all_with};
use crate::rules::{Rule, Rules};
use crate::siblings::Siblings;
use crate::store::Store;
use crate::vector::VersionVector;
use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// So many keys of a page are one unit of work: each is looked at, and nothing is changed.
const KEYS_PER_UNIT: usize = 4;

/// A page ends before the values in it exceed so many bytes, unless one value alone does.
const PAGE_BYTES_MAX: usize = 1 << 20;

impl<R: Rules> Replica<R> {
    /// Answers a list, or has it wait.
    pub(super) fn answer_list(&mut self, id: RequestId, list: Box<ListRequest>) {
        match self.listed_now(&list) {
            Some(reply) => self.effects.reply(id, reply),
            None if self.has_place_to_wait(list.bytes()) => {
                self.lists.insert(id, list);
                self.effects.defer();
            }
            None => self.effects.reply(id, Reply::Refused(Refusal::NoRoomToWait)),
        }
    }

    /// Goes on with what lists wait for, and answers those whose turn has come.
    pub(super) fn serve_lists(&mut self) {
        if self.data.store().has_dropped_index() {
            self.effects.did(self.data.free_index(self.effects.room() / 2));
            self.effects.defer_if(self.data.store().has_dropped_index());
        }
        while let Some((id, list)) = self.lists.take_first() {
            let list = ForKeys::List(list);
            let refusal = self.gate(&list);
            let ForKeys::List(list) = list else { unreachable!("it was made above") };
            let reply = match refusal {
                Some(refusal) => Some(Reply::Refused(refusal)),
                None => self.listed_now(&list),
            };
            match reply {
                Some(reply) => self.effects.reply(id, reply),
                None => {
                    self.lists.put_back(id, list);
                    return self.effects.defer();
                }
            }
        }
    }

    /// The answer to a list; none where it has to wait.
    fn listed_now(&mut self, list: &ListRequest) -> Option<Reply> {
        let merging = self.data.store().is_merging();
        if merging && self.rules.follows(Rule::ListsWaitForMerging) {
            return None;
        }
        if !self.data.store().is_indexed() {
            if !self.has_memory_for_index() {
                return Some(Reply::Refused(Refusal::NoMemoryToList));
            }
            if !merging {
                self.put_in_order();
            }
            if !self.data.store().is_indexed() {
                return None;
            }
        }
        (self.effects.room() >= PAGE_ROOM).then(|| Reply::Listed(self.page(list)))
    }

    /// Puts some keys in order. Half of what this call may do is left for the rest, or for the page.
    pub(super) fn put_in_order(&mut self) {
        let keys = self.data.index_step(self.effects.room() / 2);
        self.effects.did(keys);
    }

    fn page(&mut self, list: &ListRequest) -> ListAnswer {
        let most = list.limit.clamp(1, LIST_MAX).min((self.effects.room() - 2).saturating_mul(KEYS_PER_UNIT));
        let mut page = Page::new(&self.rules, list, most);
        page.fill(self.data.store());
        if self.rules.follows(Rule::ListsBindToDeletes) {
            page.token.join(&self.data.log().all_deletes());
        }
        if !self.rules.follows(Rule::ListsBindToNoMore) {
            page.token.join(self.data.context().vector());
        }
        let (looked, mut answer) = page.finish();
        self.effects.did(1 + looked.div_ceil(KEYS_PER_UNIT));
        if let Some(token) = self.data.compacted(&self.rules, &answer.token) {
            answer.token = token;
        }
        answer
    }
}

/// A page being filled.
struct Page<'a, R> {
    rules: &'a R,
    list: &'a ListRequest,
    /// The lowest text above the range.
    end: Option<String>,
    most: usize,
    items: Vec<Listed>,
    prefixes: Vec<String>,
    count: usize,
    looked: usize,
    value_bytes: usize,
    /// What was shown last: a key, or a common prefix by where the keys behind it begin.
    last: Last,
    next: Option<String>,
    token: VersionVector,
}

enum Last {
    Nothing,
    Key(Key),
    Prefix(String),
}

impl<'a, R: Rules> Page<'a, R> {
    fn new(rules: &'a R, list: &'a ListRequest, most: usize) -> Self {
        Self {
            rules,
            list,
            end: list.end(),
            most,
            items: Vec::new(),
            prefixes: Vec::new(),
            count: 0,
            looked: 0,
            value_bytes: 0,
            last: Last::Nothing,
            next: None,
            token: list.past.clone(),
        }
    }

    fn fill(&mut self, store: &Store) {
        if self.list.reverse {
            let mut below = self.end.clone();
            while let Some(behind) = self.take(store.descending(below.as_deref())) {
                below = Some(behind);
            }
        } else {
            let mut from = self.list.lowest().to_owned();
            while let Some(behind) = self.take(store.ascending(&from)) {
                from = behind;
            }
        }
    }

    /// Takes in keys up to a common prefix; the walk goes on behind all that have it. None where the page ends.
    fn take<'k>(&mut self, keys: impl Iterator<Item = (&'k Key, &'k Siblings)>) -> Option<String> {
        for (key, shown) in keys {
            if !self.is_within(key) {
                return None;
            }
            self.looked += 1;
            if self.is_full(shown) {
                if !self.rules.follows(Rule::PagesLeaveNoGap) {
                    self.last = Last::Key(key.clone());
                }
                self.next = self.behind_last();
                return None;
            }
            self.bind(shown);
            self.count += 1;
            if let Some(prefix) = self.list.common_prefix(key.as_str()) {
                let behind = if self.list.reverse { Some(prefix.to_owned()) } else { above_all_with(prefix) };
                if self.list.shape != ListShape::Count {
                    self.prefixes.push(prefix.to_owned());
                }
                self.last = behind.clone().map_or(Last::Nothing, Last::Prefix);
                return behind;
            }
            self.show(key, shown);
            self.last = Last::Key(key.clone());
        }
        None
    }

    /// Is it in the range? One end is where the walk began.
    fn is_within(&self, key: &Key) -> bool {
        let key = key.as_str();
        if self.list.reverse { key >= self.list.lowest() } else { self.end.as_ref().is_none_or(|end| key < end) }
    }

    fn is_full(&self, shown: &Siblings) -> bool {
        let bytes = shown.winner().map_or(0, |winner| winner.value.as_bytes().len());
        let too_large = self.list.shape == ListShape::Values && self.value_bytes + bytes > PAGE_BYTES_MAX;
        self.count >= self.most || self.count > 0 && too_large
    }

    fn bind(&mut self, shown: &Siblings) {
        if self.rules.follows(Rule::ListsBindToShown) {
            shown.iter().for_each(|sibling| _ = self.token.join_dot(sibling.dot));
        }
    }

    fn show(&mut self, key: &Key, shown: &Siblings) {
        if self.list.shape == ListShape::Count {
            return;
        }
        let mut dots: Dots = shown.iter().map(|sibling| sibling.dot).collect();
        dots.sort_unstable();
        let value = shown.winner().filter(|_| self.list.shape == ListShape::Values).map(|winner| winner.value.clone());
        self.value_bytes += value.as_ref().map_or(0, |value| value.as_bytes().len());
        self.items.push(Listed { key: key.clone(), dots, value });
    }

    /// Where the next page begins: right behind what was shown last.
    fn behind_last(&mut self) -> Option<String> {
        match core::mem::replace(&mut self.last, Last::Nothing) {
            Last::Nothing => None,
            Last::Prefix(behind) => Some(behind),
            Last::Key(key) if self.list.reverse => Some(key.as_str().to_owned()),
            Last::Key(key) => Some([key.as_str(), "\0"].concat()),
        }
    }

    fn finish(self) -> (usize, ListAnswer) {
        let Self { items, prefixes, count, next, token, looked, .. } = self;
        (looked, ListAnswer { items, prefixes, count, next, token })
    }
}
