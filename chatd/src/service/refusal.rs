//! Reasons why a request was refused: one closed set, which each API maps to statuses of its own.

use crate::raft::{propose::ProposeError, read_index::ReadGateError};
use crate::trace::CallError;
use quorate_core::proto::log::{Reason, Rejected};
use quorate_core::query::QueryError;
use std::time::Duration;

/// Kind of a refusal. The set is closed: an API that forgets a variant does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// The request carries no token, or one that names no session.
    Unauthenticated,
    /// The session expired; a new login keeps the device.
    SessionExpired,
    /// An administrator has locked the account: the session is kept, but good for nothing except to be ended.
    UserLocked,
    /// An administrator has suspended the account: it reads and leaves, but neither writes nor joins.
    UserSuspended,
    /// The account was closed for good: nobody logs in to it any more.
    UserDeactivated,
    /// The invitation is to the room of the server's notices, and cannot be rejected.
    NoticeRoom,
    /// No such account exists, or the password is wrong: the caller is not told which.
    WrongCredentials,
    /// The server registers no accounts.
    RegistrationClosed,
    /// The room's rules or power levels forbid the operation.
    Forbidden,
    /// There is nothing to be undone.
    BadState,
    /// The caller is not in the room.
    NotMember,
    /// No such alias exists. (A room id that names no room is refused as [`RefusalCode::NotMember`].)
    RoomNotFound,
    /// No such account exists.
    UserNotFound,
    /// No such event exists, or it is not visible to the caller.
    EventNotFound,
    /// Something else does not exist.
    NotFound,
    /// The request itself is wrong.
    Invalid,
    /// The content is not a JSON object, or not one that events may carry.
    BadJson,
    /// No account can have this name.
    InvalidUsername,
    /// The request exceeds a size limit.
    TooLarge,
    /// The caller acts too often; `retry_after` says when to try again.
    LimitExceeded,
    /// The localpart is taken.
    UserExists,
    /// The alias is taken.
    AliasExists,
    /// The data that the request was to replace has changed meanwhile: read it again.
    Conflict,
    /// The user has annotated the event in the same way before.
    DuplicateAnnotation,
    /// The event cannot be related to in this way.
    BadRelation,
    /// Another key has this id.
    KeyExists,
    /// An alias in the content does not lead to the room.
    BadAlias,
    /// The cursor is not one of this cluster.
    BadCursor,
    /// The history after the cursor was removed from the room.
    HistoryRemoved,
    /// The key backup has a newer version, the only one that takes keys.
    WrongBackupVersion,
    /// The pod knows no leader, has not joined a cluster yet, or is stopping: try again, perhaps on another pod.
    Unavailable,
    /// The pod has no room for more work at present.
    Overloaded,
    /// The cluster's volumes are nearly full; `retry_after` says when to try again.
    StorageFull,
    /// The server failed; its log holds the cause.
    Internal,
}

impl RefusalCode {
    /// Returns the label for metrics: lower case, stable.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::SessionExpired => "session_expired",
            Self::UserLocked => "user_locked",
            Self::UserSuspended => "user_suspended",
            Self::UserDeactivated => "user_deactivated",
            Self::NoticeRoom => "notice_room",
            Self::WrongCredentials => "wrong_credentials",
            Self::RegistrationClosed => "registration_closed",
            Self::Forbidden => "forbidden",
            Self::BadState => "bad_state",
            Self::NotMember => "not_member",
            Self::RoomNotFound => "room_not_found",
            Self::UserNotFound => "user_not_found",
            Self::EventNotFound => "event_not_found",
            Self::NotFound => "not_found",
            Self::Invalid => "invalid",
            Self::BadJson => "bad_json",
            Self::InvalidUsername => "invalid_username",
            Self::TooLarge => "too_large",
            Self::LimitExceeded => "limit_exceeded",
            Self::UserExists => "user_exists",
            Self::AliasExists => "alias_exists",
            Self::Conflict => "conflict",
            Self::DuplicateAnnotation => "duplicate_annotation",
            Self::BadRelation => "bad_relation",
            Self::KeyExists => "key_exists",
            Self::BadAlias => "bad_alias",
            Self::BadCursor => "bad_cursor",
            Self::HistoryRemoved => "history_removed",
            Self::WrongBackupVersion => "wrong_backup_version",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::StorageFull => "storage_full",
            Self::Internal => "internal",
        }
    }
}

