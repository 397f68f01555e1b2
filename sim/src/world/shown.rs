//! States as an observer sees them: of replicas after each step, of clients when their causal past changes.

use super::World;
use crate::plan::Plan;
use crate::subject::{Probe, Subject};
use hence_checker::bits;
use hence_core::{Dot, LinkState, Siblings, VersionVector};

/// The fields of a state with what they hold.
type State = Vec<(String, String)>;

impl<S: Subject> World<S> {
    fn is_shown(&self) -> bool {
        self.observer.as_ref().is_some_and(|observer| observer.wants_states())
    }

    pub(super) fn show_replica(&mut self, replica: usize) {
        if !self.is_shown() {
            return;
        }
        let state = self.nodes[replica].subject.as_ref().and_then(S::probe);
        let Some(state) = state.map(|probe| self.state_of(replica, probe)) else { return };
        let now = self.now;
        if let Some(observer) = &mut self.observer {
            observer.on_replica_state(now, replica, state);
        }
    }

    fn state_of(&self, replica: usize, probe: &dyn Probe) -> State {
        let mut state: State = Vec::new();
        let mut say = |name: &str, value: String| state.push((name.to_owned(), value));
        let load = probe.load();
        say("incarnation", probe.incarnation().to_string());
        say("serves", if probe.is_ready() { "yes".into() } else { "not yet".into() });
        let records = probe.view().records().map(|record| {
            let newest = match record.newest {
                None => "unmet".to_owned(),
                Some(presence) if presence.up => presence.incarnation.to_string(),
                Some(presence) => format!("{} starting", presence.incarnation),
            };
            let removed = if probe.view().is_member(&record.address) { "" } else { " removed" };
            format!("{} {newest}{removed}", record.address)
        });
        say("view", records.collect::<Vec<_>>().join(", "));
        let others = (0..self.nodes.len()).filter(|&other| other != replica);
        let links = others.filter_map(|other| {
            let link = match probe.link(&self.addresses[other])? {
                LinkState::Opening => "opening",
                LinkState::Established => "open",
                LinkState::Dormant => "resting",
            };
            Some(format!("{} {link}", Plan::name(other)))
        });
        say("links", links.collect::<Vec<_>>().join(", "));
        say("vector", covered(probe.vector()));
        say("truly has", self.names_of(&self.judge.truth.holdings[replica].included));
        for (key, siblings) in probe.all() {
            say(&format!("store {}", key.as_str()), versions(&siblings));
        }
        let inside = probe.inside();
        let buffered: Vec<String> = inside.buffered.iter().map(Dot::to_string).collect();
        say("causal buffer", buffered.join(" "));
        say("gaps", covered(&inside.gaps));
        say("log", format!("{} B", load.log_bytes));
        say("trimmed", covered(inside.trimmed));
        say("trimmed deletes", covered(inside.trimmed_deletes));
        say("requests waiting", load.waiting.to_string());
        say("pull", if load.pulling { "under way".into() } else { "none".into() });
        state
    }

    pub(super) fn show_client(&mut self, client: usize) {
        if !self.is_shown() {
            return;
        }
        let token = covered(&self.clients[client].token);
        let past = self.names_of(&self.clients[client].past);
        let state = vec![("token".into(), token), ("truly knows".into(), past)];
        if let Some(observer) = &mut self.observer {
            observer.on_client_state(client, state);
        }
    }

    /// The names of these writes, those of one incarnation together: `a1.1..3 b1.2`. Of a subject that cannot be looked
    /// into the truth knows no writes.
    fn names_of(&self, writes: &[u64]) -> String {
        let dot = |number: usize| self.judge.truth.writes.get(number).map(|write| write.dot);
        let mut dots: Vec<Dot> = bits::numbers(writes).filter_map(dot).collect();
        dots.sort_unstable();
        let mut runs: Vec<(Dot, u64)> = Vec::new();
        for dot in dots {
            match runs.last_mut() {
                Some((first, last)) if first.incarnation == dot.incarnation && *last + 1 == dot.counter => *last += 1,
                Some(_) | None => runs.push((dot, dot.counter)),
            }
        }
        let said = |(first, last): (Dot, u64)| match last {
            last if last == first.counter => first.to_string(),
            last => format!("{first}..{last}"),
        };
        runs.into_iter().map(said).collect::<Vec<_>>().join(" ")
    }
}

/// A vector as the last write of each incarnation that it covers.
fn covered(vector: &VersionVector) -> String {
    let entries = vector.entries().map(|(incarnation, counter)| Dot { incarnation, counter }.to_string());
    entries.collect::<Vec<_>>().join(" ")
}

fn versions(siblings: &Siblings) -> String {
    let each = siblings.iter().map(|sibling| {
        let value = String::from_utf8_lossy(sibling.value.as_bytes()).trim_end().to_owned();
        format!("{} = {value}", sibling.dot)
    });
    each.collect::<Vec<_>>().join(" | ")
}
