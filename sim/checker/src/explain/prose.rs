//! What happened, in words that a newcomer follows.

use crate::graph::order::{self, Successors};
use crate::history::text::short;
use crate::history::words::{NAMED_MAX, few, summary};
use crate::report::Counterexample;
use crate::terms::{Break, DELETE, Debt, Edge, Level, Node, PUT, View};
use std::fmt::Write as _;

/// An arrow of the picture that neither lineage nor a read gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrow {
    pub(crate) edge: Edge,
    /// Why, in words.
    pub(crate) reason: String,
}

impl Counterexample {
    pub(crate) fn edges(&self) -> Vec<Edge> {
        self.forced.iter().flat_map(|forced| forced.explanation.edges.iter().copied()).collect()
    }

    pub(crate) fn name(&self, node: Node) -> String {
        match self.places().get(node as usize) {
            Some(place) => place.name(),
            None => format!("joint {node}"),
        }
    }

    /// What stands before an operation in a list: the name of its event, or that it is one more part of a batch.
    pub(crate) fn label(&self, node: Node) -> String {
        if self.problem.is_head(node) { self.name(node) } else { "  +".into() }
    }

    fn text(&self, node: Node) -> String {
        format!("{} ({})", self.name(node), summary(&self.history, node as usize))
    }

    /// What a write left behind.
    fn written(&self, node: Node) -> String {
        let key = short(self.history.keys.text(self.history.key[node as usize]));
        if self.problem.is(node, DELETE) {
            format!("the DELETE of {key} by {}", self.name(node))
        } else {
            let value = short(self.history.values.text(self.history.value[node as usize]));
            format!("{key}={value}, written by {}", self.name(node))
        }
    }

