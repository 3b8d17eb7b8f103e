//! What the fuzzer found, replayed; and the real encodings that it began with.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod replay;
mod seeds;
