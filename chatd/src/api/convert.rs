//! Conversions between the wire's messages and core's types. Nothing else in the tree knows both.

use crate::raft::cluster::{ClusterMember, NodeRole, NodeStatus};
use crate::service::{
    CallerSession, LoggedIn, NewLogin, ReadConsistency, RequestRefusal, RoomMade, SentEvent, ServedFreshness,
};
use quorate_core::id;
use quorate_core::proto::log;
use quorate_core::proto::store::membership::Kind;
use quorate_core::query;
use quorate_wire::chat::v1 as wire;
use quorate_wire::whole_millis;
use std::time::Duration;

/// Converts a position to its message.
#[must_use]
pub fn position_to_wire(at: id::Position) -> wire::Position {
    wire::Position { incarnation: at.incarnation, index: at.index, ordinal: at.ordinal }
}

/// Returns the consistency that a request asks for.
///
/// # Errors
/// If this version does not know the number.
pub fn consistency_from_wire(wanted: i32) -> Result<ReadConsistency, RequestRefusal> {
    match wire::Consistency::try_from(wanted) {
        Ok(wire::Consistency::Local) => Ok(ReadConsistency::Local),
        // Whoever does not choose gets the stronger promise.
        Ok(wire::Consistency::Unspecified | wire::Consistency::Linearizable) => Ok(ReadConsistency::Linearizable),
        Err(_) => Err(RequestRefusal::invalid("unknown consistency; use LINEARIZABLE or LOCAL")),
    }
}

/// Converts the freshness with which a read was served.
#[must_use]
pub fn freshness_to_wire(served: ServedFreshness) -> wire::Freshness {
    match served {
        ServedFreshness::Linearizable => wire::Freshness::Linearizable,
        ServedFreshness::Local => wire::Freshness::Local,
        ServedFreshness::Stale => wire::Freshness::Stale,
    }
}

/// Converts an event for its reader: only the device that sent it is shown the transaction id.
#[must_use]
pub fn event_to_wire(event: query::RoomEvent, reader: &CallerSession) -> wire::Event {
    let transaction_id =
        event.transaction_id_for(&reader.user_id, &reader.device_id).map(str::to_owned).unwrap_or_default();
    wire::Event {
        event_id: event.event_id,
        room_id: event.room_id,
        sender: event.sender,
        r#type: event.event_type,
        state_key: event.state_key,
        content: event.content,
        origin_server_ts: event.origin_server_ts,
        transaction_id,
        position: Some(position_to_wire(event.position)),
    }
}

/// Converts an open session to its response.
#[must_use]
pub fn session_to_wire(login: LoggedIn, server_name: &str) -> wire::SessionResponse {
    wire::SessionResponse {
        user_id: login.user_id,
        device_id: login.device_id,
        access_token: login.access_token,
        expires_in_ms: login.expires_in.map_or(0, whole_millis),
        server_name: server_name.to_owned(),
    }
}

impl From<wire::RegisterRequest> for NewLogin {
    fn from(request: wire::RegisterRequest) -> Self {
        let wire::RegisterRequest { username, password, device_id, device_display_name } = request;
        Self {
            username,
            password,
            device_id,
            device_display_name,
            wants_refresh: false,
            registration_token: String::new(),
            dialogue: None,
        }
    }
}

impl From<wire::LoginRequest> for NewLogin {
    fn from(request: wire::LoginRequest) -> Self {
        let wire::LoginRequest { username, password, device_id, device_display_name } = request;
        Self {
            username,
            password,
            device_id,
            device_display_name,
            wants_refresh: false,
            registration_token: String::new(),
            dialogue: None,
        }
    }
}

