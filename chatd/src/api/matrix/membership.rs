//! Endpoints for membership: changes of it, and lists of rooms and members.

use super::account::user_id;
use super::admission::WithSession;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::event;
use super::room::room_id;
use super::streamed::{self, JsonFrame, StreamedState};
use super::with_body::WithBody;
use crate::service::{CallerSession, RefusalCode, RequestRefusal, SentEvent, decide, limits};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use quorate_core::proto::log::SetMembership;
use quorate_core::proto::log::set_membership::Change;
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::{RoomEvent, StateScope, StateView};
use ruma::OwnedRoomId;
use ruma::api::client::knock::knock_room;
use ruma::api::client::membership::{
    ban_user, forget_room, get_member_events, invite_user, join_room_by_id, join_room_by_id_or_alias, joined_members,
    joined_rooms, kick_user, leave_room, unban_user,
};
use ruma::events::room::member::RoomMemberEvent;
use ruma::serde::Raw;
use serde::{Deserialize, Serialize};

pub(super) fn membership_routes(routes: EndpointRoutes) -> EndpointRoutes {
    change_routes(routes)
        .with_session(
            "forget",
            |context: MatrixContext, session: CallerSession, request: forget_room::v3::Request| async move {
                context.service.forget(&session, request.room_id.as_str()).await.map_err(not_forgotten)?;
                Ok(forget_room::v3::Response::new())
            },
        )
        .with_session("joined_rooms", rooms_joined)
        .answering("joined_members", WithSession, members_joined)
        .answering("members", WithSession, room_members)
}

/// Returns the specification's error for a room that the caller is still in.
fn not_forgotten(refusal: RequestRefusal) -> MatrixError {
    match refusal.code {
        RefusalCode::Invalid => MatrixError::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", refusal.message),
        _ => refusal.into(),
    }
}

/// Changes somebody's membership; an empty target is the caller.
async fn change_membership(
    context: &MatrixContext,
    session: &CallerSession,
    room: &str,
    change: Change,
    target: &str,
    reason: Option<String>,
) -> Result<SentEvent, MatrixError> {
    let change = SetMembership {
        room: Some(decide::room_ref(room)?),
        target: target.to_owned(),
        change: change.into(),
        reason: reason.unwrap_or_default(),
        ..SetMembership::default()
    };
    Ok(context.service.set_membership(session, change, "").await?)
}

/// Joins the caller to a room; further fields of the body stand in the member event.
async fn join_room(
    context: &MatrixContext,
    session: &CallerSession,
    room: &str,
    reason: Option<String>,
    content: Bytes,
) -> Result<OwnedRoomId, MatrixError> {
    let change = SetMembership {
        room: Some(decide::room_ref(room)?),
        change: Change::Join.into(),
        reason: reason.unwrap_or_default(),
        content,
        ..SetMembership::default()
    };
    room_id(context.service.set_membership(session, change, "").await?.room_id)
}

async fn join_by_id(
    context: MatrixContext,
    session: CallerSession,
    call: WithBody<join_room_by_id::v3::Request>,
) -> Result<join_room_by_id::v3::Response, MatrixError> {
    let WithBody { request, body } = call;
    let joined = join_room(&context, &session, request.room_id.as_str(), request.reason, body).await?;
    Ok(join_room_by_id::v3::Response::new(joined))
}

async fn join_by_id_or_alias(
    context: MatrixContext,
    session: CallerSession,
    call: WithBody<join_room_by_id_or_alias::v3::Request>,
) -> Result<join_room_by_id_or_alias::v3::Response, MatrixError> {
    let WithBody { request, body } = call;
    let joined = join_room(&context, &session, request.room_id_or_alias.as_str(), request.reason, body).await?;
    Ok(join_room_by_id_or_alias::v3::Response::new(joined))
}

async fn knock_at_room(
    context: MatrixContext,
    session: CallerSession,
    request: knock_room::v3::Request,
) -> Result<knock_room::v3::Response, MatrixError> {
    let change = SetMembership {
        room: Some(decide::room_ref(request.room_id_or_alias.as_str())?),
        change: Change::Knock.into(),
        reason: request.reason.unwrap_or_default(),
        ..SetMembership::default()
    };
    let sent = context.service.set_membership(&session, change, "").await?;
    Ok(knock_room::v3::Response::new(room_id(sent.room_id)?))
}

fn change_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("join", join_by_id)
        .with_session("join", join_by_id_or_alias)
        .with_session("knock", knock_at_room)
        .with_session(
            "leave",
            |context: MatrixContext, session: CallerSession, request: leave_room::v3::Request| async move {
                change_membership(&context, &session, request.room_id.as_str(), Change::Leave, "", request.reason)
                    .await?;
                Ok(leave_room::v3::Response::new())
            },
        )
        .with_session("invite", send_invite)
        .with_session(
            "kick",
            |context: MatrixContext, session: CallerSession, request: kick_user::v3::Request| async move {
                let room = request.room_id.as_str();
                let target = request.user_id.as_str();
                change_membership(&context, &session, room, Change::Kick, target, request.reason).await?;
                Ok(kick_user::v3::Response::new())
            },
        )
        .with_session(
            "ban",
            |context: MatrixContext, session: CallerSession, request: ban_user::v3::Request| async move {
                let room = request.room_id.as_str();
                let target = request.user_id.as_str();
                change_membership(&context, &session, room, Change::Ban, target, request.reason).await?;
                Ok(ban_user::v3::Response::new())
            },
        )
        .with_session(
            "unban",
            |context: MatrixContext, session: CallerSession, request: unban_user::v3::Request| async move {
                let room = request.room_id.as_str();
                let target = request.user_id.as_str();
                change_membership(&context, &session, room, Change::Unban, target, request.reason).await?;
                Ok(unban_user::v3::Response::new())
            },
        )
}

