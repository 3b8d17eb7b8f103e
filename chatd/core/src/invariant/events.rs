//! Invariants of timelines, state versions, redactions and relations.

use super::{InvariantResult, InvariantViolation, all_rows, broken_invariant, ensure_holds};
use crate::apply;
use crate::auth::redaction;
use crate::entry_events::EventRuns;
use crate::id::{ORDINALS_PER_COMMAND, Position, RoomNumber};
use crate::proto::store;
use crate::room_version::RoomVersion;
use crate::rows;
use crate::table::{self, Table, TableRead, key};
use std::collections::BTreeSet;

/// Event of a timeline, with its room and position.
pub(super) struct StoredEvent {
    pub(super) room: RoomNumber,
    pub(super) at: Position,
    pub(super) row: store::Event,
}

/// Returns all events, by room.
pub(super) fn stored_events(rows: &dyn TableRead) -> Result<Vec<StoredEvent>, InvariantViolation> {
    all_rows(rows, Table::Timeline)?
        .into_iter()
        .map(|(key, value)| {
            Ok(StoredEvent {
                room: rows::room_in(Table::Timeline, &key)?,
                at: rows::position_in(Table::Timeline, &key)?,
                row: table::decode_value(Table::Timeline, value)?,
            })
        })
        .collect()
}

/// Checks that timelines and the index by position contain the same events, that the positions of one command are
/// dense, and that none is beyond the newest batch.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn timeline_and_index_agree(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "timeline_and_index_agree";
    let of_rooms: BTreeSet<_> = stored_events(rows)?.into_iter().map(|event| (event.at, event.room)).collect();
    let mut indexed = BTreeSet::new();
    for (key, value) in all_rows(rows, Table::EventRoom)? {
        let entry = rows::entry_in(&key)?;
        let runs = EventRuns::decode(value)?;
        ensure_holds(!runs.is_empty(), NAME, || format!("the row of {entry:?} is empty"))?;
        indexed.extend(runs.iter().map(|(ordinal, room)| (Position { ordinal, ..entry }, room)));
    }
    ensure_holds(of_rooms == indexed, NAME, || format!("{:?}", of_rooms.symmetric_difference(&indexed).next()))?;
    let cluster = rows::cluster_row(rows)?.unwrap_or_default();
    let end = Position::end_of_entry(cluster.incarnation, cluster.index);
    let positions: BTreeSet<_> = indexed.into_iter().map(|(at, _)| at).collect();
    for at in &positions {
        let first_of_command = at.ordinal % ORDINALS_PER_COMMAND == 0;
        ensure_holds(first_of_command || positions.contains(&at.before()), NAME, || format!("a gap before {at:?}"))?;
        ensure_holds(*at <= end, NAME, || format!("{at:?} is beyond {end:?}"))?;
    }
    Ok(())
}

/// Checks that the times of events are in the order of their positions, except for events that were stamped with a
/// future time before the log's time was repaired.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn time_never_goes_back(rows: &dyn TableRead) -> InvariantResult {
    let mut events = stored_events(rows)?;
    events.sort_by_key(|event| event.at);
    let cluster = rows::cluster_row(rows)?.unwrap_or_default();
    let mut last = 0;
    for event in events {
        let time = apply::effective_time(&cluster, event.at, event.row.origin_server_ts)?;
        ensure_holds(time >= last, "time_never_goes_back", || format!("{last} then {time} at {:?}", event.at))?;
        last = time;
    }
    Ok(())
}

/// Checks that state events, their versions and the index of changes name the same positions, and that each version
/// replaces the previous one.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn state_versions_form_chains(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "state_versions_form_chains";
    let mut of_timeline = BTreeSet::new();
    for event in stored_events(rows)? {
        let Some(state_key) = event.row.state_key else { continue };
        let before = rows::state_version(rows, event.room, &event.row.r#type, &state_key, event.at.before())?;
        let replaces = table::decode_position(Table::Timeline, &event.row.replaces)?;
        ensure_holds(before == replaces, NAME, || format!("{:?} replaces {replaces:?}, not {before:?}", event.at))?;
        of_timeline.insert((event.room, event.row.r#type, state_key, event.at));
    }
    let mut versions = BTreeSet::new();
    for (key, _) in all_rows(rows, Table::StateVersion)? {
        match key::parse_state_version(&key) {
            Some((room, event_type, state_key, at)) => {
                versions.insert((room, event_type.to_owned(), state_key.to_owned(), at));
            }
            None => return broken_invariant(NAME, format!("{key:?} is not a key of a version")),
        }
    }
    ensure_holds(of_timeline == versions, NAME, || {
        format!("{:?}", of_timeline.symmetric_difference(&versions).next())
    })?;
    let mut changes = BTreeSet::new();
    for (key, _) in all_rows(rows, Table::StateChange)? {
        changes.insert((rows::room_in(Table::StateChange, &key)?, rows::position_in(Table::StateChange, &key)?));
    }
    let expected: BTreeSet<_> = versions.into_iter().map(|(room, _, _, at)| (room, at)).collect();
    ensure_holds(changes == expected, NAME, || "changes and versions differ".into())
}

/// Checks that a redacted event keeps no more than the rules allow, and names an event that redacts it.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn redactions_agree(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "redactions_agree";
    for event in stored_events(rows)? {
        if let Some(target) = table::decode_position(Table::Timeline, &event.row.redacts)? {
            match rows::event_row(rows, event.room, target)? {
                Some(target) => {
                    ensure_holds(!target.redacted_by.is_empty(), NAME, || format!("{:?} redacts nothing", event.at))?;
                }
                None => {
                    ensure_holds(rows::is_purged(rows, event.room, target)?, NAME, || format!("no event {target:?}"))?
                }
            }
        }
        let Some(by) = table::decode_position(Table::Timeline, &event.row.redacted_by)? else { continue };
        let redaction = rows::known_event(rows, event.room, by)?;
        let points_here = table::decode_position(Table::Timeline, &redaction.redacts)? == Some(event.at);
        ensure_holds(points_here, NAME, || format!("{by:?} does not redact {:?}", event.at))?;
        let version = RoomVersion::of_row(&rows::room_row(rows, event.room)?.unwrap_or_default());
        let stripped = redaction::redacted_content(version, &event.row.r#type, &event.row.content);
        ensure_holds(stripped == event.row.content, NAME, || format!("{:?} kept too much", event.at))?;
    }
    Ok(())
}

/// Checks that each relation leads from an event that is not redacted to an earlier event of the same room, which may
/// have been removed with the room's history.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn relations_point_backward(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "relations_point_backward";
    for (key, value) in all_rows(rows, Table::Relation)? {
        let row: store::Relation = table::decode_value(Table::Relation, value)?;
        let room = rows::room_in(Table::Relation, &key)?;
        let at = rows::position_in(Table::Relation, &key)?;
        let Some(target) = key.get(8..24).and_then(Position::from_bytes) else {
            return broken_invariant(NAME, format!("{key:?} is not a key of a relation"));
        };
        let from = rows::known_event(rows, room, at)?;
        let is_there = rows::event_row(rows, room, target)?.is_some() || rows::is_purged(rows, room, target)?;
        ensure_holds(is_there, NAME, || format!("{at:?} relates to nothing, {target:?}"))?;
        ensure_holds(target < at, NAME, || format!("{at:?} relates to {target:?}"))?;
        let agrees = from.sender == row.sender && from.r#type == row.event_type && from.redacted_by.is_empty();
        ensure_holds(agrees, NAME, || format!("{at:?} is not what the index says"))?;
    }
    Ok(())
}
