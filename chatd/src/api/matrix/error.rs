//! Refusals as the Matrix spec spells them
//! (<https://spec.matrix.org/v1.15/client-server-api/#standard-error-response>).

use crate::api::listen::{self, BodyFault};
use crate::service::{RefusalCode, RequestRefusal};
use crate::trace::CallError;
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use quorate_wire::whole_millis;
use serde_json::{Value, json};
use std::time::Duration;

/// Error that a handler answers with instead of its response.
#[derive(Debug)]
pub(crate) struct MatrixError {
    status: StatusCode,
    /// Code for metrics: the refusal's kind, or the spec's code where the API itself refused.
    code: &'static str,
    body: Value,
    retry_after: Option<Duration>,
}

impl MatrixError {
    pub(crate) fn new(status: StatusCode, errcode: &'static str, message: impl Into<String>) -> Self {
        Self { status, code: errcode, body: json!({"errcode": errcode, "error": message.into()}), retry_after: None }
    }

    pub(crate) fn unrecognized() -> Self {
        // 404 here and 405 below are what the specification ties to M_UNRECOGNIZED ("Common error codes").
        Self::new(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", "There is no such endpoint on this server.")
    }

    pub(crate) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "M_UNRECOGNIZED", "The endpoint does not support this method.")
    }

    /// Creates the error for a path whose percent-encoding gives no UTF-8.
    pub(crate) fn broken_path() -> Self {
        Self::invalid_param("An argument of the path is not UTF-8 in percent-encoding.")
    }

    pub(crate) fn missing_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN", "Send the header Authorization: Bearer <access token>.")
    }

    pub(crate) fn bad_json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_BAD_JSON", message)
    }

    pub(crate) fn invalid_param(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_PARAM", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", message)
    }

    /// Creates the error for a request that there is no room for at present. 503, so that proxies and clients take it
    /// for the server's state and not for the user's fault; the code is the one that makes clients wait.
    pub(crate) fn overloaded(refusal: RequestRefusal) -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_LIMIT_EXCEEDED", refusal.message);
        error.code = refusal.code.label();
        error.retry_after = refusal.retry_after;
        if let (Some(body), Some(wait)) = (error.body.as_object_mut(), refusal.retry_after) {
            body.insert("retry_after_ms".into(), whole_millis(wait).into());
        }
        error
    }

    /// Creates the error for a body that did not come as it should.
    pub(crate) fn broken_body(fault: Option<BodyFault>) -> Self {
        let message = fault.map(|fault| format!("{}.", capitalise_first(&fault.to_string())));
        match (fault, message) {
            (Some(BodyFault::Crowded), Some(message)) => Self::overloaded(listen::service::overload_refusal(&message)),
            (Some(BodyFault::TooLarge(_)), Some(message)) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", message)
            }
            (Some(BodyFault::TooSlow), Some(message)) => Self::new(StatusCode::REQUEST_TIMEOUT, "M_UNKNOWN", message),
            _ => Self::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", "The connection broke before the body was complete."),
        }
    }

    /// Creates the error for stored data that cannot be shown. It is the server's fault, and its log has the cause.
    pub(crate) fn damaged(what: &str, error: impl std::fmt::Display) -> Self {
        tracing::error!(what, %error, "stored data could not be rendered");
        let message = format!("A stored {what} is damaged; see the server's log.");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", message)
    }

    /// Adds a field to the body, which the specification ties to the error code.
    pub(crate) fn with_field(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Some(body) = self.body.as_object_mut() {
            body.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Creates the answer that asks for more steps of user-interactive authentication (spec, "User-interactive
    /// Authentication API").
    pub(crate) fn authentication_needed(flows: Value) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, code: "user_interactive", body: flows, retry_after: None }
    }
}

#[cfg(test)]
impl MatrixError {
    /// Returns the error code in the body; empty if there is none.
    pub(super) fn errcode(&self) -> &str {
        self.body.get("errcode").and_then(Value::as_str).unwrap_or_default()
    }
}

impl CallError for MatrixError {
    fn label(&self) -> &'static str {
        self.code
    }

    fn is_fault(&self) -> bool {
        self.status.is_server_error()
    }
}

