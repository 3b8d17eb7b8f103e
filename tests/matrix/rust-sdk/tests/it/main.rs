//! What clients on matrix-rust-sdk do with a Quorate cluster behind one address, whose leader is killed meanwhile.

// The futures of the SDK are nested deeply; it needs the same itself.
#![recursion_limit = "256"]

mod encrypted_rooms;
mod identities;
mod recovery;
mod send_queue;
