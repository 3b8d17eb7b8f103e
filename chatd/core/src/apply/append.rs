//! Appending of one event to a room's timeline, with the rows that go with it.
//!
//! Besides its checks, a message costs two new rows, `Timeline` and `Dedup`, and its share in the `EventRoom` row of its
//! entry. It reads five, each by key:
//! `Device`, `Dedup` (absent, so a filter answers), `RoomByPosition`, `RoomHandle` (with the power levels; once per entry and
//! room), `RoomMember`. Its content is validated in one pass without being built, and parsed only if it mentions
//! `m.relates_to`.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, RoomHandle, refuse};
use super::directory;
use crate::auth::levels;
use crate::directory::depends_on;
use crate::id::{self, Position, RoomNumber};
use crate::json;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::retention;
use crate::rows::{self, event_type};
use crate::table::{self, Table, key};
use bytes::Bytes;

/// Maximum size in bytes of an event as clients receive it (Matrix specification, "Size limits").
const MAX_EVENT_BYTES: usize = 65_536;

/// Maximum length in bytes of a type or state key (same section).
const MAX_NAME_BYTES: usize = 255;

/// Event to append. Its sender is the caller of the command.
pub(super) struct NewEvent<'e> {
    pub(super) event_type: &'e str,
    pub(super) state_key: Option<&'e str>,
    /// JSON object that has been checked.
    pub(super) content: Bytes,
    pub(super) redacts: Option<Position>,
    /// `true` if the client itself sent this very event, so that it is shown its transaction id.
    pub(super) by_client: bool,
    /// Value of the event's version row; empty unless it is an `m.room.member` event.
    pub(super) version_value: Vec<u8>,
}

impl<'e> NewEvent<'e> {
    pub(super) fn state(event_type: &'e str, state_key: &'e str, content: Bytes) -> Self {
        Self {
            event_type,
            state_key: Some(state_key),
            content,
            redacts: None,
            by_client: false,
            version_value: Vec::new(),
        }
    }
}

/// Appends an event that the rules have already allowed.
pub(super) fn append_event(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    new: NewEvent<'_>,
) -> ApplyResult<Position> {
    let position = context.next_position()?;
    let sender = context.user_id();
    check_size(&sender, room, &new)?;
    let replaces = match new.state_key {
        Some(state_key) => state_rows(context, room, &new, state_key, position)?,
        None => None,
    };
    let (device_id, transaction_id) = if new.by_client {
        (context.device_id.to_owned(), context.transaction_id.to_owned())
    } else {
        Default::default()
    };
    let row = store::Event {
        sender,
        r#type: new.event_type.to_owned(),
        state_key: new.state_key.map(str::to_owned),
        content: new.content,
        origin_server_ts: context.time_ms,
        device_id,
        transaction_id,
        redacted_by: Bytes::new(),
        replaces: replaces.map(table::position_field).unwrap_or_default(),
        redacts: new.redacts.map(table::position_field).unwrap_or_default(),
    };
    put_event(context, room.number, position, &row);
    context.index_event(position, room.number);
    context.touched.room(room.number);
    // After the rows of the event: whether the room is shown is read from its current state.
    if new.state_key.is_some_and(|state_key| depends_on(new.event_type, state_key)) {
        directory::update_directory(context, room)?;
    }
    Ok(position)
}

/// Returns the answer to an accepted event.
pub(super) fn sent_answer(room: &RoomHandle, at: Position, origin_server_ts: u64) -> CommandAnswer {
    let event_id = id::event_id(at);
    let sent = log::EventSent { event_id, room_id: room.id.clone(), origin_server_ts };
    CommandAnswer::New(outcome::Kind::EventSent(sent), Some(at))
}

/// Writes the row of an event, new or changed.
pub(super) fn put_event(context: &mut ApplyContext<'_>, room: RoomNumber, at: Position, row: &store::Event) {
    context.rows.put(Table::Timeline, key::room_position(room, at), table::encode_value(row));
}

