//! Final scan of every server's whole history of every room.

use super::{
    history::{MessageId, Observation, Seen, event_key},
    options::Command,
    run::{Mark, Run},
    setup::Stage,
};
use crate::{
    client::{Failure, Retry, Slot},
    position::Position,
    session::Session,
};
use quorate_wire::chat::v1::{Consistency, Freshness, HistoryRequest, HistoryResponse, history_request::Direction};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};

/// Number of events per page, which is the server's own limit.
const PAGE: u32 = 1000;
/// Interval between two attempts to read a page from a server that is just starting.
const POLL: Duration = Duration::from_millis(300);

/// History that one server returned, or the reason why it could not be read.
pub(super) struct Scan {
    pub(super) server: String,
    pub(super) observation: Option<Observation>,
    pub(super) error: Option<String>,
}

/// Scans each server that was named, or that the cluster listed, all at the same time.
pub(super) async fn all(command: &Command, stage: &Stage) -> Vec<Scan> {
    let mut scanning = JoinSet::new();
    let Some(session) = stage.readers.first() else { return Vec::new() };
    for slot in session.client().servers().all() {
        let (session, run, command) = (session.clone(), Arc::clone(&stage.run), command.clone());
        scanning.spawn(async move {
            let server = slot.address().to_owned();
            let name = format!("history of {server}");
            let deadline = Instant::now() + command.settle;
            let (observation, error) = match one(&session, &slot, &run, &command, deadline).await {
                Ok(seen) => (Some(Observation { name, seen }), None),
                Err(failure) => (None, Some(failure.to_string())),
            };
            Scan { server, observation, error }
        });
    }
    let mut scans = scanning.join_all().await;
    scans.sort_unstable_by(|a, b| a.server.cmp(&b.server));
    scans
}

async fn one(
    session: &Session,
    slot: &Slot,
    run: &Run,
    command: &Command,
    deadline: Instant,
) -> Result<Vec<Seen>, Failure> {
    let mut seen = Vec::new();
    for (index, room) in run.rooms.iter().enumerate() {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        let mut from = String::new();
        loop {
            let page = page(session, slot, room, &from, command, deadline).await?;
            for event in &page.events {
                if let Some(Mark::Message { writer, seq, .. }) = run.read_mark(&event.content) {
                    let position = event.position.map(Position::from).unwrap_or_default();
                    let event = event_key(&event.event_id);
                    seen.push(Seen { id: MessageId { writer, seq }, room: index, position, event });
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
async fn page(
    session: &Session,
    slot: &Slot,
    room: &str,
    from: &str,
    command: &Command,
    deadline: Instant,
) -> Result<HistoryResponse, Failure> {
    let message = HistoryRequest {
        room_id: room.to_owned(),
        from: from.to_owned(),
        direction: Direction::Forward.into(),
        limit: PAGE,
        consistency: Consistency::Linearizable.into(),
    };
    let ask = |mut chat: crate::client::Chat| {
        let request = session.request(message.clone());
        async move { chat.history(request).await }
    };
    loop {
        let failure = match session.client().attempt(slot, command.attempt_timeout, &ask).await {
            Ok(page) if page.freshness() != Freshness::Stale => return Ok(page),
            Ok(_) => Failure::unreachable(slot.address(), "the server has no quorum, so its history may be stale"),
            Err(failure) => failure,
        };
        if failure.retry == Retry::No || Instant::now() >= deadline {
            return Err(failure);
        }
        tokio::time::sleep(POLL).await;
    }
}
