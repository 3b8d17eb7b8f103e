//! The Kubernetes API of Quorate, `chat.quorate.dev/v1alpha1`.
//!
//! The only kind is [`ChatCluster`], a replicated chat server. The operator acts on every field; a field that it would
//! ignore is absent, so that nothing a user writes is silently dropped. There are no admission webhooks, because
//! clusters could not be created while the TLS of a webhook is broken. Constraints are expressed in the schema and in
//! CEL rules instead, which the API server enforces and `tests/rules.rs` tests.

#![warn(missing_docs)]
// KubeSchema derives helper types that repeat the visibility of the type they help.
#![allow(unreachable_pub)]

mod accounts;
mod chat;
mod duration;
mod labels;
mod pod;
mod presence;
mod quantity;
mod raft;
mod schema;
mod secret;
mod service;
mod spec;
mod status;
mod storage;
mod traces;
mod web_url;

pub use accounts::{AccountsSpec, JwtAlgorithm, JwtSpec, TermsSpec};
pub use chat::{ChatSpec, LogFormat, LogLevel, LogSpec, RateLimitSpec, RegistrationPolicy};
pub use duration::{DurationError, DurationString};
pub use labels::{annotation, label};
pub use pod::{PodMetadata, PodTemplate, PodUser};
pub use presence::PresenceSpec;
pub use quantity::{QuantityError, parse_quantity};
pub use raft::{ElectionTimeout, RaftSpec};
pub use schema::chat_cluster_crd;
pub use secret::SecretKeyRef;
pub use service::{DisruptionBudgetSpec, ServiceSpec, ServiceType};
pub use spec::{ChatCluster, ChatClusterSpec, MOST_REPLICAS, PullPolicy};
pub use status::{
    ChatClusterStatus, LeaderStatus, MemberStatus, OperationStatus, RaftStatus, StorageStatus, condition,
};
pub use storage::{AccessMode, ClaimRetention, RetentionPolicy, StorageSpec};
pub use traces::TracesSpec;

/// API group of all kinds in this crate.
pub const GROUP: &str = "chat.quorate.dev";
