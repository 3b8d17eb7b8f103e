//! Conversion of HTTP requests to ruma's types and back. Routes come from ruma's metadata, so that every path a version
//! of the spec knows is served; callers ([`admission`](super::admission)), sizes and JSON are checked in one place.

use super::admission::{Anyone, CallerAdmission, RequestCredentials, SessionAdmission, WithSession};
use super::context::MatrixContext;
use super::error::MatrixError;
use super::fresh::AnswerFreshness;
use crate::api::listen::{BodyFault, CallerConnection};
use crate::caller::CallerAddress;
use crate::metrics;
use crate::service::CallerSession;
use crate::trace;
use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{self, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use bytes::{Bytes, BytesMut};
use quorate_core::content;
use ruma::api::error::{DeserializationError, FromHttpRequestError, IntoHttpError};
use ruma::api::path_builder::PathBuilder as _;
use ruma::api::{IncomingRequest, IncomingRequestExt as _, OutgoingResponse, OutgoingResponseExt as _};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;

/// Maximum nesting depth of a body: parsers give up there. Contents of events and of what clients store have a narrower
/// limit, with room for the levels that requests wrap them in; here it holds for fields that nobody reads as well.
const MAX_BODY_DEPTH: usize = 128;

/// Endpoints collected so far.
#[derive(Default)]
pub(super) struct EndpointRoutes {
    router: Router<MatrixContext>,
    readers: Vec<RequestReader>,
}

/// Reader of an endpoint's requests; apart from the router, so that all of them can be listed.
// Only fuzzing reads requests by it; a pod only lists endpoints.
#[cfg_attr(not(any(test, feature = "testing")), allow(dead_code))]
pub(super) struct RequestReader {
    pub(super) method: http::Method,
    /// Newest spelling of the endpoint's path.
    pub(super) path: &'static str,
    /// Name of the endpoint in the metrics.
    pub(super) name: &'static str,
    /// Number of arguments in the path.
    pub(super) arguments: usize,
    check: CheckFn,
    read: ReadFn,
}

#[cfg(any(test, feature = "testing"))]
impl RequestReader {
    /// Reads a request: all that happens to it before its handler.
    pub(super) fn read(&self, arguments: &[&str], request: http::Request<Bytes>) -> Result<(), MatrixError> {
        (self.read)(self.check, arguments, request)
    }
}

/// Arguments in the path of a request; an error if they are not UTF-8.
type PathArguments = Result<RawPathParams, RawPathParamsRejection>;

/// Check of a body before ruma looks at it.
type CheckFn = fn(&[u8]) -> Result<(), MatrixError>;

/// Function that reads a request of one endpoint, and drops it.
type ReadFn = fn(CheckFn, &[&str], http::Request<Bytes>) -> Result<(), MatrixError>;

/// Answer to a request. It is boxed, as each future that it is passed through would have room for it once more.
type AnswerFuture = Pin<Box<dyn Future<Output = Result<Response, MatrixError>> + Send>>;

/// Function that admits a caller, reads the request and answers it.
type AnswerFn = Arc<dyn Fn(MatrixContext, RawPathParams, Request) -> AnswerFuture + Send + Sync>;

fn accept_any_body(_: &[u8]) -> Result<(), MatrixError> {
    Ok(())
}

impl EndpointRoutes {
    pub(super) fn into_router(self) -> Router<MatrixContext> {
        self.router
    }

    pub(super) fn into_readers(self) -> Vec<RequestReader> {
        self.readers
    }

    /// Adds an endpoint for callers with a session.
    pub(super) fn with_session<T, F, A>(self, name: &'static str, handler: F) -> Self
    where
        T: IncomingRequest + Send + 'static,
        T::OutgoingResponse: Send,
        F: Fn(MatrixContext, CallerSession, T) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<T::OutgoingResponse, MatrixError>> + Send + 'static,
    {
        self.admitting::<_, T, _, _>(name, WithSession, handler)
    }

    /// Adds an endpoint for callers with a session who wait, and whose answer is not ruma's. What came with a request
    /// is held as the handler holds it, and takes no space in the futures around it, which last as long as the wait.
    pub(super) fn with_session_waiting<T, F, A>(self, name: &'static str, handler: F) -> Self
    where
        T: IncomingRequest + Send + 'static,
        F: Fn(MatrixContext, CallerSession, Box<T>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Response, MatrixError>> + Send + 'static,
    {
        self.add::<T, _, _>(name, accept_any_body, move |context: MatrixContext, path, request| {
            let handler = handler.clone();
            async move {
                let admitted = Box::pin(WithSession.admit(context, RequestCredentials::of(&request)));
                let (context, session) = admitted.await?;
                let context = MatrixContext { connection: request.extensions().get().cloned(), ..context };
                let read = Box::pin(read_request::<T>(path, request, accept_any_body, SessionAdmission::BODY_LIMIT));
                let typed = Box::new(read.await?);
                handler(context, session, typed).await
            }
        })
    }

    /// Adds an endpoint for anyone.
    pub(super) fn open<T, F, A>(self, name: &'static str, handler: F) -> Self
    where
        T: IncomingRequest + Send + 'static,
        T::OutgoingResponse: Send,
        F: Fn(MatrixContext, T) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<T::OutgoingResponse, MatrixError>> + Send + 'static,
    {
        self.open_checked(name, accept_any_body, handler)
    }

    /// Adds an endpoint for anyone, with a check where ruma does not take every body well.
    pub(super) fn open_checked<T, F, A>(self, name: &'static str, check: CheckFn, handler: F) -> Self
    where
        T: IncomingRequest + Send + 'static,
        T::OutgoingResponse: Send,
        F: Fn(MatrixContext, T) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<T::OutgoingResponse, MatrixError>> + Send + 'static,
    {
        self.answering_checked::<_, T, _, _>(name, Anyone, check, move |context: MatrixContext, (), typed: T| {
            await_and_render(handler(context, typed))
        })
    }

    /// Adds an endpoint for the callers that are admitted.
    pub(super) fn admitting<P, T, F, A>(self, name: &'static str, admission: P, handler: F) -> Self
    where
        P: CallerAdmission,
        T: IncomingRequest + Send + 'static,
        T::OutgoingResponse: Send,
        F: Fn(MatrixContext, P::Caller, T) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<T::OutgoingResponse, MatrixError>> + Send + 'static,
    {
        self.answering::<_, T, _, _>(name, admission, move |context: MatrixContext, caller, typed: T| {
            await_and_render(handler(context, caller, typed))
        })
    }

    /// Adds an endpoint for the callers that are admitted, whose answer is not ruma's: one that is sent as it is read, or
    /// for which ruma's type has no place.
    pub(super) fn answering<P, T, F, A>(self, name: &'static str, admission: P, handler: F) -> Self
    where
        P: CallerAdmission,
        T: IncomingRequest + Send + 'static,
        F: Fn(MatrixContext, P::Caller, T) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Response, MatrixError>> + Send + 'static,
    {
        self.answering_checked::<_, T, _, _>(name, admission, accept_any_body, handler)
    }

    fn answering_checked<P, T, F, A>(self, name: &'static str, admission: P, check: CheckFn, handler: F) -> Self
    where
        P: CallerAdmission,
        T: IncomingRequest + Send + 'static,
        F: Fn(MatrixContext, P::Caller, T) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Response, MatrixError>> + Send + 'static,
    {
        self.add::<T, _, _>(name, check, move |context: MatrixContext, path, request| {
            let handler = handler.clone();
            async move {
                // Before a byte of the body is read. Each step is boxed, so that the next does not keep its room.
                let admitted = Box::pin(admission.admit(context, RequestCredentials::of(&request)));
                let (context, caller) = admitted.await?;
                let typed = Box::pin(read_request::<T>(path, request, check, P::BODY_LIMIT)).await?;
                Box::pin(handler(context, caller, typed)).await
            }
        })
    }

    fn add<T, F, A>(self, name: &'static str, check: CheckFn, answer: F) -> Self
    where
        T: IncomingRequest + Send + 'static,
        F: Fn(MatrixContext, RawPathParams, Request) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Response, MatrixError>> + Send + 'static,
    {
        let answer: AnswerFn = Arc::new(move |context, path, request| Box::pin(answer(context, path, request)));
        let served = answered_by(name, &T::METHOD, answer);
        let router = T::PATH_BUILDER
            .all_paths()
            .flat_map(path_variants)
            .fold(self.router, |router, path| router.route(&path, served.clone()));
        let arguments = T::PATH_BUILDER.all_paths().map(|path| path.matches('{').count()).max().unwrap_or_default();
        let mut readers = self.readers;
        let path = T::PATH_BUILDER.all_paths().last().unwrap_or_default();
        readers.push(RequestReader { method: T::METHOD, path, name, arguments, check, read: read_only::<T> });
        Self { router, readers }
    }
}

/// Serves an endpoint by its answer, which is counted, timed and traced. Apart from the endpoint's types, so that the
/// layers around an answer are compiled once and not for each endpoint.
fn answered_by(name: &'static str, method: &http::Method, answer: AnswerFn) -> MethodRouter<MatrixContext> {
    let filter = match *method {
        http::Method::GET => MethodFilter::GET,
        http::Method::PUT => MethodFilter::PUT,
        http::Method::DELETE => MethodFilter::DELETE,
        _ => MethodFilter::POST,
    };
    on(filter, move |State(context): State<MatrixContext>, path: PathArguments, request: Request| {
        let answer = Arc::clone(&answer);
        async move {
            // Answered here, because axum's own refusal is plain text. Like other addresses that name no endpoint it
            // is not counted.
            let Ok(path) = path else { return MatrixError::broken_path().into_response() };
            let freshest = AnswerFreshness::default();
            let caller = request.extensions().get::<CallerAddress>().copied().unwrap_or(CallerAddress::UNKNOWN).0;
            let context = MatrixContext { freshest: freshest.clone(), caller, ..context };
            let call = context.metrics.call(metrics::ClientApi::Matrix, name);
            let measured = (name == super::sync::NAME).then(|| context.metrics.clone());
            let traced = trace::call::CallTrace::matrix(name, request.method(), request.headers());
            let answer = call.run(traced.wrap(answer(context, path, request))).await;
            traced.answered(&answer);
            if let (Some(metrics), Ok(response)) = (measured, &answer) {
                metrics.sync_body(response.body().size_hint().lower());
            }
            let mut response = answer.into_response();
            freshest.mark(&mut response);
            response
        }
    })
}

/// Returns the routes of a path. A state event with an empty key may be named without it, with or without the slash.
fn path_variants(path: &'static str) -> Vec<String> {
    match path.strip_suffix("/{state_key}") {
        Some(short) => vec![path.to_owned(), short.to_owned(), format!("{short}/")],
        None => vec![path.to_owned()],
    }
}

/// Reads a request to its end.
async fn read_request<T: IncomingRequest>(
    path: RawPathParams,
    request: Request,
    check: CheckFn,
    max_body: usize,
) -> Result<T, MatrixError> {
    let request = read_json_request(request, max_body).await?;
    let arguments: Vec<&str> = path.iter().map(|(_, value)| value).collect();
    parse_request::<T>(check, &arguments, &request)
}

/// Reads a request to its end, as JSON of any type.
async fn read_json_request(request: Request, max_body: usize) -> Result<http::Request<Bytes>, MatrixError> {
    let (parts, body) = request.into_parts();
    let body = read_body(body, max_body).await.map_err(|fault| {
        if let (Some(BodyFault::TooLarge(_)), Some(connection)) = (fault, parts.extensions.get::<CallerConnection>()) {
            connection.note_large_body();
        }
        MatrixError::broken_body(fault)
    })?;
    into_json_request(parts, body)
}

async fn await_and_render<R: OutgoingResponse>(
    answer: impl Future<Output = Result<R, MatrixError>>,
) -> Result<Response, MatrixError> {
    render_response(answer.await?)
}

fn parse_request<T: IncomingRequest>(
    check: CheckFn,
    arguments: &[&str],
    request: &http::Request<Bytes>,
) -> Result<T, MatrixError> {
    check(request.body())?;
    T::try_from_http_request(as_slice(request), arguments).map_err(conversion_error)
}

fn read_only<T: IncomingRequest>(
    check: CheckFn,
    arguments: &[&str],
    request: http::Request<Bytes>,
) -> Result<(), MatrixError> {
    let (parts, body) = request.into_parts();
    parse_request::<T>(check, arguments, &into_json_request(parts, body)?).map(drop)
}

fn into_json_request(parts: Parts, body: Bytes) -> Result<http::Request<Bytes>, MatrixError> {
    if body.is_empty() {
        // Clients leave out the body where all its fields are optional; the spec says `{}`.
        return Ok(http::Request::from_parts(parts, Bytes::from_static(b"{}")));
    }
    // Apart from the types of the endpoint: no JSON at all is M_NOT_JSON, other JSON than expected M_BAD_JSON.
    if serde_json::from_slice::<&serde_json::value::RawValue>(&body).is_err() {
        return Err(MatrixError::new(StatusCode::BAD_REQUEST, "M_NOT_JSON", "The body is not JSON."));
    }
    // Here, because serde would take a list for the fields of a type in their order, and ruma does not look at a body of
    // which an endpoint wants nothing.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(MatrixError::bad_json("The body must be a JSON object."));
    }
    if content::nesting_depth(&body) > MAX_BODY_DEPTH {
        return Err(MatrixError::bad_json(format!("The body is nested deeper than {MAX_BODY_DEPTH} levels.")));
    }
    Ok(http::Request::from_parts(parts, body))
}

/// Reads a body of at most `limit` bytes. Without a fault in the error, the connection broke.
async fn read_body(mut body: Body, limit: usize) -> Result<Bytes, Option<BodyFault>> {
    let too_large = Some(BodyFault::TooLarge(limit));
    // A body that announces that it is too long is not read at all.
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large);
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| BodyFault::behind(&error))?;
        // Trailers mean nothing to any endpoint.
        let Ok(data) = frame.into_data() else { continue };
        if data.len().saturating_add(first.len()).saturating_add(all.len()) > limit {
            return Err(too_large);
        }
        // Most bodies come in one piece, which needs no copy.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Returns a request as ruma reads it: the same head, the body borrowed.
fn as_slice(request: &http::Request<Bytes>) -> http::Request<&[u8]> {
    let mut out = http::Request::new(request.body().as_ref());
    *out.method_mut() = request.method().clone();
    *out.uri_mut() = request.uri().clone();
    *out.headers_mut() = request.headers().clone();
    out
}

fn conversion_error(error: FromHttpRequestError) -> MatrixError {
    match error {
        FromHttpRequestError::Deserialization(DeserializationError::Json(error)) => {
            MatrixError::bad_json(format!("The body is not valid for this endpoint: {error}."))
        }
        FromHttpRequestError::Deserialization(error) => {
            MatrixError::invalid_param(format!("The path or query is not valid for this endpoint: {error}."))
        }
        FromHttpRequestError::MethodMismatch { .. } => MatrixError::wrong_method(),
        other => MatrixError::invalid_param(format!("The request is not valid for this endpoint: {other}.")),
    }
}

fn render_response(response: impl OutgoingResponse) -> Result<Response, MatrixError> {
    into_answer(response.try_into_http_response::<Vec<u8>>())
}

fn into_answer(rendered: Result<http::Response<Vec<u8>>, IntoHttpError>) -> Result<Response, MatrixError> {
    match rendered {
        Ok(response) => Ok(response.map(Body::from).into_response()),
        Err(error) => {
            tracing::error!(%error, "a response could not be rendered");
            let message = "The server could not render its response; its log has the cause.";
            Err(MatrixError::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_state_key_may_be_left_out_with_its_slash() {
        let paths = path_variants("/rooms/{room_id}/state/{event_type}/{state_key}");
        assert_eq!(paths[1..], ["/rooms/{room_id}/state/{event_type}", "/rooms/{room_id}/state/{event_type}/"]);
        assert_eq!(path_variants("/sync").len(), 1);
    }

    #[test]
    fn only_an_object_that_parsers_can_read_is_a_body() {
        let code_of = |body: &str| {
            let parts = Request::new(Body::empty()).into_parts().0;
            into_json_request(parts, Bytes::from(body.to_owned())).err().map(|error| error.errcode().to_owned())
        };
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        for good in ["", "{}", " \n{\"a\":[1,\"[[\"]} ", &nested(MAX_BODY_DEPTH)] {
            assert_eq!(code_of(good), None, "{good}");
        }
        for bad in ["[]", "null", "1", "\"{}\"", &nested(MAX_BODY_DEPTH + 1), &nested(10_000)] {
            assert_eq!(code_of(bad).as_deref(), Some("M_BAD_JSON"), "{bad}");
        }
        for bad in [" ", "{", "{}{}", "[[", "nul"] {
            assert_eq!(code_of(bad).as_deref(), Some("M_NOT_JSON"), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_body_is_bounded_whether_or_not_it_announces_its_length() {
        let pieces = |count: usize| {
            let piece = |_| Ok::<_, std::io::Error>(Bytes::from_static(b"1234"));
            Body::from_stream(futures::stream::iter((0..count).map(piece)))
        };
        let too_large = Err(Some(BodyFault::TooLarge(8)));
        assert_eq!(read_body(pieces(2), 8).await.unwrap(), "12341234");
        assert_eq!(read_body(pieces(3), 8).await, too_large);
        assert_eq!(read_body(Body::from("123456789"), 8).await, too_large);
    }
}
