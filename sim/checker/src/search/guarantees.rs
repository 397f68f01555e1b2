//! The four session guarantees of Terry et al., PDIS 1994, as restrictions of the same rules.
//!
//! Each guarantee names the writes that an event must have in its past. The rules about what an event may show are then
//! asked of those writes only. A session is a lineage, as everywhere.
//!
//! Read your writes and monotonic reads speak of a session wherever it reads. Monotonic writes and writes follow reads
//! speak of what one replica holds. So what a session has seen counts for them only where it has seen it. Replicas
//! without a name are taken for one. Writes follow reads is transitive. A replica that holds a write holds what its
//! session had read before, what the sessions of that had read, and so on.
//!
//! An event that says that a put is not there has seen its delete, if a replica that it asked held the put. Whatever
//! must know what that event knew may not show the put again.
//!
//! All parts of a batch are asked at one moment, so what one shows all have seen. Its writes follow its reads.

use crate::bits;
use crate::graph::Problem;
use crate::history::NONE;
use crate::terms::{Level, NODES_MAX, Node, View, WRITE};

/// What a guarantee demands of each event.
#[derive(Debug)]
pub(crate) struct Demands {
    /// The writes of its key that must be in its past.
    pub(crate) writes: Vec<Vec<Node>>,
    /// What was shown of its key where all that it knew must be known, too: no delete that it has seen removed these.
    pub(crate) shown_later: Vec<Vec<Node>>,
}

/// What a guarantee demands; nothing when the history is too large.
///
/// With `held`, monotonic reads and writes follow reads also count what the replica that a session asks surely held.
/// That is what the session wrote or was shown there. That convicts only where replicas keep what they hold, so it is
/// asked only of histories that break no weaker guarantee.
pub(crate) fn demands(problem: &Problem, level: Level, held: bool) -> Option<Demands> {
    if problem.nodes() > NODES_MAX {
        return None;
    }
    let sessions = Sessions::of(problem);
    let events: Vec<Node> = (0..problem.nodes() as Node).filter(|&node| problem.view(node) != View::Open).collect();
    let empty = || vec![Vec::new(); problem.nodes()];
    let mut demands = Demands { writes: empty(), shown_later: empty() };
    let follow = if level == Level::WritesFollowReads { Follow::of(problem, &sessions) } else { Follow::default() };
    for &event in &events {
        let mut writes = sessions.none();
        match level {
            Level::ReadYourWrites => writes.copy_from_slice(sessions.past(event)),
            Level::MonotonicReads => {
                let reads = bits::numbers(sessions.past(event)).flat_map(|read| problem.shown(read as Node));
                reads.for_each(|&put| bits::put(&mut writes, put as usize));
            }
            Level::MonotonicWrites => {
                for put in sessions.seen(problem, event) {
                    bits::join(&mut writes, sessions.past(put));
                }
            }
            Level::WritesFollowReads => {
                for put in sessions.seen(problem, event) {
                    bits::join(&mut writes, &follow.writes[put as usize]);
                }
            }
            Level::Causal | Level::Convergent => {}
        }
        // A write that is shown beside one that it came after must be asked about, too.
        for &put in problem.shown(event) {
            let after = match level {
                Level::MonotonicWrites => sessions.past(put),
                Level::WritesFollowReads => &follow.writes[put as usize],
                Level::ReadYourWrites | Level::MonotonicReads | Level::Causal | Level::Convergent => continue,
            };
            if problem.shown(event).iter().any(|&other| bits::has(after, other as usize)) {
                bits::put(&mut writes, put as usize);
            }
        }
        if held {
            sessions.add_held(problem, event, level, &mut writes);
        }
        let is_asked = |&write: &Node| {
            !problem.is_one(write, event)
                && problem.key[write as usize] == problem.key[event as usize]
                && problem.is(write, WRITE)
        };
        demands.writes[event as usize] = bits::numbers(&writes).map(|write| write as Node).filter(is_asked).collect();
    }
    demands.note_later(problem, level, &sessions, &follow, &events);
    Some(demands)
}

