//! Handling of every request before and after its handler.

use super::address::AddressShare;
use super::answer::AnswerBody;
use super::body::{BodyFault, BodyRules, CallerBody};
use super::bounds::ListenerBounds;
use super::budget::BodyCharge;
use super::places::{CallerConnection, OpenRequest, SlotGuard, TrackedConnection};
use crate::caller::CallerAddress;
use crate::service::{RefusalCode, RequestRefusal};
use axum::body::{Body, HttpBody as _};
use axum::{BoxError, Router};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tower::Service as _;

/// Time after which to come again when a budget was full: long enough for a request to end, too short for people to
/// notice.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// Protocol-specific behaviour of a listener: how it refuses, and what it asks of a caller before it reads a body.
pub(crate) trait RequestGate: Clone + Send + Sync + Unpin + 'static {
    /// Renders a refusal as a response.
    fn refuse(&self, refusal: RequestRefusal) -> Response<Body>;

    /// Turns a fault of a request's body into the error that the handler's decoder sees.
    fn fault(&self, fault: BodyFault) -> BoxError;

    /// Examines a request's head and says how the body is to be read; the listener may look at the session here.
    fn ask(&self, parts: &mut Parts, connection: &CallerConnection) -> impl Future<Output = BodyMode> + Send;
}

/// Way in which a request's body is to be read.
pub(crate) enum BodyMode {
    /// The body is read as it comes; the handler bounds it.
    Plain,
    /// The body is read as gRPC messages.
    Messages {
        /// Maximum bytes of all messages together.
        limit: usize,
        /// `true` if the caller may take its time before a message, and the handler passes the messages on one by one.
        stream: bool,
    },
    /// The body is not read at all: these bytes stand for it.
    Instead(Bytes),
}

/// Routes and behaviour behind a listener.
pub(super) struct ListenerBackend<M> {
    pub(super) router: Router,
    pub(super) manner: M,
}

/// HTTP service of one connection.
pub(super) struct ConnectionService<M> {
    behind: Arc<ListenerBackend<M>>,
    held: Arc<TrackedConnection>,
    peer: IpAddr,
    is_proxy: bool,
}

impl<M: RequestGate> ConnectionService<M> {
    pub(super) fn new(behind: Arc<ListenerBackend<M>>, place: &SlotGuard, peer: IpAddr) -> Self {
        let held = Arc::clone(place.held());
        let is_proxy = held.bounds().is_proxy(peer);
        Self { behind, held, peer, is_proxy }
    }

    /// Returns the connection that the service belongs to.
    pub(super) fn held(&self) -> &Arc<TrackedConnection> {
        &self.held
    }

    /// Returns the caller's address, and the share of that address.
    fn caller(&self, request: &Request<Incoming>) -> (CallerAddress, Arc<AddressShare>) {
        let bounds = self.held.bounds();
        if !self.is_proxy {
            return (CallerAddress::counted(self.peer), Arc::clone(self.held.share()));
        }
        let caller = CallerAddress::of(self.peer, request.headers(), bounds.proxies());
        (caller, bounds.book.share(caller))
    }
}

impl<M: RequestGate> hyper::service::Service<Request<Incoming>> for ConnectionService<M> {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<AnswerBody>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        // First of all: from here on the patrol does not take the connection for an idle one.
        let busy = OpenRequest::begin(&self.held);
        let (caller, share) = self.caller(&request);
        let behind = Arc::clone(&self.behind);
        let mut served = ServedRequest { behind, bounds: Arc::clone(self.held.bounds()), share, busy };
        Box::pin(async move {
            let version = request.version();
            // Before the request is looked at: whoever takes no answers must not cause more of them.
            let mut response = match served.refusal() {
                Some(refusal) => served.behind.manner.refuse(refusal),
                None => served.answer(request, caller).await,
            };
            if served.bounds.is_stopping() && version <= Version::HTTP_11 {
                // A client that asks again then asks another pod.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            let ServedRequest { busy, .. } = served;
            Ok(response.map(|body| AnswerBody::new(body, busy)))
        })
    }
}

/// One request that is being served.
struct ServedRequest<M> {
    behind: Arc<ListenerBackend<M>>,
    bounds: Arc<ListenerBounds>,
    share: Arc<AddressShare>,
    busy: OpenRequest,
}

impl<M: RequestGate> ServedRequest<M> {
    /// Returns the refusal of a request that is not looked at now, if there is one.
    fn refusal(&self) -> Option<RequestRefusal> {
        let held = self.busy.held();
        let stranger = held.is_stranger();
        self.bounds.answers.is_full_for(&self.share, stranger).then(|| {
            self.bounds.refused(held.api(), "answer_bytes");
            overload_refusal("too many responses are waiting to be read; read those first, then try again")
        })
    }

    async fn answer(&mut self, request: Request<Incoming>, caller: CallerAddress) -> Response<Body> {
        let held = Arc::clone(self.busy.held());
        let connection = CallerConnection(Arc::clone(&held));
        let (mut parts, incoming) = request.into_parts();
        let reading = self.behind.manner.ask(&mut parts, &connection).await;
        // After `ask`, by which a connection may just have ceased to be a stranger's.
        if held.asks_too_much() {
            self.bounds.refused(held.api(), "stranger_requests");
            let message = "too many concurrent requests over connections without a session; log in, or wait";
            return self.behind.manner.refuse(overload_refusal(message));
        }
        parts.extensions.insert(caller);
        parts.extensions.insert(connection);
        let (body, charge) = self.body(incoming, reading, &held);
        let mut router = self.behind.router.clone();
        let answered = router.call(Request::from_parts(parts, body)).await;
        // Charged until here: the handler holds what came in.
        drop(charge);
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Returns the body as the handler reads it, and what it holds of the budget for as long as the request is served.
    fn body(
        &self,
        incoming: Incoming,
        reading: BodyMode,
        held: &Arc<TrackedConnection>,
    ) -> (Body, Option<Arc<BodyCharge>>) {
        if let BodyMode::Instead(bytes) = reading {
            return (Body::from(bytes), None);
        }
        if incoming.is_end_stream() {
            return (Body::empty(), None);
        }
        let charge = Arc::new(BodyCharge::new(Arc::clone(&self.bounds), Arc::clone(&self.share), Arc::clone(held)));
        let manner = self.behind.manner.clone();
        let spell = move |fault| manner.fault(fault);
        let holding = match reading {
            BodyMode::Messages { limit, stream } => BodyRules::messages(limit, stream),
            BodyMode::Plain | BodyMode::Instead(_) => BodyRules::plain(),
        };
        (Body::new(CallerBody::new(incoming, Arc::clone(&charge), held.api(), holding, spell)), Some(charge))
    }
}

/// Creates a refusal for want of room, with a hint when to come again.
pub(crate) fn overload_refusal(message: &str) -> RequestRefusal {
    RequestRefusal::new(RefusalCode::Overloaded, message).after(COME_AGAIN)
}
