//! Final scan of every server's whole history of every room.

use super::{
    history::{MessageId, Observation, SeenMessage, event_key},
    options::VerifyArgs,
    run::{MessageMark, VerifyRun},
    setup::RunSetup,
};
use crate::{
    client::{CallFailure, PooledServer, RetryRule},
    position::EventPosition,
    session::ClientSession,
};
use quorate_wire::chat::v1::{Consistency, Freshness, HistoryRequest, HistoryResponse, history_request::Direction};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};

/// Number of events per page, which is the server's own limit.
const PAGE: u32 = 1000;
/// Interval between two attempts to read a page from a server that is just starting.
const POLL: Duration = Duration::from_millis(300);

/// History that one server returned, or the reason why it could not be read.
pub(super) struct ServerScan {
    pub(super) server: String,
    pub(super) observation: Option<Observation>,
    pub(super) error: Option<String>,
}

/// Scans each server that was named, or that the cluster listed, all at the same time.
pub(super) async fn scan_servers(command: &VerifyArgs, stage: &RunSetup) -> Vec<ServerScan> {
    let mut scanning = JoinSet::new();
    let Some(session) = stage.readers.first() else { return Vec::new() };
    for slot in session.client().servers().all() {
        let session = session.clone();
        let run = Arc::clone(&stage.run);
        let command = command.clone();
        scanning.spawn(async move {
            let server = slot.address().to_owned();
            let name = format!("history of {server}");
            let deadline = Instant::now() + command.settle;
            let (observation, error) = match scan_server(&session, &slot, &run, &command, deadline).await {
                Ok(seen) => (Some(Observation { name, seen }), None),
                Err(failure) => (None, Some(failure.to_string())),
            };
            ServerScan { server, observation, error }
        });
    }
    let mut scans = scanning.join_all().await;
    scans.sort_unstable_by(|a, b| a.server.cmp(&b.server));
    scans
}

async fn scan_server(
    session: &ClientSession,
    slot: &PooledServer,
    run: &VerifyRun,
    command: &VerifyArgs,
    deadline: Instant,
) -> Result<Vec<SeenMessage>, CallFailure> {
    let mut seen = Vec::new();
    for (index, room) in run.rooms.iter().enumerate() {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        let mut from = String::new();
        loop {
            let page = fetch_page(session, slot, room, &from, command, deadline).await?;
            for event in &page.events {
                if let Some(MessageMark::Message { writer, seq, .. }) = run.read_mark(&event.content) {
                    let position = event.position.map(EventPosition::from).unwrap_or_default();
                    let event = event_key(&event.event_id);
                    seen.push(SeenMessage { id: MessageId { writer, seq }, room: index, position, event });
                }
            }
            // A page that repeats its own cursor would make the loop endless.
            if page.next.is_empty() || page.next == from {
                break;
            }
            from = page.next;
        }
    }
    Ok(seen)
}

/// Fetches one page from this very server, and asks again until the page is not stale or the time is up.
async fn fetch_page(
    session: &ClientSession,
    slot: &PooledServer,
    room: &str,
    from: &str,
    command: &VerifyArgs,
    deadline: Instant,
) -> Result<HistoryResponse, CallFailure> {
    let message = HistoryRequest {
        room_id: room.to_owned(),
        from: from.to_owned(),
        direction: Direction::Forward.into(),
        limit: PAGE,
        consistency: Consistency::Linearizable.into(),
    };
    let ask = |mut chat: crate::client::ChatStub| {
        let request = session.request(message.clone());
        async move { chat.history(request).await }
    };
    loop {
        let failure = match session.client().attempt(slot, command.attempt_timeout, &ask).await {
            Ok(page) if page.freshness() != Freshness::Stale => return Ok(page),
            Ok(_) => CallFailure::unreachable(slot.address(), "the server has no quorum, so its history may be stale"),
            Err(failure) => failure,
        };
        if failure.retry == RetryRule::No || Instant::now() >= deadline {
            return Err(failure);
        }
        tokio::time::sleep(POLL).await;
    }
}
