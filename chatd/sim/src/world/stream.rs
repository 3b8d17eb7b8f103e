//! One end of a simulated connection, as tokio and tonic know connections.

use super::net::{ConnId, SimNet, StreamItem};
use bytes::{Buf as _, Bytes};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// Bytes that one side may have on the way: the buffers of both kernels.
const BUFFERS: usize = 1 << 20;

/// State of one side of a connection.
#[derive(Default)]
pub(super) struct StreamState {
    pub(super) inbox: VecDeque<Bytes>,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// Bytes that this side wrote and that have not arrived.
    pub(super) on_the_way: usize,
    /// `true` once the last that the other side wrote has arrived.
    pub(super) ended: bool,
    /// `true` once this side wrote its last.
    pub(super) finished: bool,
    pub(super) reset: bool,
    /// `true` once nobody has this end any more.
    pub(super) closed: bool,
}

/// One end of a connection, which is closed when dropped. See the [module](self).
pub struct SimStream<A> {
    net: SimNet<A>,
    id: ConnId,
    side: usize,
}

impl<A> SimStream<A> {
    pub(super) fn new(net: SimNet<A>, id: ConnId, side: usize) -> Self {
        Self { net, id, side }
    }

    /// Waits until the connection is established.
    ///
    /// # Errors
    /// Fails if the connection is refused. In a partition it waits for ever.
    pub async fn established(self) -> io::Result<Self> {
        std::future::poll_fn(|context| self.net.poll_established(self.id, context.waker())).await?;
        Ok(self)
    }

    fn with<T>(&self, work: impl FnOnce(&mut StreamState) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let mut state = self.net.lock();
        match state.conns.get_mut(&self.id).map(|conn| &mut conn.sides[self.side]) {
            Some(side) if !side.reset => work(side),
            _ => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl<A> Drop for SimStream<A> {
    fn drop(&mut self) {
        self.net.lock().close(self.id, self.side);
    }
}

impl<A> AsyncRead for SimStream<A> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|side| {
            let Some(front) = side.inbox.front_mut() else {
                if side.ended {
                    return Poll::Ready(Ok(()));
                }
                side.reader = Some(context.waker().clone());
                return Poll::Pending;
            };
            let len = front.len().min(into.remaining());
            into.put_slice(&front[..len]);
            front.advance(len);
            if front.is_empty() {
                side.inbox.pop_front();
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl<A> AsyncWrite for SimStream<A> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.with(|side| {
            let room = BUFFERS.saturating_sub(side.on_the_way).min(bytes.len());
            if room == 0 && !bytes.is_empty() {
                side.writer = Some(context.waker().clone());
                return Poll::Pending;
            }
            side.on_the_way += room;
            Poll::Ready(Ok(room))
        });
        if let Poll::Ready(Ok(len)) = written
            && len > 0
        {
            self.net.lock().send(self.id, self.side, StreamItem::Data(Bytes::copy_from_slice(&bytes[..len])));
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let first = self.with(|side| Poll::Ready(Ok(!std::mem::replace(&mut side.finished, true))));
        if let Poll::Ready(Ok(true)) = first {
            self.net.lock().send(self.id, self.side, StreamItem::Fin);
        }
        Poll::Ready(Ok(()))
    }
}

impl<A> Connected for SimStream<A> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
