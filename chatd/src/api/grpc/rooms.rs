//! Calls that write: rooms, membership, state, messages.

use super::auth;
use crate::api::convert;
use crate::service::{Refusal, Sent, Service, Session, decide, limits};
use quorate_core::proto::log::{SetMembership, set_membership::Change};
use quorate_wire::chat::v1::{
    CreateRoomRequest, CreateRoomResponse, InviteRequest, JoinRoomRequest, LeaveRoomRequest, MembershipResponse,
    SendRequest, SendResponse, SetStateRequest,
};
use tonic::Request;

pub(super) async fn create(s: &Service, request: Request<CreateRoomRequest>) -> Result<CreateRoomResponse, Refusal> {
    let session = auth::session(s, &request).await?;
    let mut request = request.into_inner();
    let txn = std::mem::take(&mut request.transaction_id);
    s.create_room(&session, convert::new_room(request)?, &txn).await.map(convert::room_made)
}

pub(super) async fn join(s: &Service, request: Request<JoinRoomRequest>) -> Result<MembershipResponse, Refusal> {
    let session = auth::session(s, &request).await?;
    let JoinRoomRequest { room, transaction_id } = request.into_inner();
    let change = Wanted { room: &room, target: String::new(), change: Change::Join, reason: String::new() };
    change.apply(s, &session, &transaction_id).await.map(convert::membership)
}

pub(super) async fn leave(s: &Service, request: Request<LeaveRoomRequest>) -> Result<MembershipResponse, Refusal> {
    let session = auth::session(s, &request).await?;
    let LeaveRoomRequest { room_id, reason, transaction_id } = request.into_inner();
    let change = Wanted { room: &room_id, target: String::new(), change: Change::Leave, reason };
    change.apply(s, &session, &transaction_id).await.map(convert::membership)
}

pub(super) async fn invite(s: &Service, request: Request<InviteRequest>) -> Result<MembershipResponse, Refusal> {
    let session = auth::session(s, &request).await?;
    let InviteRequest { room_id, user_id, reason, transaction_id } = request.into_inner();
    limits::name("user_id", &user_id)?;
    let change = Wanted { room: &room_id, target: user_id, change: Change::Invite, reason };
    change.apply(s, &session, &transaction_id).await.map(convert::membership)
}

pub(super) async fn set_state(s: &Service, request: Request<SetStateRequest>) -> Result<SendResponse, Refusal> {
    let session = auth::session(s, &request).await?;
    let SetStateRequest { room_id, r#type, state_key, content, transaction_id } = request.into_inner();
    s.set_state(&session, &room_id, &r#type, &state_key, content, &transaction_id).await.map(convert::sent)
}

pub(super) async fn send(s: &Service, request: Request<SendRequest>) -> Result<SendResponse, Refusal> {
    let session = auth::session(s, &request).await?;
    let SendRequest { room_id, r#type, content, transaction_id } = request.into_inner();
    s.send(&session, &room_id, &r#type, content, &transaction_id).await.map(convert::sent)
}

struct Wanted<'a> {
    room: &'a str,
    /// User whose membership changes; empty means the caller.
    target: String,
    change: Change,
    reason: String,
}

impl Wanted<'_> {
    async fn apply(self, s: &Service, session: &Session, txn: &str) -> Result<Sent, Refusal> {
        let Self { room, target, change, reason } = self;
        let room = Some(decide::room_ref(room)?);
        let change = SetMembership { room, target, change: change.into(), reason, ..SetMembership::default() };
        s.set_membership(session, change, txn).await
    }
}
