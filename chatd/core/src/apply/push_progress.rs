//! Progress of what is sent to push gateways: up to where events were examined, and what waits for gateways that did not
//! take it (docs/adr/0029). The leader sends, and proposes what it has done; everything can be proposed again.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::pusher;
use crate::id::Position;
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead as _, key};
use std::collections::BTreeSet;

/// Maximum number of notifications, and of pushers, that one command names: some milliseconds of apply.
pub const MAX_PUSH_ITEMS: usize = 1024;

pub(super) fn apply_advance_push(
    context: &mut ApplyContext<'_>,
    command: &log::AdvancePush,
) -> ApplyResult<CommandAnswer> {
    if !context.user.is_empty() {
        return refuse(Reason::Invalid, "this command has no caller");
    }
    if command.waiting.len() + command.settled.len() + command.rejected.len() > MAX_PUSH_ITEMS {
        return refuse(Reason::TooLarge, format!("one command names at most {MAX_PUSH_ITEMS} notifications"));
    }
    for item in &command.settled {
        context.rows.delete(Table::WaitingPush, item_key(item));
    }
    put_waiting(context, command)?;
    for gone in &command.rejected {
        remove_rejected(context, gone)?;
    }
    if let Some(examined) = command.examined {
        advance_to(context, position_of(examined))?;
    }
    Ok(CommandAnswer::done())
}

fn position_of(position: log::Position) -> Position {
    let log::Position { incarnation, index, ordinal } = position;
    Position { incarnation, index, ordinal }
}

fn item_key(item: &log::PushItem) -> Vec<u8> {
    let at = position_of(item.position.unwrap_or_default());
    key::waiting_push(&item.localpart, &item.app_id, &item.pushkey, at)
}

/// Keeps the notifications that wait, unless their pushers were removed meanwhile.
fn put_waiting(context: &mut ApplyContext<'_>, command: &log::AdvancePush) -> ApplyResult<()> {
    let mut queues = BTreeSet::new();
    for item in &command.waiting {
        let pusher = key::pusher_key(&item.localpart, &item.app_id, &item.pushkey);
        if context.rows.get(Table::Pusher, &pusher)?.is_none() {
            continue;
        }
        let row = store::WaitingPush { room: item.room };
        context.rows.put(Table::WaitingPush, item_key(item), table::encode_value(&row));
        queues.insert(key::waiting_for(&item.localpart, &item.app_id, &item.pushkey));
    }
    let max_waiting = usize::try_from(command.max_waiting).unwrap_or(usize::MAX);
    if max_waiting == 0 {
        return Ok(());
    }
    for queue in queues {
        let keys = waiting_keys(context, &queue)?;
        let excess = keys.len().saturating_sub(max_waiting);
        for key in keys.into_iter().take(excess) {
            context.rows.delete(Table::WaitingPush, key);
        }
    }
    Ok(())
}

/// Returns the keys of what waits for one pusher, oldest first: some hundred at most.
pub(super) fn waiting_keys(context: &ApplyContext<'_>, queue: &[u8]) -> ApplyResult<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    context.rows.scan(&ScanRange::with_prefix(Table::WaitingPush, queue), &mut |(key, _)| {
        keys.push(key.to_vec());
        Ok(ScanControl::More)
    })?;
    Ok(keys)
}

fn remove_rejected(context: &mut ApplyContext<'_>, gone: &log::RejectedPusher) -> ApplyResult<()> {
    let log::RejectedPusher { localpart, app_id, pushkey, set_ms } = gone;
    let key = key::pusher_key(localpart, app_id, pushkey);
    let row = table::fetch_row::<store::Pusher>(&context.rows, Table::Pusher, &key)?;
    if row.is_some_and(|row| row.set_ms == *set_ms) {
        pusher::remove_pusher(context, localpart, app_id, pushkey)?;
    }
    Ok(())
}

fn advance_to(context: &mut ApplyContext<'_>, examined: Position) -> ApplyResult<()> {
    let row = table::fetch_row::<store::PushState>(&context.rows, Table::Meta, key::PUSH_STATE)?.unwrap_or_default();
    let before = table::decode_position(Table::Meta, &row.examined)?;
    // Never beyond this command: what was examined lies before it.
    let examined = examined.min(context.first.before());
    if before.is_none_or(|before| before < examined) {
        let row = store::PushState { examined: table::position_field(examined), ..row };
        context.rows.put(Table::Meta, key::PUSH_STATE.to_vec(), table::encode_value(&row));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
