//! What an answer is sent from: a piece, a few pieces, or parts for as long as a watch lasts.

use crate::connections::{PIECE_BYTES_MIN, Piece, piece};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, ready};

/// What a watch tells, for as long as it lasts.
pub(crate) trait Endless {
    /// What comes next. Nothing comes out when the watch is over.
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<AnswerBody>>;
}

impl fmt::Debug for dyn Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endless")
    }
}

/// A body, usually in one piece. Its length is known, unless it goes on.
#[derive(Debug, Default)]
pub(crate) struct AnswerBody {
    /// The next piece; empty only when nothing is left.
    next: Bytes,
    /// Bytes of this piece and of those behind it.
    remaining: u64,
    /// What few bodies have. Apart, because an answer is moved several times on its way.
    rest: Option<Box<Rest>>,
}

/// What a body has beyond its first piece.
#[derive(Debug, Default)]
struct Rest {
    pieces: std::vec::IntoIter<Bytes>,
    /// The large pieces, until they are taken note of.
    large: Vec<Weak<Piece>>,
    /// What comes after that, part by part.
    more: Option<Box<dyn Endless>>,
}

impl AnswerBody {
    /// A body that is as long as a watch lasts.
    pub(crate) fn endless(parts: impl Endless + 'static) -> Self {
        let rest = Rest { more: Some(Box::new(parts)), ..Rest::default() };
        Self { rest: Some(Box::new(rest)), ..Self::default() }
    }

    /// Is its length not known?
    pub(crate) fn is_endless(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.more.is_some())
    }

    /// A body of these pieces, of which those are the large ones.
    pub(super) fn of(pieces: Vec<Bytes>, large: Vec<Weak<Piece>>) -> Self {
        let remaining = pieces.iter().map(|piece| piece.len() as u64).sum();
        let mut pieces = pieces.into_iter();
        let next = pieces.next().unwrap_or_default();
        Self { next, remaining, rest: Some(Box::new(Rest { pieces, large, more: None })) }
    }

    /// The large pieces, for the connection, which counts them.
    pub(crate) fn take_large(&mut self) -> Vec<Weak<Piece>> {
        self.rest.as_mut().map(|rest| std::mem::take(&mut rest.large)).unwrap_or_default()
    }

    /// Bytes that are still to be sent.
    pub(crate) const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next part goes before what comes later.
    fn go_on_with(&mut self, part: Self) {
        let Self { next, remaining, rest } = part;
        (self.next, self.remaining) = (next, remaining);
        if let (Some(own), Some(rest)) = (&mut self.rest, rest) {
            (own.pieces, own.large) = (rest.pieces, rest.large);
        }
    }
}

impl From<Bytes> for AnswerBody {
    fn from(next: Bytes) -> Self {
        Self { remaining: next.len() as u64, next, rest: None }
    }
}

impl From<Full<Bytes>> for AnswerBody {
    fn from(body: Full<Bytes>) -> Self {
        body.into_inner().unwrap_or_default().into()
    }
}

impl From<Vec<u8>> for AnswerBody {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() <= PIECE_BYTES_MIN {
            return Bytes::from(bytes).into();
        }
        let (bytes, seen) = piece(Piece::Own(bytes));
        Self::of(vec![bytes], vec![seen])
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while self.remaining == 0 {
            let Some(more) = self.rest.as_mut().and_then(|rest| rest.more.as_mut()) else { return Poll::Ready(None) };
            match ready!(more.poll_part(context)) {
                Some(part) => self.go_on_with(part),
                None => self.rest = None,
            }
        }
        let next = self.rest.as_mut().and_then(|rest| rest.pieces.next()).unwrap_or_default();
        let piece = std::mem::replace(&mut self.next, next);
        self.remaining -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0 && !self.is_endless()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_endless() { SizeHint::default() } else { SizeHint::with_exact(self.remaining) }
    }
}
