//! Messages between pods: one of each kind, in the order of the decoder's list.

use bytes::Bytes;
use prost::Message;
use quorate_core::proto::log;
use quorate_wire::raft::v1::*;

fn id(index: u64) -> Option<LogId> {
    Some(LogId { term: 2, node_id: 77, index })
}

pub(super) fn messages(entries: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let target = Some(Target { cluster_id: "c".into(), node_id: 1, from_node_id: 77 });
    let vote = Some(Vote { term: 2, node_id: 77, committed: true });
    let entries = entries.iter().map(|entry| Bytes::from(entry.clone())).collect();
    let envelope = log::Envelope { user: "alice".into(), device_id: "D".into(), ..log::Envelope::default() };
    let outcome = log::Outcome { duplicate: true, ..log::Outcome::default() };
    let chunk = SnapshotChunk { file: "000001.sst".into(), offset: 7, data: Bytes::from_static(b"data"), crc32: 9 };
    let conflict =
        AppendResponse { sequence: 3, result: Some(append_response::Result::Conflict(true)), conflict_log_id: id(3) };
    let trace = Some(TraceContext {
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        tracestate: "vendor=1".into(),
    });
    let changed = VoteChanged { expected: vote, actual: vote };
    let messages: [Vec<u8>; 16] = [
        VoteRequest { target: target.clone(), vote, last_log_id: id(4), leadership_transfer: true }.encode_to_vec(),
        VoteResponse { vote, granted: true, last_log_id: id(4) }.encode_to_vec(),
        AppendRequest {
            target: target.clone(),
            vote,
            prev_log_id: id(3),
            leader_commit: id(2),
            entries,
            sequence: 5,
            traces: vec![EntryTrace { entry: 0, context: trace.clone() }],
        }
        .encode_to_vec(),
        conflict.encode_to_vec(),
        TransferLeaderRequest { target: target.clone(), from_leader: vote, to_node_id: 1, last_log_id: id(4) }
            .encode_to_vec(),
        TransferLeaderResponse { result: Some(transfer_leader_response::Result::VoteChanged(changed)) }.encode_to_vec(),
        SnapshotRequest { part: Some(snapshot_request::Part::Chunk(chunk)) }.encode_to_vec(),
        SnapshotResponse {
            part: Some(snapshot_response::Part::Wanted(WantedFiles { files: vec!["000001.sst".into()] })),
        }
        .encode_to_vec(),
        ReadIndexRequest { target: target.clone() }.encode_to_vec(),
        ReadIndexResponse { read_index: id(4) }.encode_to_vec(),
        ForwardRequest {
            target: target.clone(),
            sequence: 8,
            envelope: envelope.encode_to_vec().into(),
            level: 2,
            trace,
        }
        .encode_to_vec(),
        ForwardResponse {
            sequence: 8,
            result: Some(forward_response::Result::Outcome(outcome.encode_to_vec().into())),
        }
        .encode_to_vec(),
        AnnounceRequest { target: target.clone() }.encode_to_vec(),
        AnnounceResponse { leader_node_id: 77 }.encode_to_vec(),
        GossipRequest { target }.encode_to_vec(),
        frame().encode_to_vec(),
    ];
    let kinds = 0_u8..;
    kinds.zip(messages).map(|(kind, message)| [&[kind], message.as_slice()].concat()).collect()
}

fn frame() -> GossipResponse {
    let version = Some(EphemeralVersion { stamp: 9, life: 5, change: 3 });
    let typing = Typing { version, room: 7, room_id: "!r:a.org".into(), user: "alice".into(), left_ms: 30_000 };
    let presence = Presence {
        version,
        user: "bob".into(),
        state: 3,
        status: "here".into(),
        has_status: true,
        is_active: true,
        active_ago_ms: 7,
        seen_ago_ms: 6,
        device: 8,
    };
    GossipResponse { life: 5, through: 3, typing: vec![typing], presence: vec![presence] }
}

/// Bodies of gRPC calls, each after the size of the pieces in which it comes.
pub(super) fn bodies() -> Vec<Vec<u8>> {
    let message =
        |text: &str| [&[0, 0, 0, 0], &[u8::try_from(text.len()).expect("short")][..], text.as_bytes()].concat();
    [vec![], message("hello"), [message(""), message("one"), message("two")].concat()]
        .into_iter()
        .flat_map(|body| [1, 3, 255].map(|size| [&[size], &body[..]].concat()))
        .collect()
}
