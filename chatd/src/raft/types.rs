//! Types that configure openraft for Quorate: ids, nodes, payloads. openraft's types do not leave `chatd::raft`.

use crate::trace::entry::EntryTrace;
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::impls::leader_id_adv;
use quorate_core::proto::log::Outcome;
use std::fmt;
use std::sync::Arc;

/// Default log filter for openraft. openraft warns of each attempt to reach a peer that is down, so only errors are
/// logged. Warnings of its progress module stay on: they concern only a follower that has lost what it had
/// acknowledged. `info,openraft=info` restores the rest.
pub const LOGGED: &str = "openraft=error,openraft::progress=warn";

openraft::declare_raft_types!(
    /// openraft's type configuration. A leader id is (term, node), so that two leaders of one term are still ordered;
    /// entries carry encoded batches.
    pub TypeConfig:
        D = EncodedBatch,
        R = EntryOutcomes,
        NodeId = u64,
        Node = NodeAddresses,
);

/// An encoded `quorate.log.v1.Batch`: encoded once by the proposer, then passed on, framed and replicated as it is.
#[derive(Clone, Default)]
pub struct EncodedBatch {
    /// Encoded batch, which is all that is written and replicated.
    pub bytes: Bytes,
    /// Trace of an entry with sampled commands, until the entry leaves memory.
    pub(crate) trace: Option<Arc<EntryTrace>>,
}

impl From<Bytes> for EncodedBatch {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, trace: None }
    }
}

/// Compares the bytes only, not the trace.
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

/// Outcomes of one entry's commands, in their order; empty for blank and membership entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntryOutcomes(pub Vec<Outcome>);

impl fmt::Display for EntryOutcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} outcomes", self.0.len())
    }
}

/// Addresses and name of a member, kept in the membership entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAddresses {
    /// Peer listener, as host:port.
    pub peer_address: String,
    /// Client gRPC listener, as host:port.
    pub client_address: String,
    /// Name of the pod.
    pub name: String,
}

/// Term and node of a leader.
pub type LeaderId = leader_id_adv::LeaderId<u64, u64>;
/// Leader id as it appears in log ids.
pub type CommittedLeaderId = openraft::type_config::alias::CommittedLeaderIdOf<TypeConfig>;
/// Id of a log entry.
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// Vote of a node, with `committed` set once a majority granted it.
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;

/// Returns the encoded size of an entry's commands, in bytes.
pub(crate) fn payload_bytes(entry: &LogEntry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

/// Returns the trace of an entry, if it is sampled.
pub(crate) fn trace_of(entry: &LogEntry) -> Option<&Arc<EntryTrace>> {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.trace.as_ref(),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    }
}

/// Returns the traces of the sampled entries, with the entries' indexes.
pub(crate) fn sampled_traces<'a>(
    entries: impl Iterator<Item = &'a LogEntry>,
) -> impl Iterator<Item = (u64, &'a Arc<EntryTrace>)> {
    entries.filter_map(|entry| Some((entry.log_id.index, trace_of(entry)?)))
}

/// A log entry with its id and payload.
pub type LogEntry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// Voters and learners, with the id of their membership entry.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// Voters and learners, with their addresses.
pub type MembershipConfig = openraft::Membership<u64, NodeAddresses>;
/// Description of what a snapshot covers.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
