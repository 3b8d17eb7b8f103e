//! Sessions, accounts, and the data that belongs to them.

use super::{QueryError, StateView};
use crate::id::{self, RoomNumber};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, key};
use bytes::Bytes;

/// State of the session that an access token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// The session is alive.
    Alive(LiveSession),
    /// The session is known, but was not used within its lifetime: the user must log in again.
    Expired,
    /// The token does not exist, or its session was closed.
    Unknown,
}

/// Session that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSession {
    /// Localpart of the account.
    pub localpart: String,
    /// Full user id, `@localpart:server`.
    pub user_id: String,
    /// Identifier of the device that the session belongs to.
    pub device_id: String,
    /// Time at which the session expires, in milliseconds since the Unix epoch; 0 means never.
    pub expires_ms: u64,
    /// Time without use, in milliseconds, after which the session expires; 0 means never.
    pub lifetime_ms: u64,
}

impl LiveSession {
    /// Returns `true` if less than half of the lifetime is left, so that an `ExtendSession` is due.
    #[must_use]
    pub fn wants_extension(&self, clock_ms: u64) -> bool {
        self.expires_ms != 0 && self.expires_ms.saturating_sub(clock_ms) < self.lifetime_ms / 2
    }
}

/// Account of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAccount {
    /// Password hash as a PHC string.
    pub password_hash: String,
    /// Version of the password, which goes into `OpenSession`.
    pub password_version: u64,
    /// Display name; empty if there is none.
    pub display_name: String,
    /// Avatar URL (`mxc://…`); empty if there is none.
    pub avatar_url: String,
    /// `true` if the account is closed for good.
    pub deactivated: bool,
}

/// Device with a session, alive or expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Identifier of the device.
    pub device_id: String,
    /// Display name of the device; may be empty.
    pub display_name: String,
    /// Time at which the device's current session was opened, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Time at which the session expires, in milliseconds since the Unix epoch; 0 means never.
    pub expires_ms: u64,
}

/// Version of a piece of account data, as `PutAccountData.replaces` names it; the default stands for no data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataVersion(pub Bytes);

impl StateView<'_> {
    /// Returns the state at `clock_ms` of the session that a token's SHA-256 stands for. A write at that time would be
    /// judged by the same state.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn session(&self, token_hash: &[u8], clock_ms: u64) -> Result<SessionState, QueryError> {
        let Some(token) = table::fetch_row::<store::Token>(self.rows, Table::Token, token_hash)? else {
            return Ok(SessionState::Unknown);
        };
        if token.expires_ms != 0 && token.expires_ms <= clock_ms {
            return Ok(SessionState::Expired);
        }
        Ok(SessionState::Alive(LiveSession {
            user_id: id::user_id(&token.localpart, self.server_name()),
            localpart: token.localpart,
            device_id: token.device_id,
            expires_ms: token.expires_ms,
            lifetime_ms: token.lifetime_ms,
        }))
    }

    /// Returns the account with this localpart, if it exists.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn account(&self, localpart: &str) -> Result<Option<UserAccount>, QueryError> {
        let row = rows::account_row(self.rows, localpart)?;
        Ok(row.map(|row| UserAccount {
            password_hash: row.password_hash,
            password_version: row.password_version,
            display_name: row.display_name,
            avatar_url: row.avatar_url,
            deactivated: row.deactivated,
        }))
    }

    /// Returns `true` if the account has a device with this id, whose session may be alive or expired.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn has_device(&self, localpart: &str, device_id: &str) -> Result<bool, QueryError> {
        Ok(self.rows.get(Table::Device, &key::device_key(localpart, device_id))?.is_some())
    }

    /// Returns the devices of an account, by id.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn devices(&self, localpart: &str) -> Result<Vec<DeviceInfo>, QueryError> {
        let from = key::devices_of(localpart);
        let mut out = Vec::new();
        self.rows.scan(&ScanRange::with_prefix(Table::Device, &from), &mut |(key, value)| {
            let row: store::Device = table::decode_value(Table::Device, value)?;
            let device_id = String::from_utf8_lossy(key.get(from.len()..).unwrap_or_default()).into_owned();
            out.push(DeviceInfo {
                device_id,
                display_name: row.display_name,
                created_ms: row.created_ms,
                expires_ms: row.expires_ms,
            });
            Ok(ScanControl::More)
        })?;
        Ok(out)
    }

    /// Returns the localparts of at most `limit` users whose last change of profile not all of their rooms show yet.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn unfinished_renewals(&self, limit: usize) -> Result<Vec<String>, QueryError> {
        let mut out = Vec::new();
        self.rows.scan(&ScanRange::with_prefix(Table::Meta, key::RENEWALS), &mut |(key, _)| {
            if out.len() >= limit {
                return Ok(ScanControl::Stop);
            }
            out.push(String::from_utf8_lossy(key.get(key::RENEWALS.len()..).unwrap_or_default()).into_owned());
            Ok(ScanControl::More)
        })?;
        Ok(out)
    }

    /// Returns the JSON of a stored filter, if it exists.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn filter(&self, localpart: &str, filter_id: u64) -> Result<Option<Bytes>, QueryError> {
        Ok(self.rows.get(Table::Filter, &key::filter_key(localpart, filter_id))?)
    }

    /// Returns the JSON of one piece of account data, of a room or (if `room` is `None`) global.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn account_data(
        &self,
        localpart: &str,
        room: Option<RoomNumber>,
        event_type: &str,
    ) -> Result<Option<Bytes>, QueryError> {
        let row = self.account_data_row(localpart, room, event_type)?;
        Ok(row.map(|row| row.content))
    }

    /// Returns the JSON of one piece of global account data, and the version that a command may replace.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn account_data_version(
        &self,
        localpart: &str,
        event_type: &str,
    ) -> Result<Option<(Bytes, DataVersion)>, QueryError> {
        let row = self.account_data_row(localpart, None, event_type)?;
        Ok(row.map(|row| (row.content, DataVersion(row.position))))
    }

    fn account_data_row(
        &self,
        localpart: &str,
        room: Option<RoomNumber>,
        event_type: &str,
    ) -> Result<Option<store::AccountData>, QueryError> {
        let key = key::account_data(localpart, room.unwrap_or(RoomNumber(0)), event_type);
        Ok(table::fetch_row(self.rows, Table::AccountData, &key)?)
    }
}
