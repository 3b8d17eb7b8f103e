//! Fuzz targets for messages between pods; see [`crate::fuzzing`]. Each message is decoded as its receiver does,
//! encoded again, and must be unchanged.

use super::convert;
use crate::raft::types::{LeaderId, LogId};
use crate::trace::wire;
use bytes::Bytes;
use prost::Message;
use quorate_core::fuzzing::fuzz_protobuf;
use quorate_core::proto::log;
use quorate_wire::raft::v1 as pb;

/// Kind of message between pods.
#[derive(Clone, Copy)]
enum MessageKind {
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
    Gossip,
    GossipFrame,
}

const KINDS: [MessageKind; 16] = [
    MessageKind::Vote,
    MessageKind::VoteAnswer,
    MessageKind::Append,
    MessageKind::AppendAnswer,
    MessageKind::Transfer,
    MessageKind::TransferAnswer,
    MessageKind::Snapshot,
    MessageKind::SnapshotAnswer,
    MessageKind::ReadIndex,
    MessageKind::ReadIndexAnswer,
    MessageKind::Forward,
    MessageKind::ForwardAnswer,
    MessageKind::Announce,
    MessageKind::AnnounceAnswer,
    MessageKind::Gossip,
    MessageKind::GossipFrame,
];

/// Checks one message: the first byte is the kind, the others are the message. Returns `false` if it cannot be decoded.
pub(crate) fn fuzz_message(bytes: &[u8]) -> bool {
    let Some((number, bytes)) = bytes.split_first() else { return false };
    let Some(kind) = KINDS.get(usize::from(*number)) else { return false };
    match kind {
        MessageKind::Vote => check_round_trip::<pb::VoteRequest>(bytes, |m| {
            let read = convert::vote_request_from_pb(&m).ok()?;
            Some(convert::vote_request_to_pb(m.target.unwrap_or_default(), &read))
        }),
        MessageKind::VoteAnswer => check_round_trip::<pb::VoteResponse>(bytes, |m| {
            convert::vote_response_from_pb(&m).ok().map(|read| convert::vote_response_to_pb(&read))
        }),
        MessageKind::Append => check_round_trip::<pb::AppendRequest>(bytes, |m| {
            let target = m.target.clone().unwrap_or_default();
            let sequence = m.sequence;
            convert::append_from_pb(m).ok().map(|read| convert::append_to_pb(target, sequence, &read))
        }),
        MessageKind::AppendAnswer => check_round_trip::<pb::AppendResponse>(bytes, recode_answer),
        MessageKind::Transfer => check_round_trip::<pb::TransferLeaderRequest>(bytes, |m| {
            let read = convert::transfer_from_pb(&m).ok()?;
            Some(convert::transfer_to_pb(m.target.unwrap_or_default(), &read))
        }),
        MessageKind::TransferAnswer => check_round_trip::<pb::TransferLeaderResponse>(bytes, |m| {
            convert::transferred_from_pb(&m).ok().map(|read| convert::transferred_to_pb(&read))
        }),
        MessageKind::Snapshot => fuzz_protobuf::<pb::SnapshotRequest>(bytes),
        MessageKind::SnapshotAnswer => fuzz_protobuf::<pb::SnapshotResponse>(bytes),
        MessageKind::ReadIndex => fuzz_protobuf::<pb::ReadIndexRequest>(bytes),
        MessageKind::ReadIndexAnswer => fuzz_protobuf::<pb::ReadIndexResponse>(bytes),
        MessageKind::Forward => {
            let request = pb::ForwardRequest::decode(bytes).unwrap_or_default();
            // Any text is possible; the only requirement is that reading it terminates.
            let _ = request.trace.as_ref().map(wire::read_mark);
            fuzz_protobuf::<pb::ForwardRequest>(bytes) && fuzz_protobuf::<log::Envelope>(&request.envelope)
        }
        MessageKind::ForwardAnswer => {
            let response = pb::ForwardResponse::decode(bytes).unwrap_or_default();
            let outcome = match response.result {
                Some(pb::forward_response::Result::Outcome(outcome)) => outcome,
                _ => Bytes::new(),
            };
            fuzz_protobuf::<pb::ForwardResponse>(bytes) && fuzz_protobuf::<log::Outcome>(&outcome)
        }
        MessageKind::Announce => fuzz_protobuf::<pb::AnnounceRequest>(bytes),
        MessageKind::AnnounceAnswer => fuzz_protobuf::<pb::AnnounceResponse>(bytes),
        MessageKind::Gossip => fuzz_protobuf::<pb::GossipRequest>(bytes),
        MessageKind::GossipFrame => fuzz_protobuf::<pb::GossipResponse>(bytes),
    }
}

/// Returns the frame of typing and presence in the input of [`fuzz_message`], if it is one.
pub(crate) fn gossip_frame(bytes: &[u8]) -> Option<pb::GossipResponse> {
    let (number, bytes) = bytes.split_first()?;
    let kind = KINDS.get(usize::from(*number))?;
    matches!(kind, MessageKind::GossipFrame).then(|| pb::GossipResponse::decode(bytes).ok()).flatten()
}

/// Checks that `turn`, which decodes a message and encodes it again, changes nothing the second time.
fn check_round_trip<M: Message + Default + PartialEq + Clone + std::fmt::Debug>(
    bytes: &[u8],
    turn: impl Fn(M) -> Option<M>,
) -> bool {
    fuzz_protobuf::<M>(bytes);
    let Ok(message) = M::decode(Bytes::copy_from_slice(bytes)) else { return false };
    let Some(once) = turn(message) else { return false };
    assert!(turn(once.clone()) == Some(once.clone()), "it is said in another way: {once:?}");
    true
}

/// Decodes and encodes the answer to a request for the entries from one log id to another.
fn recode_answer(message: pb::AppendResponse) -> Option<pb::AppendResponse> {
    let id = |index| Some(LogId::new(LeaderId { term: 1, node_id: 1 }, index));
    let sequence = message.sequence;
    let read = convert::appended_from_pb(message, id(3), id(5)).ok()?;
    Some(convert::appended_to_pb(sequence, &read))
}
