//! Events in the form that the APIs show.

use super::{EventAggregations, QueryError, StateView};
use crate::apply::MADE_BY_POD;
use crate::id::{self, Position, RoomNumber};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows;
use crate::table::{self, ReadError, Table};
use crate::visibility::UserVisibility;
use bytes::Bytes;

/// Event of a room's timeline, with its ids rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomEvent {
    /// Position of the event in the cluster's total order.
    pub position: Position,
    /// Identifier of the event (`$…`).
    pub event_id: String,
    /// Number of the room.
    pub room: RoomNumber,
    /// Identifier of the room (`!…:server`).
    pub room_id: String,
    /// Full user id of the sender.
    pub sender: String,
    /// Type of the event, such as `m.room.message`.
    pub event_type: String,
    /// State key; present on state events, even if it is empty.
    pub state_key: Option<String>,
    /// Content of the event: a JSON object, as the client sent it.
    pub content: Bytes,
    /// Time of the event's log entry, in milliseconds since the Unix epoch. It follows the leader's clock and, unless
    /// the log's time is repaired, never goes back.
    pub origin_server_ts: u64,
    /// Device that sent the event; empty if the client did not send this very event.
    pub device_id: String,
    /// Transaction id, to be shown only to the device that sent the event; see [`Self::transaction_id_for`].
    pub transaction_id: String,
    /// Position of the previous version of this piece of state.
    pub replaces: Option<Position>,
    /// Position of the redacted event; present only on `m.room.redaction`.
    pub redacts: Option<Position>,
    /// Position of the redaction that emptied this event.
    pub redacted_by: Option<Position>,
    /// Redaction that emptied this event, in answers that include it.
    pub redacted_because: Option<Box<RoomEvent>>,
    /// Content of the previous version of this piece of state; present only in timelines, and only if the reader may
    /// know it.
    pub prev_content: Option<Bytes>,
    /// Membership of the reader after this event; present only in timelines.
    pub membership: Option<Kind>,
    /// Additions of later events to this one, in answers that include it.
    pub aggregations: Option<Box<EventAggregations>>,
}

impl RoomEvent {
    /// Returns the transaction id if this user and device sent the event.
    #[must_use]
    pub fn transaction_id_for(&self, user_id: &str, device_id: &str) -> Option<&str> {
        // An id that a pod made is of no use to the client, which does not know it.
        let by_client = !self.transaction_id.is_empty() && !self.transaction_id.starts_with(MADE_BY_POD);
        let own = by_client && self.sender == user_id && self.device_id == device_id;
        own.then_some(self.transaction_id.as_str())
    }

    /// Decodes a row of the timeline; `None` for an event that was redacted, which is shown with its redaction.
    ///
    /// # Errors
    /// Fails if the row is damaged.
    pub fn of_row(room: RoomNumber, room_id: &str, at: Position, row: Bytes) -> Result<Option<Self>, ReadError> {
        let event = event_from_row(room, room_id, at, table::decode_value(Table::Timeline, row)?)?;
        Ok(Some(event).filter(|event| event.redacted_by.is_none()))
    }

    /// Returns the event as this reader may see it: without a redaction that was made out of its sight. (The content is
    /// gone for everybody.)
    pub(super) fn shown_to(mut self, sight: &UserVisibility) -> Self {
        if self.redacted_by.is_some_and(|by| !sight.sees(by)) {
            self.redacted_by = None;
            self.redacted_because = None;
        }
        self
    }

    /// Returns the approximate number of bytes of the event on its way to a client. Limits of answers count these.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// Bytes of field names, ids and a time.
        const FIXED: usize = 256;
        let state_key = self.state_key.as_ref().map_or(0, String::len);
        let because = self.redacted_because.as_ref().map_or(0, |because| because.weight());
        let names = self.sender.len() + self.event_type.len() + state_key + self.transaction_id.len();
        let before = self.prev_content.as_ref().map_or(0, Bytes::len);
        let added = self.aggregations.as_ref().map_or(0, |added| added.weight());
        FIXED + names + self.content.len() + because + before + added
    }

    /// Returns `true` if the event is state of this type.
    #[must_use]
    pub fn is_state(&self, event_type: &str) -> bool {
        self.state_key.is_some() && self.event_type == event_type
    }
}