/// A refusal of a request, in words for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RequestRefusal {
    pub code: RefusalCode,
    /// Message for the caller: one sentence that says what to do.
    pub message: String,
    /// Time after which trying again makes sense; `None` if waiting does not help.
    pub retry_after: Option<Duration>,
    /// Client address of the current leader, when that may help.
    pub leader: Option<String>,
    /// `true` if the write may still happen: try again with the same transaction id, never with a new one.
    pub unknown: bool,
    /// Contact for help, as a URI; set with [`RefusalCode::StorageFull`].
    pub contact: Option<String>,
}

/// Time after which a new leader has normally been elected (election timeouts are below it by default).
pub(super) const ELECTION_WAIT: Duration = Duration::from_millis(500);

impl RequestRefusal {
    /// Creates a refusal for which waiting does not help.
    #[must_use]
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, leader: None, unknown: false, contact: None }
    }

    /// Creates a refusal of a request that is itself wrong.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(RefusalCode::Invalid, message)
    }

    /// Creates a refusal for a failure of the server. The caller gets no detail; log the cause where this is called.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(RefusalCode::Internal, "internal error; the server's log has the cause")
    }

    /// Creates a refusal to be retried after `wait`, perhaps on another pod.
    #[must_use]
    pub fn unavailable(message: impl Into<String>, wait: Duration) -> Self {
        Self::new(RefusalCode::Unavailable, message).after(wait)
    }

    /// Sets the time after which another attempt makes sense.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Creates a refusal for a caller who is not in the room, or for an id that does not exist: the caller is not told
    /// which.
    #[must_use]
    pub fn outsider() -> Self {
        Self::new(RefusalCode::NotMember, "you are not in this room, or it does not exist; join it first")
    }

    /// Creates the refusal of a pod that is stopping.
    #[must_use]
    pub fn stopping() -> Self {
        Self::unavailable("this server is stopping; connect to another one", Duration::ZERO)
    }
}

impl CallError for RequestRefusal {
    fn label(&self) -> &'static str {
        self.code.label()
    }

    fn is_fault(&self) -> bool {
        matches!(self.code, RefusalCode::Internal | RefusalCode::Unavailable | RefusalCode::Overloaded)
    }
}

impl From<Rejected> for RequestRefusal {
    fn from(rejected: Rejected) -> Self {
        let code = match rejected.reason() {
            Reason::SessionEnded => RefusalCode::Unauthenticated,
            Reason::SessionExpired => RefusalCode::SessionExpired,
            Reason::UserLocked => RefusalCode::UserLocked,
            Reason::UserSuspended => RefusalCode::UserSuspended,
            Reason::UserDeactivated => RefusalCode::UserDeactivated,
            Reason::NoticeRoom => RefusalCode::NoticeRoom,
            // A quota is not a rate: waiting does not help, leaving a room does.
            Reason::Forbidden | Reason::QuotaReached => RefusalCode::Forbidden,
            Reason::BadState => RefusalCode::BadState,
            // Room ids can be guessed: nobody who is not a member is told which of them are rooms.
            Reason::NotMember | Reason::RoomNotFound => return Self::outsider(),
            Reason::AliasNotFound => RefusalCode::RoomNotFound,
            Reason::BackupNotFound => RefusalCode::NotFound,
            Reason::WrongBackupVersion => RefusalCode::WrongBackupVersion,
            Reason::UserNotFound => RefusalCode::UserNotFound,
            Reason::EventNotFound => RefusalCode::EventNotFound,
            Reason::DeviceNotFound => RefusalCode::NotFound,
            Reason::UserExists => RefusalCode::UserExists,
            Reason::AliasExists => RefusalCode::AliasExists,
            Reason::Conflict => RefusalCode::Conflict,
            Reason::DuplicateAnnotation => RefusalCode::DuplicateAnnotation,
            Reason::BadRelation => RefusalCode::BadRelation,
            Reason::KeyExists => RefusalCode::KeyExists,
            Reason::BadAlias => RefusalCode::BadAlias,
            Reason::WrongPassword => RefusalCode::WrongCredentials,
            Reason::Invalid => RefusalCode::Invalid,
            Reason::BadJson => RefusalCode::BadJson,
            Reason::TooLarge => RefusalCode::TooLarge,
            // `OutOfSequence` is for the proposer to handle; an API that sees it was too slow.
            Reason::NotBootstrapped | Reason::OutOfSequence => RefusalCode::Unavailable,
            // A reason of a newer version, or one that no command of an API gets.
            Reason::AlreadyBootstrapped | Reason::Unspecified => RefusalCode::Internal,
        };
        Self::new(code, rejected.message)
    }
}

