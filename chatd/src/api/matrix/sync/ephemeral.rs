//! Typing and presence in a sync: what has changed since the token's marks, and what concerns members and rooms that are
//! new to the client.

use super::super::account::user_id;
use super::super::context::MatrixContext;
use super::super::error::MatrixError;
use super::super::presence::presence_state;
use super::super::room::room_id;
use super::unread::UnreadRooms;
use crate::ephemeral::{EphemeralNews, PresenceLevel, PresenceNews, PresenceStatus, TypingNews};
use crate::service::{CallerSession, RequestRefusal};
use quorate_core::id::{Position, RoomNumber};
use quorate_core::query::sync::{LifeMarks, SyncToken};
use quorate_core::query::{SyncFilter, SyncResponse};
use ruma::UInt;
use ruma::api::client::sync::sync_events::v3 as api;
use ruma::events::presence::{PresenceEvent, PresenceEventContent};
use ruma::serde::Raw;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::to_raw_value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Type of an event that tells who types in a room.
const TYPING: &str = "m.typing";
/// Type of an event that tells a user's presence.
const PRESENCE: &str = "m.presence";
/// Maximum number of members of a room that was just joined of whose presence the client is told at once.
const MOST_MEMBERS: usize = 1000;

/// Part of a poll that tells typing and presence.
pub(super) struct EphemeralPart<'p> {
    context: &'p MatrixContext,
    session: &'p CallerSession,
    filter: Arc<SyncFilter>,
    since: Option<Position>,
    marks: LifeMarks,
}

impl<'p> EphemeralPart<'p> {
    pub(super) fn new(
        context: &'p MatrixContext,
        session: &'p CallerSession,
        filter: Arc<SyncFilter>,
        token: Option<SyncToken>,
    ) -> Self {
        let since = token.map(|token| token.at);
        Self { context, session, filter, since, marks: token.map(|token| token.marks).unwrap_or_default() }
    }

    /// Returns what is new for a user who is in `rooms` and is told `response`.
    pub(super) async fn look(
        &mut self,
        rooms: &BTreeSet<RoomNumber>,
        response: &SyncResponse,
    ) -> Result<EphemeralNews, MatrixError> {
        // A client that does not know all of its rooms yet is told with the last of them.
        if response.rest.is_some() {
            return Ok(EphemeralNews { marks: self.marks, ..EphemeralNews::default() });
        }
        let hub = self.context.service.ephemeral();
        let mut told = loop {
            let news = hub.news(&self.session.localpart, &self.session.device_id, rooms, self.marks);
            let has_more = news.has_more;
            self.marks = news.marks;
            let told = self.wanted(news);
            if !told.is_empty() || !has_more {
                break told;
            }
        };
        if told.others_are_quiet {
            self.add_quiet_rooms(rooms, &mut told).await?;
        }
        self.add_arrivals(response, &mut told).await?;
        Ok(told)
    }

    /// Leaves out what the filter does not include.
    fn wanted(&self, mut news: EphemeralNews) -> EphemeralNews {
        let wants_typing = self.wants_typing();
        news.typing.retain(|typing| {
            self.filter.ephemeral.wants_ephemeral(TYPING, &typing.room_id) && self.filter.wants_room(&typing.room_id)
        });
        news.others_are_quiet &= wants_typing;
        news.presence.retain(|presence| self.wants_presence_of(&presence.user));
        news
    }

    fn wants_typing(&self) -> bool {
        self.filter.ephemeral.wants_type(TYPING)
    }

    fn wants_presence_of(&self, user: &str) -> bool {
        let filter = &self.filter.presence;
        if !self.context.service.ephemeral().settings().presence || !filter.wants_type(PRESENCE) {
            return false;
        }
        let user_id = quorate_core::id::user_id(user, self.context.service.server_name());
        // Of users whom the reader ignores, nothing but state is sent (specification, "Ignoring Users").
        filter.wants_sender(&user_id) && !self.filter.timeline.ignored.contains(&user_id)
    }

    /// Adds that nobody types in all rooms that are not told of.
    async fn add_quiet_rooms(
        &self,
        rooms: &BTreeSet<RoomNumber>,
        told: &mut EphemeralNews,
    ) -> Result<(), RequestRefusal> {
        let known: BTreeSet<_> = told.typing.iter().map(|typing| typing.room).collect();
        let quiet: Vec<_> = rooms.difference(&known).copied().collect();
        let ids = self.context.service.read_woken(move |view| {
            quiet.into_iter().map(|room| view.room_id(room).map(|id| (room, id))).collect::<Result<Vec<_>, _>>()
        });
        for (room, room_id) in ids.await? {
            let typing = self.context.service.ephemeral().typing_in(room);
            let quiet = TypingNews { room, room_id: room_id.into(), users: Vec::new() };
            told.typing.extend(Some(typing.unwrap_or(quiet)).filter(|typing| self.filter.wants_room(&typing.room_id)));
        }
        Ok(())
    }

