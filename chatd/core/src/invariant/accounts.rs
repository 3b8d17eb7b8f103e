//! Invariants of sessions and remembered transactions.

use super::{InvariantResult, all_rows, broken_invariant, ensure_holds};
use crate::apply;
use crate::id::{self, Position, RoomNumber};
use crate::proto::log::outcome;
use crate::proto::store;
use crate::proto::store::token::Use;
use crate::rows;
use crate::table::{self, ReadError, Table, TableRead, key};

/// Checks that each token is one of the device that it names, that no device lacks a token unless it is dehydrated, and
/// that each belongs to an account that exists.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn devices_and_tokens_agree(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "devices_and_tokens_agree";
    let tokens = all_rows(rows, Table::Token)?;
    for (hash, value) in &tokens {
        let token: store::Token = table::decode_value(Table::Token, value.clone())?;
        let device = key::device_key(&token.localpart, &token.device_id);
        let device = table::fetch_row::<store::Device>(rows, Table::Device, &device)?.unwrap_or_default();
        let agrees = match token.r#use() {
            Use::Access => device.token_hash == *hash && device.expires_ms == token.expires_ms,
            Use::RefreshedAccess => [&device.token_hash, &device.old_token_hash].iter().any(|own| **own == *hash),
            Use::Refresh => [&device.refresh_hash, &device.old_refresh_hash].iter().any(|own| **own == *hash),
            Use::Login => device.login_token_hash == *hash,
        };
        ensure_holds(agrees, NAME, || format!("a token of {}, device {}", token.localpart, token.device_id))?;
        let account = rows::account_row(rows, &token.localpart)?;
        ensure_holds(account.is_some(), NAME, || format!("there is no account {}", token.localpart))?;
    }
    let mut named = 0;
    for (key, value) in all_rows(rows, Table::Device)? {
        let device: store::Device = table::decode_value(Table::Device, value)?;
        if is_dehydrated(rows, &key)? {
            ensure_holds(device.token_hash.is_empty(), NAME, || format!("{key:?} is dehydrated and has a token"))?;
            continue;
        }
        let store::Device { refresh_hash, old_token_hash, old_refresh_hash, login_token_hash, .. } = device;
        let others = [refresh_hash, old_token_hash, old_refresh_hash, login_token_hash];
        named += 1 + others.iter().filter(|hash| !hash.is_empty()).count();
    }
    ensure_holds(named == tokens.len(), NAME, || format!("devices name {named} tokens, there are {}", tokens.len()))
}

/// Checks that each dehydrated device is a device.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn dehydrated_devices_are_devices(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "dehydrated_devices_are_devices";
    for (localpart, value) in all_rows(rows, Table::DehydratedDevice)? {
        let row: store::DehydratedDevice = table::decode_value(Table::DehydratedDevice, value)?;
        let device = key::device_key(&String::from_utf8_lossy(&localpart), &row.device_id);
        let exists = rows.get(Table::Device, &device)?.is_some();
        ensure_holds(exists, NAME, || format!("there is no device {device:?}"))?;
    }
    Ok(())
}

/// Returns `true` if the device with this key is the dehydrated one of its account.
fn is_dehydrated(rows: &dyn TableRead, device: &[u8]) -> Result<bool, ReadError> {
    let Some(localpart) = key::leading_localpart(device) else { return Ok(false) };
    let row = table::fetch_row::<store::DehydratedDevice>(rows, Table::DehydratedDevice, &key::account_key(localpart))?;
    Ok(row.is_some_and(|row| key::device_key(localpart, &row.device_id) == device))
}

/// Checks that the answer to a retry is still true: the event that it names exists in its place and carries the
/// transaction, or was removed with the room's history.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn dedup_outcomes_point_to_their_events(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "dedup_outcomes_point_to_their_events";
    for (key, value) in all_rows(rows, Table::Dedup)? {
        let row: store::Dedup = table::decode_value(Table::Dedup, value)?;
        let by_event = !row.event.is_empty();
        let outcome = apply::remembered(row, "")?;
        match outcome.kind {
            Some(outcome::Kind::EventSent(sent)) => {
                let at = id::parse_event_id(&sent.event_id).unwrap_or_default();
                let Some(room) = rows::room_of_event(rows, at)? else {
                    ensure_holds(is_purged(rows, at)?, NAME, || format!("no event {}", sent.event_id))?;
                    continue;
                };
                let event = rows::known_event(rows, room, at)?;
                // Other commands, such as a join of a room that the user is already in, may be answered with an event that
                // another request made.
                if by_event && !event.transaction_id.is_empty() {
                    let keys = own_keys(rows, room, &event)?;
                    ensure_holds(keys.contains(&key), NAME, || format!("{at:?} carries {}", event.transaction_id))?;
                }
                let time = event.origin_server_ts;
                ensure_holds(time == sent.origin_server_ts, NAME, || format!("{at:?} was sent at {time}"))?;
            }
            Some(outcome::Kind::Rejected(_)) | None => {
                return broken_invariant(NAME, format!("{key:?} remembers a refusal"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Checks that each sequence belongs to a device that exists.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn sequences_are_of_devices(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "sequences_are_of_devices";
    for (key, value) in all_rows(rows, Table::Sequence)? {
        let row: store::Sequence = table::decode_value(Table::Sequence, value)?;
        ensure_holds(row.next > 0, NAME, || format!("{key:?} has not begun"))?;
        // The key is: localpart, zero, device id, zero, eight bytes.
        let Some((device, [0, ..])) = key.split_at_checked(key.len().saturating_sub(9)) else {
            return broken_invariant(NAME, format!("{key:?} is not a key of a sequence"));
        };
        ensure_holds(rows.get(Table::Device, device)?.is_some(), NAME, || format!("there is no device {device:?}"))?;
    }
    Ok(())
}

/// Returns the keys under which the request that created the event can be remembered.
fn own_keys(rows: &dyn TableRead, room: RoomNumber, event: &store::Event) -> Result<Vec<Vec<u8>>, ReadError> {
    let server_name = rows::cluster_row(rows)?.unwrap_or_default().server_name;
    let room_id = rows::room_id_of(&rows::room_row(rows, room)?.unwrap_or_default(), &server_name)?;
    let sender = id::user_localpart(&event.sender, &server_name).unwrap_or_default();
    apply::event_keys(sender, &room_id, event)
}

/// Returns `true` if the event that is missing at this position may have been removed with the history of its room.
fn is_purged(rows: &dyn TableRead, at: Position) -> Result<bool, ReadError> {
    let cluster = rows::cluster_row(rows)?.unwrap_or_default();
    Ok(table::decode_position(Table::Meta, &cluster.purged_to)?.is_some_and(|purged_to| at <= purged_to))
}
