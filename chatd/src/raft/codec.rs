//! Conversions between openraft's types and the bytes of `quorate.log.v1`, used on disk and in requests. openraft's
//! serde support is not used, so that its changes do not change our formats.

#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzzing;

use super::types::{EncodedBatch, LeaderId, LogEntry, LogId, MembershipConfig, NodeAddresses};
use bytes::Bytes;
use openraft::EntryPayload;
use prost::Message as _;
use quorate_core::proto::log as pb;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are not a protobuf message of the expected type.
    #[error("cannot decode {what}")]
    Decode {
        /// Message that was expected.
        what: &'static str,
        /// Error of the protobuf decoder.
        #[source]
        source: prost::DecodeError,
    },
    /// A required part is absent.
    #[error("{what} is missing")]
    Missing {
        /// Part that is absent.
        what: &'static str,
    },
    /// The membership breaks Raft's rules.
    #[error("the membership is not valid: {reason}")]
    Membership {
        /// Rule that is broken.
        reason: String,
    },
}

/// Converts a log id into its protobuf message.
#[must_use]
pub fn log_id_to_pb(id: &LogId) -> pb::LogId {
    pb::LogId { term: id.leader_id.term, node_id: id.leader_id.node_id, index: id.index }
}

/// Converts a protobuf message into a log id.
#[must_use]
pub fn log_id_from_pb(id: &pb::LogId) -> LogId {
    LogId::new(LeaderId { term: id.term, node_id: id.node_id }, id.index)
}

/// Converts a membership into its protobuf message.
#[must_use]
pub fn membership_to_pb(membership: &MembershipConfig) -> pb::Membership {
    pb::Membership {
        voter_sets: membership
            .get_joint_config()
            .iter()
            .map(|set| pb::VoterSet { node_ids: set.iter().copied().collect() })
            .collect(),
        nodes: membership
            .nodes()
            .map(|(&node_id, node)| pb::Node {
                node_id,
                peer_address: node.peer_address.clone(),
                client_address: node.client_address.clone(),
                name: node.name.clone(),
            })
            .collect(),
    }
}

/// Converts a protobuf message into a membership.
///
/// # Errors
/// If a voter has no node.
pub fn membership_from_pb(membership: pb::Membership) -> Result<MembershipConfig, CodecError> {
    let sets: Vec<BTreeSet<u64>> =
        membership.voter_sets.into_iter().map(|set| set.node_ids.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, NodeAddresses> = membership
        .nodes
        .into_iter()
        .map(|n| {
            let node = NodeAddresses { peer_address: n.peer_address, client_address: n.client_address, name: n.name };
            (n.node_id, node)
        })
        .collect();
    MembershipConfig::new(sets, nodes).map_err(|e| CodecError::Membership { reason: e.to_string() })
}

/// Encodes an entry into the bytes that are used on disk and in `AppendRequest.entries`.
#[must_use]
pub fn encode_entry(entry: &LogEntry) -> Bytes {
    entry_to_pb(entry).encode_to_vec().into()
}

/// Converts an entry into its protobuf message, which shares the bytes of the batch and can be encoded straight into a
/// larger buffer.
#[must_use]
pub fn entry_to_pb(entry: &LogEntry) -> pb::Entry {
    use pb::entry::Payload;
    let payload = match &entry.payload {
        EntryPayload::Blank => Payload::Blank(pb::Blank {}),
        EntryPayload::Normal(EncodedBatch { bytes, .. }) => Payload::Batch(bytes.clone()),
        EntryPayload::Membership(m) => Payload::Membership(membership_to_pb(m)),
    };
    pb::Entry { log_id: Some(log_id_to_pb(&entry.log_id)), payload: Some(payload) }
}

/// Decodes an entry; the bytes of a batch are shared, not copied.
///
/// # Errors
/// If the bytes are not an entry.
pub fn decode_entry(bytes: Bytes) -> Result<LogEntry, CodecError> {
    use pb::entry::Payload;
    let message = pb::Entry::decode(bytes).map_err(|source| CodecError::Decode { what: "a log entry", source })?;
    let log_id = message.log_id.ok_or(CodecError::Missing { what: "a log entry's id" })?;
    let payload = match message.payload.ok_or(CodecError::Missing { what: "a log entry's payload" })? {
        Payload::Blank(pb::Blank {}) => EntryPayload::Blank,
        Payload::Batch(batch) => EntryPayload::Normal(batch.into()),
        Payload::Membership(m) => EntryPayload::Membership(membership_from_pb(m)?),
    };
    Ok(LogEntry { log_id: log_id_from_pb(&log_id), payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_id(index: u64) -> LogId {
        LogId::new(LeaderId { term: 3, node_id: 77 }, index)
    }

    #[test]
    fn every_kind_of_entry_survives_its_bytes() {
        let node = NodeAddresses { peer_address: "a:1".into(), client_address: "a:2".into(), name: "a".into() };
        let membership =
            MembershipConfig::new(vec![BTreeSet::from([77]), BTreeSet::from([77])], BTreeMap::from([(77, node)]))
                .expect("its voter has a node");
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Bytes::from_static(b"\x08\x01").into()),
            EntryPayload::Membership(membership),
        ] {
            let entry = LogEntry { log_id: log_id(5), payload };
            assert_eq!(decode_entry(encode_entry(&entry)).expect("decodes"), entry);
        }
    }

    #[test]
    fn bytes_that_are_no_entry_are_refused_with_a_reason() {
        assert!(matches!(decode_entry(Bytes::from_static(b"\xff")), Err(CodecError::Decode { .. })));
        assert!(matches!(decode_entry(Bytes::new()), Err(CodecError::Missing { .. })));
    }
}
