//! gRPC interfaces of Quorate: messages and generated service types, and, for one message, the JSON that two programs
//! print. The *meaning* of a message is decided in `quorate-core`, and only `chatd`'s `api::convert` knows both.

#![warn(missing_docs)]

pub mod cause;
mod millis;
pub mod overview;

pub use millis::whole_millis;

/// Package `quorate.chat.v1`: the API of programs that chat (port 7400).
pub mod chat {
    #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("quorate.chat.v1");
    }
}

/// Package `quorate.admin.v1`: the API of the operator, of `chatctl cluster` and of `chatctl admin` (port 7401, mutual
/// TLS).
pub mod admin {
    #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("quorate.admin.v1");
    }
}

/// Package `quorate.raft.v1`: the protocol between the pods (port 7401, mutual TLS).
pub mod raft {
    #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("quorate.raft.v1");
    }
}

/// Encoded `google.protobuf.FileDescriptorSet` of all three packages, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
