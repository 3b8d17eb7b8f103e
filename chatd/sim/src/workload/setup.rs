//! Setup of the cluster, its accounts and rooms, as by an administrator and users.

use super::call::{ClientContext, session_of, token_hash};
use crate::layout::PODS;
use crate::replica::{CLUSTER, PodHandle, SERVER};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quorate_chatd::raft::cluster::ClusterMember;
use quorate_chatd::service::{RequestRefusal, SentEvent};
use quorate_core::id::Position;
use quorate_core::proto::log::set_membership::Change;
use quorate_core::proto::log::{
    Command, CreateRoom, Envelope, NewSession, Register, RoomRef, SetMembership, command::Kind, create_room, room_ref,
};
use std::time::Duration;
use tokio::time::sleep;

/// Localparts of the users who take part.
pub(crate) const USERS: [&str; 3] = ["alice", "bob", "carol"];
const ROOMS: usize = 2;

/// Makes the cluster, its accounts and rooms. Returns the position from which on everybody is in every room.
pub(super) async fn set_up_cluster(clients: &ClientContext) -> Position {
    let mut voters: Vec<ClusterMember> = Vec::new();
    for pod in 0..PODS {
        voters
            .push(retry_on_pod(clients, pod, |running| async move { Some(running.node.own().clone()) }.boxed()).await);
    }
    retry_on_pod(clients, 0, move |running| initialize_voters(running, voters.clone())).await;
    for user in USERS {
        retry_on_pod(clients, 0, move |running| create_account(running, user)).await;
    }
    let mut start = Position::ZERO;
    for room in 0..ROOMS {
        let room_id = retry_on_pod(clients, 0, move |running| make_room(running, room)).await;
        for user in USERS.into_iter().skip(1) {
            let room_id = room_id.clone();
            start = retry_on_pod(clients, 0, move |running| join_room(running, user, room_id.clone())).await;
        }
        clients.history.lock().rooms.push(room_id);
    }
    start
}

/// Repeats `work` on a pod until it succeeds.
pub(crate) async fn retry_on_pod<T: Send + 'static>(
    clients: &ClientContext,
    pod: usize,
    work: impl Fn(PodHandle) -> BoxFuture<'static, Option<T>> + Clone + Send + 'static,
) -> T {
    loop {
        let work = work.clone();
        if let Some(Some(done)) = clients.call(pod, move |running| work(running)).await {
            return done;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn initialize_voters(running: PodHandle, voters: Vec<ClusterMember>) -> BoxFuture<'static, Option<()>> {
    async move { running.node.administration.initialize(CLUSTER, SERVER, voters).await.ok() }.boxed()
}

pub(crate) fn create_account(running: PodHandle, user: &'static str) -> BoxFuture<'static, Option<()>> {
    let session =
        NewSession { device_id: "D".into(), token_hash: token_hash(user).to_vec().into(), ..NewSession::default() };
    let register = Register {
        localpart: user.into(),
        password_hash: format!("hash of {user}"),
        session: Some(session),
        ..Register::default()
    };
    let command = Some(Command { kind: Some(Kind::Register(register)) });
    async move {
        // Any outcome will do: if an earlier attempt was applied, it says that the name is taken.
        running.node.proposer.propose(Envelope { command, ..Envelope::default() }).await.ok().map(drop)
    }
    .boxed()
}

fn make_room(running: PodHandle, room: usize) -> BoxFuture<'static, Option<String>> {
    let wish = CreateRoom { preset: create_room::Preset::Public.into(), ..CreateRoom::default() };
    async move {
        let made = running.service.create_room(&session_of(USERS[0]), wish, &format!("room-{room}")).await;
        made.ok().map(|made| made.room_id)
    }
    .boxed()
}

fn join_room(running: PodHandle, user: &'static str, room_id: String) -> BoxFuture<'static, Option<Position>> {
    set_joined(running, user, room_id).map(|joined| joined.ok().map(|sent| sent.position)).boxed()
}

pub(crate) fn set_joined(
    running: PodHandle,
    user: &'static str,
    room_id: String,
) -> BoxFuture<'static, Result<SentEvent, RequestRefusal>> {
    let transaction = format!("join-{room_id}");
    let room = Some(RoomRef { by: Some(room_ref::By::RoomId(room_id)) });
    let mut change = SetMembership { room, ..SetMembership::default() };
    change.set_change(Change::Join);
    async move { running.service.set_membership(&session_of(user), change, &transaction).await }.boxed()
}
