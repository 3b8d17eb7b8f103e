//! Search for devices to sweep: those that expired long ago, and those that were removed but left something behind.

use super::{QueryError, StateView};
use crate::apply::quota;
use crate::proto::store;
use crate::table::{self, ReadError, ScanControl, ScanRange, Table, key};

/// Tables in which removed devices leave rows behind. Their keys begin with localpart and device id, each followed by a
/// zero byte.
const LEFT_BEHIND: [Table; 3] = [Table::Dedup, Table::ToDevice, Table::OneTimeKey];

/// Cursor from which a search continues; the default is its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepCursor {
    /// Number of tables that have been examined: that of the devices, then those of [`LEFT_BEHIND`].
    tables_done: usize,
    from: Vec<u8>,
}

/// Part of a search for devices to sweep.
#[derive(Clone, Debug, Default)]
pub struct SweepPart {
    /// Localpart and device id of each device to sweep.
    pub found: Vec<(String, String)>,
    /// Cursor from which the search continues; its beginning if the search has ended.
    pub next: SweepCursor,
}

impl StateView<'_> {
    /// Examines at most `rows` devices, for those whose session expired longer ago than they are kept, and those that
    /// are gone and left transactions, messages or keys behind.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn devices_to_sweep(
        &self,
        cursor: &SweepCursor,
        time_ms: u64,
        kept_ms: u64,
        rows: usize,
    ) -> Result<SweepPart, QueryError> {
        let mut left = rows;
        let mut part = SweepPart { found: Vec::new(), next: cursor.clone() };
        if part.next.tables_done == 0 {
            match self.expired_devices(&mut part, &mut left, (time_ms, kept_ms))? {
                Some(from) => part.next.from = from,
                None => part.next = SweepCursor { tables_done: 1, from: Vec::new() },
            }
        }
        while part.next.tables_done > 0 && left > 0 {
            let Some(table) = LEFT_BEHIND.get(part.next.tables_done - 1) else {
                part.next = SweepCursor::default();
                break;
            };
            match self.orphans(*table, &mut part, &mut left)? {
                Some(from) => part.next.from = from,
                None => part.next = SweepCursor { tables_done: part.next.tables_done + 1, from: Vec::new() },
            }
        }
        Ok(part)
    }

    /// Finds devices that expired; returns the key to continue from, if there are more.
    fn expired_devices(
        &self,
        part: &mut SweepPart,
        left: &mut usize,
        (time_ms, kept_ms): (u64, u64),
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let from = part.next.from.clone();
        let mut stopped_at = None;
        let found = &mut part.found;
        self.rows.scan(&ScanRange::starting_at(Table::Device, &from), &mut |(key, value)| {
            if *left == 0 {
                stopped_at = Some(key.to_vec());
                return Ok(ScanControl::Stop);
            }
            *left -= 1;
            let device: store::Device = table::decode_value(Table::Device, value)?;
            if quota::is_swept(&device, kept_ms, time_ms) {
                found.extend(names_in(key));
            }
            Ok(ScanControl::More)
        })?;
        Ok(stopped_at)
    }

    /// Finds devices that are gone and have rows in a table; returns the key to continue from, if there are more. Costs
    /// one lookup per device, however many rows it has.
    fn orphans(&self, table: Table, part: &mut SweepPart, left: &mut usize) -> Result<Option<Vec<u8>>, ReadError> {
        let mut from = part.next.from.clone();
        while *left > 0 {
            let mut names = None;
            self.rows.scan(&ScanRange::starting_at(table, &from), &mut |(key, _)| {
                names = Some(
                    names_in(key).ok_or_else(|| ReadError::Damaged { table, what: "a key names no device".into() })?,
                );
                Ok(ScanControl::Stop)
            })?;
            let Some((localpart, device_id)) = names else { return Ok(None) };
            *left -= 1;
            from = key::after_prefix(&key::dedup_of(&localpart, &device_id));
            if self.rows.get(Table::Device, &key::device_key(&localpart, &device_id))?.is_none() {
                let names = (localpart, device_id);
                if !part.found.contains(&names) {
                    part.found.push(names);
                }
            }
        }
        Ok(Some(from))
    }
}

/// Decodes the localpart and the device id at the start of a key.
fn names_in(key: &[u8]) -> Option<(String, String)> {
    let mut parts = key.split(|byte| *byte == 0).map(|part| std::str::from_utf8(part).ok().map(str::to_owned));
    Some((parts.next()??, parts.next()??))
}
