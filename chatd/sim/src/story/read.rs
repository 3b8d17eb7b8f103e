//! A user who reads a room, as far back as its history may be seen.

use super::cast::Cast;
use super::step::User;
use super::tell;
use crate::history::{ReadOf, StateAt};
use crate::replica::Running;
use crate::workload::session;
use crate::world::net::HostId;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quorate_chatd::service::{Consistency, Freshness, Refusal};
use quorate_core::id::Position;
use quorate_core::query::{Event, QueryError, View};
use quorate_core::table::Direction;

/// Limit of a page of history: more events than a story's room has.
const ALL: usize = 500;

/// Events and state that a read found.
struct Found {
    /// Events of the room, oldest first.
    events: Vec<Event>,
    state: Vec<(String, String, Position)>,
}

impl Cast {
    pub(crate) async fn read(self, user: User, name: String, pod: HostId) {
        let Some((room, room_id)) = self.room(&name) else { return };
        let invoked = self.clients.now();
        let answer = self.clients.call(pod, move |running| read(running, user, room_id)).await;
        let what = format!("{user}'s read of {name}");
        let told = match answer {
            Some(Ok((found, freshness))) => {
                let linearizable = freshness == Freshness::Linearizable;
                self.note((user, room), invoked, linearizable, &found);
                let is = if linearizable { "is up to date" } else { "may be out of date" };
                self.answered(&what, pod, invoked, Some(Ok(is.to_owned())));
                for line in tell::events(&found.events) {
                    self.tell(format!("  {line}"));
                }
                return;
            }
            Some(Err(refusal)) => Some(Err(refusal)),
            None => None,
        };
        self.answered(&what, pod, invoked, told);
    }

    fn note(&self, (user, room): (User, usize), invoked: u64, linearizable: bool, found: &Found) {
        let newest: Vec<_> = found.events.iter().rev().map(|event| event.position).collect();
        let Some(at) = newest.first().copied() else { return };
        let mut record = self.clients.history.lock();
        record.reads.push(ReadOf { user, room, invoked, answered: self.clients.now(), linearizable, newest });
        record.states.push(StateAt { room, at, state: found.state.clone() });
    }
}

fn read(running: Running, user: User, room_id: String) -> BoxFuture<'static, Result<(Found, Freshness), Refusal>> {
    let localpart = session(user).localpart;
    async move { running.service.read(Consistency::Linearizable, move |view| look(view, &localpart, &room_id)).await }
        .boxed()
}

fn look(view: &View<'_>, localpart: &str, room_id: &str) -> Result<Found, QueryError> {
    let room = view.resolve_room(room_id)?;
    let mut events = view.timeline(localpart, room, Position::MAX, Direction::Backward, ALL)?.events;
    events.reverse();
    let Some(newest) = events.last() else { return Ok(Found { events, state: Vec::new() }) };
    let state = view.state(room, Some(newest.position))?;
    let state = state.into_iter().map(|event| (event.event_type, event.state_key.unwrap_or_default(), event.position));
    Ok(Found { state: state.collect(), events })
}
