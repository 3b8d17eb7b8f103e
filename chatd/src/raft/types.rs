//! What openraft is told about Quorate: ids, nodes, payloads. openraft's types do not leave `chatd::raft`.

use crate::trace::entry::EntryTrace;
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::impls::leader_id_adv;
use quorate_core::proto::log::Outcome;
use std::fmt;
use std::sync::Arc;

/// What openraft may log: it warns of each attempt at a peer that is down, but its progress only of a follower that has lost what
/// it had acknowledged. `info,openraft=info` brings the rest back.
pub const LOGGED: &str = "openraft=error,openraft::progress=warn";

openraft::declare_raft_types!(
    /// Leader id (term, node), so that two leaders of one term are still ordered; entries carry encoded batches.
    pub TypeConfig:
        D = EncodedBatch,
        R = Outcomes,
        NodeId = u64,
        Node = Node,
);

/// An encoded `quorate.log.v1.Batch`: encoded once by the proposer, then passed on, framed and replicated as it is.
#[derive(Clone, Default)]
pub struct EncodedBatch {
    /// All that is written and replicated.
    pub bytes: Bytes,
    /// Of an entry with sampled commands, until it leaves memory.
    pub(crate) trace: Option<Arc<EntryTrace>>,
}

impl From<Bytes> for EncodedBatch {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, trace: None }
    }
}

/// By what is in them.
impl PartialEq for EncodedBatch {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for EncodedBatch {}

impl fmt::Debug for EncodedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.bytes.len())
    }
}

impl fmt::Display for EncodedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The outcomes of one entry's commands, in their order; empty for blank and membership entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcomes(pub Vec<Outcome>);

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} outcomes", self.0.len())
    }
}

/// How a member is reached; kept in the membership entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// host:port of the peer door.
    pub peer_address: String,
    /// host:port of the client gRPC door.
    pub client_address: String,
    /// The pod's name.
    pub name: String,
}

/// Term and node of a leader.
pub type LeaderId = leader_id_adv::LeaderId<u64, u64>;
/// As it stands in log ids.
pub type CommittedLeaderId = openraft::type_config::alias::CommittedLeaderIdOf<TypeConfig>;
/// Id of a log entry.
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// A vote.
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
/// The trace of an entry that is sampled.
pub(crate) fn trace_of(entry: &Entry) -> Option<&Arc<EntryTrace>> {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.trace.as_ref(),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    }
}

/// The sampled ones among entries, with their indexes.
pub(crate) fn sampled<'a>(
    entries: impl Iterator<Item = &'a Entry>,
) -> impl Iterator<Item = (u64, &'a Arc<EntryTrace>)> {
    entries.filter_map(|entry| Some((entry.log_id.index, trace_of(entry)?)))
}

/// A log entry.
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// Voters and learners with the entry that made them so.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// Voters and learners.
pub type Membership = openraft::Membership<u64, Node>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