async fn send_invite(
    context: MatrixContext,
    session: CallerSession,
    request: invite_user::v3::Request,
) -> Result<invite_user::v3::Response, MatrixError> {
    let invite_user::v3::InvitationRecipient::UserId(recipient) = request.recipient else {
        return Err(MatrixError::invalid_param("This server has no identity server: invite users by their user id."));
    };
    let target = recipient.user_id.as_str();
    change_membership(&context, &session, request.room_id.as_str(), Change::Invite, target, recipient.reason).await?;
    Ok(invite_user::v3::Response::new())
}

async fn rooms_joined(
    context: MatrixContext,
    session: CallerSession,
    _request: joined_rooms::v3::Request,
) -> Result<joined_rooms::v3::Response, MatrixError> {
    let ids = context
        .read(move |view| {
            let rooms = view.rooms_of(&session.localpart)?;
            rooms
                .iter()
                .filter(|room| room.kind == Kind::Join)
                .map(|room| view.room_id(room.room))
                .collect::<Result<Vec<_>, _>>()
        })
        .await?;
    Ok(joined_rooms::v3::Response::new(ids.into_iter().map(room_id).collect::<Result<_, _>>()?))
}

async fn members_joined(
    context: MatrixContext,
    session: CallerSession,
    request: joined_members::v3::Request,
) -> Result<Response, MatrixError> {
    let room = request.room_id.to_string();
    let localpart = session.localpart.clone();
    let place = move |view: &StateView<'_>| {
        let room = view.resolve_room(&room)?;
        Ok((room, view.present_members_place(&localpart, room)?))
    };
    let write = |event: &RoomEvent, out: &mut Vec<u8>| {
        let content = MemberContent::of(event);
        if content.membership != "join" {
            return Ok(false);
        }
        let member = ShownMember { display_name: content.displayname, avatar_url: content.avatar_url };
        let user = user_id(event.state_key.clone().unwrap_or_default())?;
        let json = |error| MatrixError::bad_json(format!("A member of the room cannot be shown: {error}."));
        serde_json::to_writer(&mut *out, &user).map_err(json)?;
        out.push(b':');
        serde_json::to_writer(&mut *out, &member).map_err(json)?;
        Ok(true)
    };
    let frame = JsonFrame { open: r#"{"joined":{"#, close: "}}" };
    let wanted = StreamedState { scope: StateScope::Members, token: None, place, frame };
    streamed::stream_state(&context, &session, wanted, write).await
}

async fn room_members(
    context: MatrixContext,
    session: CallerSession,
    request: get_member_events::v3::Request,
) -> Result<Response, MatrixError> {
    let at = request.at.as_deref().map(limits::cursor_position).transpose()?;
    let room = request.room_id.to_string();
    let localpart = session.localpart.clone();
    let place = move |view: &StateView<'_>| {
        let room = view.resolve_room(&room)?;
        Ok((room, view.members_place(&localpart, room, at)?))
    };
    let only = request.membership;
    let not = request.not_membership;
    let reader = session.clone();
    let write = move |event: &RoomEvent, out: &mut Vec<u8>| {
        let membership = MemberContent::of(event).membership;
        let wanted = only.as_ref().is_none_or(|only| only.as_str() == membership)
            && not.as_ref().is_none_or(|not| not.as_str() != membership);
        if wanted {
            let event: Raw<RoomMemberEvent> = event::render_with_room(event, (&reader).into())?;
            out.extend_from_slice(event.json().get().as_bytes());
        }
        Ok(wanted)
    };
    let frame = JsonFrame { open: r#"{"chunk":["#, close: "]}" };
    let wanted = StreamedState { scope: StateScope::Members, token: at, place, frame };
    streamed::stream_state(&context, &session, wanted, write).await
}

/// Member in a list of those joined. Unlike ruma's type it says `null` where there is no name or avatar: clients and
/// Complement look for both keys.
#[derive(Serialize)]
struct ShownMember {
    display_name: Option<String>,
    avatar_url: Option<String>,
}

#[derive(Default, Deserialize)]
struct MemberContent {
    #[serde(default)]
    membership: String,
    #[serde(default)]
    displayname: Option<String>,
    #[serde(default)]
    avatar_url: Option<String>,
}

impl MemberContent {
    /// Reads the content of a member event. Clients may put anything beside the membership: what does not fit is left
    /// out.
    fn of(event: &RoomEvent) -> Self {
        serde_json::from_slice(&event.content).unwrap_or_default()
    }
}
