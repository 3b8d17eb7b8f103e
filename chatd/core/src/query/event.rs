//! An event as doors show it.

use super::{QueryError, View};
use crate::id::{self, Position, RoomNumber};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows;
use crate::table::{self, ReadError, Table};
use crate::visibility::Sight;
use bytes::Bytes;

/// An event of a room's timeline, its ids rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the one order.
    pub position: Position,
    /// `$…`
    pub event_id: String,
    /// The room's number.
    pub room: RoomNumber,
    /// `!…:server`
    pub room_id: String,
    /// Full user id.
    pub sender: String,
    /// `m.room.message`
    pub event_type: String,
    /// Present on state events, also when empty.
    pub state_key: Option<String>,
    /// A JSON object, as the client sent it.
    pub content: Bytes,
    /// Milliseconds since the Unix epoch, by the leader's clock; never goes back.
    pub origin_server_ts: u64,
    /// Device that sent it; empty when the client did not send this very event.
    pub device_id: String,
    /// Only for that device: [`Self::transaction_id_for`].
    pub transaction_id: String,
    /// The version of this state before this one.
    pub replaces: Option<Position>,
    /// Of `m.room.redaction`: what it redacts.
    pub redacts: Option<Position>,
    /// The redaction that emptied this event.
    pub redacted_by: Option<Position>,
    /// That redaction itself.
    pub redacted_because: Option<Box<Event>>,
    /// In timelines: the content of the version of this state before this one, where the reader may know it.
    pub prev_content: Option<Bytes>,
    /// In timelines: the reader's own membership after this event.
    pub membership: Option<Kind>,
}

impl Event {
    /// The transaction id, if this user and device sent the event.
    #[must_use]
    pub fn transaction_id_for(&self, user_id: &str, device_id: &str) -> Option<&str> {
        let own = !self.transaction_id.is_empty() && self.sender == user_id && self.device_id == device_id;
        own.then_some(self.transaction_id.as_str())
    }

    /// A row of the timeline as an event; `None` for one that was redacted, which is shown with its redaction.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn of_row(room: RoomNumber, room_id: &str, at: Position, row: Bytes) -> Result<Option<Self>, ReadError> {
        let event = rendered(room, room_id, at, table::decode(Table::Timeline, row)?)?;
        Ok(Some(event).filter(|event| event.redacted_by.is_none()))
    }

    /// The event as this reader may see it: without a redaction that was made out of its sight. (The content is gone
    /// for all.)
    pub(super) fn shown_to(mut self, sight: &Sight) -> Self {
        if self.redacted_by.is_some_and(|by| !sight.sees(by)) {
            self.redacted_by = None;
            self.redacted_because = None;
        }
        self
    }

    /// About as many bytes as it has on its way to a client: bounds of answers are in these.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// Names of fields, ids, a time.
        const FIXED: usize = 256;
        let state_key = self.state_key.as_ref().map_or(0, String::len);
        let because = self.redacted_because.as_ref().map_or(0, |because| because.weight());
        let names = self.sender.len() + self.event_type.len() + state_key + self.transaction_id.len();
        let before = self.prev_content.as_ref().map_or(0, Bytes::len);
        FIXED + names + self.content.len() + because + before
    }

    /// Is it state, and of this type?
    #[must_use]
    pub fn is_state(&self, event_type: &str) -> bool {
        self.state_key.is_some() && self.event_type == event_type
    }
}

impl View<'_> {
    /// The event at a position, if the user may see it.
    ///
    /// # Errors
    /// [`QueryError::EventNotFound`] when there is none, or none for this user.
    pub fn event(&self, localpart: &str, event_id: &str) -> Result<Event, QueryError> {
        let at = id::parse_event_id(event_id).ok_or(QueryError::EventNotFound)?;
        let room = rows::room_of_event(self.rows, at)?.ok_or(QueryError::EventNotFound)?;
        let sight = self.sight(room, localpart)?;
        match sight.sees(at) {
            true => Ok(self.in_timeline(self.event_at(room, &self.room_id(room)?, at)?, &sight)?),
            false => Err(QueryError::EventNotFound),
        }
    }

    /// The event as it stands in this reader's timeline, with what clients are told there and nowhere else.
    pub(super) fn in_timeline(&self, event: Event, sight: &Sight) -> Result<Event, ReadError> {
        let mut event = event.shown_to(sight);
        event.membership = Some(sight.membership_at(event.position).unwrap_or(Kind::Leave));
        // A member knows the state that an event changed, also where it does not see the event that made it.
        let known = |at: &Position| sight.sees(*at) || sight.reads_state_at(event.position.before());
        if let Some(replaced) = event.replaces.filter(known) {
            event.prev_content = Some(rows::known_event(self.rows, event.room, replaced)?.content);
        }
        Ok(event)
    }

    /// The event at a position that another row points to.
    pub(super) fn event_at(&self, room: RoomNumber, room_id: &str, at: Position) -> Result<Event, QueryError> {
        let row = rows::known_event(self.rows, room, at)?;
        Ok(self.render(room, room_id, at, row)?)
    }

    /// A row as an event, with its redaction.
    pub(super) fn render(
        &self,
        room: RoomNumber,
        room_id: &str,
        at: Position,
        row: store::Event,
    ) -> Result<Event, ReadError> {
        let mut event = rendered(room, room_id, at, row)?;
        if let Some(by) = event.redacted_by {
            let redaction = rendered(room, room_id, by, rows::known_event(self.rows, room, by)?)?;
            event.redacted_because = Some(Box::new(redaction));
        }
        Ok(event)
    }
}

fn rendered(room: RoomNumber, room_id: &str, at: Position, row: store::Event) -> Result<Event, ReadError> {
    Ok(Event {
        position: at,
        event_id: id::event_id(at),
        room,
        room_id: room_id.to_owned(),
        sender: row.sender,
        event_type: row.r#type,
        state_key: row.state_key,
        content: row.content,
        origin_server_ts: row.origin_server_ts,
        device_id: row.device_id,
        transaction_id: row.transaction_id,
        replaces: table::position(Table::Timeline, &row.replaces)?,
        redacts: table::position(Table::Timeline, &row.redacts)?,
        redacted_by: table::position(Table::Timeline, &row.redacted_by)?,
        redacted_because: None,
        prev_content: None,
        membership: None,
    })
}
