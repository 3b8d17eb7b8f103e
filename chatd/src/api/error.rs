//! Refusals as gRPC statuses. The status code suits generic clients; the detail in the metadata says all.

use crate::service::{Code, Refusal};
use prost::Message as _;
use quorate_wire::chat::v1::{ErrorCode, ErrorDetail};
use quorate_wire::whole_millis;
use std::time::Duration;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code as Grpc, Status};

/// Metadata key of an encoded [`ErrorDetail`].
pub const DETAIL: &str = "quorate-error-bin";

/// Converts a refusal to its detail, which also stands in the results of a post.
#[must_use]
pub fn detail(refusal: Refusal) -> ErrorDetail {
    let Refusal { code, message, retry_after, leader, unknown, contact: _ } = refusal;
    ErrorDetail {
        code: wire_code(code).into(),
        message,
        retry_after_ms: retry_after.map_or(0, at_least_one_ms),
        leader: leader.unwrap_or_default(),
        unknown,
    }
}

/// Converts a refusal to the status of a failed call.
#[must_use]
pub fn status(refusal: Refusal) -> Status {
    let (code, message) = (grpc_code(&refusal), refusal.message.clone());
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(DETAIL, MetadataValue::from_bytes(&detail(refusal).encode_to_vec()));
    Status::with_metadata(code, message, metadata)
}

/// Returns the wait in milliseconds, at least one: 0 would mean "waiting does not help".
fn at_least_one_ms(wait: Duration) -> u64 {
    whole_millis(wait).max(1)
}

fn wire_code(code: Code) -> ErrorCode {
    match code {
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::SessionExpired => ErrorCode::SessionExpired,
        Code::WrongCredentials => ErrorCode::WrongCredentials,
        Code::RegistrationClosed => ErrorCode::RegistrationDisabled,
        Code::Forbidden => ErrorCode::Forbidden,
        Code::NotMember => ErrorCode::NotMember,
        Code::RoomNotFound | Code::UserNotFound | Code::EventNotFound | Code::NotFound => ErrorCode::NotFound,
        Code::Invalid | Code::InvalidUsername | Code::BadJson => ErrorCode::Invalid,
        Code::TooLarge => ErrorCode::TooLarge,
        Code::LimitExceeded => ErrorCode::LimitExceeded,
        Code::UserExists | Code::AliasExists => ErrorCode::AlreadyExists,
        Code::BadCursor => ErrorCode::BadCursor,
        Code::HistoryRemoved => ErrorCode::HistoryRemoved,
        Code::Unavailable => ErrorCode::Unavailable,
        Code::Overloaded => ErrorCode::Overloaded,
        Code::StorageFull => ErrorCode::StorageFull,
        Code::Internal => ErrorCode::Internal,
    }
}

fn grpc_code(refusal: &Refusal) -> Grpc {
    match refusal.code {
        Code::Unauthenticated | Code::SessionExpired | Code::WrongCredentials => Grpc::Unauthenticated,
        Code::RegistrationClosed | Code::Forbidden | Code::NotMember => Grpc::PermissionDenied,
        Code::RoomNotFound | Code::UserNotFound | Code::EventNotFound | Code::NotFound => Grpc::NotFound,
        Code::Invalid | Code::InvalidUsername | Code::BadJson | Code::TooLarge | Code::BadCursor => {
            Grpc::InvalidArgument
        }
        Code::HistoryRemoved => Grpc::OutOfRange,
        Code::LimitExceeded | Code::Overloaded | Code::StorageFull => Grpc::ResourceExhausted,
        Code::UserExists | Code::AliasExists => Grpc::AlreadyExists,
        Code::Unavailable => Grpc::Unavailable,
        Code::Internal => Grpc::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detail_travels_with_the_status() {
        let refusal = Refusal::new(Code::LimitExceeded, "wait").after(Duration::from_micros(300));
        let status = status(refusal);
        assert_eq!((status.code(), status.message()), (Grpc::ResourceExhausted, "wait"));
        let bytes = status.metadata().get_bin(DETAIL).unwrap().to_bytes().unwrap();
        let detail = ErrorDetail::decode(bytes).unwrap();
        assert_eq!((detail.code(), detail.retry_after_ms), (ErrorCode::LimitExceeded, 1));
    }
}
