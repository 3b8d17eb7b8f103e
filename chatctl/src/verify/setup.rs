//! Setup of a run: users, rooms and readers. Everything is retried while servers come and go and limits are hit.

use super::{options::VerifyArgs, reader::ReaderTask, run::VerifyRun};
use crate::{
    client::{CallFailure, ClientOptions, ClusterClient, ServerTrust},
    context::CommandContext,
    error::Error,
    send::{self, MESSAGE},
    session::{self, ClientSession, Credentials},
};
use quorate_wire::chat::v1::{
    CreateRoomRequest, JoinRoomRequest, LogoutRequest, SendRequest, create_room_request::Preset,
};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use uuid::Uuid;

/// Longest interval of the backoff during a run: shorter than the default, so that the end of a fault is seen at once.
const BACKOFF_CAP: Duration = Duration::from_secs(2);
/// Interval between two messages that test whether all readers listen.
const READY_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum number of concurrent registrations: each costs the server a password hash of tens of milliseconds.
const AT_ONCE: usize = 4;

/// Everything that a run needs: its state, sessions and servers.
pub(super) struct RunSetup {
    pub(super) run: Arc<VerifyRun>,
    pub(super) writers: Vec<ClientSession>,
    pub(super) readers: Vec<ClientSession>,
    pub(super) servers: Vec<String>,
    pub(super) trust: Option<ServerTrust>,
}

/// Registers the users, creates the rooms, and lets every user join them.
pub(super) async fn prepare_run(
    command: &VerifyArgs,
    servers: &[String],
    context: &CommandContext,
) -> Result<RunSetup, Error> {
    let id: String = Uuid::new_v4().simple().to_string().chars().take(10).collect();
    let trust = context.trust_of_servers(servers)?;
    let limited = client_options(command, trust.as_ref());
    let writers = register_users(&id, "w", command.writers, &limited, servers).await?;
    let readers = register_users(&id, "r", command.readers, &limited, servers).await?;
    let founder = writers.first().ok_or_else(|| Error::Usage("--writers must be at least 1".to_owned()))?;
    let mut rooms = Vec::new();
    for room in 0..command.rooms {
        rooms.push(create_public_room(founder, &id, room).await?);
    }
    for session in writers.iter().chain(&readers) {
        if context.global.discover {
            session.learn_servers().await?;
        }
        for room in &rooms {
            join_public_room(session, room).await?;
        }
    }
    // The limit ends with the setup: in the load, every message is tried until it is settled or the run is over.
    let endless = ClientOptions { limit: None, ..client_options(command, trust.as_ref()) };
    let writers = rebuild_sessions(&writers, servers, &endless)?;
    let readers = rebuild_sessions(&readers, servers, &endless)?;
    let run = Arc::new(VerifyRun::new(id, rooms, command));
    Ok(RunSetup { run, writers, readers, servers: servers.to_vec(), trust })
}

pub(super) fn client_options(command: &VerifyArgs, trust: Option<&ServerTrust>) -> ClientOptions {
    ClientOptions {
        attempt_timeout: command.attempt_timeout,
        limit: Some(command.setup_timeout),
        backoff_base: Duration::from_secs(1),
        backoff_cap: BACKOFF_CAP,
        trust: trust.cloned(),
        ..ClientOptions::default()
    }
}

fn rebuild_sessions(
    sessions: &[ClientSession],
    servers: &[String],
    options: &ClientOptions,
) -> Result<Vec<ClientSession>, Error> {
    let over = |(index, session): (usize, &ClientSession)| {
        let client = create_client(servers, options, index)?;
        for slot in session.client().servers().all() {
            client.servers().learn(slot.address());
        }
        Ok(session.over(client))
    };
    sessions.iter().enumerate().map(over).collect()
}

/// Creates a client for one user. Each user has its own, and each client starts on another server.
pub(super) fn create_client(servers: &[String], options: &ClientOptions, index: usize) -> Result<ClusterClient, Error> {
    let client = ClusterClient::new(servers, options.clone()).map_err(|e| Error::Usage(e.to_string()))?;
    client.servers().prefer(index % servers.len().max(1));
    Ok(client)
}

