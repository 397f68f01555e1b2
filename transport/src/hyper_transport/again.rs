//! Connects anew to a peer that fell silent, beside the connection that there is.
//!
//! After packets were lost a kernel sends them again after a while, then after twice that, and so on. So a connection
//! may be stuck for as long as a cut lasted, once more. A new one stands as soon as a packet gets through. So while
//! nothing comes from a peer that used to speak, it is dialled beside the connection to it, until one attempt works.
//! That goes on when it speaks again first, since the two directions are stuck each for a time of its own.
//!
//! Invariant kept here: a connection is exchanged only while nothing waits for it, so nothing that was not yet handed
//! to a kernel is lost. What the kernel still holds arrives late or never; the replica that misses it is told by the
//! numbers.

use super::Inner;
use super::dial::{self, Dialled, Link, Purpose};
use super::peer::{Peer, SILENCE};
use core::time::Duration;
use std::rc::Rc;
use tokio::time::sleep;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until the connection to the peer may be stuck and another one stands.
///
/// One attempt at a time, and one exchange in so long: a peer whose process does not run finds few connections when it
/// goes on.
pub(super) async fn connect(inner: &Rc<Inner>, peer: &Peer) -> Link {
    sleep(SILENCE).await;
    loop {
        if !peer.may_be_stuck() {
            sleep(peer.sure_for().max(PAUSE)).await;
            continue;
        }
        let dialled = dial::connect(inner, peer.address(), Purpose::Check).await;
        let pause = match dialled {
            Ok(Dialled { stream, format, .. }) if peer.begin_on_another(inner, format) => return stream,
            Ok(_) => SILENCE,
            Err(_) => PAUSE,
        };
        sleep(pause).await;
    }
}
