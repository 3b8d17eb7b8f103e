//! Authorization rules of room version 11, except those that only federation needs. All functions are pure and work on
//! facts that apply has read.
//! Source: Matrix specification, "Room Version 11".

pub(crate) mod levels;
pub(crate) mod membership;
pub(crate) mod redaction;
pub(crate) mod send;

use crate::proto::log::Reason;

/// Denial of a change by the rules.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AuthDenial {
    pub(crate) reason: Reason,
    /// Sentence that tells the caller what to do.
    pub(crate) message: String,
}

/// Returns a denial with [`Reason::Forbidden`], the most common one.
pub(crate) fn forbidden_change(message: impl Into<String>) -> AuthDenial {
    AuthDenial { reason: Reason::Forbidden, message: message.into() }
}

/// Returns a denial for content that violates a rule about its form.
pub(crate) fn invalid_change(message: impl Into<String>) -> AuthDenial {
    AuthDenial { reason: Reason::Invalid, message: message.into() }
}
