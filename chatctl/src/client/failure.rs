//! Meaning of a failed attempt: a permanent refusal, a retry elsewhere, or a wait.

use crate::exit;
use prost::Message as _;
use quorate_wire::cause::causes_of;
use quorate_wire::chat::v1::{ErrorCode, ErrorDetail};
use quorate_wire::whole_millis;
use std::{error::Error as _, time::Duration};
use thiserror::Error;
use tonic::{Code, Status};

/// Name of the metadata that carries an encoded [`ErrorDetail`].
const DETAIL: &str = "quorate-error-bin";

/// Broad kind of a failure, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The request was permanently refused.
    Refused,
    /// There is no session, or it has ended.
    Unauthenticated,
    /// No server answered, or there is no leader.
    Unavailable,
}

/// Rule for sending the same request again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryRule {
    /// The request is not sent again.
    No,
    /// The request may go to another server, after at least this long.
    Elsewhere(Duration),
    /// The request may go to any server, after this long: the limit is counted by the cluster, not by the server.
    After(Duration),
}

/// Reason why a call, or one attempt of it, failed.
#[derive(Debug, Clone, Error)]
#[error("{message}{}", self.whom())]
pub struct CallFailure {
    /// Broad kind of the failure.
    pub kind: FailureKind,
    /// Error code of the refusal; `ERROR_CODE_UNSPECIFIED` if no server of Quorate answered.
    pub error_code: ErrorCode,
    /// Description in one sentence.
    pub message: String,
    /// `true` if a write may have happened or may still happen.
    pub unknown: bool,
    /// Rule for the next attempt.
    pub retry: RetryRule,
    /// `true` if the connection is of no further use.
    pub broken: bool,
    /// Address of the server that answered, or that did not.
    pub server: Option<String>,
    /// Transaction id with which the write may be sent again; set by [`Self::of_write`].
    pub transaction_id: Option<String>,
}

impl CallFailure {
    /// Creates the failure of an attempt without a connection: the request has not left this machine.
    #[must_use]
    pub fn unreachable(server: &str, reason: &str) -> Self {
        let message = format!("cannot connect: {reason}");
        Self { unknown: false, ..Self::no_answer(server, message) }
    }

    /// Creates the failure of an attempt that was sent and not answered in time.
    #[must_use]
    pub fn timed_out(server: &str, after: Duration) -> Self {
        Self::no_answer(server, format!("no answer within {} ms", after.as_millis()))
    }

    /// Creates the failure of a stream that ended without an error.
    #[must_use]
    pub fn stream_ended(server: &str) -> Self {
        // The server closed the stream in order, over a connection that works.
        Self { broken: false, unknown: false, ..Self::no_answer(server, "the stream ended".to_owned()) }
    }

    fn no_answer(server: &str, message: String) -> Self {
        Self {
            kind: FailureKind::Unavailable,
            error_code: ErrorCode::Unspecified,
            message,
            unknown: true,
            retry: RetryRule::Elsewhere(Duration::ZERO),
            broken: true,
            server: Some(server.to_owned()),
            transaction_id: None,
        }
    }

    /// Interprets the status that a server returned.
    #[must_use]
    pub fn from_status(server: &str, status: &Status) -> Self {
        match error_detail(status) {
            Some(detail) => Self { server: Some(server.to_owned()), ..Self::from_detail(&detail) },
            None => Self::from_bare_status(server, status),
        }
    }

    /// Interprets a refusal inside an answer.
    #[must_use]
    pub fn from_detail(detail: &ErrorDetail) -> Self {
        let code = detail.code();
        let wait = Duration::from_millis(detail.retry_after_ms);
        let retry = match code {
            // Whatever the code: only the same transaction id, sent again, shows whether the write happened.
            _ if detail.unknown => RetryRule::Elsewhere(wait),
            ErrorCode::Unavailable | ErrorCode::Overloaded => RetryRule::Elsewhere(wait),
            ErrorCode::LimitExceeded if !wait.is_zero() => RetryRule::After(wait),
            _ => RetryRule::No,
        };
        let kind = match code {
            ErrorCode::Unauthenticated | ErrorCode::SessionExpired | ErrorCode::WrongCredentials => {
                FailureKind::Unauthenticated
            }
            _ if matches!(retry, RetryRule::Elsewhere(_)) => FailureKind::Unavailable,
            _ => FailureKind::Refused,
        };
        let message = match detail.message.as_str() {
            "" => format!("refused: {}", code_name(code)),
            text => text.to_owned(),
        };
        Self {
            kind,
            error_code: code,
            message,
            unknown: detail.unknown,
            retry,
            broken: false,
            server: None,
            transaction_id: None,
        }
    }

    /// Interprets a status without error detail, which comes from the transport, a proxy, or something that is not
    /// Quorate.
    fn from_bare_status(server: &str, status: &Status) -> Self {
        let transport = status.source().is_some();
        let (kind, retry) = match status.code() {
            Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::Aborted
            | Code::ResourceExhausted => (FailureKind::Unavailable, RetryRule::Elsewhere(Duration::ZERO)),
            Code::Unauthenticated => (FailureKind::Unauthenticated, RetryRule::No),
            _ => (FailureKind::Refused, RetryRule::No),
        };
        let message = match status.message() {
            "" => format!("{:?}", status.code()),
            text => format!("{text} ({:?})", status.code()),
        };
        let unknown = kind == FailureKind::Unavailable && !never_sent(status);
        Self { kind, message, retry, unknown, broken: transport, ..Self::no_answer(server, String::new()) }
    }

