//! Rooms: by id or alias, of a user, in the public directory, and in summaries.

use super::{PAGE_BYTES, QueryError, StateView};
use crate::directory;
use crate::id::{self, Position, RoomNumber};
use crate::json::{self, JsonObject};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::room_version::RoomVersion;
use crate::rows::{self, event_type};
use crate::table::{self, ScanControl, ScanRange, Table, key};
use crate::visibility::HistoryVisibility;
use serde_json::Value;

/// Maximum number of rooms of a restricted room's join rule that are considered, the same as for joining.
const MAX_ALLOWED_ROOMS: usize = 100;

/// Room in which a user has or had a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomMembership {
    /// Number of the room.
    pub room: RoomNumber,
    /// Current membership of the user.
    pub kind: Kind,
    /// `true` if the user regards the room as a direct chat.
    pub is_direct: bool,
    /// Position of the member event.
    pub position: Position,
    /// Position at which the stay began; `None` unless joined.
    pub joined_since: Option<Position>,
    /// `true` if the user asked not to be shown the room any more.
    pub forgotten: bool,
}

/// Page of the public directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicRooms {
    /// Rooms in order of their numbers.
    pub rooms: Vec<RoomSummary>,
    /// Room after which the next page begins; `None` at the end. A page may be empty without being the last.
    pub next: Option<RoomNumber>,
}

/// Summary of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSummary {
    /// Number of the room.
    pub room: RoomNumber,
    /// Identifier of the room (`!…:server`).
    pub room_id: String,
    /// Name of the room; empty if there is none.
    pub name: String,
    /// Topic of the room; empty if there is none.
    pub topic: String,
    /// Avatar URL (`mxc://…`); empty if there is none.
    pub avatar_url: String,
    /// Canonical alias (`#…:server`); empty if there is none.
    pub canonical_alias: String,
    /// Join rule: "public", "invite", "knock", and so on.
    pub join_rule: String,
    /// Type of the room: "m.space", or empty.
    pub room_type: String,
    /// `true` if anyone may read the room without joining.
    pub world_readable: bool,
    /// `true` if guests may join.
    pub guest_can_join: bool,
    /// Number of joined members; 0 if the room is not shown as it is at present.
    pub joined_members: u64,
    /// Number of invited members; 0 if the room is not shown as it is at present.
    pub invited_members: u64,
    /// `true` if the room was created as a direct chat.
    pub is_direct: bool,
    /// `true` if the room is in the public directory.
    pub listed: bool,
    /// Algorithm by which messages are encrypted; empty if they are not.
    pub encryption: String,
    /// Version of the room.
    pub version: RoomVersion,
    /// Ids of the rooms whose members may enter, if the join rule is a restricted one.
    pub allowed_rooms: Vec<String>,
}

impl RoomSummary {
    /// Returns the approximate number of bytes of the summary on its way to a client.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// Bytes of field names and counts.
        const FIXED: usize = 128;
        let texts = [&self.room_id, &self.name, &self.topic, &self.avatar_url, &self.canonical_alias, &self.join_rule];
        let allowed = self.allowed_rooms.iter().map(String::len).sum::<usize>();
        FIXED
            + allowed
            + self.encryption.len()
            + self.room_type.len()
            + texts.into_iter().map(String::len).sum::<usize>()
    }
}

