//! A trace for Perfetto: native track events, a track for each lane and each fault, and flows for what is carried.

use super::story::{Lane, Story};
use prost::Message as _;

/// The tracks of lanes have numbers from here, those of faults from [`FAULTS`].
const LANES: u64 = 1;
const FAULTS: u64 = 1_000;
const BEGIN: i32 = 1;
const END: i32 = 2;
const INSTANT: i32 = 3;
/// Perfetto's `SEQ_INCREMENTAL_STATE_CLEARED`: every packet stands for itself.
const CLEARED: u32 = 1;

/// The fields of `perfetto/trace` that are written, with their numbers there.
#[derive(Clone, PartialEq, prost::Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<Packet>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Packet {
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    track_event: Option<TrackEvent>,
    #[prost(uint32, optional, tag = "13")]
    sequence_flags: Option<u32>,
    #[prost(message, optional, tag = "60")]
    track_descriptor: Option<TrackDescriptor>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TrackEvent {
    #[prost(message, repeated, tag = "4")]
    debug_annotations: Vec<Annotation>,
    #[prost(int32, optional, tag = "9")]
    r#type: Option<i32>,
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
    #[prost(string, repeated, tag = "22")]
    categories: Vec<String>,
    #[prost(string, optional, tag = "23")]
    name: Option<String>,
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    flow_ids: Vec<u64>,
    #[prost(fixed64, repeated, packed = "false", tag = "48")]
    terminating_flow_ids: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Annotation {
    #[prost(string, optional, tag = "6")]
    string_value: Option<String>,
    #[prost(string, optional, tag = "10")]
    name: Option<String>,
}

/// The trace as bytes of Protocol Buffers.
#[must_use]
pub fn perfetto(story: &Story) -> Vec<u8> {
    let track = |lane: Lane| match lane {
        Lane::Replica(replica) => LANES + replica as u64,
        Lane::Client(client) => LANES + (story.replicas + client) as u64,
        Lane::Outside => FAULTS - 1,
    };
    let descriptor = |uuid, name: String| Packet {
        track_descriptor: Some(TrackDescriptor { uuid: Some(uuid), name: Some(name) }),
        ..Packet::default()
    };
    let named = |lane| match lane {
        Lane::Replica(_) => format!("replica {lane}"),
        Lane::Client(_) => format!("client {lane}"),
        Lane::Outside => "faults and verdict".into(),
    };
    let lanes = story.lanes().chain([Lane::Outside]).map(|lane| descriptor(track(lane), named(lane)));
    let faults = story.bands.iter().zip(FAULTS..).map(|(band, uuid)| {
        let name = format!("fault{} {}", band.fault, band.name);
        descriptor(uuid, name)
    });
    let mut packet: Vec<Packet> = lanes.chain(faults).collect();
    packet.extend((0..story.moments.len()).map(|place| instant(story, place, track(story.moments[place].lane))));
    let end = story.moments.last().map_or(0, |moment| moment.at);
    for (band, uuid) in story.bands.iter().zip(FAULTS..) {
        let to = band.to.map_or(end, |to| story.moments[to].at);
        let (from, name) = (story.moments[band.from].at, Some(band.text.clone()));
        packet.push(event(
            from,
            TrackEvent { r#type: Some(BEGIN), track_uuid: Some(uuid), name, ..TrackEvent::default() },
        ));
        packet.push(event(to, TrackEvent { r#type: Some(END), track_uuid: Some(uuid), ..TrackEvent::default() }));
    }
    if let Some(first) = packet.first_mut() {
        first.sequence_flags = Some(CLEARED);
        first.trusted_packet_sequence_id = Some(1);
    }
    Trace { packet }.encode_to_vec()
}

fn event(at: u64, track_event: TrackEvent) -> Packet {
    Packet {
        timestamp: Some(at * 1_000),
        trusted_packet_sequence_id: Some(1),
        track_event: Some(track_event),
        ..Packet::default()
    }
}

fn instant(story: &Story, place: usize, track: u64) -> Packet {
    let moment = &story.moments[place];
    // A part is told in the instant in which it is sent.
    let carriage = moment.carriage.filter(|&at| story.carriages[at].name != "part");
    let flow = carriage.map(|at| (at as u64 + 1, story.carriages[at].sent == Some(place)));
    let has = |sent| flow.filter(|&(_, is_sent)| is_sent == sent).map(|(id, _)| id).into_iter().collect();
    let annotation =
        |(name, value): &(String, String)| Annotation { name: Some(name.clone()), string_value: Some(value.clone()) };
    event(
        moment.at,
        TrackEvent {
            debug_annotations: moment.changes.iter().map(annotation).collect(),
            r#type: Some(INSTANT),
            track_uuid: Some(track),
            categories: vec![moment.kind.to_owned()],
            name: Some(moment.text.clone()),
            flow_ids: has(true),
            terminating_flow_ids: has(false),
        },
    )
}
