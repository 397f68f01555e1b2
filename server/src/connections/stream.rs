//! The stream of one client connection: tells the pulse what moves, looks at what comes in, and ends without a reset.
//!
//! The socket is shared with the register of connections, which asks it whether the client went away.

use super::connection::{Connection, LINGER, Phase, Pulse, ticks};
use super::raw::Raw;
use hence_transport::trust::{MaybeTls, Trust};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use smallvec::SmallVec;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;

/// Up to so many bytes in several pieces are joined before they are written. To copy them costs less than what the system
/// does for each piece.
const JOINED_BYTES_MAX: usize = 1 << 10;

/// A client's socket, which the register of connections has, too.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Arc<TcpStream>,
}

impl Socket {
    /// The socket of this connection.
    pub(crate) fn of(connection: &Connection) -> Self {
        Self { stream: connection.stream.clone() }
    }

    /// What a partial read or write says of the next one: it would have to wait. Without this each request costs one
    /// system call more, as tokio knows for streams that it owns alone.
    fn is_exhausted(&self, interest: Interest) {
        let _ = self.stream.try_io(interest, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }

    fn write(
        &self,
        context: &mut Context<'_>,
        bytes: usize,
        write: impl Fn() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match write() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_write_ready(context))?;
                }
                Ok(written) => {
                    if written > 0 && written < bytes {
                        self.is_exhausted(Interest::WRITABLE);
                    }
                    return Poll::Ready(Ok(written));
                }
                failed @ Err(_) => return Poll::Ready(failed),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        let read = loop {
            // It knows whether there is something to read, and asks the system only then.
            match self.stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_read_ready(context))?;
                }
                read => break read?,
            }
        };
        if read > 0 && read < room {
            self.is_exhausted(Interest::READABLE);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(context, bytes.len(), || self.stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        if bytes > JOINED_BYTES_MAX {
            return self.write(context, bytes, || self.stream.try_write_vectored(slices));
        }
        let mut joined = SmallVec::<[u8; JOINED_BYTES_MAX]>::new();
        slices.iter().for_each(|slice| joined.extend_from_slice(slice));
        self.write(context, bytes, || self.stream.try_write(&joined))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.stream).shutdown(Shutdown::Write))
    }
}

impl Connection {
    /// The stream that requests come on, once it is encrypted where it is to be.
    ///
    /// # Errors
    /// Where the client ends first, does not speak TLS, or shows a certificate that is not valid.
    pub(crate) async fn open(&self, trust: &Trust) -> io::Result<MaybeTls<Socket>> {
        let socket = Socket::of(self);
        if trust.tls.is_none() {
            return Ok(MaybeTls::Plain(socket));
        }
        let stream = match trust.expected_of(&self.stream).await? {
            Some(tls) => {
                let (stream, certificate) = tls.accept(socket).await?;
                self.visitor().on_secured(certificate);
                stream
            }
            None => MaybeTls::Plain(socket),
        };
        self.end_handshake();
        Ok(stream)
    }
}

/// What a client says, encrypted or not, looked at while it is read.
#[derive(Debug)]
struct Looked {
    stream: MaybeTls<Socket>,
    pulse: Arc<Pulse>,
    raw: Raw,
}

impl AsyncRead for Looked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() == before {
            return Poll::Ready(Ok(()));
        }
        let Self { pulse, raw, .. } = &mut *self;
        if !pulse.is_upgraded() {
            pulse.on_lines(raw.look(&mut buffer.filled_mut()[before..]));
        }
        pulse.on_bytes_read();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Looked {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The stream of one connection, as the HTTP library uses it.
#[derive(Debug)]
pub(crate) struct Watched {
    stream: TokioIo<Looked>,
    pulse: Arc<Pulse>,
}

impl Watched {
    /// The stream of this connection.
    pub(crate) fn of(connection: &Connection, stream: MaybeTls<Socket>) -> Self {
        let pulse = connection.pulse.clone();
        let raw = Raw::new(pulse.line_bytes_max());
        let looked = Looked { stream, pulse: pulse.clone(), raw };
        Self { stream: TokioIo::new(looked), pulse }
    }

    fn stream(&mut self) -> Pin<&mut TokioIo<Looked>> {
        Pin::new(&mut self.stream)
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.pulse.on_write();
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.stream().poll_flush(context);
        if let Poll::Ready(Ok(())) = flushed {
            self.pulse.on_flushed();
        }
        flushed
    }

    /// Ends the sending side, then reads and forgets what the other side still sends until it ends, too. A close with
    /// unread bytes would reset the connection and could destroy the answer on its way.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.pulse.is(Phase::Closing) {
            match self.stream().poll_shutdown(context) {
                Poll::Ready(Ok(())) => self.pulse.enter(Phase::Closing, ticks(LINGER)),
                failed @ Poll::Ready(Err(_)) => return failed,
                Poll::Pending => return Poll::Pending,
            }
        }
        let mut scratch = [0_u8; 4_096];
        for _ in 0..16 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match self.stream().poll_read(context, buffer.unfilled()) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pulse.on_write();
        self.stream().poll_write_vectored(context, slices)
    }
}
