//! Answers on connections that peers opened, for peers that cannot be dialled.
//!
//! A process that is not reached at its address asks in its greeting for answers on the connections that it opens
//! itself. Such a connection is a way back to its address as long as it is open. Where the address leads somewhere,
//! that is used and not the way back, unless the address leads nowhere by its form.

use super::Inner;
use super::peer::{Ended, Peer};
use core::cell::RefCell;
use hence_core::Address;
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

/// Ways back that are kept at a time. A further one takes no other's place.
const WAYS_MAX: usize = 64;

/// A connection that takes whole chunks of frames.
#[derive(Debug, Clone)]
struct Way {
    id: u64,
    /// The format that it carries.
    format: u8,
    chunks: mpsc::Sender<Vec<u8>>,
}

/// The newest way back to each address.
#[derive(Debug, Default)]
pub(super) struct Ways {
    by_address: RefCell<BTreeMap<Address, Way>>,
}

/// A way back ends with this.
pub(super) struct WayBack {
    inner: Rc<Inner>,
    address: Address,
    id: u64,
    writer: AbortHandle,
}

impl Drop for WayBack {
    fn drop(&mut self) {
        self.writer.abort();
        let mut ways = self.inner.ways.by_address.borrow_mut();
        if ways.get(&self.address).is_some_and(|way| way.id == self.id) {
            ways.remove(&self.address);
        }
    }
}

impl WayBack {
    /// From now on this connection is a way back to that address.
    pub(super) fn open(
        inner: &Rc<Inner>,
        (address, format): (Address, u8),
        id: u64,
        mut stream: impl AsyncWrite + Unpin + 'static,
    ) -> Option<Self> {
        let mut ways = inner.ways.by_address.borrow_mut();
        if ways.len() >= WAYS_MAX && !ways.contains_key(&address) {
            return None;
        }
        let (chunks, mut received) = mpsc::channel::<Vec<u8>>(1);
        let weak = Rc::downgrade(inner);
        // It owns the connection's half, so that a chunk is written whole though the task that handed it over is gone.
        let writer = spawn_local(async move {
            while let Some(chunk) = received.recv().await {
                let Some(inner) = weak.upgrade() else { return };
                let written = timeout(inner.settings.write_timeout, async {
                    stream.write_all(&chunk).await?;
                    stream.flush().await
                });
                let written = written.await;
                if !matches!(written, Ok(Ok(()))) {
                    return;
                }
                inner.count(|counters| counters.bytes_out += chunk.len() as u64);
            }
        });
        ways.insert(address.clone(), Way { id, format, chunks });
        Some(Self { inner: Rc::clone(inner), address, id, writer: writer.abort_handle() })
    }
}

/// Is there a way back to this address, and no other?
pub(super) fn is_needed(inner: &Inner, address: &Address) -> bool {
    let there = inner.ways.by_address.borrow().contains_key(address);
    address.is_nowhere() || there && inner.reached.leads_nowhere(address)
}

/// Writes what comes on the way back to this peer, until that ends.
pub(super) async fn write_back(inner: &Rc<Inner>, peer: &Peer) -> Result<core::convert::Infallible, Ended> {
    let way = inner.ways.by_address.borrow().get(peer.address()).cloned();
    let Some(Way { chunks, format, .. }) = way else { return Err(Ended::NoWay) };
    peer.has_connection(inner, format);
    loop {
        let mut chunk = Vec::new();
        while !peer.take(&mut chunk) {
            tokio::select! {
                () = peer.is_filled() => {}
                () = chunks.closed() => return Err(Ended::Closed),
            }
        }
        chunks.send(chunk).await.map_err(|_| Ended::Closed)?;
        peer.has_written(inner);
    }
}
