//! Gate of the gRPC API, which checks who calls, and how much may come, before a call's message is read.
//!
//! A message is read and decoded before the handler gets it, so a handler that asks for the session has been sent
//! whatever a stranger liked to send. Here the session comes first. A call without one goes on with an empty message,
//! and its handler refuses it, so that refusals are made in one place and counted.

use super::auth;
use super::auth::GateSession;
use crate::api::bearer;
use crate::api::error;
use crate::api::listen::{BodyFault, BodyMode, CallerConnection, RequestGate};
use crate::service::{ChatService, RefusalCode, RequestRefusal};
use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http::header::AUTHORIZATION;
use http::request::Parts;

/// Maximum size of the messages of a call without a session, all together: a registration with the longest names and
/// password is 2 KiB, a question to the reflection service less.
const STRANGERS_MESSAGES: usize = 16 * 1024;

/// Path of the service whose calls need a session, except for those in [`OPEN`].
const CHAT: &str = "/quorate.chat.v1.Chat/";
const OPEN: [&str; 2] = ["Register", "Login"];
/// Call that a locked account may still make.
const LOGOUT: &str = "Logout";
/// Call whose messages come one by one, for as long as the client likes.
const POST: &str = "Post";
const REFLECTION: &str = "/grpc.reflection.";

/// gRPC frame of a message of no bytes: only its header of five bytes.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// Protocol-specific behaviour of the gRPC listener.
#[derive(Clone)]
pub(super) struct GrpcGate {
    service: ChatService,
}

impl GrpcGate {
    pub(super) fn new(service: ChatService) -> Self {
        Self { service }
    }
}

impl RequestGate for GrpcGate {
    fn refuse(&self, refusal: RequestRefusal) -> Response<Body> {
        error::refusal_to_status(refusal).into_http()
    }

    fn fault(&self, fault: BodyFault) -> BoxError {
        let code = match fault {
            BodyFault::TooLarge(_) => RefusalCode::TooLarge,
            BodyFault::TooSlow => RefusalCode::Invalid,
            BodyFault::Crowded => {
                return error::refusal_to_status(crate::api::listen::service::overload_refusal(&fault.to_string()))
                    .into();
            }
        };
        error::refusal_to_status(RequestRefusal::new(code, fault.to_string())).into()
    }

    async fn ask(&self, parts: &mut Parts, connection: &CallerConnection) -> BodyMode {
        let path = parts.uri.path();
        let Some(method) = path.strip_prefix(CHAT).filter(|method| !OPEN.contains(method)) else {
            // Reflection is one stream, on which tools ask as they go along.
            return BodyMode::Messages { limit: STRANGERS_MESSAGES, stream: path.starts_with(REFLECTION) };
        };
        let stream = method == POST;
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(bearer::bearer_token);
        let known = auth::authenticate_token(&self.service, token, method == LOGOUT).await;
        let reading = if known.is_ok() {
            connection.show_session();
            // tonic refuses a message by its announced length.
            BodyMode::Messages { limit: usize::MAX, stream }
        } else {
            BodyMode::Instead(Bytes::from_static(EMPTY_MESSAGE))
        };
        // A refusal as well: the handler must not look a wrong token up a second time.
        parts.extensions.insert(GateSession(known));
        reading
    }
}
