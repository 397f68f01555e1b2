//! What a stranger on the network may throw: noise, other protocols, and frames that are nearly right.

use super::sample::Samples;
use crate::codec::{FrameWriter, HEAD_BYTES, OpMemo};
use hence_core::{Address, ClusterTag};

/// Things that are no frames of this cluster, though some were once.
pub(super) fn thrown(cluster: ClusterTag, sender: &Address, samples: &mut Samples) -> Vec<Vec<u8>> {
    let frame = frame(cluster, sender, samples);
    let foreign = frame_of_another_cluster(cluster, sender, samples);
    let mut thrown = vec![
        vec![0],
        vec![0; 1_000],
        vec![0xff; 70_000],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        foreign,
        [&frame[..HEAD_BYTES], &[0; 200]].concat(),
    ];
    thrown.extend([1, 20, 1_000, 100_000].map(|count| samples.bytes(count)));
    // Cut off at some places; at others a bit is wrong, and whole frames follow, which are lost with it.
    for at in [1, 5, HEAD_BYTES - 1, HEAD_BYTES, frame.len() / 2, frame.len() - 1] {
        thrown.push(frame[..at].to_vec());
        let mut changed = frame.repeat(2);
        changed[at] ^= 1 << (at % 8);
        thrown.push(changed);
    }
    // A length beyond all limits, with a check that agrees.
    let mut huge = frame;
    huge[8..12].copy_from_slice(&[0xff; 4]);
    huge[3] = 0xa5;
    thrown.push(huge);
    thrown
}

fn frame(cluster: ClusterTag, sender: &Address, samples: &mut Samples) -> Vec<u8> {
    let mut writer = FrameWriter::new(cluster, sender.clone());
    // Samples are small and the first message of a frame always fits.
    let _ = writer.push(&samples.push(100), &mut OpMemo::new());
    let mut bytes = Vec::new();
    writer.take(&mut bytes);
    bytes
}

fn frame_of_another_cluster(cluster: ClusterTag, sender: &Address, samples: &mut Samples) -> Vec<u8> {
    frame(ClusterTag(!cluster.0), sender, samples)
}