/// Converts a request to the room that is to be created.
///
/// # Errors
/// If this version does not know the preset.
pub fn new_room(request: wire::CreateRoomRequest) -> Result<log::CreateRoom, RequestRefusal> {
    use wire::create_room_request::Preset;
    let preset = match Preset::try_from(request.preset) {
        Ok(Preset::Unspecified | Preset::Private) => log::create_room::Preset::Private,
        Ok(Preset::Public) => log::create_room::Preset::Public,
        Ok(Preset::TrustedPrivate) => log::create_room::Preset::TrustedPrivate,
        Err(_) => {
            return Err(RequestRefusal::invalid("unknown preset; use PRIVATE, PUBLIC or TRUSTED_PRIVATE"));
        }
    };
    let state =
        |s: wire::InitialState| log::StateInput { r#type: s.r#type, state_key: s.state_key, content: s.content };
    Ok(log::CreateRoom {
        preset: preset.into(),
        name: request.name,
        topic: request.topic,
        is_direct: request.is_direct,
        invite: request.invite,
        alias: request.alias,
        initial_state: request.initial_state.into_iter().map(state).collect(),
        // People can join what they can find.
        listed: preset == log::create_room::Preset::Public,
        ..log::CreateRoom::default()
    })
}

/// Converts a created room to its response.
#[must_use]
pub fn room_made(made: RoomMade) -> wire::CreateRoomResponse {
    wire::CreateRoomResponse { room_id: made.room_id, position: Some(position_to_wire(made.position)) }
}

/// Converts a changed membership to its response.
#[must_use]
pub fn membership_to_wire(sent: SentEvent) -> wire::MembershipResponse {
    wire::MembershipResponse {
        room_id: sent.room_id,
        event_id: sent.event_id,
        position: Some(position_to_wire(sent.position)),
    }
}

/// Converts a sent event to its response.
#[must_use]
pub fn sent_to_wire(sent: SentEvent) -> wire::SendResponse {
    wire::SendResponse {
        event_id: sent.event_id,
        position: Some(position_to_wire(sent.position)),
        origin_server_ts: sent.origin_server_ts,
    }
}

/// Converts a room for a list; `membership` is the caller's, if there is one.
#[must_use]
pub fn room_to_wire(summary: query::RoomSummary, membership: Option<Kind>) -> wire::Room {
    wire::Room {
        room_id: summary.room_id,
        name: summary.name,
        topic: summary.topic,
        canonical_alias: summary.canonical_alias,
        joined_members: summary.joined_members,
        membership: membership.map(membership_name).unwrap_or_default().to_owned(),
        is_direct: summary.is_direct,
        join_rule: summary.join_rule,
    }
}

/// Converts a member for a list.
#[must_use]
pub fn member_to_wire(member: query::MemberSummary) -> wire::Member {
    wire::Member {
        user_id: member.user_id,
        membership: membership_name(member.kind).to_owned(),
        display_name: member.display_name,
        power_level: member.power_level,
    }
}

/// Time since the last contact within which a member counts as reachable.
const REACHABLE: Duration = Duration::from_secs(1);

/// Lists the pods as the answering one sees them; `connections` are its own.
#[must_use]
pub fn servers_to_wire(status: &NodeStatus, connections: u32) -> wire::ListServersResponse {
    let servers = status.membership.members.iter().map(|member| server_to_wire(status, member, connections));
    wire::ListServersResponse {
        servers: servers.collect(),
        cluster_id: status.cluster_id.as_deref().unwrap_or_default().to_owned(),
        term: status.term,
    }
}

fn server_to_wire(status: &NodeStatus, member: &ClusterMember, connections: u32) -> wire::Server {
    let is_self = member.node_id == status.node_id;
    let is_leader = status.leader == Some(member.node_id);
    let progress = status.progress_of(member.node_id).filter(|_| status.leads());
    let role = match status.role {
        _ if is_leader => "leader",
        NodeRole::Candidate if is_self => "candidate",
        _ if status.membership.learners.contains(&member.node_id) => "learner",
        _ => "follower",
    };
    // The leader hears all members; another pod knows only that it hears the leader.
    let heard = progress.is_some_and(|p| p.contact_age.is_some_and(|age| age <= REACHABLE));
    let lag = match (is_self, progress) {
        (true, _) if is_leader => Some(0),
        (true, _) => Some(status.committed_index.saturating_sub(status.applied_index)),
        (false, progress) => progress.map(|p| p.lag),
    };
    wire::Server {
        node_id: member.node_id.to_string(),
        name: member.name.clone(),
        address: member.client_address.clone(),
        role: role.to_owned(),
        is_self,
        connections: is_self.then_some(connections),
        reachable: is_self || is_leader || heard,
        lag,
    }
}

/// Returns the name of a membership as in `m.room.member` (Matrix spec).
#[must_use]
pub fn membership_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Join => "join",
        Kind::Invite => "invite",
        Kind::Leave => "leave",
        Kind::Ban => "ban",
        Kind::Knock => "knock",
        Kind::Unspecified => "",
    }
}
