//! Faults that wait for a frame to be sent.
//!
//! Invariant kept here: a fault hits one frame, and is not waited for any more.

#[derive(Debug, Default)]
pub(super) struct Aims(Vec<Aim>);

#[derive(Debug)]
struct Aim {
    /// The fault's place in the plan.
    index: usize,
    /// So many frames of its kind pass before.
    left: u8,
}

impl Aims {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, index: usize, skip: u8) {
        self.0.push(Aim { index, left: skip });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// This fault is over.
    pub(super) fn drop_fault(&mut self, index: usize) {
        self.0.retain(|aim| aim.index != index);
    }

    /// A frame leaves that the faults want of which `wants` says so. Returns those that hit it.
    pub(super) fn hits(&mut self, wants: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut hits = Vec::new();
        for at in (0..self.0.len()).rev() {
            let aim = &mut self.0[at];
            if !wants(aim.index) {
                continue;
            }
            if aim.left > 0 {
                aim.left -= 1;
            } else {
                hits.push(self.0.swap_remove(at).index);
            }
        }
        hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_one_frame_after_those_that_it_lets_pass() {
        let mut aims = Aims::default();
        aims.add(4, 1);
        aims.add(5, 0);
        assert!(aims.hits(|index| index == 4).is_empty());
        assert_eq!(aims.hits(|_| true), [5, 4]);
        assert!(aims.hits(|_| true).is_empty() && aims.is_empty());
        aims.add(6, 0);
        aims.drop_fault(6);
        assert!(aims.is_empty());
    }
}
