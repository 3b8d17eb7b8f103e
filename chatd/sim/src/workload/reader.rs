//! A client that reads the newest events of a room, and the state at one of them.

use super::call::ClientContext;
use crate::history::{ReadOf, StateAt};
use crate::mutation::Mutation;
use crate::replica::PodHandle;
use crate::rng::Rng;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quorate_chatd::service::{ReadConsistency, ServedFreshness};
use quorate_core::id::Position;
use quorate_core::query::QueryError;
use quorate_core::query::StateView;
use quorate_core::table::ScanDirection;
use std::time::Duration;
use tokio::time::sleep;

const NEWEST: usize = 8;
const PAUSE_MS: usize = 150;

/// Events and state that a read found.
struct RoomExcerpt {
    newest: Vec<Position>,
    at: Position,
    state: Vec<(String, String, Position)>,
}

pub(super) async fn run_reader(clients: ClientContext, mut rng: Rng, user: &'static str) {
    while !clients.is_over() {
        sleep(Duration::from_millis(rng.below(PAUSE_MS) as u64)).await;
        let rooms = clients.history.lock().rooms.clone();
        let room = rng.below(rooms.len());
        let room_id = rooms[room].clone();
        let place = rng.below(NEWEST);
        let pod = clients.any_pod(&mut rng);
        let stale = clients.mutation == Some(Mutation::StaleRead);
        let invoked = clients.now();
        let answer = clients.call(pod, move |running| read_newest(running, user, room_id, place, stale)).await;
        let Some(Some((RoomExcerpt { newest, at, state }, linearizable))) = answer else { continue };
        let mut history = clients.history.lock();
        history.reads.push(ReadOf { user, room, invoked, answered: clients.net.now(), linearizable, newest });
        history.states.push(StateAt { room, at, state });
    }
}

fn read_newest(
    running: PodHandle,
    user: &'static str,
    room_id: String,
    place: usize,
    stale: bool,
) -> BoxFuture<'static, Option<(RoomExcerpt, bool)>> {
    let consistency = if stale { ReadConsistency::Local } else { ReadConsistency::Linearizable };
    async move {
        let found = running.service.read(consistency, move |view| query_newest(view, user, &room_id, place)).await;
        // A pod that cannot reach its leader may not even know the room; that is no answer.
        let (found, freshness) = found.ok()?;
        Some((found, stale || freshness == ServedFreshness::Linearizable))
    }
    .boxed()
}

fn query_newest(view: &StateView<'_>, user: &str, room_id: &str, place: usize) -> Result<RoomExcerpt, QueryError> {
    let room = view.resolve_room(room_id)?;
    let page = view.timeline(user, room, Position::MAX, ScanDirection::Backward, NEWEST)?;
    let newest: Vec<_> = page.events.iter().map(|event| event.position).collect();
    let at = newest[place.min(newest.len() - 1)];
    let state = view.state(room, Some(at))?;
    let state = state.into_iter().map(|event| (event.event_type, event.state_key.unwrap_or_default(), event.position));
    Ok(RoomExcerpt { at, state: state.collect(), newest })
}
