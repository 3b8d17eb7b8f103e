//! Calls that write: rooms, membership, state, messages.

use super::auth;
use crate::api::convert;
use crate::service::{CallerSession, ChatService, RequestRefusal, SentEvent, decide, limits};
use quorate_core::proto::log::{SetMembership, set_membership::Change};
use quorate_core::receipt::ReceiptKind;
use quorate_wire::chat::v1::{
    CreateRoomRequest, CreateRoomResponse, InviteRequest, JoinRoomRequest, LeaveRoomRequest, MarkReadRequest,
    MarkReadResponse, MembershipResponse, SendRequest, SendResponse, SetStateRequest,
};
use tonic::Request;

pub(super) async fn create_room(
    s: &ChatService,
    request: Request<CreateRoomRequest>,
) -> Result<CreateRoomResponse, RequestRefusal> {
    let session = auth::caller_session(s, &request).await?;
    let mut request = request.into_inner();
    let txn = std::mem::take(&mut request.transaction_id);
    s.create_room(&session, convert::new_room(request)?, &txn).await.map(convert::room_made)
}

pub(super) async fn join_room(
    s: &ChatService,
    request: Request<JoinRoomRequest>,
) -> Result<MembershipResponse, RequestRefusal> {
    let session = auth::caller_session(s, &request).await?;
    let JoinRoomRequest { room, transaction_id } = request.into_inner();
    let change = RequestedChange { room: &room, target: String::new(), change: Change::Join, reason: String::new() };
    change.apply(s, &session, &transaction_id).await.map(convert::membership_to_wire)
}

pub(super) async fn leave_room(
    s: &ChatService,
    request: Request<LeaveRoomRequest>,
) -> Result<MembershipResponse, RequestRefusal> {
    let session = auth::caller_session(s, &request).await?;
    let LeaveRoomRequest { room_id, reason, transaction_id } = request.into_inner();
    let change = RequestedChange { room: &room_id, target: String::new(), change: Change::Leave, reason };
    change.apply(s, &session, &transaction_id).await.map(convert::membership_to_wire)
}

pub(super) async fn invite_user(
    s: &ChatService,
    request: Request<InviteRequest>,
) -> Result<MembershipResponse, RequestRefusal> {
    let session = auth::caller_session(s, &request).await?;
    let InviteRequest { room_id, user_id, reason, transaction_id } = request.into_inner();
    limits::check_name("user_id", &user_id)?;
    let change = RequestedChange { room: &room_id, target: user_id, change: Change::Invite, reason };
    change.apply(s, &session, &transaction_id).await.map(convert::membership_to_wire)
}

pub(super) async fn set_state(
    s: &ChatService,
    request: Request<SetStateRequest>,
) -> Result<SendResponse, RequestRefusal> {
    let session = auth::caller_session(s, &request).await?;
    let SetStateRequest { room_id, r#type, state_key, content, transaction_id } = request.into_inner();
    s.set_state(&session, &room_id, &r#type, &state_key, content, &transaction_id).await.map(convert::sent_to_wire)
}

pub(super) async fn send_message(
    s: &ChatService,
    request: Request<SendRequest>,
) -> Result<SendResponse, RequestRefusal> {
    let session = auth::caller_session(s, &request).await?;
    let SendRequest { room_id, r#type, content, transaction_id } = request.into_inner();
    s.send(&session, &room_id, &r#type, content, &transaction_id).await.map(convert::sent_to_wire)
}

pub(super) async fn mark_read(
    s: &ChatService,
    request: Request<MarkReadRequest>,
) -> Result<MarkReadResponse, RequestRefusal> {
    let session = auth::caller_session(s, &request).await?;
    let MarkReadRequest { room_id, event_id, private, thread_id } = request.into_inner();
    let kind = if private { ReceiptKind::Private } else { ReceiptKind::Public };
    s.mark_read(&session, &room_id, &event_id, kind, &thread_id).await?;
    Ok(MarkReadResponse {})
}

struct RequestedChange<'a> {
    room: &'a str,
    /// User whose membership changes; empty means the caller.
    target: String,
    change: Change,
    reason: String,
}

impl RequestedChange<'_> {
    async fn apply(self, s: &ChatService, session: &CallerSession, txn: &str) -> Result<SentEvent, RequestRefusal> {
        let Self { room, target, change, reason } = self;
        let room = Some(decide::room_ref(room)?);
        let change = SetMembership { room, target, change: change.into(), reason, ..SetMembership::default() };
        s.set_membership(session, change, txn).await
    }
}
