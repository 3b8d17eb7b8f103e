//! Read receipts, and the users whose receipts a reader does not want to see.

use super::state::{after_position, key_after};
use super::{QueryError, StateView};
use crate::id::{self, Position, RoomNumber};
use crate::json;
use crate::proto::log::SetReceipts;
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::receipt::{self, ReadReceipt, ReceiptKind};
use crate::rows::{self, event_type};
use crate::table::{self, ReadError, ScanControl, ScanRange, Table, key};
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeSet;

/// Maximum number of receipts of others that one answer has of a room: those that were set last. Clients show them
/// beside the newest messages; who read last is shown there, and the others are further up than the timeline reaches.
pub(super) const MAX_SHOWN: usize = 500;

/// Maximum number of receipts of the whole cluster that are walked through to learn in which rooms there are new ones.
const MAX_WALKED: usize = 1024;

impl StateView<'_> {
    /// Returns a user's own receipts in a room that were set after `since`.
    pub(super) fn own_receipts(
        &self,
        room: RoomNumber,
        localpart: &str,
        since: Option<Position>,
    ) -> Result<Vec<ReadReceipt>, QueryError> {
        let prefix = key::receipts_of(room, localpart);
        let now = self.now();
        let mut out = Vec::new();
        self.rows.scan(&ScanRange::with_prefix(Table::Receipt, &prefix), &mut |(key, value)| {
            let receipt = ReadReceipt::of_row(key, Bytes::copy_from_slice(value))?;
            if receipt.changed <= now && since.is_none_or(|since| receipt.changed > since) {
                out.push(receipt);
            }
            Ok(ScanControl::More)
        })?;
        Ok(out)
    }

    /// Returns the receipts in a room that were set after `since` and that this user may know of: all of the user's own,
    /// and at most [`MAX_SHOWN`] of others.
    pub(super) fn receipts_shown(
        &self,
        room: RoomNumber,
        localpart: &str,
        since: Option<Position>,
    ) -> Result<Vec<ReadReceipt>, QueryError> {
        let mut out = self.own_receipts(room, localpart, since)?;
        let low = key_after(room, since.unwrap_or(Position::ZERO));
        let high = key_after(room, self.now());
        let mut found = Vec::new();
        self.rows.scan(&ScanRange::between(Table::ReceiptChange, &low, &high).backward(), &mut |(_, value)| {
            let change: store::ReceiptChange = table::decode_value(Table::ReceiptChange, value)?;
            if change.reader != localpart {
                found.push(change);
            }
            Ok(if found.len() < MAX_SHOWN { ScanControl::More } else { ScanControl::Stop })
        })?;
        for store::ReceiptChange { reader, thread_id } in found {
            let key = key::receipt_key(room, &reader, ReceiptKind::Public, &thread_id);
            let value = self.rows.get(Table::Receipt, &key)?.ok_or_else(|| missing_receipt(room))?;
            out.push(ReadReceipt::of_row(&key, value)?);
        }
        Ok(out)
    }

    /// Returns `true` if a receipt that this user may know of was set in a room after `since`.
    pub(super) fn has_receipts_after(
        &self,
        room: RoomNumber,
        localpart: &str,
        since: Position,
    ) -> Result<bool, QueryError> {
        let low = key_after(room, since);
        let high = key_after(room, self.now());
        let mut found = false;
        self.rows.scan(&ScanRange::between(Table::ReceiptChange, &low, &high), &mut |_| {
            found = true;
            Ok(ScanControl::Stop)
        })?;
        Ok(found || !self.own_receipts(room, localpart, Some(since))?.is_empty())
    }

    /// Returns the rooms in which a receipt that this user may know of was set after `since`, whoever is in them; `None`
    /// if there are too many receipts to go through.
    pub(super) fn rooms_with_receipts(
        &self,
        localpart: &str,
        since: Position,
    ) -> Result<Option<BTreeSet<RoomNumber>>, QueryError> {
        let from = after_position(&[], since);
        // Two receipts of one command have the same position: those at `since` itself are behind it, too.
        let mut rooms = BTreeSet::new();
        let mut walked = 0;
        self.rows.scan(&ScanRange::starting_at(Table::ReceiptPlace, &from), &mut |(key, value)| {
            walked += 1;
            if walked > MAX_WALKED {
                return Ok(ScanControl::Stop);
            }
            let place: store::ReceiptPlace = table::decode_value(Table::ReceiptPlace, value)?;
            let is_new = key.first_chunk().and_then(|at: &[u8; 16]| Position::from_bytes(at)) > Some(since);
            if is_new && (place.private_to.is_empty() || place.private_to == localpart) {
                rooms.insert(RoomNumber(place.room));
            }
            Ok(ScanControl::More)
        })?;
        Ok((walked <= MAX_WALKED).then_some(rooms))
    }

    /// Returns `true` if the user has read as far already, so that setting these receipts would change nothing and be
    /// accepted. When in doubt, `false`: apply decides.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn has_read(&self, localpart: &str, wanted: &SetReceipts) -> Result<bool, QueryError> {
        // Apply refuses a marker with a thread, wherever the marker is.
        if !wanted.thread_id.is_empty() && !wanted.fully_read.is_empty() {
            return Ok(false);
        }
        let room = match self.resolve_room(&wanted.room_id) {
            Err(QueryError::RoomNotFound) => return Ok(false),
            room => room?,
        };
        let membership = self.membership_in(localpart, room)?;
        let Some(since) = membership.joined_since.filter(|_| membership.kind == Kind::Join) else { return Ok(false) };
        let reached = |event_id: &str, place: Option<Position>| -> Result<bool, ReadError> {
            let (Some(event), Some(place)) = (id::parse_event_id(event_id), place) else {
                return Ok(event_id.is_empty());
            };
            // An earlier event may be in another thread, or out of the user's sight.
            let is_known = event < place && wanted.thread_id.is_empty() && event >= since;
            Ok(event == place || (is_known && rows::room_of_event(self.rows, event)? == Some(room)))
        };
        for (kind, event_id) in [(ReceiptKind::Public, &wanted.read), (ReceiptKind::Private, &wanted.read_private)] {
            let key = key::receipt_key(room, localpart, kind, &wanted.thread_id);
            let value = self.rows.get(Table::Receipt, &key)?;
            let receipt = value.map(|value| ReadReceipt::of_row(&key, value)).transpose()?;
            if !reached(event_id, receipt.map(|receipt| receipt.event))? {
                return Ok(false);
            }
        }
        let marker = self.account_data(localpart, Some(room), event_type::FULLY_READ)?;
        Ok(reached(&wanted.fully_read, marker.and_then(|marker| receipt::marked_event(&marker)))?)
    }

    /// Returns the ids of the users whom this user ignores, who cannot be the user itself.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn users_ignored_by(&self, localpart: &str) -> Result<BTreeSet<String>, QueryError> {
        let content = self.account_data(localpart, None, event_type::IGNORED_USERS)?.unwrap_or_default();
        let content = json::stored_object(&content);
        let ignored = content.get("ignored_users").and_then(Value::as_object);
        let own = id::user_id(localpart, self.server_name());
        Ok(ignored.into_iter().flat_map(|users| users.keys().cloned()).filter(|user| *user != own).collect())
    }

    /// Returns the fields of a user's profile other than display name and avatar, with their values as JSON, in order of
    /// their names.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn profile_fields(&self, localpart: &str) -> Result<Vec<(String, Bytes)>, QueryError> {
        let row = rows::profile_fields(self.rows, localpart)?;
        Ok(row.fields.into_iter().map(|field| (field.name, field.value)).collect())
    }
}

fn missing_receipt(room: RoomNumber) -> ReadError {
    let what = format!("room {room} lacks a receipt, though another row points there");
    ReadError::Damaged { table: Table::Receipt, what }
}
