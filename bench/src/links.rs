//! Bytes on the wire between the members of a cluster: TCP payload as `ss` counts it, both directions.

use crate::process::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Bytes sent so far, per connection and direction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Links(BTreeMap<(String, String), u64>);

impl Links {
    /// All connections that have two different ones of these processes at their ends.
    pub(crate) fn of(members: &[u32]) -> Outcome<Self> {
        let output = Command::new("ss").args(["-tnpiOH", "state", "established"]).output()?;
        if !output.status.success() {
            return Err(format!("ss failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout), members))
    }

    fn parse(text: &str, members: &[u32]) -> Self {
        let mut sockets = BTreeMap::new();
        for line in text.lines() {
            let ends: Vec<&str> = line.split_whitespace().skip(2).take(2).collect();
            let id = line.split("pid=").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u32>().ok());
            if let (&[local, peer], Some(id)) = (&ends[..], id)
                && members.contains(&id)
            {
                let sent = line.split(" bytes_sent:").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
                sockets.insert((local.to_owned(), peer.to_owned()), (id, sent.unwrap_or(0)));
            }
        }
        let other_end = |(local, peer): &(String, String)| sockets.get(&(peer.clone(), local.clone()));
        let between = sockets.iter().filter(|(ends, (id, _))| other_end(ends).is_some_and(|(other, _)| other != id));
        Self(between.map(|(ends, &(_, sent))| (ends.clone(), sent)).collect())
    }

    /// Bytes sent since then, or `None` if a connection of then is gone and took its count with it.
    pub(crate) fn since(&self, before: &Self) -> Option<u64> {
        let (then, now): (BTreeSet<_>, BTreeSet<_>) = (before.0.keys().collect(), self.0.keys().collect());
        then.is_subset(&now).then(|| self.0.values().sum::<u64>() - before.0.values().sum::<u64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
0 0 127.0.0.1:5000 127.0.0.1:8090 users:(("hence",pid=11,fd=9)) cubic rto:201 bytes_sent:70 bytes_acked:70
0 0 127.0.0.1:8090 127.0.0.1:5000 users:(("hence",pid=12,fd=9)) cubic rto:201 bytes_sent:30 bytes_acked:30
0 0 127.0.0.1:8091 127.0.0.1:5001 users:(("hence",pid=12,fd=10)) cubic rto:201
0 0 127.0.0.1:5001 127.0.0.1:8091 users:(("hence",pid=11,fd=10)) cubic bytes_sent:5
0 0 127.0.0.1:6000 127.0.0.1:8090 users:(("wrk",pid=40,fd=9)) cubic bytes_sent:999
0 0 127.0.0.1:8090 127.0.0.1:6000 users:(("hence",pid=12,fd=11)) cubic bytes_sent:999
"#;

    #[test]
    fn clients_do_not_count() {
        let links = Links::parse(TEXT, &[11, 12]);
        assert_eq!(links.0.len(), 4);
        assert_eq!(links.since(&links), Some(0));
        assert_eq!(links.since(&Links::default()), Some(105));
        assert_eq!(Links::parse(TEXT, &[11, 13]).0.len(), 0);
    }

    #[test]
    fn a_lost_connection_spoils_the_count() {
        let before = Links::parse(TEXT, &[11, 12]);
        let shorter: Vec<&str> = TEXT.lines().filter(|line| !line.contains("5001")).collect();
        assert_eq!(Links::parse(&shorter.join("\n"), &[11, 12]).since(&before), None);
    }
}
