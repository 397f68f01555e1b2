//! What is looked at while a soak lives, and at the rest that ends each day.

use super::{MINUTE, REPLICAS, Scheduled, World};
use hence_core::{ClusterTag, Replica, ReplicaStatus, Token, VersionVector};

impl World {
    fn statuses(&self) -> impl Iterator<Item = ReplicaStatus> + '_ {
        self.nodes.iter().filter_map(|node| node.replica.as_ref()).map(Replica::status)
    }

    pub(super) fn look(&mut self) {
        self.push(self.now + MINUTE, Scheduled::Look);
        let statuses: Vec<_> = self.statuses().collect();
        // An operator that had added an address before its removal was known there looks again.
        let removed = |replica: &usize| {
            let rows = statuses.iter().flat_map(|status| &status.view);
            let even = |counter: u64| counter > 0 && counter.is_multiple_of(2);
            rows.into_iter().any(|row| row.address == self.addresses[*replica] && even(row.generation))
        };
        let again: Vec<usize> =
            (0..REPLICAS).filter(|&replica| !self.nodes[replica].removed).filter(|replica| removed(replica)).collect();
        again.into_iter().for_each(|replica| self.push(self.now, Scheduled::Add { replica }));
        let day = &mut self.day;
        for status in statuses {
            self.looks += 1;
            self.entries += status.vector.len() as u64;
            day.vector_max = day.vector_max.max(status.vector.len());
            day.parked_max = day.parked_max.max(status.causal_buffer);
            day.log_bytes_max = day.log_bytes_max.max(status.log_bytes);
        }
    }

    /// After the quiet: every replica up and equal, nothing parked or waiting.
    pub(super) fn rest(&mut self) -> Result<(), String> {
        let statuses: Vec<_> = self.statuses().collect();
        let alive = REPLICAS - usize::from(self.dead.is_some());
        if statuses.len() != alive {
            return Err(format!("{} replicas run", statuses.len()));
        }
        let day = &mut self.day;
        for status in &statuses {
            if !status.ready || status.listed.len() != alive {
                return Err(format!("{} is ready: {}, lists {:?}", status.address, status.ready, status.listed));
            }
            let first = &statuses[0];
            if (&status.vector, status.digest) != (&first.vector, first.digest) {
                return Err(format!("{:?} and {:?}", status.vector, first.vector));
            }
            day.parked += status.causal_buffer + status.blocked;
            day.vector = day.vector.max(status.vector.len());
            day.log_bytes = day.log_bytes.max(status.log_bytes);
            day.retired = day.retired.max(status.retired);
            day.view = day.view.max(status.view.len());
            (day.keys, day.store_bytes) = (status.keys, status.store_bytes);
        }
        if day.parked > 0 {
            return Err(format!("{} operations or requests wait", day.parked));
        }
        let length = |past: &VersionVector| Token(past.clone()).encode(ClusterTag::of("hence")).len();
        day.token = self.pasts.iter().map(length).max().unwrap_or(0);
        self.nodes.iter().filter_map(|node| node.replica.as_ref()).for_each(Replica::check_invariants);
        Ok(())
    }
}