/// Writes the version rows of a state event, and returns the previous version.
fn state_rows(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    new: &NewEvent<'_>,
    state_key: &str,
    position: Position,
) -> ApplyResult<Option<Position>> {
    // Read before the new version is written, which would be found instead.
    let replaces = rows::state_version(&context.rows, room.number, new.event_type, state_key, position)?;
    if new.event_type == event_type::POWER_LEVELS && state_key.is_empty() {
        let levels = levels::parse_levels(&json::stored_object(&new.content), context.server_name)?;
        let creators = room.levels().creators.clone();
        room.row_mut().levels = Some(store::Levels { creators, ..levels });
    }
    if new.event_type == event_type::RETENTION && state_key.is_empty() {
        match retention::max_lifetime(&json::stored_object(&new.content)) {
            Ok(lifetime) => room.row_mut().max_lifetime_ms = lifetime,
            Err(why) => return refuse(Reason::Invalid, why),
        }
    }
    let version = key::state_version(room.number, new.event_type, state_key, position);
    context.rows.put(Table::StateVersion, version, new.version_value.clone().into());
    context.rows.put(Table::StateChange, key::room_position(room.number, position), Bytes::new());
    Ok(replaces)
}

/// Refuses types and state keys that keys cannot hold.
pub(super) fn check_names(event_type: &str, state_key: Option<&str>) -> ApplyResult<()> {
    if event_type.is_empty() || event_type.len() > MAX_NAME_BYTES || event_type.contains('\0') {
        let message = format!("an event's type must have 1 to {MAX_NAME_BYTES} bytes, none of them zero");
        return refuse(Reason::Invalid, message);
    }
    if state_key.is_some_and(|state_key| state_key.len() > MAX_NAME_BYTES) {
        return refuse(Reason::TooLarge, format!("a state key must have at most {MAX_NAME_BYTES} bytes"));
    }
    Ok(())
}

/// Refuses bytes that cannot be the content of an event.
pub(super) fn check_content(content: &[u8]) -> ApplyResult<()> {
    json::check_event_content(content)
        .or_else(|why| refuse(Reason::BadJson, format!("the content must be an object of canonical JSON: {why}")))
}

/// Refuses bytes that are not a JSON object; for data that clients store and no event carries, such as account data and
/// filters.
pub(super) fn check_object(content: &[u8]) -> ApplyResult<()> {
    json::check_object(content)
        .or_else(|why| refuse(Reason::BadJson, format!("the content must be a JSON object: {why}")))
}

/// Refuses bytes that are neither a JSON object nor a string; for data that only clients read, such as that of backups.
pub(super) fn check_opaque(content: &[u8]) -> ApplyResult<()> {
    json::check_object_or_string(content)
        .or_else(|why| refuse(Reason::BadJson, format!("the content must be a JSON object or a string: {why}")))
}

/// Checks the size of the event as clients receive it, with its content as it was sent.
fn check_size(sender: &str, room: &RoomHandle, new: &NewEvent<'_>) -> ApplyResult<()> {
    // `$`, and the 18 bytes of an id in base64url.
    const EVENT_ID_BYTES: usize = 25;
    const FRAME: &str = r#"{"content":,"event_id":"","origin_server_ts":1234567890123,"room_id":,"sender":,"type":}"#;
    const STATE_KEY: &str = r#","state_key":"#;
    let state_key = new.state_key.map_or(0, |state_key| STATE_KEY.len() + json::string_len(state_key));
    let names = json::string_len(&room.id) + json::string_len(sender) + json::string_len(new.event_type);
    let size = FRAME.len() + EVENT_ID_BYTES + names + state_key + new.content.len();
    if size <= MAX_EVENT_BYTES {
        Ok(())
    } else {
        refuse(Reason::TooLarge, format!("the event has {size} bytes; at most {MAX_EVENT_BYTES} are allowed"))
    }
}
