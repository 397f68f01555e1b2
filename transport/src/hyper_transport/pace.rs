//! How much of what is sent may wait in the kernel: about as much as the link carries in an eighth of a second.
//!
//! A kernel takes megabytes from a sender that is faster than its link. What is said later waits behind them for as long
//! as the link takes, and so does what other connections send over the same bottleneck. So a connection whose socket
//! makes the sender wait is measured, and its send buffer follows what the link carries.

use core::time::Duration;
use socket2::SockRef;

/// Bytes that wait unsent in the kernel before a socket takes no more.
const UNSENT_BYTES_MAX: u32 = 16 << 10;
/// Waiting is measured for so long before anything is concluded from it.
const SPAN: Duration = Duration::from_millis(50);
/// A longer wait is that of a peer that reads nothing, or of a link that is cut, and says nothing about its rate.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// What a link carries in a second, divided by this, may wait in the kernel.
const PART: u64 = 8;
const BUFFER_BYTES_MIN: usize = 8 << 10;
/// A link that carries more than this in its part of a second is left to the kernel, unless it was slower before.
const BUFFER_BYTES_MAX: usize = 256 << 10;

/// The pace of one connection.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    bytes: u64,
    /// The send buffer that was asked for; none where the kernel chooses.
    buffer: Option<usize>,
}

impl Pace {
    /// Prepares a socket. Where the system refuses, the connection works all the same.
    pub(super) fn prepare(socket: &SockRef<'_>) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Err(error) = socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
            tracing::debug!("cannot limit what waits unsent: {error}");
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (socket, UNSENT_BYTES_MAX);
    }

    /// How much to hand to the socket at a time. A kernel that gets more at once makes one large segment of it, whatever
    /// its send buffer.
    pub(super) fn slice<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let most = self.buffer.map_or(UNSENT_BYTES_MAX as usize, |buffer| buffer / 2);
        bytes.get(..most).unwrap_or(bytes)
    }

    /// The socket took so many bytes after making the sender wait for so long.
    pub(super) fn wrote(&mut self, socket: &SockRef<'_>, bytes: usize, waited: Duration) {
        if waited > WAIT_MAX {
            (self.waited, self.bytes) = (Duration::ZERO, 0);
            return;
        }
        if waited < Duration::from_millis(1) {
            return; // it had room: that says nothing about the link
        }
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.waited < SPAN {
            return;
        }
        let size = buffer_for(self.bytes, self.waited);
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        let changes = match self.buffer {
            None => size < BUFFER_BYTES_MAX,
            // Twice as much or half of it: the measure is a rough one.
            Some(buffer) => size >= buffer.saturating_mul(2) || size <= buffer / 2,
        };
        if changes && socket.set_send_buffer_size(size).is_ok() {
            self.buffer = Some(size);
        }
    }
}

/// The bytes that a link which carries `bytes` in this time carries in its part of a second, within the limits.
fn buffer_for(bytes: u64, time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    let carried = bytes.saturating_mul(1_000_000) / micros / PART;
    usize::try_from(carried).unwrap_or(usize::MAX).clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_of_a_second_within_limits() {
        let second = Duration::from_secs(1);
        assert_eq!(buffer_for(400_000, second), 50_000);
        assert_eq!(buffer_for(40_000, second / 10), 50_000);
        assert_eq!(buffer_for(1_000, second), BUFFER_BYTES_MIN);
        assert_eq!(buffer_for(12_500_000, second), BUFFER_BYTES_MAX);
        assert_eq!(buffer_for(u64::MAX, Duration::ZERO), BUFFER_BYTES_MAX);
    }
}
