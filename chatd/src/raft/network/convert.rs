//! Conversions between openraft's requests and `quorate.raft.v1`.

use crate::raft::{
    codec::{CodecError, decode_entry, encode_entry},
    types::{LeaderId, LogEntry, LogId, TypeConfig, Vote},
};
use crate::trace::{entry::EntryTrace, wire};
use openraft::EntryPayload;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use quorate_wire::raft::v1::{self as pb, append_response::Result as Appended};
use std::sync::Arc;

pub(crate) fn log_id_to_pb(id: &LogId) -> pb::LogId {
    pb::LogId { term: id.leader_id.term, node_id: id.leader_id.node_id, index: id.index }
}

pub(crate) fn log_id_from_pb(id: &pb::LogId) -> LogId {
    LogId::new(LeaderId { term: id.term, node_id: id.node_id }, id.index)
}

pub(crate) fn vote_to_pb(vote: &Vote) -> pb::Vote {
    pb::Vote { term: vote.leader_id.term, node_id: vote.leader_id.node_id, committed: vote.committed }
}

pub(crate) fn vote_from_pb(vote: &pb::Vote) -> Vote {
    Vote { leader_id: LeaderId { term: vote.term, node_id: vote.node_id }, committed: vote.committed }
}

fn required_vote(vote: Option<&pb::Vote>) -> Result<Vote, CodecError> {
    vote.map(vote_from_pb).ok_or(CodecError::Missing { what: "the vote" })
}

pub(crate) fn append_to_pb(
    target: pb::Target,
    sequence: u64,
    request: &AppendEntriesRequest<TypeConfig>,
) -> pb::AppendRequest {
    pb::AppendRequest {
        target: Some(target),
        vote: Some(vote_to_pb(&request.vote)),
        prev_log_id: request.prev_log_id.as_ref().map(log_id_to_pb),
        leader_commit: request.leader_commit.as_ref().map(log_id_to_pb),
        entries: request.entries.iter().map(encode_entry).collect(),
        sequence,
        traces: Vec::new(),
    }
}

pub(crate) fn append_from_pb(request: pb::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, CodecError> {
    let mut entries = request.entries.into_iter().map(decode_entry).collect::<Result<Vec<_>, _>>()?;
    set_traces(&mut entries, &request.traces);
    Ok(AppendEntriesRequest {
        vote: required_vote(request.vote.as_ref())?,
        prev_log_id: request.prev_log_id.as_ref().map(log_id_from_pb),
        leader_commit: request.leader_commit.as_ref().map(log_id_from_pb),
        entries,
    })
}

/// Attaches the trace contexts that the leader sent with sampled entries to the entries on this pod.
fn set_traces(entries: &mut [LogEntry], traces: &[pb::EntryTrace]) {
    for sent in traces {
        let entry = usize::try_from(sent.entry).ok().and_then(|place| entries.get_mut(place));
        let Some(EntryPayload::Normal(batch)) = entry.map(|entry| &mut entry.payload) else { continue };
        batch.trace = wire::from_pb(sent.context.as_ref()).map(|mark| Arc::new(EntryTrace::new(mark)));
    }
}

/// Encodes the result of an append. `success` means "all of the request", and is needed only for an empty request at
/// the beginning of the log; otherwise the log id is named.
pub(crate) fn appended_to_pb(sequence: u64, result: &StreamAppendResult<TypeConfig>) -> pb::AppendResponse {
    let (result, conflict_log_id) = match result {
        Ok(None) => (Appended::Success(true), None),
        Ok(Some(flushed)) => (Appended::PartialSuccess(log_id_to_pb(flushed)), None),
        Err(StreamAppendError::Conflict(at)) => (Appended::Conflict(true), Some(log_id_to_pb(at))),
        Err(StreamAppendError::HigherVote(vote)) => (Appended::HigherVote(vote_to_pb(vote)), None),
    };
    pb::AppendResponse { sequence, result: Some(result), conflict_log_id }
}

/// Decodes the result of an append. `prev` and `last` are the log ids of the request that is answered.
pub(crate) fn appended_from_pb(
    response: pb::AppendResponse,
    prev: Option<LogId>,
    last: Option<LogId>,
) -> Result<StreamAppendResult<TypeConfig>, CodecError> {
    const WHAT: CodecError = CodecError::Missing { what: "the result of an append" };
    Ok(match response.result.ok_or(WHAT)? {
        Appended::Success(_) => Ok(last),
        Appended::PartialSuccess(flushed) => Ok(Some(log_id_from_pb(&flushed))),
        // Nothing conflicts with the empty beginning of a log: without `prev` the answer makes no sense.
        Appended::Conflict(_) => Err(StreamAppendError::Conflict(prev.ok_or(WHAT)?)),
        Appended::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from_pb(&vote))),
    })
}

