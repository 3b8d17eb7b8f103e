//! A socket of which something was read before hyper got it.

use super::parking::ParkingDesk;
use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// Socket that gives hyper first what was read of it before, and notes whether all that hyper wrote has left.
pub(super) struct ReplayedIo<I> {
    io: TokioIo<I>,
    read: Bytes,
    /// Desk where it is noted; `None` over HTTP/2, where nothing parks.
    desk: Option<Arc<ParkingDesk>>,
}

impl<I> ReplayedIo<I> {
    pub(super) fn new(io: I, read: Bytes, desk: Option<Arc<ParkingDesk>>) -> Self {
        Self { io: TokioIo::new(io), read, desk }
    }

    /// Returns the socket, and what of the bytes from before hyper has not taken.
    pub(super) fn into_parts(self) -> (I, Bytes) {
        (self.io.into_inner(), self.read)
    }

    fn note_flushed(&self, flushed: bool) {
        if let Some(desk) = &self.desk {
            desk.note_flushed(flushed);
        }
    }
}

impl<I: AsyncRead + Unpin> Read for ReplayedIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Read::poll_read(Pin::new(&mut self.io), cx, buffer);
        }
        let taken = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read.split_to(taken));
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> Write for ReplayedIo<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.note_flushed(false);
        Write::poll_write(Pin::new(&mut self.io), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes a socket only when all that it holds itself was written.
        let flushed = Write::poll_flush(Pin::new(&mut self.io), cx);
        self.note_flushed(matches!(flushed, Poll::Ready(Ok(()))));
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Write::poll_shutdown(Pin::new(&mut self.io), cx)
    }

    fn is_write_vectored(&self) -> bool {
        Write::is_write_vectored(&self.io)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note_flushed(false);
        Write::poll_write_vectored(Pin::new(&mut self.io), cx, pieces)
    }
}
