//! A connection of HTTP/1, which leaves hyper while its request waits; see [`parking`](super::parking).

use super::answer::AnswerBody;
use super::parking::{KeptCall, ParkableService, ParkingDesk};
use super::places::ConnectionSignal;
use super::protocol::ConnectionBuilder;
use super::replayed::ReplayedIo;
use super::service::{ConnectionService, RequestGate};
use bytes::Bytes;
use http::Response;
use hyper::server::conn::http1::{Connection, Parts};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Maximum bytes that are read of a connection while its request waits. Clients send nothing then: it is read to learn
/// that they are gone.
pub(super) const PEEK: usize = 256;

/// Connection as hyper serves it.
type HyperConnection<I, M> = Connection<ReplayedIo<I>, ParkableService<M>>;

/// Serves a connection, which begins with the bytes of `read`, until it ends or is told to.
pub(super) async fn run_http1<I, M>(
    io: I,
    read: Bytes,
    protocol: Arc<ConnectionBuilder>,
    service: ConnectionService<M>,
) -> Result<(), hyper::Error>
where
    I: AsyncRead + AsyncWrite + Unpin,
    M: RequestGate,
{
    let desk = ParkingDesk::new(Arc::clone(service.held()));
    let service = ParkableService::new(service, Arc::clone(&desk));
    let mut connection = ServedConnection::new(io, read, service, desk, protocol);
    loop {
        let served = poll_fn(|cx| connection.poll_served(cx)).await;
        if let ServedEnd::Over(ended) = served {
            return ended;
        }
        let Some(mut parked) = connection.park() else { return Ok(()) };
        let answered = poll_fn(|cx| parked.poll_answered(cx)).await;
        let Some(answer) = answered else { return Ok(()) };
        connection = parked.resume(answer);
    }
}

/// Reason for which hyper no longer serves a connection.
enum ServedEnd {
    /// The connection has ended, or was told to.
    Over(Result<(), hyper::Error>),
    /// Its request waits, and nothing of hyper is needed meanwhile.
    Parks,
}

/// Connection that hyper serves.
struct ServedConnection<I, M: RequestGate> {
    hyper: Box<HyperConnection<I, M>>,
    desk: Arc<ParkingDesk>,
    protocol: Arc<ConnectionBuilder>,
    is_finishing: bool,
}

impl<I: AsyncRead + AsyncWrite + Unpin, M: RequestGate> ServedConnection<I, M> {
    fn new(
        io: I,
        read: Bytes,
        service: ParkableService<M>,
        desk: Arc<ParkingDesk>,
        protocol: Arc<ConnectionBuilder>,
    ) -> Self {
        let io = ReplayedIo::new(io, read, Some(Arc::clone(&desk)));
        let hyper = Box::new(protocol.http1.serve_connection(io, service));
        Self { hyper, desk, protocol, is_finishing: false }
    }

    fn poll_served(&mut self, cx: &mut Context<'_>) -> Poll<ServedEnd> {
        let held = self.desk.held();
        // Registered before the check: whoever tells the connection something after it wakes this task.
        held.waker.register(cx.waker());
        if held.told() == ConnectionSignal::End {
            return Poll::Ready(ServedEnd::Over(Ok(())));
        }
        loop {
            // Before it is told to finish: hyper closes a connection at once of which it has read nothing yet, and an
            // answer that waited for it would be lost.
            if let Poll::Ready(ended) = Pin::new(&mut *self.hyper).poll(cx) {
                return Poll::Ready(ServedEnd::Over(ended));
            }
            if self.is_finishing || held.told() != ConnectionSignal::Finish {
                break;
            }
            self.is_finishing = true;
            Pin::new(&mut *self.hyper).graceful_shutdown();
        }
        if self.desk.may_leave() { Poll::Ready(ServedEnd::Parks) } else { Poll::Pending }
    }

    /// Takes the connection and its request from hyper; `None` if there is no request, after which the connection ends.
    fn park(self) -> Option<ParkedConnection<I, M>> {
        let Self { hyper, desk, protocol, .. } = self;
        let (parts, kept) = desk.leave(|| hyper.into_parts());
        let Parts { io, read_buf, service, .. } = parts;
        let (io, unread) = io.into_parts();
        // Copied, because what was read is a small part of hyper's buffer, all of which it would keep. Most often there
        // is nothing.
        let unread = [&read_buf[..], &unread[..]].concat();
        Some(ParkedConnection { call: kept?, io, unread, service, desk, protocol })
    }
}

/// Connection whose request waits for its answer, without hyper.
struct ParkedConnection<I, M> {
    call: KeptCall,
    io: I,
    /// Bytes that came after the request, and belong to the next one: at most what hyper reads ahead, or [`PEEK`].
    unread: Vec<u8>,
    service: ParkableService<M>,
    desk: Arc<ParkingDesk>,
    protocol: Arc<ConnectionBuilder>,
}

impl<I: AsyncRead + AsyncWrite + Unpin, M: RequestGate> ParkedConnection<I, M> {
    /// Becomes ready with the answer, or with `None` when nobody waits for it any more. Whoever was told to finish has
    /// its answer first.
    fn poll_answered(&mut self, cx: &mut Context<'_>) -> Poll<Option<Response<AnswerBody>>> {
        let held = self.desk.held();
        held.waker.register(cx.waker());
        if held.told() == ConnectionSignal::End {
            return Poll::Ready(None);
        }
        if let Poll::Ready(answer) = self.call.poll_answer(cx) {
            return Poll::Ready(Some(answer));
        }
        self.poll_gone(cx).map(|()| None)
    }

    /// Becomes ready when the caller has closed the connection.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // As hyper does: whoever has sent its next request is not listened to until it has the answer to this one.
        if !self.unread.is_empty() {
            return Poll::Pending;
        }
        let mut bytes = [0; PEEK];
        let mut read = ReadBuf::new(&mut bytes);
        match Pin::new(&mut self.io).poll_read(cx, &mut read) {
            Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                self.unread = read.filled().to_vec();
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Gives the connection back to hyper, which writes the answer and reads on.
    fn resume(self, answer: Response<AnswerBody>) -> ServedConnection<I, M> {
        let Self { call, io, unread, service, desk, protocol } = self;
        // hyper asks the client itself to close the connection if it knows that it ends.
        let goes_on = desk.held().told() == ConnectionSignal::GoOn;
        let head = if goes_on { call.head } else { call.head.closing() };
        service.answer_next(answer);
        ServedConnection::new(io, head.followed_by(&unread), service, desk, protocol)
    }
}
