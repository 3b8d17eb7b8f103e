//! Invariants of rooms and aliases.

use super::{InvariantResult, all_rows, broken_invariant, ensure_holds};
use crate::auth::levels;
use crate::directory;
use crate::id::Position;
use crate::json;
use crate::proto::store;
use crate::rows::{self, event_type};
use crate::table::{self, ScanControl, ScanRange, Table, TableRead, key};

/// Checks that each room's first event is its create event, that its id leads to it, that its number was assigned, and
/// that the directory lists it if and only if it may be shown there.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn rooms_begin_with_their_creation(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "rooms_begin_with_their_creation";
    let next = rows::cluster_row(rows)?.unwrap_or_default().next_room;
    let rooms = all_rows(rows, Table::Room)?;
    for (key, value) in &rooms {
        let room = rows::room_in(Table::Room, key)?;
        let row: store::Room = table::decode_value(Table::Room, value.clone())?;
        let created_at = table::decode_position(Table::Room, &row.created_at)?.unwrap_or_default();
        let mut first = None;
        let prefix = key::room_key(room);
        rows.scan(&ScanRange::with_prefix(Table::Timeline, &prefix), &mut |(key, _)| {
            first = Some(rows::position_in(Table::Timeline, key)?);
            Ok(ScanControl::Stop)
        })?;
        ensure_holds(first == Some(created_at), NAME, || format!("{room} begins at {first:?}, not {created_at:?}"))?;
        let event = rows::known_event(rows, room, created_at)?;
        ensure_holds(event.r#type == event_type::CREATE, NAME, || format!("{room} begins with {}", event.r#type))?;
        let named = rows::room_number(rows, created_at)?;
        ensure_holds(named == Some(room), NAME, || format!("the name of {room} leads to {named:?}"))?;
        ensure_holds((1..next).contains(&room.0), NAME, || format!("{room} was never given out"))?;
        let listed = rows.get(Table::PublicRoom, key)?.is_some();
        let published = directory::is_published(rows, room, &row)?;
        ensure_holds(listed == published, NAME, || format!("{room} listed: {listed}, {published}"))?;
        let sized = rows.get(Table::PublicRoomBySize, &key::room_by_size(row.joined_members, room))?.is_some();
        ensure_holds(sized == published, NAME, || format!("{room} is not listed by its members: {sized}"))?;
    }
    let names = all_rows(rows, Table::RoomByPosition)?.len();
    ensure_holds(names == rooms.len(), NAME, || format!("{names} names for {} rooms", rooms.len()))
}

/// Checks that the power levels kept with each room are those of its state.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn levels_are_those_of_state(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "levels_are_those_of_state";
    let server_name = rows::cluster_row(rows)?.unwrap_or_default().server_name;
    for (key, value) in all_rows(rows, Table::Room)? {
        let room = rows::room_in(Table::Room, &key)?;
        let row: store::Room = table::decode_value(Table::Room, value)?;
        let event = rows::state_event(rows, room, event_type::POWER_LEVELS, "", Position::MAX)?;
        let Some((at, event)) = event else { return broken_invariant(NAME, format!("{room} has no power levels")) };
        let creators = row.levels.as_ref().map(|levels| levels.creators.clone()).unwrap_or_default();
        let parsed = levels::parse_levels(&json::stored_object(&event.content), &server_name).ok();
        let parsed = parsed.map(|levels| store::Levels { creators, ..levels });
        ensure_holds(parsed == row.levels, NAME, || format!("{room}: not as the event at {at:?} says"))?;
    }
    Ok(())
}

/// Checks that each alias leads to a room, which has it among its own.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn aliases_lead_to_rooms(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "aliases_lead_to_rooms";
    for (key, value) in all_rows(rows, Table::Alias)? {
        let row: store::Alias = table::decode_value(Table::Alias, value)?;
        let room = rows.get(Table::Room, &row.room.to_be_bytes())?;
        ensure_holds(room.is_some(), NAME, || format!("{key:?} leads to {}", row.room))?;
        let mut back = row.room.to_be_bytes().to_vec();
        back.extend_from_slice(&key);
        ensure_holds(rows.get(Table::RoomAlias, &back)?.is_some(), NAME, || format!("{key:?} is not the room's"))?;
    }
    let there = all_rows(rows, Table::Alias)?.len();
    let back = all_rows(rows, Table::RoomAlias)?.len();
    ensure_holds(there == back, NAME, || format!("{there} aliases lead to rooms, and rooms have {back}"))
}
