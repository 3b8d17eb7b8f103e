//! A client that reads the newest events of a room, and the state at one of them.

use super::call::Clients;
use crate::history::{ReadOf, StateAt};
use crate::mutation::Mutation;
use crate::replica::Running;
use crate::rng::Rng;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quorate_chatd::service::{Consistency, Freshness};
use quorate_core::id::Position;
use quorate_core::query::QueryError;
use quorate_core::query::View;
use quorate_core::table::Direction;
use std::time::Duration;
use tokio::time::sleep;

const NEWEST: usize = 8;
const PAUSE_MS: usize = 150;

/// Events and state that a read found.
struct Found {
    newest: Vec<Position>,
    at: Position,
    state: Vec<(String, String, Position)>,
}

pub(super) async fn run(clients: Clients, mut rng: Rng, user: &'static str) {
    while !clients.is_over() {
        sleep(Duration::from_millis(rng.below(PAUSE_MS) as u64)).await;
        let rooms = clients.history.lock().rooms.clone();
        let room = rng.below(rooms.len());
        let (room_id, place, pod) = (rooms[room].clone(), rng.below(NEWEST), clients.any_pod(&mut rng));
        let stale = clients.mutation == Some(Mutation::StaleRead);
        let invoked = clients.now();
        let answer = clients.call(pod, move |running| read(running, user, room_id, place, stale)).await;
        let Some(Some((Found { newest, at, state }, linearizable))) = answer else { continue };
        let mut history = clients.history.lock();
        history.reads.push(ReadOf { user, room, invoked, answered: clients.net.now(), linearizable, newest });
        history.states.push(StateAt { room, at, state });
    }
}

fn read(
    running: Running,
    user: &'static str,
    room_id: String,
    place: usize,
    stale: bool,
) -> BoxFuture<'static, Option<(Found, bool)>> {
    let consistency = if stale { Consistency::Local } else { Consistency::Linearizable };
    async move {
        let found = running.service.read(consistency, move |view| look(view, user, &room_id, place)).await;
        // A pod that cannot reach its leader may not even know the room; that is no answer.
        let (found, freshness) = found.ok()?;
        Some((found, stale || freshness == Freshness::Linearizable))
    }
    .boxed()
}

fn look(view: &View<'_>, user: &str, room_id: &str, place: usize) -> Result<Found, QueryError> {
    let room = view.resolve_room(room_id)?;
    let page = view.timeline(user, room, Position::MAX, Direction::Backward, NEWEST)?;
    let newest: Vec<_> = page.events.iter().map(|event| event.position).collect();
    let at = newest[place.min(newest.len() - 1)];
    let state = view.state(room, Some(at))?;
    let state = state.into_iter().map(|event| (event.event_type, event.state_key.unwrap_or_default(), event.position));
    Ok(Found { at, state: state.collect(), newest })
}