fn capitalise_first(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Returns the status and error code of a kind of refusal. Closed: a new kind does not compile without its spelling.
fn status_and_errcode(code: RefusalCode) -> (StatusCode, &'static str) {
    match code {
        // Specification, "Soft logout": the same code for both; `soft_logout` in the body makes the difference.
        RefusalCode::Unauthenticated | RefusalCode::SessionExpired => (StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN"),
        // Specification, "Account locking" and "Account suspension".
        RefusalCode::UserLocked => (StatusCode::UNAUTHORIZED, "M_USER_LOCKED"),
        RefusalCode::UserSuspended => (StatusCode::FORBIDDEN, "M_USER_SUSPENDED"),
        RefusalCode::UserDeactivated => (StatusCode::FORBIDDEN, "M_USER_DEACTIVATED"),
        RefusalCode::NoticeRoom => (StatusCode::FORBIDDEN, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"),
        // 403 also for a wrong password (specification, "Login"), where HTTP would suggest 401.
        RefusalCode::WrongCredentials
        | RefusalCode::RegistrationClosed
        | RefusalCode::Forbidden
        | RefusalCode::NotMember => (StatusCode::FORBIDDEN, "M_FORBIDDEN"),
        RefusalCode::RoomNotFound | RefusalCode::UserNotFound | RefusalCode::EventNotFound | RefusalCode::NotFound => {
            (StatusCode::NOT_FOUND, "M_NOT_FOUND")
        }
        // No Matrix endpoint reads a stream; a sync with an old token is `limited` instead.
        RefusalCode::Invalid | RefusalCode::BadCursor | RefusalCode::HistoryRemoved => {
            (StatusCode::BAD_REQUEST, "M_INVALID_PARAM")
        }
        RefusalCode::WrongBackupVersion => (StatusCode::FORBIDDEN, "M_WRONG_ROOM_KEYS_VERSION"),
        RefusalCode::BadJson => (StatusCode::BAD_REQUEST, "M_BAD_JSON"),
        RefusalCode::InvalidUsername => (StatusCode::BAD_REQUEST, "M_INVALID_USERNAME"),
        RefusalCode::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE"),
        RefusalCode::LimitExceeded => (StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED"),
        // 400 for both in the specification (`/register`, `/createRoom`), where HTTP would suggest 409.
        RefusalCode::UserExists => (StatusCode::BAD_REQUEST, "M_USER_IN_USE"),
        RefusalCode::BadAlias => (StatusCode::BAD_REQUEST, "M_BAD_ALIAS"),
        RefusalCode::AliasExists => (StatusCode::BAD_REQUEST, "M_ROOM_IN_USE"),
        RefusalCode::BadState => (StatusCode::FORBIDDEN, "M_BAD_STATE"),
        RefusalCode::Conflict => (StatusCode::CONFLICT, "M_UNKNOWN"),
        RefusalCode::DuplicateAnnotation => (StatusCode::BAD_REQUEST, "M_DUPLICATE_ANNOTATION"),
        // The specification has no code of its own for it ("Validation of `m.thread` relationships").
        RefusalCode::BadRelation => (StatusCode::BAD_REQUEST, "M_UNKNOWN"),
        // The specification has no code for it; this is the one that Synapse answers with.
        RefusalCode::KeyExists => (StatusCode::BAD_REQUEST, "M_UNKNOWN"),
        // Never 500 for what may succeed on a later try: clients give up on that.
        RefusalCode::Unavailable | RefusalCode::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN"),
        // The specification's code for a server that is out of disk space; 507 because clients take a 4xx as final.
        RefusalCode::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "M_RESOURCE_LIMIT_EXCEEDED"),
        RefusalCode::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN"),
    }
}

impl From<RequestRefusal> for MatrixError {
    fn from(refusal: RequestRefusal) -> Self {
        let (status, errcode) = status_and_errcode(refusal.code);
        let mut error = Self::new(status, errcode, refusal.message);
        error.code = refusal.code.label();
        error.retry_after = refusal.retry_after;
        if let Some(body) = error.body.as_object_mut() {
            if matches!(refusal.code, RefusalCode::SessionExpired | RefusalCode::UserLocked) {
                // The device stays: a client keeps its data and logs in again, or waits for the account to be unlocked.
                body.insert("soft_logout".into(), true.into());
            }
            if refusal.code == RefusalCode::StorageFull {
                // Required with this error code.
                body.insert("admin_contact".into(), refusal.contact.unwrap_or_default().into());
            }
            // Deprecated in favour of the header since version 1.10; older clients read only this.
            if let (RefusalCode::LimitExceeded, Some(wait)) = (refusal.code, refusal.retry_after) {
                body.insert("retry_after_ms".into(), whole_millis(wait).into());
            }
        }
        error
    }
}

impl IntoResponse for MatrixError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(wait) = self.retry_after {
            // Whole seconds, at least one: RFC 9110 has no fractions here.
            let seconds = wait.as_secs_f64().ceil().max(1.0);
            if let Ok(value) = format!("{seconds}").parse() {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: RefusalCode, retry_after: Option<Duration>) -> MatrixError {
        RequestRefusal { retry_after, ..RequestRefusal::new(code, "why") }.into()
    }

    #[test]
    fn an_expired_session_is_a_soft_logout_and_an_unknown_one_is_not() {
        assert_eq!(refusal(RefusalCode::SessionExpired, None).body["soft_logout"], true);
        assert!(refusal(RefusalCode::Unauthenticated, None).body.get("soft_logout").is_none());
    }

    #[test]
    fn a_locked_account_is_a_soft_logout_and_a_suspended_one_is_not() {
        let locked = refusal(RefusalCode::UserLocked, None);
        assert_eq!((locked.status, &locked.body["errcode"]), (StatusCode::UNAUTHORIZED, &json!("M_USER_LOCKED")));
        assert_eq!(locked.body["soft_logout"], true);
        let suspended = refusal(RefusalCode::UserSuspended, None);
        assert_eq!((suspended.status, &suspended.body["errcode"]), (StatusCode::FORBIDDEN, &json!("M_USER_SUSPENDED")));
        assert!(suspended.body.get("soft_logout").is_none());
    }

    #[test]
    fn a_rate_limit_tells_when_to_try_again_in_body_and_header() {
        let error = refusal(RefusalCode::LimitExceeded, Some(Duration::from_millis(1500)));
        assert_eq!(error.body["retry_after_ms"], 1500);
        let response = error.into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn full_volumes_are_told_as_the_specification_says_and_worth_another_try() {
        let full = RequestRefusal {
            contact: Some("https://chat.example.org".into()),
            ..RequestRefusal::new(RefusalCode::StorageFull, "full")
        };
        let error = MatrixError::from(full.after(Duration::from_secs(10)));
        assert_eq!(error.body["errcode"], "M_RESOURCE_LIMIT_EXCEEDED");
        assert_eq!(error.body["admin_contact"], "https://chat.example.org");
        let response = error.into_response();
        assert_eq!(response.status(), StatusCode::INSUFFICIENT_STORAGE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "10");
    }

    #[test]
    fn a_missing_leader_is_unavailable_and_never_an_internal_error() {
        let response = refusal(RefusalCode::Unavailable, Some(Duration::from_millis(500))).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
