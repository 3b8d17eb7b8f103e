//! Who may do what in a room: the authorisation rules of room version 11, without what only federation needs.
//! Source: Matrix specification, "Room Version 11". Pure functions of facts that apply has read.

pub(crate) mod levels;
pub(crate) mod membership;
pub(crate) mod redaction;

use crate::proto::log::Reason;

/// Why not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) reason: Reason,
    /// One sentence that says what to do.
    pub(crate) message: String,
}

/// Shorthand for the commonest denial.
pub(crate) fn forbidden(message: impl Into<String>) -> Denied {
    Denied { reason: Reason::Forbidden, message: message.into() }
}

/// Content that breaks a rule on its form.
pub(crate) fn invalid(message: impl Into<String>) -> Denied {
    Denied { reason: Reason::Invalid, message: message.into() }
}
