//! What the fuzzer found, replayed; and the real encodings that it began with.

mod replay;
mod seeds;
