//! The client, the commands and the program against a small scriptable stand-in for the service.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test ends by panicking"
)]

mod admin;
mod calls;
mod fake;
mod moderation;
mod posting;
mod program;
mod tailing;
mod tls;
mod verifying;
