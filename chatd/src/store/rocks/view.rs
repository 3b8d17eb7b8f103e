//! Consistent reads from an open database.

use super::live::LiveDatabase;
use crate::store::StoreError;
use crate::store::columns::{self, DbColumn};
use bytes::Bytes;
use held::OwnedSnapshot;
use quorate_core::table::{ReadError, RowRef, ScanControl, ScanDirection, ScanRange, Table, TableRead};
use rocksdb::{ReadOptions, Snapshot};
use std::sync::Arc;

#[allow(clippy::mem_forget, reason = "within the macro, where it hands a value over instead of dropping it")]
mod held {
    use super::{Arc, LiveDatabase, Snapshot};

    self_cell::self_cell!(
        /// Snapshot together with the database that it borrows from.
        pub(super) struct OwnedSnapshot {
            owner: Arc<LiveDatabase>,
            #[covariant]
            dependent: Snapshot,
        }
    );
}

/// View of the rows as of one commit.
pub struct RocksView(OwnedSnapshot);

impl RocksView {
    pub(super) fn of(live: Arc<LiveDatabase>) -> Self {
        Self(OwnedSnapshot::new(live, |live| live.db().snapshot()))
    }
}

fn engine_error(table: Table) -> impl Fn(rocksdb::Error) -> ReadError {
    move |source| ReadError::Engine { table, source: Box::new(source) }
}

fn table_family(live: &LiveDatabase, table: Table) -> Result<&rocksdb::ColumnFamily, ReadError> {
    let no_family = |error: StoreError| ReadError::Engine { table, source: Box::new(error) };
    live.family(columns::column_of(table)).map_err(no_family)
}

/// Checks whether all keys from `from` up to and excluding `to` share the prefix that the family's filters are made of.
/// Filters may only be used in that case; otherwise files that hold rows of the range would be skipped.
fn within_one_prefix(column: DbColumn, from: &[u8], to: &[u8]) -> bool {
    let Some(len) = column.prefix_len() else { return false };
    match (from.get(..len), to.get(..len)) {
        (Some(first), Some(last)) => first == last,
        _ => false,
    }
}

impl TableRead for RocksView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let family = table_family(self.0.borrow_owner(), table)?;
        let value = self.0.borrow_dependent().get_cf(family, columns::row_key(table, key));
        Ok(value.map_err(engine_error(table))?.map(Bytes::from))
    }

    fn scan(
        &self,
        range: &ScanRange<'_>,
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<ScanControl, ReadError>,
    ) -> Result<(), ReadError> {
        let table = range.table;
        let direction = range.direction;
        let lower = columns::row_key(table, range.from);
        let upper = columns::upper_bound(table, &range.to);
        if lower >= upper {
            return Ok(());
        }
        let mut options = ReadOptions::default();
        options.set_total_order_seek(!within_one_prefix(columns::column_of(table), &lower, &upper));
        options.set_iterate_lower_bound(lower.as_slice());
        options.set_iterate_upper_bound(upper.as_slice());
        let family = table_family(self.0.borrow_owner(), table)?;
        let mut rows = self.0.borrow_dependent().raw_iterator_cf_opt(family, options);
        match direction {
            ScanDirection::Forward => rows.seek(&lower),
            ScanDirection::Backward => rows.seek_for_prev(&upper),
        }
        while let Some((key, value)) = rows.item() {
            // The first byte is the table's number, which the bounds guarantee.
            if visit((key.get(1..).unwrap_or_default(), value))? == ScanControl::Stop {
                return Ok(());
            }
            match direction {
                ScanDirection::Forward => rows.next(),
                ScanDirection::Backward => rows.prev(),
            }
        }
        rows.status().map_err(engine_error(table))
    }
}
