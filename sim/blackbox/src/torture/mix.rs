//! How often clients ask what.

use hence_checker::random::Draw;

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A plain read.
    Get,
    /// A plain write.
    Put,
    /// A delete.
    Delete,
    /// A read of all concurrent versions.
    Siblings,
    /// A read, write or delete under a condition on the versions last seen.
    Conditional,
    /// A read that waits for what its token names.
    Wait,
    /// Reads and writes of several keys at one moment.
    Batch,
    /// A page of keys in order.
    List,
}

impl Kind {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Get, "get"),
        (Self::Put, "put"),
        (Self::Delete, "delete"),
        (Self::Siblings, "siblings"),
        (Self::Conditional, "conditional"),
        (Self::Wait, "wait"),
        (Self::Batch, "batch"),
        (Self::List, "list"),
    ];
}

/// How often each kind is drawn, in parts of their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mix([u32; 8]);

impl Default for Mix {
    fn default() -> Self {
        Self([45, 35, 5, 5, 5, 5, 5, 2])
    }
}

impl Mix {
    /// Reads `get=50,put=40,delete=10`; what is not named is never asked.
    pub(crate) fn named(text: &str) -> Result<Self, String> {
        let mut mix = Self([0; 8]);
        for part in text.split(',') {
            let (name, parts) = part.split_once('=').ok_or_else(|| format!("\"{part}\": write it as KIND=PARTS"))?;
            let names = || Kind::ALL.map(|(_, name)| name).join(", ");
            let at = Kind::ALL.iter().position(|(_, known)| *known == name.trim());
            let at = at.ok_or_else(|| format!("\"{name}\" is none of {}", names()))?;
            mix.0[at] = parts.trim().parse().map_err(|error| format!("\"{part}\": {error}"))?;
        }
        if mix.0.iter().all(|&parts| parts == 0) { Err("all parts are 0".into()) } else { Ok(mix) }
    }

    /// Draws a kind.
    pub(crate) fn draw(&self, draw: &mut Draw) -> Kind {
        let sum: u64 = self.0.iter().map(|&parts| u64::from(parts)).sum();
        let mut at = draw.below(sum);
        for ((kind, _), &parts) in Kind::ALL.iter().zip(&self.0) {
            if at < u64::from(parts) {
                return *kind;
            }
            at -= u64::from(parts);
        }
        Kind::Get
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_are_read_and_wrong_ones_refused() {
        assert_eq!(Mix::named("get=1, put=2,wait=3"), Ok(Mix([1, 2, 0, 0, 0, 3, 0, 0])));
        assert_eq!(Mix::named("list=1,batch=4"), Ok(Mix([0, 0, 0, 0, 0, 0, 4, 1])));
        for wrong in ["", "get", "get=0", "fly=3", "get=x", "get=-1"] {
            assert!(Mix::named(wrong).is_err(), "{wrong}");
        }
        let mut draw = hence_checker::random::Source::new(1).draw(crate::torture::CLIENTS, 1);
        let mix = Mix::named("put=3,get=1").expect("a mix");
        let puts = (0..4_000).filter(|_| mix.draw(&mut draw) == Kind::Put).count();
        assert!((2_850..3_150).contains(&puts), "{puts}");
    }
}
