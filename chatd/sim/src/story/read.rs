//! A user who reads a room, as far back as its history may be seen.

use super::cast::StoryCast;
use super::step::StoryUser;
use super::tell;
use crate::history::{ReadOf, StateAt};
use crate::replica::PodHandle;
use crate::workload::session_of;
use crate::world::net::HostId;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quorate_chatd::service::{ReadConsistency, RequestRefusal, ServedFreshness};
use quorate_core::id::Position;
use quorate_core::query::{QueryError, RoomEvent, StateView};
use quorate_core::table::ScanDirection;

/// Limit of a page of history: more events than a story's room has.
const ALL: usize = 500;

/// Events and state that a read found.
struct RoomContents {
    /// Events of the room, oldest first.
    events: Vec<RoomEvent>,
    state: Vec<(String, String, Position)>,
}

impl StoryCast {
    pub(crate) async fn read(self, user: StoryUser, name: String, pod: HostId) {
        let Some((room, room_id)) = self.room(&name) else { return };
        let invoked = self.clients.now();
        let answer = self.clients.call(pod, move |running| read_room(running, user, room_id)).await;
        let what = format!("{user}'s read of {name}");
        let told = match answer {
            Some(Ok((found, freshness))) => {
                let linearizable = freshness == ServedFreshness::Linearizable;
                self.note((user, room), invoked, linearizable, &found);
                let is = if linearizable { "is up to date" } else { "may be out of date" };
                self.answered(&what, pod, invoked, Some(Ok(is.to_owned())));
                for line in tell::describe_events(&found.events) {
                    self.tell(format!("  {line}"));
                }
                return;
            }
            Some(Err(refusal)) => Some(Err(refusal)),
            None => None,
        };
        self.answered(&what, pod, invoked, told);
    }

    fn note(&self, (user, room): (StoryUser, usize), invoked: u64, linearizable: bool, found: &RoomContents) {
        let newest: Vec<_> = found.events.iter().rev().map(|event| event.position).collect();
        let Some(at) = newest.first().copied() else { return };
        let mut record = self.clients.history.lock();
        record.reads.push(ReadOf { user, room, invoked, answered: self.clients.now(), linearizable, newest });
        record.states.push(StateAt { room, at, state: found.state.clone() });
    }
}

fn read_room(
    running: PodHandle,
    user: StoryUser,
    room_id: String,
) -> BoxFuture<'static, Result<(RoomContents, ServedFreshness), RequestRefusal>> {
    let localpart = session_of(user).localpart;
    async move {
        running.service.read(ReadConsistency::Linearizable, move |view| query_room(view, &localpart, &room_id)).await
    }
    .boxed()
}

fn query_room(view: &StateView<'_>, localpart: &str, room_id: &str) -> Result<RoomContents, QueryError> {
    let room = view.resolve_room(room_id)?;
    let mut events = view.timeline(localpart, room, Position::MAX, ScanDirection::Backward, ALL)?.events;
    events.reverse();
    let Some(newest) = events.last() else { return Ok(RoomContents { events, state: Vec::new() }) };
    let state = view.state(room, Some(newest.position))?;
    let state = state.into_iter().map(|event| (event.event_type, event.state_key.unwrap_or_default(), event.position));
    Ok(RoomContents { state: state.collect(), events })
}
