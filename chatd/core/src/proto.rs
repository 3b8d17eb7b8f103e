//! Generated from `proto/`: the formats of log and store. Documented there.

/// `quorate.log.v1`: what stands in the Raft log, and outcomes.
pub mod log {
    #![allow(clippy::all, missing_docs, unreachable_pub)]
    include!(concat!(env!("OUT_DIR"), "/quorate.log.v1.rs"));
}

/// `quorate.store.v1`: values of the state's rows.
pub mod store {
    #![allow(clippy::all, missing_docs, unreachable_pub)]
    include!(concat!(env!("OUT_DIR"), "/quorate.store.v1.rs"));
}