impl Demands {
    fn note_later(
        &mut self,
        problem: &Problem,
        level: Level,
        sessions: &Sessions<'_>,
        follow: &Follow,
        events: &[Node],
    ) {
        for &event in events.iter().filter(|&&event| !problem.shown(event).is_empty()) {
            let mut known = sessions.none();
            match level {
                Level::MonotonicReads => known.copy_from_slice(sessions.past(event)),
                Level::WritesFollowReads => {
                    for put in sessions.seen(problem, event) {
                        bits::join(&mut known, &follow.reads[put as usize]);
                    }
                }
                Level::ReadYourWrites | Level::MonotonicWrites | Level::Causal | Level::Convergent => {}
            }
            let key = problem.key[event as usize];
            for earlier in bits::numbers(&known).filter(|&earlier| !problem.is_one(earlier as Node, event)) {
                if problem.key[earlier] == key && problem.view(earlier as Node) == View::Exact {
                    self.shown_later[earlier].extend_from_slice(problem.shown(event));
                }
            }
        }
        for shown in &mut self.shown_later {
            shown.sort_unstable();
            shown.dedup();
        }
    }
}

/// What writes follow reads says of each write: what a replica that holds it holds, and which reads that comes from.
#[derive(Default)]
struct Follow {
    writes: Vec<Vec<u64>>,
    reads: Vec<Vec<u64>>,
}

impl Follow {
    fn of(problem: &Problem, sessions: &Sessions<'_>) -> Self {
        let empty = || vec![sessions.none(); problem.nodes()];
        let mut follow = Self { writes: empty(), reads: empty() };
        // What was read was written before, in every order of the history.
        for head in problem.in_order().filter(|&head| problem.writes(head)) {
            let (mut writes, mut reads) = (sessions.none(), sessions.past(head).to_vec());
            let beside = problem.parts(head).filter(|&part| !problem.is(part, WRITE));
            beside.for_each(|part| bits::put(&mut reads, part as usize));
            for read in bits::numbers(&reads.clone()) {
                for &put in problem.shown(read as Node) {
                    bits::put(&mut writes, put as usize);
                    bits::join(&mut writes, &follow.writes[put as usize]);
                    bits::join(&mut reads, &follow.reads[put as usize]);
                }
            }
            for part in problem.parts(head) {
                (follow.writes[part as usize], follow.reads[part as usize]) = (writes.clone(), reads.clone());
            }
        }
        follow
    }
}

/// Which operations precede which by lineage alone.
struct Sessions<'a> {
    problem: &'a Problem,
    /// The past of each head.
    past: Vec<Vec<u64>>,
}

impl<'a> Sessions<'a> {
    fn of(problem: &'a Problem) -> Self {
        let mut sessions = Self { problem, past: vec![vec![0; problem.nodes().div_ceil(64)]; problem.nodes()] };
        for node in problem.in_order() {
            for &before in problem.lineage.before(node) {
                if let Ok([own, theirs]) = sessions.past.get_disjoint_mut([node as usize, before as usize]) {
                    bits::join(own, theirs);
                }
                problem.parts(before).for_each(|part| bits::put(&mut sessions.past[node as usize], part as usize));
            }
        }
        sessions
    }

    fn none(&self) -> Vec<u64> {
        vec![0; self.past.len().div_ceil(64)]
    }

    fn past(&self, node: Node) -> &[u64] {
        &self.past[self.problem.head(node) as usize]
    }

    /// Earlier operations of the session at the replica of this one.
    fn there(&self, problem: &Problem, event: Node) -> impl Iterator<Item = Node> {
        let at = move |node: Node| problem.replica.get(node as usize).copied().unwrap_or(NONE);
        let is_same = move |&other: &Node| at(other) == at(event) || at(other) == NONE || at(event) == NONE;
        bits::numbers(self.past(event)).map(|other| other as Node).filter(is_same)
    }

    /// The puts that a session has been shown at the replica of an event, by the event itself at last.
    fn seen(&self, problem: &Problem, event: Node) -> impl Iterator<Item = Node> {
        let own = problem.parts(problem.head(event));
        self.there(problem, event).chain(own).flat_map(|event| problem.shown(event)).copied()
    }

    /// Adds what the replica of an event surely held when the session asked it.
    fn add_held(&self, problem: &Problem, event: Node, level: Level, writes: &mut [u64]) {
        for other in self.there(problem, event) {
            if problem.is(other, WRITE) {
                bits::put(writes, other as usize);
            }
            if level == Level::WritesFollowReads {
                problem.shown(other).iter().for_each(|&put| bits::put(writes, put as usize));
            }
        }
    }
}
