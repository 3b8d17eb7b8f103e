//! Invariants of rooms whose history was removed.

use super::events::stored_events;
use super::{InvariantResult, all_rows, broken_invariant, ensure_holds};
use crate::id::{Position, RoomNumber};
use crate::json;
use crate::proto::store;
use crate::retention;
use crate::rows::{self, event_type};
use crate::table::{self, Table, TableRead};
use std::collections::BTreeMap;

/// Checks that nothing is left up to the point where a room was swept, except state and the redactions that explain why
/// state is empty; that what was removed lies there; and that the cluster's mark is the greatest of its rooms'.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn purged_history_is_gone(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "purged_history_is_gone";
    let mut swept = BTreeMap::<RoomNumber, Position>::new();
    let mut newest = None;
    for (key, value) in all_rows(rows, Table::Room)? {
        let room = rows::room_in(Table::Room, &key)?;
        let row: store::Room = table::decode_value(Table::Room, value)?;
        let [purged_to, swept_to] =
            [&row.purged_to, &row.swept_to].map(|field| table::decode_position(Table::Room, field));
        let purged_to = purged_to?;
        let swept_to = swept_to?;
        ensure_holds(purged_to <= swept_to, NAME, || format!("{room}: {purged_to:?} is beyond {swept_to:?}"))?;
        if let Some(at) = purged_to {
            let event = rows::event_row(rows, room, at)?;
            ensure_holds(event.is_none(), NAME, || format!("{room}: {at:?} was removed and is there"))?;
        }
        swept.extend(swept_to.map(|at| (room, at)));
        newest = newest.max(purged_to);
    }
    let marked = table::decode_position(Table::Meta, &rows::cluster_row(rows)?.unwrap_or_default().purged_to)?;
    ensure_holds(marked == newest, NAME, || format!("marked {marked:?}, found {newest:?}"))?;
    for event in stored_events(rows)? {
        let below = swept.get(&event.room).is_some_and(|swept_to| event.at <= *swept_to);
        if !below || event.row.state_key.is_some() {
            continue;
        }
        let target = table::decode_position(Table::Timeline, &event.row.redacts)?;
        let target = target.map(|target| rows::event_row(rows, event.room, target)).transpose()?.flatten();
        let tells = target.is_some_and(|target| target.state_key.is_some() && !target.redacted_by.is_empty());
        ensure_holds(tells, NAME, || format!("{:?} is still there", event.at))?;
    }
    Ok(())
}

/// Checks that the message lifetime kept with each room is that of its state.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn retention_is_that_of_state(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "retention_is_that_of_state";
    for (key, value) in all_rows(rows, Table::Room)? {
        let room = rows::room_in(Table::Room, &key)?;
        let row: store::Room = table::decode_value(Table::Room, value)?;
        let event = rows::state_event(rows, room, event_type::RETENTION, "", Position::MAX)?;
        let content = event.map(|(_, event)| event.content).unwrap_or_default();
        match retention::max_lifetime(&json::stored_object(&content)) {
            Ok(lifetime) => ensure_holds(lifetime == row.max_lifetime_ms, NAME, || {
                format!("{room} keeps events for {}, its state says {lifetime}", row.max_lifetime_ms)
            })?,
            Err(why) => return broken_invariant(NAME, format!("{room}: {why}")),
        }
    }
    Ok(())
}