impl StateView<'_> {
    /// Returns the event with this id, if the user may see it.
    ///
    /// # Errors
    /// [`QueryError::EventNotFound`] if the event does not exist or the user may not see it.
    pub fn event(&self, localpart: &str, event_id: &str) -> Result<RoomEvent, QueryError> {
        let at = id::parse_event_id(event_id).ok_or(QueryError::EventNotFound)?;
        let room = rows::room_of_event(self.rows, at)?.ok_or(QueryError::EventNotFound)?;
        let sight = self.sight(room, localpart)?;
        if sight.sees(at) {
            Ok(self.in_timeline(self.event_at(room, &self.room_id(room)?, at)?, &sight)?)
        } else {
            Err(QueryError::EventNotFound)
        }
    }

    /// Returns the event as it appears in this reader's timeline, with the fields that clients are given only there.
    pub(super) fn in_timeline(&self, event: RoomEvent, sight: &UserVisibility) -> Result<RoomEvent, ReadError> {
        let mut event = self.without_erased(event.shown_to(sight), sight)?;
        event.membership = Some(sight.membership_at(event.position).unwrap_or(Kind::Leave));
        // A member knows the state that an event changed, even if the event that set it is out of the member's sight.
        let known = |at: &Position| sight.sees(*at) || sight.reads_state_at(event.position.before());
        if let Some(replaced) = event.replaces.filter(known) {
            let row = rows::known_event(self.rows, event.room, replaced)?;
            event.prev_content = Some(self.content_for(event.room, replaced, row, sight)?);
        }
        Ok(event)
    }

    /// Returns the event at a position that another row points to.
    pub(super) fn event_at(&self, room: RoomNumber, room_id: &str, at: Position) -> Result<RoomEvent, QueryError> {
        let row = rows::known_event(self.rows, room, at)?;
        Ok(self.render(room, room_id, at, row)?)
    }

    /// Converts a row to an event, with its redaction.
    pub(super) fn render(
        &self,
        room: RoomNumber,
        room_id: &str,
        at: Position,
        row: store::Event,
    ) -> Result<RoomEvent, ReadError> {
        let mut event = event_from_row(room, room_id, at, row)?;
        if let Some(by) = event.redacted_by {
            let redaction = event_from_row(room, room_id, by, rows::known_event(self.rows, room, by)?)?;
            event.redacted_because = Some(Box::new(redaction));
        }
        Ok(event)
    }
}

fn event_from_row(room: RoomNumber, room_id: &str, at: Position, row: store::Event) -> Result<RoomEvent, ReadError> {
    Ok(RoomEvent {
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
        replaces: table::decode_position(Table::Timeline, &row.replaces)?,
        redacts: table::decode_position(Table::Timeline, &row.redacts)?,
        redacted_by: table::decode_position(Table::Timeline, &row.redacted_by)?,
        redacted_because: None,
        prev_content: None,
        membership: None,
        aggregations: None,
    })
}

#[cfg(test)]
mod tests {
    use crate::apply::MADE_BY_POD;
    use crate::id;
    use crate::testing::{SERVER, position, world};

    #[test]
    fn a_client_is_shown_its_own_transaction_ids_and_none_that_a_pod_made() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        for (transaction_id, shown) in [("t", Some("t")), (&*format!("{MADE_BY_POD}00000000001x"), None)] {
            let mut envelope = world.event("alice", &room, "m.room.message", None, "{}");
            transaction_id.clone_into(&mut envelope.transaction_id);
            let at = position(&world.accepted(envelope));
            let event = world.view().event("alice", &id::event_id(at)).unwrap();
            assert_eq!(event.transaction_id_for(&id::user_id("alice", SERVER), "D"), shown);
        }
    }
}
