//! `/sync`: changes for a user since a token, as a pure function of (view, user, token, filter).
//!
//! The steps for each room that may have changed: find the user's membership in it → choose the span of its timeline
//! that is shown → add the state before that span → add a summary. The tests check these promises as properties:
//! - the state given, then the timeline given, applied to what the client had, is the room's state; with
//!   [`SyncFilter::state_after`], the state given alone is enough;
//! - timelines joined, with each `limited` gap filled from `prev_batch`, are the room's timeline: nothing is lost, and
//!   nothing appears twice. For that, a timeline never jumps over events that the user may not see: it begins after
//!   them, as `limited`.

mod changed;
mod ephemeral;
mod left;
mod marks;
mod part;
mod room;
mod summary;

pub use ephemeral::ReceiptReader;
pub use marks::{LifeMarks, MOST_MARKS};
pub use part::{SYNC_BYTES, SyncRest, SyncToken};
pub use room::RoomNews;

use super::{DeviceListChanges, QueryError, QueuedMessages, RoomEvent, StateView, SyncFilter};
use crate::id::{Position, RoomNumber};
use bytes::Bytes;

/// Sync that a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct SyncRequest<'a> {
    /// Localpart of the user.
    pub localpart: &'a str,
    /// Token of the previous answer; `None` for a first sync.
    pub since: Option<Position>,
    /// `true` to return all state of all rooms, though only the new part of timelines.
    pub full_state: bool,
    /// Filter for rooms and events.
    pub filter: &'a SyncFilter,
}

/// Changes since the token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncResponse {
    /// Token for the next request.
    pub next: Position,
    /// Rooms that the user is in.
    pub join: Vec<JoinedRoom>,
    /// Rooms that the user is invited to.
    pub invite: Vec<InvitedRoom>,
    /// Rooms that the user knocked at.
    pub knock: Vec<InvitedRoom>,
    /// Rooms that the user left, or was removed from, since the token.
    pub leave: Vec<LeftRoom>,
    /// Global account data that changed since the token.
    pub account_data: Vec<AccountDatum>,
    /// Users whose devices the client has to look at again, or no more.
    pub device_lists: DeviceListChanges,
    /// Rooms that come with the next answer; `None` if there are none.
    pub rest: Option<SyncRest>,
    /// Messages to the device that asks, which [`StateView::queued_messages`] adds.
    pub to_device: QueuedMessages,
}

impl SyncResponse {
    /// Returns `true` if there is nothing to tell, so that a long poll continues to wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.join.is_empty()
            && self.invite.is_empty()
            && self.knock.is_empty()
            && self.leave.is_empty()
            && self.account_data.is_empty()
            && self.to_device.messages.is_empty()
            && self.device_lists.is_empty()
    }
}

/// Changes in a room that the user is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedRoom {
    /// Number of the room.
    pub room: RoomNumber,
    /// Identifier of the room (`!…:server`).
    pub room_id: String,
    /// State before the timeline's first event, as far as it changed since the token; with [`SyncFilter::state_after`],
    /// the state after the timeline's last event.
    pub state: Vec<RoomEvent>,
    /// New events of the room.
    pub timeline: SyncTimeline,
    /// Summary of the room; present if members changed, or if all state is given.
    pub summary: Option<SyncSummary>,
    /// Account data of the user for this room that changed.
    pub account_data: Vec<AccountDatum>,
    /// Events that are in no timeline.
    pub ephemeral: Vec<EphemeralEvent>,
}

/// Event of a room that is in no timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EphemeralEvent {
    /// Type of the event, such as `m.receipt`.
    pub event_type: String,
    /// Content of the event: a JSON object.
    pub content: Bytes,
}

/// Span of a room's timeline, without holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncTimeline {
    /// Events of the span, oldest first.
    pub events: Vec<RoomEvent>,
    /// `true` if there are more events between the token (or the room's beginning) and the first one here.
    pub limited: bool,
    /// Position from which pages backward continue before the first event here.
    pub prev_batch: Position,
}

/// Summary of a room, as a room list shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncSummary {
    /// User ids to name the room after; none if it has a name.
    pub heroes: Vec<String>,
    /// `true` if the room has a name of its own, or an alias to be called by.
    pub named: bool,
    /// Number of joined members.
    pub joined_members: u64,
    /// Number of invited members.
    pub invited_members: u64,
}

/// Room that the user is invited to, or knocked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitedRoom {
    /// Number of the room.
    pub room: RoomNumber,
    /// Identifier of the room (`!…:server`).
    pub room_id: String,
    /// State events that may be shown with type, state key, content and sender alone.
    pub stripped_state: Vec<RoomEvent>,
}

/// Room that the user is out of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftRoom {
    /// Number of the room.
    pub room: RoomNumber,
    /// Identifier of the room (`!…:server`).
    pub room_id: String,
    /// State as in [`JoinedRoom::state`], up to the leave.
    pub state: Vec<RoomEvent>,
    /// Events up to the leave.
    pub timeline: SyncTimeline,
    /// Account data of the user for this room that changed.
    pub account_data: Vec<AccountDatum>,
}

/// Piece of account data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountDatum {
    /// Type of the data.
    pub event_type: String,
    /// Content of the data: a JSON object.
    pub content: Bytes,
}

impl StateView<'_> {
    /// Returns all changes for a user since a token; [`StateView::sync_part`] gives bounded answers.
    ///
    /// # Errors
    /// [`QueryError::Ahead`] if this view has not reached the token.
    pub fn sync(&self, request: &SyncRequest<'_>) -> Result<SyncResponse, QueryError> {
        self.sync_part(request, None, usize::MAX)
    }
}

#[cfg(test)]
mod tests;
