//! Exit codes of `chatctl`: part of its interface, described in `docs/chatctl.md`.

/// The command did what was asked.
pub const OK: u8 = 0;
/// An internal fault of `chatctl` or of the machine it runs on.
pub const INTERNAL: u8 = 1;
/// The command line is invalid.
pub const USAGE: u8 = 2;
/// The server refused the request permanently.
pub const REFUSED: u8 = 3;
/// There is no session, or it has ended.
pub const UNAUTHENTICATED: u8 = 4;
/// No server answered in time; nothing was written.
pub const UNAVAILABLE: u8 = 5;
/// The outcome of a write is unknown; it may be sent again with the same transaction id.
pub const UNKNOWN: u8 = 6;
/// A local file (profile, certificate, cluster id) cannot be used.
pub const LOCAL: u8 = 7;
/// `verify` found a broken promise.
pub const VIOLATION: u8 = 10;
/// `verify` ran, but no message was acknowledged or nothing could be compared.
pub const INCONCLUSIVE: u8 = 11;
