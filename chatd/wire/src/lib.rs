//! The gRPC interfaces of Quorate: messages and generated service types, and of one message the JSON that two programs
//! print. What a message *means* is decided in `quorate-core`, and only `chatd`'s `api::convert` knows both.

pub mod overview;

/// `quorate.chat.v1`: what programs use to chat (port 7400).
pub mod chat {
    #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("quorate.chat.v1");
    }
}

/// `quorate.admin.v1`: what the operator and `chatctl cluster` use (port 7401, mutual TLS).
pub mod admin {
    #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("quorate.admin.v1");
    }
}

/// `quorate.raft.v1`: what the pods say to each other (port 7401, mutual TLS).
pub mod raft {
    #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("quorate.raft.v1");
    }
}

/// Encoded `google.protobuf.FileDescriptorSet` of all three packages, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
