//! One pod of a Quorate chat cluster, as a library; `main.rs` is a thin binary over it.

pub mod feed;
pub mod store;

pub mod raft {
    //! Replication: openraft's types and traits stay in here.
    pub mod codec;
    pub mod log;
    pub mod types;
}
