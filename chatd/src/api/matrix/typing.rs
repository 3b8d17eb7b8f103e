//! Endpoint for typing.

use super::account::check_own_account;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use crate::service::CallerSession;
use ruma::api::IncomingRequest;
use ruma::api::client::typing::create_typing_event::v3 as api;
use ruma::api::error::DeserializationError;
use serde_json::Value;
use std::borrow::Cow;

/// Time for which a user types if the client does not say: as Synapse has it, which clients are written for.
const DEFAULT_TIMEOUT_MS: u64 = 30_000;

/// A request in which the timeout need not be given: the specification requires only `typing`.
struct WithTimeout<T>(T);

endpoint_of_inner!(WithTimeout);

impl<T: IncomingRequest> IncomingRequest for WithTimeout<T> {
    type EndpointError = T::EndpointError;
    type OutgoingResponse = T::OutgoingResponse;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let (parts, body) = request.into_parts();
        let body = with_timeout(body);
        let request = http::Request::from_parts(parts, body.as_ref());
        T::try_from_http_request_inner(request, path_args).map(Self)
    }
}

/// Adds the default timeout to a body that has none.
fn with_timeout(body: &[u8]) -> Cow<'_, [u8]> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else { return Cow::Borrowed(body) };
    if fields.get("timeout").is_some_and(|timeout| !timeout.is_null()) {
        return Cow::Borrowed(body);
    }
    fields.insert("timeout".to_owned(), DEFAULT_TIMEOUT_MS.into());
    serde_json::to_vec(&fields).map_or(Cow::Borrowed(body), Cow::Owned)
}

pub(super) fn typing_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes.with_session("typing", set_typing)
}

async fn set_typing(
    context: MatrixContext,
    session: CallerSession,
    WithTimeout(request): WithTimeout<api::Request>,
) -> Result<api::Response, MatrixError> {
    check_own_account(&session, &request.user_id)?;
    let typing = match request.state {
        api::Typing::Yes(info) => Some(info.timeout),
        api::Typing::No => None,
    };
    context.service.set_typing(&session, request.room_id.as_str(), typing).await?;
    Ok(api::Response::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_added_where_there_is_none() {
        let timeout = |body: &str| {
            let body: Value = serde_json::from_slice(&with_timeout(body.as_bytes())).unwrap();
            body["timeout"].as_u64()
        };
        assert_eq!(timeout(r#"{"typing":true}"#), Some(DEFAULT_TIMEOUT_MS));
        assert_eq!(timeout(r#"{"typing":true,"timeout":null}"#), Some(DEFAULT_TIMEOUT_MS));
        assert_eq!(timeout(r#"{"typing":true,"timeout":5}"#), Some(5));
        assert_eq!(with_timeout(b"[1").as_ref(), b"[1");
    }
}
