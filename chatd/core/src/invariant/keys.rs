//! Invariants of keys for end-to-end encryption.

use super::{InvariantResult, all_rows, broken_invariant, ensure_holds};
use crate::proto::store;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead, key};

/// Checks that whatever a device has published belongs to a device that exists.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn keys_are_of_devices(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "keys_are_of_devices";
    for table in [Table::DeviceKeys, Table::KeyStock] {
        for (key, _) in all_rows(rows, table)? {
            ensure_holds(rows.get(Table::Device, &key)?.is_some(), NAME, || format!("{table:?}: no device {key:?}"))?;
        }
    }
    Ok(())
}

/// Checks that each stock counts the one-time keys that are left, and those that are remembered.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn stocks_count_their_keys(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "stocks_count_their_keys";
    for (device, value) in all_rows(rows, Table::KeyStock)? {
        let stock: store::KeyStock = table::decode_value(Table::KeyStock, value)?;
        for part in &stock.parts {
            // The keys of a device are its own key, a zero, the algorithm, a zero, and the place.
            let prefix = [&device[..], &[0], part.algorithm.as_bytes(), &[0]].concat();
            let from = [&prefix[..], &stock.opened_at].concat();
            let mut left = 0_u32;
            let mut claimed = 0_u32;
            rows.scan(
                &ScanRange::between(Table::OneTimeKey, &from, &key::after_prefix(&prefix)),
                &mut |(key, value)| {
                    let row: store::OneTimeKey = table::decode_value(Table::OneTimeKey, value)?;
                    let place = key.get(prefix.len()..).unwrap_or_default();
                    match (row.key.is_empty(), place > &part.claimed_to[..]) {
                        (true, false) => claimed += 1,
                        // A key that was passed over counts for neither.
                        (false, true) => left += 1,
                        _ => {}
                    }
                    Ok(ScanControl::More)
                },
            )?;
            let agrees = (left, claimed) == (part.count, part.remembered);
            ensure_holds(agrees, NAME, || format!("{device:?}: {left} left and {claimed} claimed of {part:?}"))?;
        }
    }
    Ok(())
}

/// Checks that each user's newest change of keys is the only one that is told to everybody.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn key_changes_are_found_both_ways(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "key_changes_are_found_both_ways";
    let mut told = 0;
    for (key, value) in all_rows(rows, Table::KeyChange)? {
        let row: store::KeyChange = table::decode_value(Table::KeyChange, value)?;
        let Some((at, localpart)) = key::parse_key_change(&key) else {
            return broken_invariant(NAME, format!("{key:?} is not a key of a change"));
        };
        if !row.observer.is_empty() {
            let signature = key::user_signature(&row.observer, localpart);
            let signature = table::fetch_row::<store::UserSignature>(rows, Table::UserSignature, &signature)?;
            let newest = signature.is_some_and(|signature| signature.position == table::position_field(at));
            ensure_holds(newest, NAME, || format!("{} has not signed {localpart} at {at:?}", row.observer))?;
            continue;
        }
        told += 1;
        let last = table::fetch_row::<store::LastKeyChange>(rows, Table::LastKeyChange, &key::account_key(localpart))?;
        let newest = last.is_some_and(|last| last.position == table::position_field(at));
        ensure_holds(newest, NAME, || format!("{at:?} is not the newest change of {localpart}"))?;
    }
    let users = all_rows(rows, Table::LastKeyChange)?.len();
    ensure_holds(users == told, NAME, || format!("{users} users with changes, {told} changes"))
}
