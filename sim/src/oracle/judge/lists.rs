//! A page is what is there of its range at one moment. It binds its reader to that, and to no more (INV-4, LIST-1, LIST-2).

use super::{Asked, Judge};
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::truth::{Number, Numbers};
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use hence_checker::bits;
use hence_core::{Dot, ListAnswer, ListRequest, ListShape, Listed};

/// What a page truly has to show, and what follows for its reader.
#[derive(Default)]
struct Truly {
    /// Its keys, by number.
    items: Vec<u8>,
    prefixes: Vec<String>,
    /// The versions that it rests on, and the deletes of keys that it leaves out.
    rests_on: Numbers,
}

impl Judge {
    /// A replica answered a list. `asked.past` becomes the client's past after it.
    pub(super) fn on_list(&mut self, replica: usize, asked: &mut Asked, list: &ListRequest, page: &ListAnswer) {
        self.check_served(replica, asked);
        self.counts.add(Kind::Listed);
        self.counts.add_if(Kind::ListedInPages, page.next.is_some());
        self.counts.add_if(Kind::ListedInGroups, !page.prefixes.is_empty());
        let truly = self.truly_listed(replica, list, page.next.as_deref());
        let count = truly.items.len() + truly.prefixes.len();
        let shown = list.shape != ListShape::Count;
        let right = page.count == count
            && page.count <= list.limit
            && (page.count > 0 || page.next.is_none())
            && page.items.len() == if shown { truly.items.len() } else { 0 }
            && page.prefixes == if shown { truly.prefixes.as_slice() } else { &[] }
            && page.items.iter().zip(&truly.items).all(|(item, &key)| self.is_item(replica, list.shape, item, key));
        if !right {
            let names: Vec<String> = truly.items.iter().map(|&key| self.item_in_words(replica, key)).collect();
            let prefixes = truly.prefixes.iter().map(|prefix| format!("all below {prefix}"));
            let truly: Vec<String> = names.into_iter().chain(prefixes).collect();
            let (shown, count) = (words::page(&page.items, &page.prefixes), page.count);
            let detail =
                format!("a list of {count} shows {shown}; truly there are {}: {}", truly.len(), truly.join(", "));
            self.fail(Invariant::Answers, Sign::PageWrong, Some(replica), || detail);
        }
        self.check_bound(replica, asked, &truly, page);
        for &number in &truly.rests_on {
            bits::join(&mut asked.past, self.truth.closures.row(number as usize));
        }
    }

    /// What a page up to `next` truly has to show.
    fn truly_listed(&self, replica: usize, list: &ListRequest, next: Option<&str>) -> Truly {
        let before = |key: &str| next.is_none_or(|next| if list.reverse { key >= next } else { key < next });
        let name = |key: u8| self.keys[usize::from(key)].as_str();
        let mut keys: Vec<u8> = (0..self.keys.len()).map(|key| key as u8).collect();
        keys.retain(|&key| list.contains(name(key)) && before(name(key)));
        keys.sort_unstable_by_key(|&key| name(key));
        if list.reverse {
            keys.reverse();
        }
        let mut truly = Truly::default();
        for key in keys {
            let live = &self.truth.holdings[replica].live[usize::from(key)];
            truly.rests_on.extend_from_slice(&self.truth.holdings[replica].deletes[usize::from(key)]);
            match list.common_prefix(name(key)) {
                _ if live.is_empty() => {}
                // One key tells that there is a common prefix. The others are not looked at.
                Some(prefix) if truly.prefixes.last().is_some_and(|last| last == prefix) => {}
                Some(prefix) => {
                    truly.prefixes.push(prefix.to_owned());
                    truly.rests_on.extend_from_slice(live);
                }
                None => {
                    truly.items.push(key);
                    truly.rests_on.extend_from_slice(live);
                }
            }
        }
        truly
    }

    /// A key with the versions that it truly shows.
    fn item_in_words(&self, replica: usize, key: u8) -> String {
        let shown = self.truth.shown(replica, key);
        let dots: Vec<Dot> = shown.iter().map(|&number| self.truth.writes[number as usize].dot).collect();
        format!("{} {}", self.keys[usize::from(key)].as_str(), words::writes(&dots))
    }

    /// Is this what there is of a key?
    pub(super) fn is_item(&self, replica: usize, shape: ListShape, item: &Listed, key: u8) -> bool {
        let shown = self.truth.shown(replica, key);
        let mut dots: Vec<Dot> = shown.iter().map(|&number| self.truth.writes[number as usize].dot).collect();
        dots.sort_unstable();
        let stamped = shown.iter().all(|&number| self.truth.writes[number as usize].stamp.is_some());
        let winner = |value| {
            shown
                .iter()
                .take(if stamped { 1 } else { shown.len() })
                .any(|&number| self.truth.writes[number as usize].value_of(key) == Some(value))
        };
        let valued =
            if shape == ListShape::Values { item.value.as_ref().is_some_and(winner) } else { item.value.is_none() };
        item.key == self.keys[usize::from(key)] && item.dots.as_slice() == dots && valued
    }

    /// The token covers all that the page rests on. Each of its entries is of that, of a delete, or the client's own.
    fn check_bound(&mut self, replica: usize, asked: &Asked, truly: &Truly, page: &ListAnswer) {
        let covered = self.truth.closure_of(&page.token);
        let missing = truly.rests_on.iter().find(|&&number| !bits::has(&covered, number as usize));
        if let Some(&number) = missing {
            let dot = self.truth.writes[number as usize].dot;
            self.fail(Invariant::Answers, Sign::ListUnbound, Some(replica), || {
                format!("a page rests on {dot}, and its token covers only {}", words::past(&page.token))
            });
        }
        let deletes = self.truth.holdings[replica].deletes.iter().flatten();
        let allowed: Vec<Number> = truly.rests_on.iter().chain(deletes).copied().collect();
        let is_allowed = |&(incarnation, counter): &(_, u64)| {
            // What stands for a life that is over is as good as what it stands for.
            let number = self.truth.number(Dot { incarnation, counter });
            asked.token.counter(incarnation) >= counter
                || number.is_none_or(|number| {
                    allowed.contains(&number) || self.truth.writes[number as usize].changes.is_empty()
                })
        };
        if let Some((incarnation, counter)) = page.token.entries().find(|entry| !is_allowed(entry)) {
            self.fail(Invariant::Answers, Sign::ListBound, Some(replica), || {
                format!("a page binds its reader to {}, which it does not rest on", Dot { incarnation, counter })
            });
        }
    }
}
