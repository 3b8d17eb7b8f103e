//! Pushers: the places to which notifications are sent.

use super::{QueryError, StateView};
use crate::id::Position;
use crate::proto::store;
use crate::table::{self, ReadError, ScanControl, ScanRange, Table, key};

/// Pusher of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct UserPusher {
    /// Localpart of the user.
    pub localpart: String,
    /// The pusher as it was set.
    pub pusher: store::Pusher,
    /// Position of the command that added the pusher: later events are sent.
    pub added_at: Position,
}

impl StateView<'_> {
    /// Returns the pushers of a user, in order of their ids.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn pushers_of(&self, localpart: &str) -> Result<Vec<UserPusher>, QueryError> {
        self.pushers_with(&key::devices_of(localpart))
    }

    /// Returns the pushers of all users.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn all_pushers(&self) -> Result<Vec<UserPusher>, QueryError> {
        self.pushers_with(&[])
    }

    /// Returns one pusher of a user, if it exists.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn pusher(&self, localpart: &str, app_id: &str, pushkey: &str) -> Result<Option<store::Pusher>, QueryError> {
        Ok(table::fetch_row(self.rows, Table::Pusher, &key::pusher_key(localpart, app_id, pushkey))?)
    }

    /// Returns the pushers whose keys have a prefix.
    fn pushers_with(&self, prefix: &[u8]) -> Result<Vec<UserPusher>, QueryError> {
        let mut out = Vec::new();
        self.rows.scan(&ScanRange::with_prefix(Table::Pusher, prefix), &mut |(key, value)| {
            let pusher: store::Pusher = table::decode_value(Table::Pusher, value)?;
            let localpart = key::leading_localpart(key).ok_or_else(|| ReadError::Damaged {
                table: Table::Pusher,
                what: "a key does not name a user".into(),
            })?;
            let added_at = table::decode_position(Table::Pusher, &pusher.added_at)?.unwrap_or_default();
            out.push(UserPusher { localpart: localpart.to_owned(), pusher, added_at });
            Ok(ScanControl::More)
        })?;
        Ok(out)
    }
}
