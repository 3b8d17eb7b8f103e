//! Requests that wait long, taken from hyper for that time.
//!
//! hyper holds two buffers of 8 KiB and more for a connection of HTTP/1, whether or not anything moves. Once a handler
//! says that it waits ([`CallerConnection::park`](super::CallerConnection::park)), its connection takes the handler's
//! future and the socket back from hyper, which frees all that ([`http1`](super::http1)). When the answer is there, a
//! new connection of hyper writes it: to hyper, the request is then a [`StandInHead`], which is read before anything
//! else, and is answered as the request was.

use super::answer::AnswerBody;
use super::places::TrackedConnection;
use super::service::{ConnectionService, RequestGate};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, Version, header};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// Request that is being served, as hyper polls it.
type ServedCall = BoxFuture<'static, Result<Response<AnswerBody>, Infallible>>;

/// State that a connection of HTTP/1 shares with the request that hyper has of it. Both belong to one task, so
/// that nothing here is ever waited for.
pub(super) struct ParkingDesk {
    held: Arc<TrackedConnection>,
    /// `true` if the request waits and may leave hyper.
    parks: AtomicBool,
    /// `true` if hyper has written all that it held, and the socket has taken it.
    flushed: AtomicBool,
    /// `true` while the connection leaves hyper: a request that hyper drops then is kept.
    leaving: AtomicBool,
    kept: Mutex<Option<KeptCall>>,
}

/// Request that has left hyper.
pub(super) struct KeptCall {
    call: ServedCall,
    pub(super) head: StandInHead,
}

impl ParkingDesk {
    pub(super) fn new(held: Arc<TrackedConnection>) -> Arc<Self> {
        Arc::new(Self {
            held,
            parks: AtomicBool::new(false),
            flushed: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            kept: Mutex::new(None),
        })
    }

    pub(super) fn held(&self) -> &TrackedConnection {
        &self.held
    }

    pub(super) fn note_flushed(&self, flushed: bool) {
        self.flushed.store(flushed, Relaxed);
    }

    /// Returns `true` if the connection may leave hyper. Not before the answers to earlier requests have left: what
    /// hyper has not written would be lost.
    pub(super) fn may_leave(&self) -> bool {
        self.parks.load(Relaxed) && self.flushed.load(Relaxed)
    }

    /// Runs `leave`, which drops hyper's connection, and returns the request that hyper had.
    pub(super) fn leave<T>(&self, leave: impl FnOnce() -> T) -> (T, Option<KeptCall>) {
        self.leaving.store(true, Relaxed);
        let left = leave();
        self.leaving.store(false, Relaxed);
        (left, self.kept.lock().unwrap_or_else(PoisonError::into_inner).take())
    }

    /// Takes a request that hyper drops without its answer.
    fn dropped(&self, call: ServedCall, head: StandInHead) {
        self.parks.store(false, Relaxed);
        if self.leaving.load(Relaxed) {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(KeptCall { call, head });
        }
    }
}

impl KeptCall {
    /// Becomes ready with the answer.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Response<AnswerBody>> {
        self.call.as_mut().poll(cx).map(|answered| match answered {
            Ok(answer) => answer,
            Err(never) => match never {},
        })
    }
}

/// HTTP/1 service of one connection, whose requests may leave hyper.
pub(super) struct ParkableService<M> {
    service: ConnectionService<M>,
    desk: Arc<ParkingDesk>,
    /// Answer for the stand-in that is the next request, if a request has come back.
    answer: Cell<Option<Response<AnswerBody>>>,
}

impl<M: RequestGate> ParkableService<M> {
    pub(super) fn new(service: ConnectionService<M>, desk: Arc<ParkingDesk>) -> Self {
        Self { service, desk, answer: Cell::new(None) }
    }

    /// Gives the answer to the next request, which is a stand-in.
    pub(super) fn answer_next(&self, answer: Response<AnswerBody>) {
        self.answer.set(Some(answer));
    }
}

impl<M: RequestGate> Service<Request<Incoming>> for ParkableService<M> {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = ParkableCall;

    fn call(&self, request: Request<Incoming>) -> ParkableCall {
        if let Some(answer) = self.answer.take() {
            return ParkableCall { call: Some(Box::pin(std::future::ready(Ok(answer)))), parking: None };
        }
        // What the request before said.
        self.desk.held.set_parked(false);
        let parking = StandInHead::of(&request).map(|head| (Arc::clone(&self.desk), head));
        ParkableCall { call: Some(self.service.call(request)), parking }
    }
}

/// Request that hyper polls for its answer, and that may leave it.
pub(super) struct ParkableCall {
    /// The request itself; `None` once it was answered.
    call: Option<ServedCall>,
    /// Desk that keeps the request when it leaves, and its stand-in; `None` if it stays with hyper until its answer.
    parking: Option<(Arc<ParkingDesk>, StandInHead)>,
}

