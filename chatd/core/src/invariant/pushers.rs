//! Invariants of pushers.

use super::{InvariantResult, all_rows, ensure_holds};
use crate::proto::store;
use crate::table::{self, Table, TableRead, key};

/// Checks that each pusher belongs to a device that exists and is found by its ids, and nothing else is.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn pushers_are_of_devices(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "pushers_are_of_devices";
    let pushers = all_rows(rows, Table::Pusher)?;
    let all = pushers.len();
    for (key, value) in pushers {
        let row: store::Pusher = table::decode_value(Table::Pusher, value)?;
        let localpart = key::leading_localpart(&key).unwrap_or_default();
        let device = key::device_key(localpart, &row.device_id);
        ensure_holds(rows.get(Table::Device, &device)?.is_some(), NAME, || format!("{row:?} has no device"))?;
        let by_ids = key::pusher_user(&row.app_id, &row.pushkey, localpart);
        let found = rows.get(Table::PusherUser, &by_ids)?.is_some();
        ensure_holds(found, NAME, || format!("{row:?} is not found by its ids"))?;
    }
    let found = all_rows(rows, Table::PusherUser)?.len();
    ensure_holds(found == all, NAME, || format!("{found} users of {all} pushers"))
}

/// Checks that each notification that waits does so for a pusher that exists.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn waiting_pushes_are_of_pushers(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "waiting_pushes_are_of_pushers";
    for (key, _) in all_rows(rows, Table::WaitingPush)? {
        let parts = key::parse_waiting_push(&key);
        let pusher = parts.map(|(localpart, app_id, pushkey, _)| key::pusher_key(localpart, app_id, pushkey));
        let exists = match pusher {
            Some(pusher) => rows.get(Table::Pusher, &pusher)?.is_some(),
            None => false,
        };
        ensure_holds(exists, NAME, || format!("{key:?} waits for no pusher"))?;
    }
    Ok(())
}