    /// Adds the presence of members who have come, and of those who were there where the user has come; also who types
    /// there.
    async fn add_arrivals(&self, response: &SyncResponse, told: &mut EphemeralNews) -> Result<(), RequestRefusal> {
        let hub = self.context.service.ephemeral();
        let Some(since) = self.since else {
            // Not published yet, if it is this call that made the user present.
            self.add_own_presence(told);
            return Ok(());
        };
        let mut users = BTreeMap::<Arc<str>, PresenceLevel>::new();
        for (room, user) in arrivals(response, since) {
            if user != self.session.user_id {
                if let Some(localpart) = self.localpart(&user) {
                    users.insert(localpart.into(), PresenceLevel::Offline);
                }
                continue;
            }
            let members = self.context.service.read_woken(move |view| view.some_joined_members(room, MOST_MEMBERS));
            for member in members.await? {
                users.entry(member.into()).or_insert(PresenceLevel::Unavailable);
            }
            let typing = hub.typing_in(room).filter(|_| self.wants_typing());
            if told.typing.iter().all(|known| known.room != room) {
                told.typing.extend(typing);
            }
        }
        let known: BTreeSet<_> = told.presence.iter().map(|presence| presence.user.clone()).collect();
        let new = users.into_iter().filter(|(user, _)| !known.contains(user) && self.wants_presence_of(user));
        // Those who were in the room already are told of if they are there, as in a first sync.
        told.presence.extend(
            new.filter_map(|(user, least)| hub.presence_of(&user).filter(|presence| presence.status.level >= least)),
        );
        Ok(())
    }

    fn add_own_presence(&self, told: &mut EphemeralNews) {
        let own = self.session.localpart.as_str();
        let is_told = told.presence.iter().any(|presence| *presence.user == *own);
        if !is_told && self.wants_presence_of(own) {
            let presence = self.context.service.ephemeral().presence_of(own);
            told.presence.extend(presence.filter(|presence| presence.status.level > PresenceLevel::Offline));
        }
    }

    fn localpart<'u>(&self, user_id: &'u str) -> Option<&'u str> {
        quorate_core::id::user_localpart(user_id, self.context.service.server_name())
    }
}

/// Returns the rooms and user ids of members who have come since a position. The event of one may be in the timeline
/// and in the state after it.
fn arrivals(response: &SyncResponse, since: Position) -> BTreeSet<(RoomNumber, String)> {
    #[derive(Deserialize)]
    struct Member {
        membership: String,
    }
    let mut out = BTreeSet::new();
    for room in &response.join {
        let events = room.state.iter().chain(&room.timeline.events);
        let members = events.filter(|event| event.event_type == "m.room.member" && event.position > since);
        for event in members {
            let joined = serde_json::from_slice(&event.content).is_ok_and(|Member { membership }| membership == "join");
            out.extend(event.state_key.clone().filter(|_| joined).map(|user| (room.room, user)));
        }
    }
    out
}

/// Adds typing and presence to a response.
pub(super) fn render_news(
    news: &EphemeralNews,
    unread: &UnreadRooms,
    server_name: &str,
    response: &mut api::Response,
) -> Result<(), MatrixError> {
    let not_json = |error: serde_json::Error| MatrixError::bad_json(format!("This cannot be written: {error}."));
    for TypingNews { room: number, room_id: id, users } in &news.typing {
        let users: Vec<_> = users.iter().map(|user| quorate_core::id::user_id(user, server_name)).collect();
        let event = to_raw_value(&json!({"type": TYPING, "content": {"user_ids": users}})).map_err(not_json)?;
        let room = response.rooms.join.entry(room_id(id.to_string())?).or_default();
        unread.add_to(*number, room)?;
        room.ephemeral.events.push(Raw::from_json(event));
    }
    for presence in &news.presence {
        let event = presence_event(presence, server_name)?;
        response.presence.events.push(Raw::new(&event).map_err(not_json)?);
    }
    Ok(())
}

fn presence_event(presence: &PresenceNews, server_name: &str) -> Result<PresenceEvent, MatrixError> {
    let PresenceStatus { level, status, is_active, active_ago_ms } = &presence.status;
    let mut content = PresenceEventContent::new(presence_state(*level));
    content.status_msg = status.as_ref().map(|status| status.to_string());
    content.currently_active = (*level == PresenceLevel::Online).then_some(*is_active);
    content.last_active_ago = active_ago_ms.map(UInt::new_saturating);
    Ok(PresenceEvent { content, sender: user_id(quorate_core::id::user_id(&presence.user, server_name))? })
}