impl StateView<'_> {
    /// Returns the room with this id (`!…`) or alias (`#…`).
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] if there is no such room here.
    pub fn resolve_room(&self, room: &str) -> Result<RoomNumber, QueryError> {
        if room.starts_with('#') {
            let local = id::alias_localpart(room, self.server_name()).ok_or(QueryError::RoomNotFound)?;
            let row = table::fetch_row::<store::Alias>(self.rows, Table::Alias, &key::alias_key(local))?;
            return row.map(|row| RoomNumber(row.room)).ok_or(QueryError::RoomNotFound);
        }
        rows::room_by_id(self.rows, room, self.server_name())?.ok_or(QueryError::RoomNotFound)
    }

    /// Returns the id of a room.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] if there is no such room.
    pub fn room_id(&self, room: RoomNumber) -> Result<String, QueryError> {
        self.room_row(room).and_then(|row| self.id_of(&row))
    }

    pub(super) fn room_row(&self, room: RoomNumber) -> Result<store::Room, QueryError> {
        rows::room_row(self.rows, room)?.ok_or(QueryError::RoomNotFound)
    }

    pub(super) fn id_of(&self, row: &store::Room) -> Result<String, QueryError> {
        Ok(rows::room_id_of(row, self.server_name())?)
    }

    /// Returns a user's rooms, whatever the membership, except forgotten ones; in order of their numbers.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn rooms_of(&self, localpart: &str) -> Result<Vec<RoomMembership>, QueryError> {
        let mut rooms = self.all_rooms_of(localpart)?;
        rooms.retain(|room| !room.forgotten);
        Ok(rooms)
    }

    /// Returns a user's rooms as [`StateView::rooms_of`] does, including forgotten ones.
    pub(super) fn all_rooms_of(&self, localpart: &str) -> Result<Vec<RoomMembership>, QueryError> {
        let from = key::devices_of(localpart);
        let mut out = Vec::new();
        self.rows.scan(&ScanRange::with_prefix(Table::Membership, &from), &mut |(key, value)| {
            let room = rows::room_in(Table::Membership, key.get(from.len()..).unwrap_or_default())?;
            out.push(room_membership(room, &table::decode_value(Table::Membership, value)?)?);
            Ok(ScanControl::More)
        })?;
        Ok(out)
    }

    /// Returns a page of the rooms in the public directory, in order of their numbers and beginning after `after`, each
    /// as it is at present. The page is bounded in bytes as well.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn public_rooms(&self, after: Option<RoomNumber>, limit: usize) -> Result<PublicRooms, QueryError> {
        let from = key::room_key(RoomNumber(after.map_or(0, |room| room.0.saturating_add(1))));
        let mut found = Vec::new();
        let mut next = None;
        self.rows.scan(&ScanRange::starting_at(Table::PublicRoom, &from), &mut |(key, _)| {
            if found.len() >= limit {
                next = found.last().copied();
                return Ok(ScanControl::Stop);
            }
            found.push(rows::room_in(Table::PublicRoom, key)?);
            Ok(ScanControl::More)
        })?;
        let mut page = PublicRooms { rooms: Vec::new(), next };
        let mut bytes = 0;
        let mut last = after;
        for room in found {
            if bytes >= PAGE_BYTES {
                page.next = last;
                break;
            }
            self.is_wanted()?;
            // Earlier versions left rows behind when a room became private.
            if self.is_published(room)? {
                let summary = self.summary(room)?;
                bytes += summary.weight();
                page.rooms.push(summary);
            }
            last = Some(room);
        }
        Ok(page)
    }

    /// Returns `true` if the public directory shows the room.
    pub(super) fn is_published(&self, room: RoomNumber) -> Result<bool, QueryError> {
        Ok(directory::is_published(self.rows, room, &self.room_row(room)?)?)
    }

    /// Returns the summary of a room as it is at present. The caller decides who may ask, be it for the directory or
    /// for members.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] if there is no such room.
    pub fn summary(&self, room: RoomNumber) -> Result<RoomSummary, QueryError> {
        let row = self.room_row(room)?;
        let joined_members = row.joined_members;
        let invited_members = row.invited_members;
        let listed = directory::is_published(self.rows, room, &row)?;
        Ok(RoomSummary { joined_members, invited_members, listed, ..self.summary_at(room, Position::MAX)? })
    }

    /// Returns the summary of a room as it was at a position, without the counts, which are those of the present.
    pub(super) fn summary_at(&self, room: RoomNumber, at: Position) -> Result<RoomSummary, QueryError> {
        let text = |event_type: &str, key: &str| -> Result<String, QueryError> {
            let event = rows::state_event(self.rows, room, event_type, "", at)?;
            let content = event.map(|(_, event)| json::stored_object(&event.content)).unwrap_or_default();
            Ok(json::string_field(&content, key).unwrap_or_default().to_owned())
        };
        let rules = rows::state_event(self.rows, room, event_type::JOIN_RULES, "", at)?;
        let rules = rules.map(|(_, event)| json::stored_object(&event.content)).unwrap_or_default();
        let join_rule = json::string_field(&rules, "join_rule").unwrap_or_default().to_owned();
        let row = self.room_row(room)?;
        let version = RoomVersion::of_row(&row);
        let allowed_rooms = if version.is_restricted(&join_rule) { allowed_rooms(&rules) } else { Vec::new() };
        let visibility = rows::state_event(self.rows, room, event_type::HISTORY_VISIBILITY, "", at)?;
        let visibility = visibility.map(|(_, event)| HistoryVisibility::of(&event.content));
        Ok(RoomSummary {
            name: text(event_type::NAME, "name")?,
            topic: text(event_type::TOPIC, "topic")?,
            avatar_url: text(event_type::AVATAR, "url")?,
            canonical_alias: text(event_type::CANONICAL_ALIAS, "alias")?,
            join_rule,
            allowed_rooms,
            encryption: text(event_type::ENCRYPTION, "algorithm")?,
            version,
            world_readable: visibility == Some(HistoryVisibility::WorldReadable),
            guest_can_join: text(event_type::GUEST_ACCESS, "guest_access")? == "can_join",
            room_type: row.room_type,
            is_direct: row.is_direct,
            ..self.bare_summary(room)?
        })
    }

    /// Returns a summary that contains nothing but the room's id.
    pub(super) fn bare_summary(&self, room: RoomNumber) -> Result<RoomSummary, QueryError> {
        let room_id = self.room_id(room)?;
        Ok(RoomSummary {
            room,
            room_id,
            name: String::new(),
            topic: String::new(),
            avatar_url: String::new(),
            canonical_alias: String::new(),
            join_rule: String::new(),
            room_type: String::new(),
            world_readable: false,
            guest_can_join: false,
            joined_members: 0,
            invited_members: 0,
            is_direct: false,
            listed: false,
            encryption: String::new(),
            version: RoomVersion::default(),
            allowed_rooms: Vec::new(),
        })
    }
}

/// Returns the rooms that a restricted room's join rule names.
fn allowed_rooms(join_rules: &JsonObject) -> Vec<String> {
    let allow = join_rules.get("allow").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rules = allow.iter().take(MAX_ALLOWED_ROOMS).filter_map(Value::as_object);
    let rules = rules.filter(|rule| json::string_field(rule, "type") == Some("m.room_membership"));
    rules.filter_map(|rule| json::string_field(rule, "room_id")).map(str::to_owned).collect()
}

/// Converts a membership row to the form that the APIs and sync read.
pub(super) fn room_membership(room: RoomNumber, row: &store::Membership) -> Result<RoomMembership, table::ReadError> {
    Ok(RoomMembership {
        room,
        kind: row.kind(),
        is_direct: row.is_direct,
        position: table::decode_position(Table::Membership, &row.position)?.unwrap_or_default(),
        joined_since: table::decode_position(Table::Membership, &row.joined_since)?,
        forgotten: row.forgotten,
    })
}
