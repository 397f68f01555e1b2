//! What the states of a story say that is known, by short names of writes.

use crate::observe::{Lane, Story};

/// A set of writes: of each incarnation those from one number to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known(Vec<(String, u64, u64)>);

/// The incarnation and the number in the name of a write: `b1.2`.
fn parts(write: &str) -> Option<(&str, u64)> {
    let (incarnation, counter) = write.split_once('.')?;
    Some((incarnation, counter.parse().ok()?))
}

impl Known {
    /// A vector: of each incarnation the last write, and all before it.
    pub(super) fn of_vector(text: &str) -> Self {
        let each = text.split_whitespace().filter_map(parts);
        Self(each.map(|(incarnation, last)| (incarnation.to_owned(), 1, last)).collect())
    }

    /// Writes by name: `a1.1..3 b1.2`.
    pub(super) fn of_writes(text: &str) -> Self {
        let each = text.split_whitespace().filter_map(|word| {
            let (first, last) = word.split_once("..").unwrap_or((word, ""));
            let (incarnation, from) = parts(first)?;
            Some((incarnation.to_owned(), from, last.parse().unwrap_or(from)))
        });
        Self(each.collect())
    }

    /// A vector as operations have it in messages: `a1: 3, b1: 1`.
    pub(super) fn join_debug(&mut self, text: &str) {
        let each = text.split(", ").filter_map(|entry| {
            let (incarnation, last) = entry.split_once(": ")?;
            Some((incarnation.to_owned(), 1, last.trim().parse().ok()?))
        });
        self.0.extend(each);
    }

    /// All writes of an incarnation up to this one.
    pub(super) fn join_up_to(&mut self, incarnation: &str, last: u64) {
        self.0.push((incarnation.to_owned(), 1, last));
    }

    pub(super) fn has(&self, write: &str) -> bool {
        let is_in = |incarnation: &str, number: u64| {
            self.0.iter().any(|(of, from, to)| of == incarnation && (*from..=*to).contains(&number))
        };
        parts(write).is_some_and(|(incarnation, number)| is_in(incarnation, number))
    }

    /// Each write of it.
    pub(super) fn writes(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|(of, from, to)| (*from..=*to).map(move |number| format!("{of}.{number}")))
    }

    /// The incarnations that it names.
    pub(super) fn incarnations(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(incarnation, ..)| incarnation.as_str())
    }
}

/// The incarnations that were retired, each with the number of its writes and the write that implies them.
#[derive(Debug, Default)]
pub(super) struct Retired(Vec<(usize, String, u64, String)>);

impl Retired {
    pub(super) fn of(story: &Story) -> Self {
        let read = |text: &str| {
            let (incarnation, rest) = text.strip_prefix("retires ")?.split_once(" up to its write ")?;
            let (through, dot) = rest.split_once(", by ")?;
            Some((incarnation.to_owned(), through.parse().ok()?, dot.to_owned()))
        };
        let all = story.moments.iter().enumerate().filter_map(|(place, moment)| {
            let (incarnation, through, dot) = read(&moment.text)?;
            Some((place, incarnation, through, dot))
        });
        Self(all.collect())
    }

    /// Is this write known, or implied by the end of its incarnation?
    pub(super) fn covers(&self, known: &Known, write: &str) -> bool {
        let Some((incarnation, number)) = parts(write) else { return false };
        let implies = |(_, of, through, dot): &(usize, String, u64, String)| {
            of == incarnation && number <= *through && known.has(dot)
        };
        known.has(write) || self.0.iter().any(implies)
    }

    /// Was this incarnation retired before this moment?
    pub(super) fn is_over(&self, incarnation: &str, moment: usize) -> bool {
        self.0.iter().any(|(place, of, ..)| *place < moment && of == incarnation)
    }

    /// The moment in which this write retired another incarnation.
    pub(super) fn made_by(&self, write: &str) -> Option<usize> {
        self.0.iter().find(|(.., dot)| dot == write).map(|(place, ..)| *place)
    }
}

/// The moments of a lane in which a field of its state changes, with what it is then.
pub(super) fn changes<'a>(
    story: &'a Story,
    lane: Lane,
    field: &'a str,
) -> impl DoubleEndedIterator<Item = (usize, &'a str)> {
    story.moments.iter().enumerate().filter(move |(_, moment)| moment.lane == lane).filter_map(
        move |(place, moment)| {
            let (_, value) = moment.changes.iter().find(|(name, _)| name == field)?;
            Some((place, value.as_str()))
        },
    )
}

/// What a field of a lane's state is after a moment.
pub(super) fn state<'a>(story: &'a Story, lane: Lane, field: &'a str, moment: usize) -> &'a str {
    changes(story, lane, field).take_while(|(place, _)| *place <= moment).last().map_or("", |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read() {
        let vector = Known::of_vector("a1.3 b2.1");
        assert!(["a1.1", "a1.3", "b2.1"].iter().all(|write| vector.has(write)));
        assert!(["a1.4", "b1.1", "c1.1", "a1"].iter().all(|write| !vector.has(write)));
        let writes = Known::of_writes("a1.2..3 b1.7");
        assert!(writes.has("a1.2") && writes.has("a1.3") && writes.has("b1.7"));
        assert!(!writes.has("a1.1") && !writes.has("b1.6"));
        assert_eq!(writes.writes().collect::<Vec<_>>(), ["a1.2", "a1.3", "b1.7"]);
        let mut joined = Known::default();
        joined.join_debug("a1: 1, b1: 4");
        assert!(joined.has("a1.1") && joined.has("b1.4") && !joined.has("a1.2"));
    }
}
