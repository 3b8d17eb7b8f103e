//! The Kubernetes API of Quorate, `chat.quorate.dev/v1alpha1`.
//!
//! One kind so far: [`ChatCluster`], a replicated chat server. Every field here is acted on by the operator; a field
//! that is not is absent, so that nothing that a user writes is ignored in silence. There are no admission webhooks
//! (clusters would become uncreatable when their TLS breaks): what must hold is said in the schema and in CEL rules,
//! which the API server checks and `tests/rules.rs` tries.

// KubeSchema derives helper types that repeat the visibility of the type they help.
#![allow(unreachable_pub)]

mod chat;
mod duration;
mod labels;
mod pod;
mod quantity;
mod raft;
mod schema;
mod service;
mod spec;
mod status;
mod storage;
mod traces;

pub use chat::{ChatSpec, LogFormat, LogLevel, LogSpec, RateLimitSpec, Registration};
pub use duration::{DurationError, DurationString};
pub use labels::{annotation, label};
pub use pod::{PodMetadata, PodTemplate, PodUser};
pub use quantity::{QuantityError, parse_quantity};
pub use raft::{ElectionTimeout, RaftSpec};
pub use schema::crd;
pub use service::{DisruptionBudgetSpec, ServiceSpec, ServiceType};
pub use spec::{ChatCluster, ChatClusterSpec, MOST_REPLICAS, PullPolicy};
pub use status::{
    ChatClusterStatus, LeaderStatus, MemberStatus, OperationStatus, RaftStatus, StorageStatus, condition,
};
pub use storage::{AccessMode, ClaimRetention, RetentionPolicy, StorageSpec};
pub use traces::TracesSpec;

/// The API group of every kind here.
pub const GROUP: &str = "chat.quorate.dev";