    /// The arrows that were forced, and why.
    pub(crate) fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for forced in &self.forced {
            let reason = match forced.debt {
                Debt::Removed { put, event } => format!(
                    "{} had {} in its past and did not show it, and only {} can have removed it",
                    self.name(event),
                    self.written(put),
                    self.name(forced.explanation.write)
                ),
                Debt::Alive { event } => format!(
                    "{} met a value, and only that of {} can have been alive",
                    self.name(event),
                    self.name(forced.explanation.write)
                ),
            };
            let is_new = |&&(from, to): &&Edge| self.problem.predecessors(to).all(|before| before != from);
            let edges = forced.explanation.edges.iter().filter(is_new);
            arrows.extend(edges.map(|&edge| Arrow { edge, reason: reason.clone() }));
        }
        if let Break::Arbitration(cycle) = &self.wrong {
            arrows.extend(cycle.iter().zip(cycle.iter().cycle().skip(1)).filter_map(|(&from, &to)| self.won(from, to)));
        }
        arrows
    }

    /// The read that puts one write before another because the other won.
    fn won(&self, from: Node, to: Node) -> Option<Arrow> {
        let problem = &self.problem;
        if problem.predecessors(to).any(|before| before == from) || self.edges().contains(&(from, to)) {
            return None;
        }
        let successors = Successors::of(problem, &self.edges());
        let precedes = |put: Node, event: Node| {
            let (put, event) = problem.edge(put, event);
            order::path(&successors, put, event, |_| true).is_some()
        };
        let choice = |event: Node| {
            let winner = *problem.shown(event).first().filter(|&&put| problem.is_one(put, to))?;
            let loser = problem.put_of(from, problem.key[event as usize])?;
            let knew = problem.shown(event).contains(&loser) || precedes(loser, event);
            knew.then_some((event, winner, loser))
        };
        let (event, winner, loser) = (0..problem.operations as Node).find_map(choice)?;
        let (winner, loser) = (self.written(winner), self.written(loser));
        let reason = format!("{} had both in its past and returned {winner}, not {loser}", self.name(event));
        Some(Arrow { edge: (from, to), reason })
    }

    /// The way from one operation to another, step by step.
    fn way(&self, from: Node, to: Node) -> String {
        let successors = Successors::of(&self.problem, &self.edges());
        let (from, to) = self.problem.edge(from, to);
        let Some(mut way) = order::path(&successors, from, to, |_| true) else {
            return format!("{} precedes {}", self.name(from), self.name(to));
        };
        way.push(to);
        few(self.steps(way.windows(2).map(|pair| (pair[0], pair[1]))), "steps").join("; ")
    }

    /// Steps in words: the first and the last ones of many, because to find words is work.
    fn steps(&self, pairs: impl Iterator<Item = Edge>) -> Vec<String> {
        let (arrows, pairs) = (self.arrows(), pairs.collect::<Vec<_>>());
        let is_told = |at: usize| at < NAMED_MAX || at + NAMED_MAX >= pairs.len();
        let told = |(at, &(from, to)): (usize, &Edge)| match is_told(at) {
            true => self.step(from, to, &arrows),
            false => String::new(),
        };
        pairs.iter().enumerate().map(told).collect()
    }

    fn step(&self, from: Node, to: Node, arrows: &[Arrow]) -> String {
        let (first, second) = (self.name(from), self.name(to));
        let shows = |part: &Node| self.problem.shown(*part).iter().any(|&put| self.problem.is_one(put, from));
        if let Some(part) = self.problem.parts(self.problem.head(to)).find(shows) {
            let verb = if self.problem.is(part, PUT | DELETE) { "replaced" } else { "returned" };
            return format!("{second} {verb} what {first} wrote");
        }
        if self.problem.lineage.before(to).contains(&from) {
            return format!("{second} was sent with the token of {first}");
        }
        let arrow = arrows.iter().find(|arrow| arrow.edge == (from, to));
        match arrow {
            Some(arrow) => format!("{first} comes before {second}, because {}", arrow.reason),
            None => format!("{first} comes before {second}"),
        }
    }

    /// The violation in words: what was seen, why that cannot be, and what would have been right.
    #[must_use]
    pub fn prose(&self) -> String {
        self.prose_of(self.history.len())
    }

    /// The same with so many operations at most: those that the accusation names come first.
    pub(crate) fn prose_of(&self, most: usize) -> String {
        let all = self.history.len();
        let mut text = format!("{} is broken by {all} operations:\n", self.level.title());
        let shown: Vec<Node> = if all <= most { (0..all as Node).collect() } else { self.foremost(most) };
        for &node in &shown {
            let replica = self.history.replicas.text(self.history.replica[node as usize]);
            let at = if replica.is_empty() { String::new() } else { format!(" at {}", short(replica)) };
            let id = self.history.id(node as usize);
            let (label, what) = (self.label(node), summary(&self.history, node as usize));
            let behind = if self.problem.is_head(node) { format!("{at}  [id {id}]") } else { String::new() };
            _ = writeln!(text, "  {label:<4} {what}{behind}");
        }
        if shown.len() < all {
            _ = writeln!(text, "  ... and {} more", all - shown.len());
        }
        text.push_str(&self.accusation());
        let broken: Vec<&str> = self.broken().into_iter().map(Level::name).collect();
        _ = write!(text, "\nThese operations alone break {}.", broken.join(", "));
        if self.minimal {
            text.push_str("\nTaking any one of these operations away leaves nothing that proves a violation.");
        }
        if let Some(why) = self.given_up() {
            _ = write!(text, "\n{why}.");
        }
        text
    }

    /// The operations that the accusation is about, and the first others, in order.
    fn foremost(&self, most: usize) -> Vec<Node> {
        let named = match &self.wrong {
            Break::Nonsense(event) | Break::NotAlive { event } => vec![*event],
            Break::Cycle(nodes) | Break::Arbitration(nodes) => nodes.clone(),
            Break::Overwritten { event, shown, write } => vec![*event, *shown, *write],
            Break::Missing { event, put } => vec![*event, *put],
        };
        let blamed = self.blamed().into_iter().flat_map(|(from, to)| [from, to]);
        let (mut seen, all) = (std::collections::BTreeSet::new(), self.history.len() as Node);
        let nodes = named.into_iter().chain(blamed).chain(0..all).filter(|&node| node < all);
        let mut shown: Vec<Node> = nodes.filter(|&node| seen.insert(node)).take(most).collect();
        shown.sort_unstable();
        shown
    }

    fn accusation(&self) -> String {
        match &self.wrong {
            Break::Nonsense(event) => {
                let nonsense = self.problem.nonsense.as_ref().map_or("says what cannot be", |nonsense| &nonsense.text);
                format!("{} {nonsense}.", self.text(*event))
            }
            Break::Cycle(cycle) if cycle.len() == 1 => format!(
                "{} returned what it wrote itself. The reads of a batch look at what was before its writes.",
                self.name(cycle[0])
            ),
            Break::Cycle(cycle) => format!(
                "These operations follow each other in a circle, so none of them can have been first:\n{}",
                self.circle(cycle)
            ),
            Break::Arbitration(cycle) => format!(
                "Every read taken alone is possible, but no single order of the writes explains all of them:\n{}",
                self.circle(cycle)
            ),
            Break::Overwritten { event, shown, write } => {
                let right = if self.problem.is(*write, DELETE) {
                    "an answer without it, or a newer value".to_owned()
                } else {
                    let value = short(self.history.values.text(self.history.value[*write as usize]));
                    format!("{value}, or something newer")
                };
                format!(
                    "{} showed {}. But {} was in its past: {}. And that came after it: {}. Right would have been {right}.",
                    self.text(*event),
                    self.written(*shown),
                    self.written(*write),
                    self.way(*write, *event),
                    self.way(*shown, *write)
                )
            }
            Break::Missing { event, put } => format!(
                "{} did not show {}. But that was in its past: {}. {} Right would have been an answer that shows it, or \
                 what replaced it.",
                self.text(*event),
                self.written(*put),
                self.way(*put, *event),
                self.no_excuse(*put, *event)
            ),
            Break::NotAlive { event } => format!(
                "{} was answered 200, so the key had a value. But no value can have been alive there: each was deleted \
                 or replaced in its past, or written after it. Right would have been {}.",
                self.text(*event),
                if self.problem.is(*event, PUT) { "201" } else { "404" }
            ),
        }
    }

    /// Why no delete removed a put before an event.
    fn no_excuse(&self, put: Node, event: Node) -> String {
        let problem = &self.problem;
        let writes = if problem.cycle.is_some() { &[] } else { problem.index.writes(problem.key[put as usize]) };
        let is_other = |write: Node| !problem.is_one(write, event);
        let removers = || writes.iter().copied().filter(|&write| problem.is(write, DELETE) && is_other(write));
        let members = problem.shown(event).iter().copied();
        let reasons: Vec<String> = removers().chain(members).map(|write| self.innocence(write, put, event)).collect();
        if reasons.is_empty() {
            return "Nobody deleted the key.".into();
        }
        format!("Nothing removed it: {}.", few(reasons, "likewise").join("; "))
    }

    fn innocence(&self, write: Node, put: Node, event: Node) -> String {
        let successors = Successors::of(&self.problem, &self.edges());
        let before = |from: Node, to: Node| {
            let (from, to) = self.problem.edge(from, to);
            order::path(&successors, from, to, |_| true).is_some()
        };
        let name = self.name(write);
        if before(write, put) {
            return format!("{name} came before it");
        }
        if before(event, write) {
            return format!("{name} came only after {}", self.name(event));
        }
        if self.problem.shown(event).iter().any(|&shown| before(shown, write)) {
            return format!("{name} would have removed what {} showed, too", self.name(event));
        }
        let returns = |shown: Node| shown == put || before(shown, write);
        let mut later = (0..self.problem.operations as Node).filter(|&other| before(event, other));
        if let Some(later) = later.find(|&other| self.problem.shown(other).iter().any(|&shown| returns(shown))) {
            return format!("{name} would have removed what {} showed later, too", self.name(later));
        }
        if self.problem.view(write) == View::Exact && !self.problem.shown(write).contains(&put) {
            return format!("{name} says that it replaced something else");
        }
        format!("{name} cannot have")
    }

    fn circle(&self, cycle: &[Node]) -> String {
        let pairs = cycle.iter().copied().zip(cycle.iter().copied().cycle().skip(1));
        let steps = few(self.steps(pairs), "steps").into_iter().map(|step| format!("  - {step}"));
        steps.collect::<Vec<_>>().join("\n")
    }

    /// The operations that are to blame, for the picture.
    pub(crate) fn blamed(&self) -> Vec<Edge> {
        let successors = Successors::of(&self.problem, &self.edges());
        let way = |from: Node, to: Node| {
            let (from, to) = self.problem.edge(from, to);
            let mut way = order::path(&successors, from, to, |_| true).unwrap_or_default();
            way.push(to);
            way.windows(2).map(|pair| (pair[0], pair[1])).collect::<Vec<Edge>>()
        };
        match &self.wrong {
            Break::Nonsense(_) | Break::NotAlive { .. } => Vec::new(),
            Break::Cycle(cycle) | Break::Arbitration(cycle) => {
                cycle.iter().copied().zip(cycle.iter().copied().cycle().skip(1)).collect()
            }
            Break::Overwritten { event, shown, write } => [way(*shown, *write), way(*write, *event)].concat(),
            Break::Missing { event, put } => way(*put, *event),
        }
    }
}
