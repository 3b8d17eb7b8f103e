//! Rooms and account data that may have changed since a token.

use super::{AccountDatum, SyncRequest};
use crate::id::{Position, RoomNumber};
use crate::proto::store;
use crate::query::rooms::room_membership;
use crate::query::{QueryError, RoomMembership, StateView};
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, key};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of events of the whole cluster that are walked through to learn which rooms changed; beyond it, the
/// user's rooms are examined one by one.
const MAX_WALKED: usize = 1024;

impl StateView<'_> {
    /// Returns the user's account data newer than the token, by room; room 0 stands for global data.
    pub(super) fn changed_account_data(
        &self,
        localpart: &str,
        since: Option<Position>,
    ) -> Result<BTreeMap<RoomNumber, Vec<AccountDatum>>, QueryError> {
        let prefix = key::devices_of(localpart);
        let mut out = BTreeMap::<_, Vec<_>>::new();
        self.each_account_datum(localpart, &prefix, &mut |room, changed, datum| {
            if since.is_none_or(|since| changed > since) {
                out.entry(room).or_default().push(datum);
            }
        })?;
        if let Some(since) = since {
            self.each_removed_datum(localpart, since, &mut |datum| out.entry(RoomNumber(0)).or_default().push(datum))?;
        }
        Ok(out)
    }

    /// Visits the global data that was removed since the token, with empty content (as in MSC3391). Data that was set
    /// again is not among it.
    fn each_removed_datum(
        &self,
        localpart: &str,
        since: Position,
        visit: &mut dyn FnMut(AccountDatum),
    ) -> Result<(), QueryError> {
        for entry in rows::removed_data(self.rows, localpart)?.entries {
            let removed_at = table::decode_position(Table::Meta, &entry.position)?.unwrap_or_default();
            let key = key::account_data(localpart, RoomNumber(0), &entry.r#type);
            if removed_at > since && self.rows.get(Table::AccountData, &key)?.is_none() {
                visit(AccountDatum { event_type: entry.r#type, content: Bytes::from_static(b"{}") });
            }
        }
        Ok(())
    }

    /// Returns all data that the user keeps for a room: a client that did not have the room gets it whole.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn account_data_of(&self, localpart: &str, room: RoomNumber) -> Result<Vec<AccountDatum>, QueryError> {
        let mut out = Vec::new();
        self.each_account_datum(localpart, &key::account_data(localpart, room, ""), &mut |_, _, datum| {
            out.push(datum)
        })?;
        Ok(out)
    }

    fn each_account_datum(
        &self,
        localpart: &str,
        prefix: &[u8],
        visit: &mut dyn FnMut(RoomNumber, Position, AccountDatum),
    ) -> Result<(), QueryError> {
        let user = key::devices_of(localpart).len();
        self.rows.scan(&ScanRange::with_prefix(Table::AccountData, prefix), &mut |(key, value)| {
            let row: store::AccountData = table::decode_value(Table::AccountData, value)?;
            let rest = key.get(user..).unwrap_or_default();
            let event_type = String::from_utf8_lossy(rest.get(8..).unwrap_or_default()).into_owned();
            let changed = table::decode_position(Table::AccountData, &row.position)?.unwrap_or_default();
            visit(rows::room_in(Table::AccountData, rest)?, changed, AccountDatum { event_type, content: row.content });
            Ok(ScanControl::More)
        })?;
        Ok(())
    }

    /// Returns the user's rooms that may have something new, in order of their numbers.
    pub(in crate::query) fn changed_rooms(
        &self,
        request: &SyncRequest<'_>,
        account_data: &BTreeMap<RoomNumber, Vec<AccountDatum>>,
    ) -> Result<Vec<RoomMembership>, QueryError> {
        let walked = match request.since {
            // A walk does not find rooms in which only removed events are new.
            Some(since) if !request.full_state && !self.any_purged_after(since)? => {
                self.walked_rooms(request.localpart, since)?
            }
            _ => None,
        };
        let Some(mut rooms) = walked else { return self.all_rooms_of(request.localpart) };
        rooms.extend(account_data.keys().filter(|room| room.0 != 0));
        let mut out = Vec::new();
        for room in rooms {
            let key = key::membership_key(request.localpart, room);
            if let Some(row) = table::fetch_row::<store::Membership>(self.rows, Table::Membership, &key)? {
                out.push(room_membership(room, &row)?);
            }
        }
        Ok(out)
    }

    /// Returns the rooms of the whole cluster that have new events or receipts; `None` if there are too many of those.
    fn walked_rooms(&self, localpart: &str, since: Position) -> Result<Option<BTreeSet<RoomNumber>>, QueryError> {
        let Some(events) = self.cluster_events(since, MAX_WALKED)? else { return Ok(None) };
        let Some(mut rooms) = self.rooms_with_receipts(localpart, since)? else { return Ok(None) };
        rooms.extend(events.into_iter().map(|(_, room)| room));
        Ok(Some(rooms))
    }
}