    /// Returns the exit code of a command that ends with this failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            _ if self.unknown && self.transaction_id.is_some() => exit::UNKNOWN,
            FailureKind::Refused => exit::REFUSED,
            FailureKind::Unauthenticated => exit::UNAUTHENTICATED,
            FailureKind::Unavailable => exit::UNAVAILABLE,
        }
    }

    /// Returns a stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.error_code {
            ErrorCode::Unspecified => match self.kind {
                FailureKind::Refused => "REFUSED",
                FailureKind::Unauthenticated => "UNAUTHENTICATED",
                FailureKind::Unavailable => "UNAVAILABLE",
            },
            code => code_name(code),
        }
    }

    /// Returns the milliseconds after which another attempt makes sense; 0 if none does.
    #[must_use]
    pub fn retry_after_ms(&self) -> u64 {
        match self.retry {
            RetryRule::No => 0,
            RetryRule::Elsewhere(wait) | RetryRule::After(wait) => whole_millis(wait),
        }
    }

    /// Adds the transaction id of the write, so that whoever reads the error can send it again without duplicating it.
    #[must_use]
    pub fn of_write(mut self, transaction_id: &str) -> Self {
        self.transaction_id = Some(transaction_id.to_owned());
        if self.unknown {
            self.message.push_str("; the write may or may not have been applied: retry with the same transaction id");
        }
        self
    }

    fn whom(&self) -> String {
        self.server.as_ref().map(|server| format!(" [{server}]")).unwrap_or_default()
    }
}

/// Returns `true` if the transport failed to connect again, so the request never left this machine.
fn never_sent(status: &Status) -> bool {
    causes_of(status).any(|cause| cause.is::<tonic::ConnectError>())
}

fn error_detail(status: &Status) -> Option<ErrorDetail> {
    let bytes = status.metadata().get_bin(DETAIL)?.to_bytes().ok()?;
    ErrorDetail::decode(bytes).ok()
}

fn code_name(code: ErrorCode) -> &'static str {
    let full = code.as_str_name();
    full.strip_prefix("ERROR_CODE_").unwrap_or(full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::metadata::{MetadataMap, MetadataValue};

    fn status(detail: &ErrorDetail) -> Status {
        let mut metadata = MetadataMap::new();
        metadata.insert_bin(DETAIL, MetadataValue::from_bytes(&detail.encode_to_vec()));
        Status::with_metadata(Code::FailedPrecondition, "outer", metadata)
    }

    fn detailed(code: ErrorCode, retry_after_ms: u64, unknown: bool) -> CallFailure {
        let detail =
            ErrorDetail { code: code.into(), message: "why".into(), retry_after_ms, unknown, ..Default::default() };
        CallFailure::from_status("s:1", &status(&detail))
    }

    #[test]
    fn the_detail_decides_and_not_the_grpc_code() {
        let failure = detailed(ErrorCode::Forbidden, 0, false);
        assert_eq!((failure.kind, failure.retry), (FailureKind::Refused, RetryRule::No));
        assert_eq!(failure.code(), "FORBIDDEN");
        assert_eq!(failure.to_string(), "why [s:1]");
        assert_eq!(failure.exit_code(), exit::REFUSED);
    }

    #[test]
    fn an_unknown_outcome_is_retried_whatever_its_code() {
        let failure = detailed(ErrorCode::Internal, 0, true);
        assert_eq!(failure.retry, RetryRule::Elsewhere(Duration::ZERO));
        assert_eq!(failure.of_write("t1").exit_code(), exit::UNKNOWN);
    }

    #[test]
    fn a_rate_limit_is_waited_for_only_when_waiting_helps() {
        assert_eq!(detailed(ErrorCode::LimitExceeded, 700, false).retry, RetryRule::After(Duration::from_millis(700)));
        assert_eq!(detailed(ErrorCode::LimitExceeded, 0, false).retry, RetryRule::No);
    }

    #[test]
    fn a_session_that_ended_is_not_tried_again() {
        for code in [ErrorCode::Unauthenticated, ErrorCode::SessionExpired, ErrorCode::WrongCredentials] {
            let failure = detailed(code, 0, false);
            assert_eq!((failure.exit_code(), failure.retry), (exit::UNAUTHENTICATED, RetryRule::No));
        }
    }

    #[test]
    fn a_bare_unavailable_may_have_been_written_and_a_bare_not_found_not() {
        let lost = CallFailure::from_status("s:1", &Status::unavailable("gone"));
        assert!(lost.unknown && lost.exit_code() == exit::UNAVAILABLE);
        let refused = CallFailure::from_status("s:1", &Status::not_found("no room"));
        assert!(!refused.unknown && refused.retry == RetryRule::No);
    }

    #[test]
    fn a_connection_that_could_not_be_made_again_carried_nothing() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(tonic::ConnectError(Box::new(refused))));
        let failure = CallFailure::from_status("s:1", &status);
        assert!(!failure.unknown && failure.retry != RetryRule::No, "{failure:?}");
    }

    #[test]
    fn a_request_that_never_left_is_not_unknown() {
        assert!(!CallFailure::unreachable("s:1", "refused").unknown);
        assert!(CallFailure::timed_out("s:1", Duration::from_secs(1)).unknown);
    }
}