impl Future for ParkableCall {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(call) = self.call.as_mut() else { return Poll::Pending };
        let answered = call.as_mut().poll(cx);
        if let Some((desk, _)) = &self.parking {
            desk.parks.store(answered.is_pending() && desk.held.is_parked(), Relaxed);
        }
        if answered.is_ready() {
            self.call = None;
        }
        answered
    }
}

impl Drop for ParkableCall {
    fn drop(&mut self) {
        if let (Some(call), Some((desk, head))) = (self.call.take(), self.parking.take()) {
            desk.dropped(call, head);
        }
    }
}

/// Head that stands for a request that was parked, when its answer is written: of the same version of HTTP, and with
/// the same wish for the connection to last. Nothing else of a request tells hyper how to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StandInHead {
    is_http_11: bool,
    lasts: bool,
}

impl StandInHead {
    /// Returns the head for a request; `None` if there is none that is answered alike: for a request with a body, of
    /// which something may still have to be read, and for another method than GET, since the answer to HEAD has no
    /// body.
    fn of<B: Body>(request: &Request<B>) -> Option<Self> {
        let is_http_11 = match request.version() {
            Version::HTTP_11 => true,
            Version::HTTP_10 => false,
            _ => return None,
        };
        if request.method() != Method::GET || !request.body().is_end_stream() {
            return None;
        }
        // As hyper reads it: `close` holds whatever else is named, in the same line or in another.
        let wishes = request.headers().get_all(header::CONNECTION);
        let is_named = |option| wishes.iter().any(|wish| names_option(wish, option));
        let lasts = !is_named("close") && (is_http_11 || is_named("keep-alive"));
        Some(Self { is_http_11, lasts })
    }

    /// Returns the head after whose answer the connection ends.
    pub(super) fn closing(self) -> Self {
        Self { lasts: false, ..self }
    }

    fn text(self) -> &'static [u8] {
        match (self.is_http_11, self.lasts) {
            (true, true) => b"GET / HTTP/1.1\r\n\r\n",
            (true, false) => b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
            (false, true) => b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            (false, false) => b"GET / HTTP/1.0\r\n\r\n",
        }
    }

    /// Returns the head, with the bytes that came after the request that it stands for.
    pub(super) fn followed_by(self, unread: &[u8]) -> Bytes {
        if unread.is_empty() {
            return Bytes::from_static(self.text());
        }
        [self.text(), unread].concat().into()
    }
}

/// Returns `true` if a `Connection` header names this option.
fn names_option(wish: &HeaderValue, option: &str) -> bool {
    wish.to_str().is_ok_and(|wish| wish.split(',').any(|named| named.trim().eq_ignore_ascii_case(option)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(request: http::request::Builder, body: &'static str) -> Option<&'static str> {
        let head = StandInHead::of(&request.body(axum::body::Body::from(body)).unwrap())?;
        Some(std::str::from_utf8(head.text()).unwrap())
    }

    #[test]
    fn a_stand_in_has_the_version_of_its_request_and_its_wish_for_the_connection() {
        let (last, close) = ("GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
        assert_eq!(head_of(Request::get("/sync"), ""), Some(last));
        assert_eq!(head_of(Request::get("/sync").header("Connection", "Keep-Alive, TE"), ""), Some(last));
        assert_eq!(head_of(Request::get("/sync").header("Connection", "te, Close"), ""), Some(close));
        let twice = Request::get("/sync").header("Connection", "te").header("Connection", "close");
        assert_eq!(head_of(twice, ""), Some(close));
        let both = Request::get("/sync").header("Connection", "close").header("Connection", "keep-alive");
        assert_eq!(head_of(both, ""), Some(close));
        let old = || Request::get("/sync").version(Version::HTTP_10);
        assert_eq!(head_of(old(), ""), Some("GET / HTTP/1.0\r\n\r\n"));
        let lasting = old().header("Connection", "keep-alive");
        assert_eq!(head_of(lasting, ""), Some("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        assert_eq!(head_of(old().header("Connection", "keep-alive, close"), ""), Some("GET / HTTP/1.0\r\n\r\n"));
    }

    #[test]
    fn nothing_stands_for_a_request_that_hyper_would_answer_otherwise() {
        assert_eq!(head_of(Request::head("/sync"), ""), None);
        assert_eq!(head_of(Request::post("/sync"), ""), None);
        assert_eq!(head_of(Request::get("/sync"), "{}"), None);
        assert_eq!(head_of(Request::get("/sync").version(Version::HTTP_2), ""), None);
    }

    #[test]
    fn what_came_after_a_request_comes_after_its_stand_in() {
        let head = StandInHead { is_http_11: true, lasts: true };
        assert_eq!(head.followed_by(b"GET /next"), &b"GET / HTTP/1.1\r\n\r\nGET /next"[..]);
        assert_eq!(head.closing().followed_by(b""), head.closing().text());
        assert_ne!(head.closing(), head);
    }
}