async fn register_users(
    run: &str,
    kind: &str,
    count: u16,
    options: &ClientOptions,
    servers: &[String],
) -> Result<Vec<ClientSession>, Error> {
    let mut registering: JoinSet<(u16, Result<ClientSession, CallFailure>)> = JoinSet::new();
    let mut sessions: Vec<(u16, ClientSession)> = Vec::new();
    let mut next = 0..count;
    loop {
        while registering.len() < AT_ONCE
            && let Some(index) = next.next()
        {
            let client = create_client(servers, options, usize::from(index))?;
            let username = format!("verify-{run}-{kind}{index}");
            registering.spawn(async move { (index, register_one(client, username).await) });
        }
        match registering.join_next().await {
            Some(Ok((index, session))) => sessions.push((index, session?)),
            Some(Err(panic)) => return Err(Error::Inconclusive(format!("a registration task failed: {panic}"))),
            None => break,
        }
    }
    sessions.sort_unstable_by_key(|(index, _)| *index);
    Ok(sessions.into_iter().map(|(_, session)| session).collect())
}

async fn register_one(client: ClusterClient, username: String) -> Result<ClientSession, CallFailure> {
    let password = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let device_name = "chatctl verify".to_owned();
    let credentials = Credentials { username, password, device_name, device_id: None };
    let opened = session::register_user(&client, &credentials).await?;
    let unusable = || CallFailure::unreachable("-", "the access token is not a valid header value");
    ClientSession::new(client, &opened.access_token).ok_or_else(unusable)
}

async fn create_public_room(founder: &ClientSession, run: &str, room: u16) -> Result<String, CallFailure> {
    let request = CreateRoomRequest {
        preset: Preset::Public.into(),
        name: format!("verify {run} {room}"),
        transaction_id: format!("verify-{run}-room-{room}"),
        ..CreateRoomRequest::default()
    };
    let made = founder.call(request, |mut chat, request| async move { chat.create_room(request).await }).await?;
    Ok(made.room_id)
}

async fn join_public_room(session: &ClientSession, room: &str) -> Result<(), CallFailure> {
    let request = JoinRoomRequest { room: room.to_owned(), transaction_id: send::transaction_id() };
    session.call(request, |mut chat, request| async move { chat.join_room(request).await }).await.map(drop)
}

/// Sends messages that do not count, until every reader has met one in every room: a subscription "from now" begins
/// when the server says so, and what is written before that is rightly not in it.
pub(super) async fn wait_until_ready(
    command: &VerifyArgs,
    stage: &RunSetup,
    readers: &mut [ReaderTask],
) -> Result<(), Error> {
    let deadline = Instant::now() + command.setup_timeout;
    let asker = stage.writers.first().ok_or(Error::NoServers)?;
    let asker = asker.over(create_client(&stage.servers, &client_options(command, stage.trust.as_ref()), 0)?);
    for round in 0_u32.. {
        if readers.iter().all(ReaderTask::is_ready) {
            break;
        }
        if readers.iter().any(ReaderTask::has_ended) || Instant::now() >= deadline {
            return Err(Error::Inconclusive("not every reader could subscribe before the load started".to_owned()));
        }
        for (index, room) in stage.run.rooms.iter().enumerate() {
            let message = SendRequest {
                room_id: room.clone(),
                r#type: MESSAGE.to_owned(),
                content: stage.run.ready_content(round).into(),
                transaction_id: format!("verify-{}-ready-{round}-{index}", stage.run.id),
            };
            send::send_until_settled(&asker, message).await?;
        }
        tokio::time::sleep(READY_INTERVAL).await;
    }
    Ok(())
}

/// Ends all sessions of the run, as far as that goes quickly, because they would end by themselves.
pub(super) async fn sign_out(stage: &RunSetup) {
    let all = stage.writers.iter().chain(&stage.readers);
    for session in all {
        let request = LogoutRequest { all_devices: true };
        let ended = session.call(request, |mut chat, request| async move { chat.logout(request).await });
        // A cluster that does not answer one session would cost as much time for each of the others.
        if tokio::time::timeout(Duration::from_secs(2), ended).await.is_err() {
            break;
        }
    }
}
