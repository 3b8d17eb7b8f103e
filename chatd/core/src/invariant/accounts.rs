//! Invariants of sessions and remembered transactions.

use super::{InvariantResult, all_rows, broken_invariant, ensure_holds};
use crate::apply;
use crate::id::{self, Position};
use crate::proto::log::{EventSent, outcome};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ReadError, Table, TableRead, key};

/// Scope of membership changes, as it appears in keys.
const JOIN: &[u8] = b"\0set_membership\0";

/// Checks that each device has exactly one token, which names it, and belongs to an account that exists.
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
        let agrees = device.token_hash == *hash && device.expires_ms == token.expires_ms;
        ensure_holds(agrees, NAME, || format!("a token of {}, device {}", token.localpart, token.device_id))?;
        let account = rows::account_row(rows, &token.localpart)?;
        ensure_holds(account.is_some(), NAME, || format!("there is no account {}", token.localpart))?;
    }
    let devices = all_rows(rows, Table::Device)?.len();
    ensure_holds(devices == tokens.len(), NAME, || format!("{devices} devices, {} tokens", tokens.len()))
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
        let outcome = apply::remembered(row, apply::room_in_key(&key))?;
        match outcome.kind {
            Some(outcome::Kind::EventSent(sent)) => {
                let at = id::parse_event_id(&sent.event_id).unwrap_or_default();
                let Some(room) = rows::room_of_event(rows, at)? else {
                    ensure_holds(is_purged(rows, &sent, at)?, NAME, || format!("no event {}", sent.event_id))?;
                    continue;
                };
                let event = rows::known_event(rows, room, at)?;
                // A join of a room that the user is already in is answered with an event that another request made.
                let other_request = key.windows(JOIN.len()).any(|part| part == JOIN);
                let own = key.ends_with(event.transaction_id.as_bytes());
                let agrees = event.transaction_id.is_empty() || own || other_request;
                ensure_holds(agrees, NAME, || format!("{at:?} carries {}", event.transaction_id))?;
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

fn is_purged(rows: &dyn TableRead, sent: &EventSent, at: Position) -> Result<bool, ReadError> {
    let server_name = rows::cluster_row(rows)?.unwrap_or_default().server_name;
    let Some(created_at) = id::parse_room_id(&sent.room_id, &server_name) else { return Ok(false) };
    match rows::room_number(rows, created_at)? {
        Some(room) => rows::is_purged(rows, room, at),
        None => Ok(false),
    }
}
