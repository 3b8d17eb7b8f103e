//! Refusals as gRPC statuses. The status code suits generic clients; the detail in the metadata says all.

use crate::service::{RefusalCode, RequestRefusal};
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
pub fn refusal_to_detail(refusal: RequestRefusal) -> ErrorDetail {
    // Only Matrix has a field for the contact (`admin_contact`).
    let RequestRefusal { code, message, retry_after, leader, unknown, contact: _ } = refusal;
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
pub fn refusal_to_status(refusal: RequestRefusal) -> Status {
    let code = grpc_code(&refusal);
    let message = refusal.message.clone();
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(DETAIL, MetadataValue::from_bytes(&refusal_to_detail(refusal).encode_to_vec()));
    Status::with_metadata(code, message, metadata)
}

/// Returns the wait in milliseconds, at least one: 0 would mean "waiting does not help".
fn at_least_one_ms(wait: Duration) -> u64 {
    whole_millis(wait).max(1)
}

fn wire_code(code: RefusalCode) -> ErrorCode {
    match code {
        RefusalCode::Unauthenticated => ErrorCode::Unauthenticated,
        RefusalCode::SessionExpired => ErrorCode::SessionExpired,
        RefusalCode::UserLocked => ErrorCode::UserLocked,
        RefusalCode::UserSuspended => ErrorCode::UserSuspended,
        RefusalCode::UserDeactivated => ErrorCode::UserDeactivated,
        RefusalCode::WrongCredentials => ErrorCode::WrongCredentials,
        RefusalCode::RegistrationClosed => ErrorCode::RegistrationDisabled,
        RefusalCode::Forbidden | RefusalCode::BadState | RefusalCode::NoticeRoom => ErrorCode::Forbidden,
        RefusalCode::NotMember => ErrorCode::NotMember,
        RefusalCode::RoomNotFound | RefusalCode::UserNotFound | RefusalCode::EventNotFound | RefusalCode::NotFound => {
            ErrorCode::NotFound
        }
        // No gRPC call is about key backups.
        RefusalCode::Invalid
        | RefusalCode::InvalidUsername
        | RefusalCode::BadAlias
        | RefusalCode::BadJson
        | RefusalCode::WrongBackupVersion
        | RefusalCode::BadRelation => ErrorCode::Invalid,
        RefusalCode::TooLarge => ErrorCode::TooLarge,
        RefusalCode::LimitExceeded => ErrorCode::LimitExceeded,
        RefusalCode::UserExists
        | RefusalCode::AliasExists
        | RefusalCode::DuplicateAnnotation
        | RefusalCode::KeyExists => ErrorCode::AlreadyExists,
        // To be tried again, like everything that is unavailable.
        RefusalCode::Conflict | RefusalCode::Unavailable => ErrorCode::Unavailable,
        RefusalCode::BadCursor => ErrorCode::BadCursor,
        RefusalCode::HistoryRemoved => ErrorCode::HistoryRemoved,
        RefusalCode::Overloaded => ErrorCode::Overloaded,
        RefusalCode::StorageFull => ErrorCode::StorageFull,
        RefusalCode::Internal => ErrorCode::Internal,
    }
}

fn grpc_code(refusal: &RequestRefusal) -> Grpc {
    match refusal.code {
        RefusalCode::Unauthenticated | RefusalCode::SessionExpired | RefusalCode::WrongCredentials => {
            Grpc::Unauthenticated
        }
        // Not UNAUTHENTICATED, upon which clients log in again, in vain.
        RefusalCode::UserLocked
        | RefusalCode::UserSuspended
        | RefusalCode::UserDeactivated
        | RefusalCode::NoticeRoom
        | RefusalCode::RegistrationClosed
        | RefusalCode::Forbidden
        | RefusalCode::NotMember => Grpc::PermissionDenied,
        RefusalCode::RoomNotFound | RefusalCode::UserNotFound | RefusalCode::EventNotFound | RefusalCode::NotFound => {
            Grpc::NotFound
        }
        RefusalCode::Invalid
        | RefusalCode::InvalidUsername
        | RefusalCode::BadAlias
        | RefusalCode::BadJson
        | RefusalCode::BadRelation
        | RefusalCode::WrongBackupVersion
        | RefusalCode::TooLarge
        | RefusalCode::BadCursor => Grpc::InvalidArgument,
        // Not INVALID_ARGUMENT: the cursor was right, until the room's history was removed.
        RefusalCode::HistoryRemoved => Grpc::OutOfRange,
        // Not UNAVAILABLE, upon which generic clients repeat the call: here they have to wait, or do less.
        RefusalCode::LimitExceeded | RefusalCode::Overloaded | RefusalCode::StorageFull => Grpc::ResourceExhausted,
        RefusalCode::UserExists
        | RefusalCode::AliasExists
        | RefusalCode::DuplicateAnnotation
        | RefusalCode::KeyExists => Grpc::AlreadyExists,
        RefusalCode::Conflict => Grpc::Aborted,
        RefusalCode::BadState => Grpc::FailedPrecondition,
        RefusalCode::Unavailable => Grpc::Unavailable,
        RefusalCode::Internal => Grpc::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detail_travels_with_the_status() {
        let refusal = RequestRefusal::new(RefusalCode::LimitExceeded, "wait").after(Duration::from_micros(300));
        let status = refusal_to_status(refusal);
        assert_eq!((status.code(), status.message()), (Grpc::ResourceExhausted, "wait"));
        let bytes = status.metadata().get_bin(DETAIL).unwrap().to_bytes().unwrap();
        let detail = ErrorDetail::decode(bytes).unwrap();
        assert_eq!((detail.code(), detail.retry_after_ms), (ErrorCode::LimitExceeded, 1));
    }
}
