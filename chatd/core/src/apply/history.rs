//! Removal of a room's history: what was said before a given time. All state stays, so that the state at every
//! remaining event, and who was in the room when, can still be told.
//!
//! Done in bounded parts, oldest first, because an entry must not hold up those behind it. Events that are kept for
//! good, up to `RoomHandle.swept_to`, are not examined again.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, RoomHandle, refuse};
use super::{dedup, relation, time};
use crate::id::{Position, RoomNumber};
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ReadError, ScanControl, ScanRange, Table, TableRead, key};

/// Limits on the events that one command examines, and on their bytes: some milliseconds of apply.
const MAX_EVENTS: usize = 1000;
const MAX_BYTES: usize = 2 << 20;

pub(super) fn apply_purge_history(
    context: &mut ApplyContext<'_>,
    command: &log::PurgeHistory,
) -> ApplyResult<CommandAnswer> {
    if !context.user.is_empty() {
        return refuse(Reason::Invalid, "this command has no caller");
    }
    let room = context.room_by_id(&command.room_id)?;
    let before = match (command.before_ms, room.row.max_lifetime_ms) {
        // No event is older than 0, so that nothing is removed.
        (0, 0) => 0,
        (0, lifetime) => context.time_ms.saturating_sub(lifetime),
        (before, _) => before,
    };
    let purged = purge_part(context, room, before)?;
    Ok(CommandAnswer::New(outcome::Kind::HistoryPurged(purged), None))
}

/// Removes a part of what was said in a room before a time.
pub(super) fn purge_part(
    context: &mut ApplyContext<'_>,
    mut room: RoomHandle,
    before: u64,
) -> ApplyResult<log::HistoryPurged> {
    let part = OldEvents::read(&context.rows, context.cluster(), &room, before)?;
    let mut removed = Vec::new();
    for (at, event) in &part.events {
        if is_kept(context, room.number, *at, event)? {
            continue;
        }
        remove_event(context, &room, *at, event)?;
        room.row_mut().purged_to = table::position_field(*at);
        removed.push(*at);
    }
    if let Some((at, _)) = part.events.last() {
        room.row_mut().swept_to = table::position_field(*at);
    }
    note_newest(context, &room)?;
    context.save_room(&room);
    context.unindex_events(&removed)?;
    let events = removed.len() as u64;
    Ok(log::HistoryPurged { events, more: part.more })
}

/// Old events that have not been examined yet.
struct OldEvents {
    events: Vec<(Position, store::Event)>,
    more: bool,
}

impl OldEvents {
    fn read(rows: &dyn TableRead, cluster: &store::Cluster, room: &RoomHandle, before: u64) -> Result<Self, ReadError> {
        let mut part = Self { events: Vec::new(), more: false };
        let mut bytes = 0;
        let swept_to = table::decode_position(Table::Room, &room.row.swept_to)?.unwrap_or_default();
        let mut from = key::room_position(room.number, swept_to);
        // Just after `swept_to`, which was examined before.
        from.push(0);
        let end = key::after_prefix(&key::room_key(room.number));
        rows.scan(&ScanRange::between(Table::Timeline, &from, &end), &mut |(key, value)| {
            let event: store::Event = table::decode_value(Table::Timeline, value)?;
            let at = rows::position_in(Table::Timeline, key)?;
            // Times are in the order of positions, so no later event is older.
            if time::effective_time(cluster, at, event.origin_server_ts)? >= before {
                return Ok(ScanControl::Stop);
            }
            if part.events.len() >= MAX_EVENTS || bytes >= MAX_BYTES {
                part.more = true;
                return Ok(ScanControl::Stop);
            }
            bytes += value.len();
            part.events.push((at, event));
            Ok(ScanControl::More)
        })?;
        Ok(part)
    }
}

/// Returns `true` for events that are kept: state, and redactions that explain why a piece of state is empty.
fn is_kept(
    context: &ApplyContext<'_>,
    room: RoomNumber,
    at: Position,
    event: &store::Event,
) -> Result<bool, ReadError> {
    if event.state_key.is_some() {
        return Ok(true);
    }
    let Some(target) = table::decode_position(Table::Timeline, &event.redacts)? else { return Ok(false) };
    let target = rows::event_row(&context.rows, room, target)?;
    Ok(target.is_some_and(|target| target.state_key.is_some() && target.redacted_by == at.to_bytes().as_slice()))
}

fn remove_event(
    context: &mut ApplyContext<'_>,
    room: &RoomHandle,
    at: Position,
    event: &store::Event,
) -> ApplyResult<()> {
    context.rows.delete(Table::Timeline, key::room_position(room.number, at));
    // Relations of others to this event are removed with the others, because there may be any number of them.
    relation::remove_relation(context, room.number, at, &event.content)?;
    dedup::forget_answer(context, &room.id, at, event)
}

/// Records the newest removed event of all rooms: readers whose cursor is beyond it need not ask room by room.
fn note_newest(context: &mut ApplyContext<'_>, room: &RoomHandle) -> Result<(), ReadError> {
    let purged_to = table::decode_position(Table::Room, &room.row.purged_to)?;
    if purged_to > table::decode_position(Table::Meta, &context.cluster().purged_to)? {
        context.cluster_mut().purged_to = room.row.purged_to.clone();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
