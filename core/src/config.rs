//! Every knob of a replica. Each says its unit, its default and what more or less of it costs (LIMIT-1).

use crate::formats::Formats;
use crate::time::Micros;

/// Settings of one replica. [`Config::default`] is what production runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// A peer that heard nothing else for so long gets a status. Default 200 ms. Less notices gaps and
    /// crashes sooner and costs idle traffic; more saves it and makes gaps and crashes show later.
    pub heartbeat_interval: Micros,
    /// A push is acknowledged at the latest after this. Default 10 ms. Less frees the sender's log and
    /// credit sooner and costs messages; more saves messages and holds the log and credit longer. Peers that pushed
    /// nothing are told along, at most every so often for each peer there is.
    pub ack_delay: Micros,
    /// A hello without answer is said again after this, in a new connection. Default 250 ms before the peer
    /// is suspected, twice that after. Less finds a peer sooner and costs connection attempts; more saves them and
    /// leaves a link down longer when a hello was lost.
    pub hello_interval: Micros,
    /// How slow the search for a suspected peer becomes after a minute. Default 2 s. More adds to the time until a
    /// healed link carries data again; less costs connection attempts for as long as a member is dead.
    pub probe_interval_max: Micros,
    /// A push that is later than the fastest of the last minute by more than this is discarded and comes by
    /// repair. Default 500 ms. Less turns jitter into repairs, more lets data out of healed cuts early.
    pub late_max: Micros,
    /// A gap is repaired when it has stood for so long. Default 2.5 s; 0 repairs at once. More costs
    /// staleness after losses, less costs double transfers when a push is merely slow.
    pub repair_delay: Micros,
    /// A pull without progress for so long has failed and is tried at another peer. Each failure at a peer doubles this
    /// time there, up to sixteen times. Default 1 s. Less leaves a dead supplier sooner, more wastes fewer transfers on
    /// slow ones.
    pub pull_timeout: Micros,
    /// The shortest silence after which a peer is suspected, whatever its rhythm. Default 3 s. Less
    /// notices crashes sooner and takes paused processes for dead; more lists a dead member, and waits for it, longer.
    pub suspect_after_min: Micros,
    /// The longest silence before a peer is suspected, whatever its rhythm. Default 4 s. Less notices the crash of a
    /// peer with an uneven rhythm sooner; more spares peers on bad networks a false suspicion.
    pub suspect_after_max: Micros,
    /// A joining replica that no member which is up answers starts alone after this. Default 1 s. Less serves sooner
    /// after a start in a cut; more spares a newcomer that meets its cluster late from serving an empty store
    /// meanwhile.
    pub join_alone_after: Micros,
    /// The same while an address has accepted a connection but not answered yet. Default 3 s. Less does not wait for a
    /// slow member, more is held up longer by an address where something else listens.
    pub join_alone_after_contact: Micros,
    /// A replica that started alone is ready after this, though members of its view were never met; it serves all the
    /// time. Default 30 s. Less lets a rolling restart go on before a late network has brought the data. More holds up
    /// the start of a cluster of which a member is gone.
    pub ready_alone_after: Micros,
    /// A wall clock that is ahead of all peers' by more than this is not used. Default 60 s. Less lets a small error
    /// bias fewer concurrent writes, and distrusts good clocks among bad ones; more lets a wrong clock win more of
    /// them.
    pub wall_ahead_max: Micros,
    /// A member that has been suspected for so long no longer delays the retirement of incarnations that are over.
    /// Default 10 min. Less frees vectors sooner, but more tokens get 503 at a member that comes back, until it has
    /// caught up. More keeps an entry in vectors and tokens for each restart in that time.
    pub retire_timeout: Micros,
    /// The most entries of the own vector, so that tokens stay short. Beyond it, incarnations that are over are retired
    /// without waiting for members that do not answer. Beyond twice as many, no member is waited for. Default 170:
    /// twice as many fit a token of 8 KiB. Less makes more tokens useless at members that are cut off, more makes
    /// longer tokens.
    pub vector_max: usize,
    /// A removed address that does not answer is looked for no longer than this. Default 10 min. Less ends connection
    /// attempts sooner; more lets two sides that removed each other find together after a longer cut.
    pub removed_timeout: Micros,
    /// How often is looked for incarnations that are over. Default 1 s. Less shortens tokens sooner after a restart and
    /// costs a look at the vector each time. More leaves them longer by an entry for that time.
    pub retire_interval: Micros,
    /// A lost-write round without all its answers ends after this, and begins again. Default 1 s. Less repeats rounds
    /// on slow links, more makes a client wait longer for its 424 when an answer was lost.
    pub round_timeout: Micros,
    /// Rounds whose outcome is remembered, so that a client that asks again is told at once, at least 1. The oldest
    /// makes room: the next round asks about the same once more, as far as its 1,024 incarnations reach. Default 64.
    /// More costs two vectors each, and a comparison for each request with missing dependencies; less makes rounds name
    /// more when many clients lost different writes.
    pub rounds_max: usize,
    /// How recently a peer must have heard from a silent member to vouch for it. Default 1 s. Less suspects members
    /// that only one link has lost, more keeps a dead member in views for that much longer.
    pub vouch_max: Micros,
    /// Bytes of operations in the log ([`crate::Op::bytes`]); beyond it the oldest are cut, and a peer that
    /// still needs them gets the whole state instead. One large operation may cost the place of more than one call can
    /// cut ([`crate::WORK_MAX`]); the next calls go on. Default 64 MiB. 0 keeps none. More lets members be away
    /// longer for the price of what they missed; less makes them fetch everything.
    pub log_bytes_max: usize,
    /// Pushed operations waiting for their causes, all origins together; beyond it they are discarded and
    /// come by repair. Default 16,384. More costs memory while causes are late, less delays what overtook them by a
    /// repair.
    pub causal_buffer_max: usize,
    /// Bytes of those operations ([`crate::Op::bytes`]); beyond it they are discarded and come by repair. Default
    /// 64 MiB. More costs memory while large values wait for their causes; less makes such values come later, by a
    /// repair, and over the network twice.
    pub causal_buffer_bytes_max: usize,
    /// Bytes of values in requests that wait, and of answers that do; beyond it a request gets its refusal at once.
    /// Default 64 MiB. More lets more writers wait out a cut, less sends them away with 503.
    pub blocked_bytes_max: usize,
    /// Requests waiting for their dependencies or their write concern; beyond it a request gets its refusal at once.
    /// Default 4,096. More costs memory and a longer burst when their turn comes, less sends clients away that a moment
    /// would have served.
    pub blocked_max: usize,
    /// Watches; beyond it one more is refused. Default 3,072. More costs memory, less sends clients away.
    pub watches_max: usize,
    /// Keys that changed and are yet to be told, of all watched ranges together. Beyond it the oldest are given up, and
    /// watches look through their ranges again. Default 65,536. More costs memory while clients are slow, less makes
    /// slow watches look through all keys of their range more often.
    pub watch_changes_max: usize,
    /// Changes that a watch is told at a time, 1 to [`crate::WATCH_PART_MAX`]. Default 256. More holds more for a slow
    /// client, less costs more steps.
    pub watch_part_max: usize,
    /// Deletes that are remembered for watches that go on; one that goes on from before them is told the present state.
    /// Default 65,536. More costs memory, less makes more watches begin anew.
    pub watch_deletes_max: usize,
    /// The longest a request may wait. Default 30 s; longer wishes are cut to it. More holds places and connections
    /// longer, less returns 503 to clients that were ready to wait out a longer cut.
    pub wait_max: Micros,
    /// Pushed operations that a peer has not acknowledged; beyond it pushing pauses, and what grows stale
    /// meanwhile comes by repair. Default 4,096. More fills a slow peer's queues, less slows pushing on long ways.
    pub credit_ops_max: u64,
    /// The same in bytes. Default 4 MiB; a single larger operation is still sent. More fills a slow peer's queues with
    /// large values, less slows pushing on ways with a large product of bandwidth and delay.
    pub credit_bytes_max: usize,
    /// Operations or versions in one frame of a pull, at most [`crate::WORK_MAX`]. Default 256. Less gives requests
    /// their turn more often meanwhile, more moves a state in fewer messages.
    pub frame_ops_max: usize,
    /// Bytes in one frame of a pull. Default 64 KiB; a single larger operation is still sent. Less lets pushes between
    /// frames sooner, more moves large values in fewer messages.
    pub frame_bytes_max: usize,
    /// Frames of a pull that may be on their way at a time. Default 8. More fills long ways better and queues before
    /// pushes, less leaves a long way idle between frames.
    pub frames_ahead_max: u32,
    /// A value with more bytes than this travels in pieces. Default 64 KiB. Less saves more of what a broken link had
    /// brought, and costs a further round trip for each such value. More holds up other messages for longer.
    pub whole_bytes_max: usize,
    /// Bytes in such a piece, 1 to 64 KiB. Default 16 KiB. Less lets other messages in between sooner, more moves large
    /// values in fewer messages.
    pub piece_bytes: usize,
    /// Bytes of values that are not whole yet; beyond it the one that grew longest ago is dropped, and its transfer
    /// begins anew. One value is always kept. Default 64 MiB. More costs memory while large values arrive, less makes
    /// more of them begin anew when many come at a time.
    pub pieces_bytes_max: usize,
    /// The most bytes of keys and values held ([`crate::Store::bytes`]). Beyond it writes that add to it are refused
    /// with [`crate::Refusal::WriteLimit`]. Reads, deletes and replication go on, so what other replicas accepted may
    /// still exceed it. Default: no limit. More lets a process grow until the machine has no memory left and ends it,
    /// with all that only it held. Less refuses writes that there would have been room for.
    pub store_bytes_max: u64,
    /// Bytes of everything that data holds in memory ([`crate::MemoryUse`]): store, log, buffered operations, waiting
    /// requests and a state on its way. The log gives way first, then writes that add are refused, and last what other
    /// replicas have is not taken in. The same at all replicas, or the smallest is held back. Default: no limit. More
    /// lets a process grow until the machine ends it; less refuses writes that there would have been room for.
    pub memory_bytes_max: u64,
    /// The formats that the process speaks; the transport must speak the same. Default: all released ones. Less keeps
    /// requests that need a later format from being served, more is a format of tests that no release speaks.
    pub formats: Formats,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat_interval: Micros::from_millis(200),
            ack_delay: Micros::from_millis(10),
            hello_interval: Micros::from_millis(250),
            probe_interval_max: Micros::from_seconds(2),
            late_max: Micros::from_millis(500),
            repair_delay: Micros::from_millis(2_500),
            pull_timeout: Micros::from_seconds(1),
            suspect_after_min: Micros::from_millis(3_000),
            suspect_after_max: Micros::from_millis(4_000),
            join_alone_after: Micros::from_seconds(1),
            join_alone_after_contact: Micros::from_seconds(3),
            ready_alone_after: Micros::from_seconds(30),
            wall_ahead_max: Micros::from_seconds(60),
            retire_timeout: Micros::from_seconds(600),
            vector_max: 170,
            removed_timeout: Micros::from_seconds(600),
            retire_interval: Micros::from_seconds(1),
            round_timeout: Micros::from_seconds(1),
            rounds_max: 64,
            vouch_max: Micros::from_seconds(1),
            log_bytes_max: 64 << 20,
            causal_buffer_max: 16_384,
            causal_buffer_bytes_max: 64 << 20,
            blocked_bytes_max: 64 << 20,
            blocked_max: 4_096,
            watches_max: 3_072,
            watch_changes_max: 65_536,
            watch_part_max: 256,
            watch_deletes_max: 65_536,
            wait_max: Micros::from_seconds(30),
            credit_ops_max: 4_096,
            credit_bytes_max: 4 << 20,
            frame_ops_max: 256,
            frame_bytes_max: 64 << 10,
            frames_ahead_max: 8,
            whole_bytes_max: 64 << 10,
            piece_bytes: 16 << 10,
            pieces_bytes_max: 64 << 20,
            store_bytes_max: u64::MAX,
            memory_bytes_max: u64::MAX,
            formats: Formats::RELEASED,
        }
    }
}