pub(crate) fn vote_request_to_pb(target: pb::Target, request: &VoteRequest<TypeConfig>) -> pb::VoteRequest {
    pb::VoteRequest {
        target: Some(target),
        vote: Some(vote_to_pb(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(log_id_to_pb),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(crate) fn vote_request_from_pb(request: &pb::VoteRequest) -> Result<VoteRequest<TypeConfig>, CodecError> {
    let vote = required_vote(request.vote.as_ref())?;
    let mut out = VoteRequest::new(vote, request.last_log_id.as_ref().map(log_id_from_pb));
    out.leadership_transfer = request.leadership_transfer;
    Ok(out)
}

pub(crate) fn vote_response_to_pb(response: &VoteResponse<TypeConfig>) -> pb::VoteResponse {
    pb::VoteResponse {
        vote: Some(vote_to_pb(&response.vote)),
        granted: response.vote_granted,
        last_log_id: response.last_log_id.as_ref().map(log_id_to_pb),
    }
}

pub(crate) fn vote_response_from_pb(response: &pb::VoteResponse) -> Result<VoteResponse<TypeConfig>, CodecError> {
    let vote = required_vote(response.vote.as_ref())?;
    Ok(VoteResponse::new(vote, response.last_log_id.as_ref().map(log_id_from_pb), response.granted))
}

pub(crate) fn transfer_to_pb(
    target: pb::Target,
    request: &TransferLeaderRequest<TypeConfig>,
) -> pb::TransferLeaderRequest {
    pb::TransferLeaderRequest {
        target: Some(target),
        from_leader: Some(vote_to_pb(request.from_leader())),
        to_node_id: *request.to_node_id(),
        last_log_id: request.last_log_id().map(log_id_to_pb),
    }
}

pub(crate) fn transfer_from_pb(
    request: &pb::TransferLeaderRequest,
) -> Result<TransferLeaderRequest<TypeConfig>, CodecError> {
    let vote = required_vote(request.from_leader.as_ref())?;
    Ok(TransferLeaderRequest::new(vote, request.to_node_id, request.last_log_id.as_ref().map(log_id_from_pb)))
}

pub(crate) fn transferred_to_pb(response: &TransferLeaderResponse<TypeConfig>) -> pb::TransferLeaderResponse {
    use pb::transfer_leader_response::Result as Kind;
    let kind = match response {
        Ok(()) => Kind::Accepted(true),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => Kind::VoteChanged(pb::VoteChanged {
            expected: Some(vote_to_pb(expected)),
            actual: Some(vote_to_pb(actual)),
        }),
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => Kind::LogNotFlushed(pb::LogNotFlushed {
            expected: expected.as_ref().map(log_id_to_pb),
            actual: actual.as_ref().map(log_id_to_pb),
        }),
    };
    pb::TransferLeaderResponse { result: Some(kind) }
}

pub(crate) fn transferred_from_pb(
    response: &pb::TransferLeaderResponse,
) -> Result<TransferLeaderResponse<TypeConfig>, CodecError> {
    use pb::transfer_leader_response::Result as Kind;
    let kind = response.result.as_ref().ok_or(CodecError::Missing { what: "the response to a transfer" })?;
    Ok(match kind {
        Kind::Accepted(_) => Ok(()),
        Kind::VoteChanged(pb::VoteChanged { expected, actual }) => Err(TransferLeaderError::VoteChanged {
            expected: required_vote(expected.as_ref())?,
            actual: required_vote(actual.as_ref())?,
        }),
        Kind::LogNotFlushed(pb::LogNotFlushed { expected, actual }) => Err(TransferLeaderError::LogNotFlushed {
            expected: expected.as_ref().map(log_id_from_pb),
            actual: actual.as_ref().map(log_id_from_pb),
        }),
    })
}
