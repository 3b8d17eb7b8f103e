//! Fuzz targets for messages between pods; see [`crate::fuzzing`]. Each message is decoded as its receiver does,
//! encoded again, and must be unchanged.

use super::convert;
use crate::raft::types::{LeaderId, LogId};
use crate::trace::wire;
use bytes::Bytes;
use prost::Message;
use quorate_core::fuzzing::stable;
use quorate_core::proto::log;
use quorate_wire::raft::v1 as pb;

/// Kind of message between pods.
#[derive(Clone, Copy)]
enum Kind {
    Vote,
    VoteAnswer,
    Append,
    AppendAnswer,
    Transfer,
    TransferAnswer,
    Snapshot,
    SnapshotAnswer,
    ReadIndex,
    ReadIndexAnswer,
    Forward,
    ForwardAnswer,
    Announce,
    AnnounceAnswer,
}

const KINDS: [Kind; 14] = [
    Kind::Vote,
    Kind::VoteAnswer,
    Kind::Append,
    Kind::AppendAnswer,
    Kind::Transfer,
    Kind::TransferAnswer,
    Kind::Snapshot,
    Kind::SnapshotAnswer,
    Kind::ReadIndex,
    Kind::ReadIndexAnswer,
    Kind::Forward,
    Kind::ForwardAnswer,
    Kind::Announce,
    Kind::AnnounceAnswer,
];

/// Checks one message: the first byte is the kind, the others are the message. Returns `false` if it cannot be decoded.
pub(crate) fn message(bytes: &[u8]) -> bool {
    let Some((number, bytes)) = bytes.split_first() else { return false };
    let Some(kind) = KINDS.get(usize::from(*number)) else { return false };
    match kind {
        Kind::Vote => again::<pb::VoteRequest>(bytes, |m| {
            let read = convert::vote_request_from_pb(&m).ok()?;
            Some(convert::vote_request_to_pb(m.target.unwrap_or_default(), &read))
        }),
        Kind::VoteAnswer => again::<pb::VoteResponse>(bytes, |m| {
            convert::vote_response_from_pb(&m).ok().map(|read| convert::vote_response_to_pb(&read))
        }),
        Kind::Append => again::<pb::AppendRequest>(bytes, |m| {
            let (target, sequence) = (m.target.clone().unwrap_or_default(), m.sequence);
            convert::append_from_pb(m).ok().map(|read| convert::append_to_pb(target, sequence, &read))
        }),
        Kind::AppendAnswer => again::<pb::AppendResponse>(bytes, appended),
        Kind::Transfer => again::<pb::TransferLeaderRequest>(bytes, |m| {
            let read = convert::transfer_from_pb(&m).ok()?;
            Some(convert::transfer_to_pb(m.target.unwrap_or_default(), &read))
        }),
        Kind::TransferAnswer => again::<pb::TransferLeaderResponse>(bytes, |m| {
            convert::transferred_from_pb(&m).ok().map(|read| convert::transferred_to_pb(&read))
        }),
        Kind::Snapshot => stable::<pb::SnapshotRequest>(bytes),
        Kind::SnapshotAnswer => stable::<pb::SnapshotResponse>(bytes),
        Kind::ReadIndex => stable::<pb::ReadIndexRequest>(bytes),
        Kind::ReadIndexAnswer => stable::<pb::ReadIndexResponse>(bytes),
        Kind::Forward => {
            let request = pb::ForwardRequest::decode(bytes).unwrap_or_default();
            // Any text is possible; the only requirement is that reading it terminates.
            let _ = request.trace.as_ref().map(wire::read);
            stable::<pb::ForwardRequest>(bytes) && stable::<log::Envelope>(&request.envelope)
        }
        Kind::ForwardAnswer => {
            let response = pb::ForwardResponse::decode(bytes).unwrap_or_default();
            let outcome = match response.result {
                Some(pb::forward_response::Result::Outcome(outcome)) => outcome,
                _ => Bytes::new(),
            };
            stable::<pb::ForwardResponse>(bytes) && stable::<log::Outcome>(&outcome)
        }
        Kind::Announce => stable::<pb::AnnounceRequest>(bytes),
        Kind::AnnounceAnswer => stable::<pb::AnnounceResponse>(bytes),
    }
}

/// Checks that `turn`, which decodes a message and encodes it again, changes nothing the second time.
fn again<M: Message + Default + PartialEq + Clone + std::fmt::Debug>(
    bytes: &[u8],
    turn: impl Fn(M) -> Option<M>,
) -> bool {
    stable::<M>(bytes);
    let Ok(message) = M::decode(Bytes::copy_from_slice(bytes)) else { return false };
    let Some(once) = turn(message) else { return false };
    assert!(turn(once.clone()) == Some(once.clone()), "it is said in another way: {once:?}");
    true
}

/// Decodes and encodes the answer to a request for the entries from one log id to another.
fn appended(message: pb::AppendResponse) -> Option<pb::AppendResponse> {
    let id = |index| Some(LogId::new(LeaderId { term: 1, node_id: 1 }, index));
    let sequence = message.sequence;
    let read = convert::appended_from_pb(message, id(3), id(5)).ok()?;
    Some(convert::appended_to_pb(sequence, &read))
}