impl From<ProposeError> for RequestRefusal {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Overloaded { retry_after } => {
                Self::new(RefusalCode::Overloaded, "too many writes are waiting; try again later").after(retry_after)
            }
            ProposeError::RateLimited { retry_after } => {
                let message =
                    format!("too many requests of this kind; wait {} ms before the next", retry_after.as_millis());
                Self::new(RefusalCode::LimitExceeded, message).after(retry_after)
            }
            error @ ProposeError::StorageFull { retry_after } => {
                Self::new(RefusalCode::StorageFull, error.to_string()).after(retry_after)
            }
            error @ ProposeError::TooNew { retry_after } => Self::unavailable(error.to_string(), retry_after),
            ProposeError::NoLeader => Self::unavailable(
                "no leader was elected in time; try again with the same transaction id",
                ELECTION_WAIT,
            ),
            ProposeError::Unknown { reason } => Self {
                // Repeated with a new id, a write that did take effect would be applied twice.
                unknown: true,
                ..Self::unavailable(
                    format!("the outcome of the write is unknown ({reason}); try again with the same transaction id"),
                    ELECTION_WAIT,
                )
            },
            ProposeError::Stopping => Self::stopping(),
            error @ ProposeError::TooLarge { .. } => Self::new(RefusalCode::TooLarge, error.to_string()),
        }
    }
}

impl From<ReadGateError> for RequestRefusal {
    fn from(error: ReadGateError) -> Self {
        Self::unavailable(error.to_string(), ELECTION_WAIT)
    }
}

impl From<QueryError> for RequestRefusal {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::NotBootstrapped => Self::unavailable(
                "this server does not belong to a cluster yet; initialise it, or use another one",
                Duration::from_secs(1),
            ),
            // As for writes: a read must not tell which of the guessed ids are rooms either.
            QueryError::RoomNotFound | QueryError::Forbidden | QueryError::NotMember => Self::outsider(),
            QueryError::EventNotFound => {
                Self::new(RefusalCode::EventNotFound, "there is no such event, or you may not see it")
            }
            error @ QueryError::Ahead => Self::new(RefusalCode::BadCursor, error.to_string()),
            error @ QueryError::Stopped => {
                Self::new(RefusalCode::Overloaded, error.to_string()).after(Duration::from_secs(1))
            }
            error @ QueryError::Purged => Self::new(RefusalCode::HistoryRemoved, error.to_string()),
            QueryError::Read(source) => {
                tracing::error!(error = &source as &dyn std::error::Error, "cannot read the state");
                Self::internal()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_says_so_and_asks_for_the_same_transaction_id() {
        let refusal = RequestRefusal::from(ProposeError::Unknown { reason: "the leader was lost".into() });
        assert!(refusal.unknown && refusal.code == RefusalCode::Unavailable);
        assert!(refusal.message.contains("same transaction id"), "{refusal}");
    }

    #[test]
    fn a_session_that_expired_by_the_time_of_a_write_keeps_its_device_as_one_that_expired_for_a_read() {
        let rejected = |reason: Reason| Rejected { reason: reason.into(), message: "log in again".into() };
        assert_eq!(RequestRefusal::from(rejected(Reason::SessionExpired)).code, RefusalCode::SessionExpired);
        assert_eq!(RequestRefusal::from(rejected(Reason::SessionEnded)).code, RefusalCode::Unauthenticated);
    }

    #[test]
    fn what_the_log_refused_keeps_its_sentence() {
        let rejected = Rejected { reason: Reason::Forbidden.into(), message: "you need power 50".into() };
        let refusal = RequestRefusal::from(rejected);
        assert_eq!((refusal.code, refusal.message.as_str()), (RefusalCode::Forbidden, "you need power 50"));
    }

    #[test]
    fn a_room_that_is_not_there_and_one_that_is_closed_are_refused_alike() {
        let of =
            |reason: Reason| RequestRefusal::from(Rejected { reason: reason.into(), message: format!("{reason:?}") });
        assert_eq!(of(Reason::RoomNotFound), of(Reason::NotMember));
        let all = [QueryError::RoomNotFound, QueryError::NotMember, QueryError::Forbidden].map(RequestRefusal::from);
        assert!(all.iter().all(|refusal| *refusal == of(Reason::NotMember)));
        assert_eq!(of(Reason::AliasNotFound).code, RefusalCode::RoomNotFound, "aliases are public");
    }
}
