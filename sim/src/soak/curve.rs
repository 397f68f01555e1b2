//! The curve of a soak: what each day came to, and whether the end is as short as the start.

use super::{REPLICAS, SECOND};
use std::fmt;

/// What a day came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Day {
    /// Its number, from 1.
    pub day: u64,
    /// Process starts since the first day, the first of each replica included.
    pub starts: u64,
    /// Cuts and removals since the first day.
    pub faults: u64,
    /// Requests served, refused and answered "lost" on this day.
    pub answers: [u64; 3],
    /// Entries in a vector, in hundredths: the mean over replicas and minutes of the day.
    pub vector_mean: u64,
    /// Entries in the longest vector of the day, looked at every minute.
    pub vector_max: usize,
    /// Characters in the longest token that a client was handed on this day.
    pub token_max: usize,
    /// The most operations parked at one replica, looked at every minute.
    pub parked_max: usize,
    /// The largest log, looked at every minute, in bytes.
    pub log_bytes_max: usize,
    /// At the end of the day's quiet: entries in the longest vector.
    pub vector: usize,
    /// Then: characters in the longest token.
    pub token: usize,
    /// Then: operations parked and requests waiting, all replicas together.
    pub parked: usize,
    /// Then: bytes in the largest log.
    pub log_bytes: usize,
    /// Then: rows of retired lives at one replica; the one thing that grows, by one for each life that wrote.
    pub retired: usize,
    /// Then: rows of the view.
    pub view: usize,
    /// Then: keys at one replica.
    pub keys: usize,
    /// Then: bytes of them.
    pub store_bytes: u64,
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [served, refused, lost] = self.answers;
        let (whole, part) = (self.vector_mean / 100, self.vector_mean % 100);
        write!(
            f,
            "day {:>2} starts {:>5} faults {:>5} served {served} refused {refused} lost {lost}",
            self.day, self.starts, self.faults
        )?;
        write!(f, " | busy: vector mean {whole}.{part:02} max {} token {}", self.vector_max, self.token_max)?;
        write!(f, " parked {} log {} B", self.parked_max, self.log_bytes_max)?;
        write!(f, " | at rest: vector {} token {} parked {}", self.vector, self.token, self.parked)?;
        write!(f, " log {} B retired {} view {}", self.log_bytes, self.retired, self.view)?;
        write!(f, " keys {} store {} B", self.keys, self.store_bytes)
    }
}

/// What must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SoakError {
    /// After the quiet, two replicas differ, one is not up, or something waits.
    Unsettled {
        /// The day.
        day: u64,
        /// What.
        problem: String,
    },
    /// A client was served past its own past, or refused as no honest client is.
    Broken {
        /// When, in microseconds.
        at: u64,
        /// What.
        problem: String,
    },
    /// The curve is not flat.
    Grown {
        /// What has grown.
        what: &'static str,
        /// At the start.
        first: u64,
        /// At the end.
        last: u64,
    },
}

impl fmt::Display for SoakError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsettled { day, problem } => write!(f, "day {day} does not end at rest: {problem}"),
            Self::Broken { at, problem } => write!(f, "at {} s: {problem}", at / SECOND),
            Self::Grown { what, first, last } => write!(f, "{what} grew from {first} to {last}"),
        }
    }
}

impl std::error::Error for SoakError {}

/// Compares the ends of the curve: what is at rest exactly, what is busy with room for chance.
///
/// # Errors
/// [`SoakError::Grown`] names what is longer at the end than at the start.
pub fn is_flat(curve: &[Day]) -> Result<(), SoakError> {
    let third = curve.len().div_ceil(3);
    let (start, end) = (&curve[..third], &curve[curve.len() - third..]);
    let most = |days: &[Day], of: fn(&Day) -> u64| days.iter().map(of).max().unwrap_or(0);
    let check = |what, of: fn(&Day) -> u64, room: fn(u64) -> u64| {
        let (first, last) = (most(start, of), most(end, of));
        if last <= room(first) { Ok(()) } else { Err(SoakError::Grown { what, first, last }) }
    };
    let longest = most(curve, |day| day.vector as u64);
    if longest > REPLICAS as u64 {
        return Err(SoakError::Grown { what: "a vector at rest", first: REPLICAS as u64, last: longest });
    }
    check("the vector at rest", |day| day.vector as u64, |first| first)?;
    // A counter of one more byte is two characters more.
    check("the token at rest", |day| day.token as u64, |first| first + 2 * REPLICAS as u64)?;
    check("the log at rest", |day| day.log_bytes as u64, |first| first + 1_024)?;
    check("the mean vector", |day| day.vector_mean, |first| first + first / 4)?;
    check("the longest vector", |day| day.vector_max as u64, |first| first * 2)?;
    check("the longest token", |day| day.token_max as u64, |first| first * 2)?;
    check("the most parked", |day| day.parked_max as u64, |first| first * 2 + 64)?;
    check("the largest log", |day| day.log_bytes_max as u64, |first| first * 2)?;
    check("the store", |day| day.store_bytes, |first| first + first / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_noticed() {
        let day = |day: u64, token| Day { day, token, vector: 5, ..Day::default() };
        let flat: Vec<Day> = (1..=6).map(|number| day(number, 90)).collect();
        assert_eq!(is_flat(&flat), Ok(()));
        let growing: Vec<Day> = (1..=6).map(|number| day(number, 90 + 20 * number as usize)).collect();
        assert_eq!(is_flat(&growing), Err(SoakError::Grown { what: "the token at rest", first: 130, last: 210 }));
        let long = vec![Day { vector: 6, ..Day::default() }];
        assert_eq!(is_flat(&long), Err(SoakError::Grown { what: "a vector at rest", first: 5, last: 6 }));
    }
}
