//! Commands to propose, and checks of their outcomes.

use super::harness::{Cluster, TestNode};
use crate::store::StateStore as _;
use quorate_core::{
    id::Position,
    proto::log::{Command, CreateRoom, Envelope, NewSession, Outcome, Register, SendEvent, command::Kind, outcome},
    query::StateView,
    table::ScanDirection,
};

pub(super) fn register(user: &str) -> Envelope {
    let session = NewSession {
        device_id: "D".into(),
        token_hash: format!("{user:-<32}").into_bytes().into(),
        ..NewSession::default()
    };
    let password_hash = format!("hash of {user}");
    let command = Register { localpart: user.into(), password_hash, session: Some(session), ..Register::default() };
    Envelope { command: Some(Command { kind: Some(Kind::Register(command)) }), ..Envelope::default() }
}

/// Returns the registration of a user whose session ends after `lifetime_ms`.
pub(super) fn register_for(user: &str, lifetime_ms: u64) -> Envelope {
    let mut envelope = register(user);
    if let Some(Command { kind: Some(Kind::Register(Register { session: Some(session), .. })) }) = &mut envelope.command
    {
        session.lifetime_ms = lifetime_ms;
    }
    envelope
}

pub(super) fn by(user: &str, transaction_id: &str, kind: Kind) -> Envelope {
    Envelope {
        user: user.into(),
        device_id: "D".into(),
        transaction_id: transaction_id.into(),
        command: Some(Command { kind: Some(kind) }),
        sequence: None,
        quotas: None,
        guess_count: None,
    }
}

pub(super) fn create_room(user: &str) -> Envelope {
    by(user, "create", Kind::CreateRoom(CreateRoom::default()))
}

pub(in crate::raft) fn message(user: &str, room_id: &str, transaction_id: &str) -> Envelope {
    let content = format!(r#"{{"msgtype":"m.text","body":"{transaction_id}"}}"#).into_bytes().into();
    let event = SendEvent { room_id: room_id.into(), r#type: "m.room.message".into(), state_key: None, content };
    by(user, transaction_id, Kind::SendEvent(event))
}

/// Returns the command by which a room keeps events for `lifetime_ms`.
pub(super) fn retention(user: &str, room_id: &str, lifetime_ms: u64) -> Envelope {
    let event = SendEvent {
        room_id: room_id.into(),
        r#type: "m.room.retention".into(),
        state_key: Some(String::new()),
        content: format!(r#"{{"max_lifetime":{lifetime_ms}}}"#).into_bytes().into(),
    };
    by(user, "retention", Kind::SendEvent(event))
}

/// Creates a user with a room, through this node.
pub(in crate::raft) fn room(node: &TestNode, user: &str) -> String {
    accepted(&node.propose(register(user)).expect("applied"));
    let outcome = node.propose(create_room(user)).expect("applied");
    match outcome.kind {
        Some(outcome::Kind::RoomCreated(room)) => room.room_id,
        other => panic!("no room: {other:?}"),
    }
}

pub(in crate::raft) fn accepted(outcome: &Outcome) {
    let refused = matches!(outcome.kind, None | Some(outcome::Kind::Rejected(_)));
    assert!(!refused, "refused: {outcome:?}");
}

/// Returns the transaction ids of all messages in the room, in their order, as this node has applied them.
pub(in crate::raft) fn messages(node: &TestNode, user: &str, room_id: &str) -> Vec<String> {
    let rows = node.store().view();
    let view = StateView::open(&rows).expect("bootstrapped");
    let room = view.resolve_room(room_id).expect("there");
    let mut found = Vec::new();
    let mut from = Some(Position::ZERO);
    while let Some(start) = from {
        let page = view.timeline(user, room, start, ScanDirection::Forward, 100).expect("readable");
        let sent = page.events.iter().filter(|event| event.event_type == "m.room.message");
        found.extend(sent.map(|event| event.transaction_id.clone()));
        from = page.next;
    }
    found
}

/// Waits until a node has applied as many messages, and checks that they are these. A write that was answered is applied;
/// the index in the status follows a moment later, so that waiting for the index alone may miss the last one.
pub(in crate::raft) fn await_messages(cluster: &Cluster, place: usize, room_id: &str, expected: &[impl AsRef<str>]) {
    let node = &cluster.nodes[place];
    cluster.wait(place, "up to date", |_| messages(node, "alice", room_id).len() >= expected.len());
    let expected: Vec<_> = expected.iter().map(AsRef::as_ref).collect();
    assert_eq!(messages(node, "alice", room_id), expected, "on {}", node.name);
}
