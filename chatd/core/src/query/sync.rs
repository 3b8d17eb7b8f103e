//! `/sync`: what changed for a user since a token. A pure function of (view, user, token, filter).
//!
//! For each room that may have changed: where does the user stand in it → which span of its timeline is shown → the
//! state before that span → summary. Promises, each a property in the tests:
//! - the state given, then the timeline given, applied to what the client had, is the room's state;
//! - timelines joined, with each `limited` gap filled from `prev_batch`, are the room's timeline: nothing lost, nothing
//!   twice. For that a timeline never jumps over events that the user may not see: it begins after them, `limited`.

mod changed;
mod left;
mod part;
mod room;
mod summary;

pub use part::{SYNC_BYTES, SyncRest, SyncToken};
pub use room::RoomNews;

use super::{Event, Filter, QueryError, View};
use crate::id::{Position, RoomNumber};
use bytes::Bytes;

/// What a client asks.
#[derive(Clone, Copy, Debug)]
pub struct SyncRequest<'a> {
    /// Whose sync.
    pub localpart: &'a str,
    /// The token of the answer before; `None`: the first sync.
    pub since: Option<Position>,
    /// All state of all rooms, though only the new part of timelines.
    pub full_state: bool,
    /// What is wanted.
    pub filter: &'a Filter,
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncResponse {
    /// The next request's token.
    pub next: Position,
    /// Rooms the user is in.
    pub join: Vec<JoinedRoom>,
    /// Rooms it is invited to.
    pub invite: Vec<InvitedRoom>,
    /// Rooms it knocked at.
    pub knock: Vec<InvitedRoom>,
    /// Rooms it left, or was put out of, since.
    pub leave: Vec<LeftRoom>,
    /// Global account data that changed.
    pub account_data: Vec<AccountDatum>,
    /// Rooms that come with the next answer.
    pub rest: Option<SyncRest>,
}

impl SyncResponse {
    /// Nothing to tell: a long poll waits on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.join.is_empty()
            && self.invite.is_empty()
            && self.knock.is_empty()
            && self.leave.is_empty()
            && self.account_data.is_empty()
    }
}

/// A room the user is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedRoom {
    /// Its number.
    pub room: RoomNumber,
    /// `!…:server`
    pub room_id: String,
    /// State that holds before the timeline's first event, as far as it changed since the token.
    pub state: Vec<Event>,
    /// New events.
    pub timeline: Timeline,
    /// When members changed.
    pub summary: Option<Summary>,
    /// The user's account data for this room that changed.
    pub account_data: Vec<AccountDatum>,
}

/// A span of a room's timeline, without holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Oldest first.
    pub events: Vec<Event>,
    /// There are more between the token (or the room's beginning) and the first one here.
    pub limited: bool,
    /// Pages backward from here continue before the first one here.
    pub prev_batch: Position,
}

/// What a room list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// User ids to name the room after, when it has no name.
    pub heroes: Vec<String>,
    /// How many are in it.
    pub joined_members: u64,
    /// How many are invited.
    pub invited_members: u64,
}

/// A room the user is invited to, or knocked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitedRoom {
    /// Its number.
    pub room: RoomNumber,
    /// `!…:server`
    pub room_id: String,
    /// To be shown with type, state key, content and sender alone.
    pub stripped_state: Vec<Event>,
}

/// A room the user is out of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftRoom {
    /// Its number.
    pub room: RoomNumber,
    /// `!…:server`
    pub room_id: String,
    /// As in [`JoinedRoom`].
    pub state: Vec<Event>,
    /// Up to the leave.
    pub timeline: Timeline,
}

/// A piece of account data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountDatum {
    /// Its type.
    pub event_type: String,
    /// A JSON object.
    pub content: Bytes,
}

impl View<'_> {
    /// What changed for a user since a token, all of it: [`View::sync_part`] is for answers that are bounded.
    ///
    /// # Errors
    /// [`QueryError::Ahead`] when this view has not reached the token.
    pub fn sync(&self, request: &SyncRequest<'_>) -> Result<SyncResponse, QueryError> {
        self.sync_part(request, None, usize::MAX)
    }
}

#[cfg(test)]
mod tests;
