//! Invariants of messages to devices.

use super::{InvariantResult, all_rows, broken_invariant, ensure_holds};
use crate::id::{POSITION_LEN, Position};
use crate::proto::store;
use crate::table::{self, ReadError, Table, TableRead};
use std::collections::BTreeMap;

/// Checks that the queue of each device counts its messages, and that there is no queue of a device that is gone.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn device_queues_are_counted(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "device_queues_are_counted";
    let mut waiting = BTreeMap::<Vec<u8>, store::ToDeviceQueue>::new();
    for (key, value) in all_rows(rows, Table::ToDevice)? {
        // The key is: localpart, zero, device id, zero, position.
        let split = key.split_last_chunk::<POSITION_LEN>();
        let Some((device, at)) = split.and_then(|(device, at)| Some((device.strip_suffix(&[0])?, at))) else {
            return broken_invariant(NAME, format!("{key:?} is not a key of a message"));
        };
        if Position::from_bytes(at).is_some_and(|at| Some(at) > begin_of(rows, device).unwrap_or_default()) {
            let queue = waiting.entry(device.to_vec()).or_default();
            queue.messages += 1;
            queue.bytes += u64::try_from(value.len()).unwrap_or(u64::MAX);
        }
    }
    // What a device that is gone left behind is not counted.
    waiting.retain(|device, _| rows.get(Table::Device, device).is_ok_and(|row| row.is_some()));
    let mut counted = BTreeMap::new();
    for (key, value) in all_rows(rows, Table::ToDeviceQueue)? {
        counted.insert(key, table::decode_value::<store::ToDeviceQueue>(Table::ToDeviceQueue, value)?);
    }
    ensure_holds(waiting == counted, NAME, || format!("{waiting:?} wait, {counted:?} are counted"))
}

/// Returns the position at which a device begins; `None` if it is gone.
fn begin_of(rows: &dyn TableRead, device: &[u8]) -> Result<Option<Position>, ReadError> {
    match table::fetch_row::<store::Device>(rows, Table::Device, device)? {
        Some(row) => table::decode_position(Table::Device, &row.opened_at),
        None => Ok(None),
    }
}
