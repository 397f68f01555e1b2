//! Reads a request's body within its limits of size and time.

use super::bad_request::BadRequest;
use super::failure::Failure;
use crate::connections::{Connection, Connections, Reservation};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Reads all of it. A body that arrives in one piece is not copied.
///
/// # Errors
/// [`Failure`] for one that is too large, too slow or cut off, or where no memory is left for it. One that
/// announces its size as too large is not read at all.
pub(crate) async fn read(
    body: &mut Incoming,
    connection: &Connection,
    connections: &Connections,
    bytes_max: usize,
) -> Result<Bytes, Failure> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(Failure::TooLarge { bytes_max });
    }
    connection.on_body_awaited();
    let announced = body.size_hint().exact().map_or(bytes_max, |bytes| bytes as usize);
    let (first, all, room) = (Bytes::new(), Vec::new(), connections.reserve());
    let mut gathered = Gathered { first, all, room, bytes_max, announced };
    let read = poll_fn(|context| gathered.poll(Pin::new(body), connection, context)).await;
    connection.on_body_complete();
    read.map(|()| gathered.finish())
}

/// What came so far.
struct Gathered<'a> {
    /// The first piece, while it is the only one.
    first: Bytes,
    all: Vec<u8>,
    room: Reservation<'a>,
    bytes_max: usize,
    /// The length that the client announced; without any bounds where it did not.
    announced: usize,
}

impl Gathered<'_> {
    fn poll(
        &mut self,
        mut body: Pin<&mut Incoming>,
        connection: &Connection,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        loop {
            match body.as_mut().poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data() {
                        self.take(piece)?;
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(BadRequest::BodyCut.into())),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending if connection.is_body_late(context.waker()) => {
                    return Poll::Ready(Err(Failure::TooSlow));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn take(&mut self, piece: Bytes) -> Result<(), Failure> {
        let bytes = self.first.len() + self.all.len() + piece.len();
        if bytes > self.bytes_max {
            return Err(Failure::TooLarge { bytes_max: self.bytes_max });
        }
        if bytes == piece.len() {
            self.first = piece;
            return self.hold(bytes);
        }
        if self.all.capacity() < bytes {
            // What a buffer holds counts, not what of it is filled; and it is moved when it grows.
            let capacity = (bytes * 2).min(self.bytes_max).min(bytes.max(self.announced)).max(bytes);
            self.hold(capacity)?;
            self.all.reserve_exact(capacity - self.all.len());
        }
        if !self.first.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&piece);
        Ok(())
    }

    /// So many bytes are held in all.
    fn hold(&mut self, bytes: usize) -> Result<(), Failure> {
        let more = bytes.saturating_sub(self.room.bytes());
        if self.room.grow(more) { Ok(()) } else { Err(Failure::NoRoom) }
    }

    fn finish(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.into() }
    }
}
