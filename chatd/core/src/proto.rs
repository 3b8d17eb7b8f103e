//! Messages generated from `proto/`: the formats of the log and of the store. The `.proto` files document them.

/// Package `quorate.log.v1`: contents of the Raft log, and outcomes of commands.
pub mod log {
    #![allow(clippy::all, missing_docs, unreachable_pub)]
    include!(concat!(env!("OUT_DIR"), "/quorate.log.v1.rs"));
}

/// Package `quorate.store.v1`: values of the state's rows.
pub mod store {
    #![allow(clippy::all, missing_docs, unreachable_pub)]
    include!(concat!(env!("OUT_DIR"), "/quorate.store.v1.rs"));
}
