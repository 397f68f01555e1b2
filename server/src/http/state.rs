//! `GET /replica/state`: the replica's state as JSON, for diagnosis and tests.

use hence_core::{Address, LinkState, MemberRecord, MemoryUse, PeerStatus, ReplicaStatus, VersionVector};
use hence_transport::{LinkCause, Standing};
use serde_json::{Map, Value, json};

/// The state as JSON. Two replicas with equal `vector` must have an equal `digest`.
pub(crate) fn show(status: &ReplicaStatus, outages: &[(Address, LinkCause)], standing: Standing) -> Vec<u8> {
    let state = json!({
        "address": status.address.as_str(),
        "incarnation": status.incarnation.to_string(),
        "ready": super::ready::why_not(&status.readiness, standing).is_none(),
        "address-standing": standing.name(),
        "serves": status.ready,
        "up": status.up,
        "member": status.is_member,
        // The former name, for one version.
        "wanted": status.is_member,
        "vector": vector(&status.vector),
        "digest": status.digest.map(|digest| format!("{digest:016x}")),
        "formats": status.formats.to_string(),
        "upgraded": status.upgraded,
        "retired": status.retired,
        "keys": status.keys,
        "store-bytes": status.store_bytes,
        "log-ops": status.log_ops,
        "log-bytes": status.log_bytes,
        "memory": memory(&status.memory),
        "causal-buffer": status.causal_buffer,
        "blocked": status.blocked,
        // Former names, for one version.
        "parked": status.causal_buffer,
        "waiting": status.blocked,
        "pulling": status.pulling,
        "listed": status.listed.iter().map(|address| address.as_str()).collect::<Vec<_>>(),
        "view": status.view.iter().map(record).collect::<Vec<_>>(),
        "peers": status.peers.iter().map(|one| peer(one, outages)).collect::<Vec<_>>(),
    });
    state.to_string().into_bytes()
}

/// What data holds, and what it may where that is limited.
fn memory(memory: &MemoryUse) -> Value {
    let limit = |bytes: u64| (memory.max != u64::MAX).then_some(bytes);
    json!({
        "bytes": memory.total(),
        "bytes-max": limit(memory.max),
        "writes-bytes-max": limit(memory.writes_max),
        "refuses-writes": memory.refuses_writes,
        "held-back": memory.held_back,
    })
}

fn vector(vector: &VersionVector) -> Value {
    let entry = |(incarnation, counter): (hence_core::Incarnation, u64)| (incarnation.to_string(), counter.into());
    Value::Object(vector.entries().map(entry).collect::<Map<_, _>>())
}

fn record(record: &MemberRecord) -> Value {
    json!({
        "address": record.address.as_str(),
        "generation": record.generation,
        // The former name, for one version.
        "counter": record.generation,
        "incarnation": record.newest.map(|newest| newest.incarnation.to_string()),
        "up": record.newest.is_some_and(|newest| newest.up),
    })
}

fn peer(peer: &PeerStatus, outages: &[(Address, LinkCause)]) -> Value {
    let outage = outages.iter().find(|(address, _)| *address == peer.address).map(|(_, cause)| cause.name());
    let link = match peer.link {
        LinkState::Opening => "opening",
        LinkState::Established => "established",
        LinkState::Dormant => "dormant",
    };
    json!({
        "address": peer.address.as_str(),
        "link": link,
        "suspected": peer.suspected,
        "outage": outage,
        "formats": peer.formats.map(|formats| formats.to_string()),
        "lag-ops": peer.lag.map(|lag| lag.ops),
        "lag-ms": peer.lag.map(|lag| lag.age.0 / 1_000),
        "silent-ms": peer.silent.0 / 1_000,
        "vector": vector(&peer.vector),
    })
}
