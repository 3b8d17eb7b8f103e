//! Sessions, accounts, and what belongs to them.

use super::{QueryError, View};
use crate::id::{self, RoomNumber};
use crate::proto::store;
use crate::rows;
use crate::table::{self, Direction, Flow, Table, key};
use bytes::Bytes;

/// What a token is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// A living session.
    Alive(Session),
    /// The session is known, but was not used for its lifetime: log in again.
    Expired,
    /// No such token, or its session was closed.
    Unknown,
}

/// A living session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The account.
    pub localpart: String,
    /// `@localpart:server`
    pub user_id: String,
    /// The device whose session it is.
    pub device_id: String,
    /// Milliseconds since the Unix epoch; 0: never.
    pub expires_ms: u64,
    /// Milliseconds of disuse after which it ends; 0: never.
    pub lifetime_ms: u64,
}

impl Session {
    /// Is less than half of the lifetime left, so that an `ExtendSession` is due?
    #[must_use]
    pub fn wants_extension(&self, clock_ms: u64) -> bool {
        self.expires_ms != 0 && self.expires_ms.saturating_sub(clock_ms) < self.lifetime_ms / 2
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// PHC string.
    pub password_hash: String,
    /// Goes into `OpenSession`.
    pub password_version: u64,
    /// Empty: none.
    pub display_name: String,
    /// `mxc://…`; empty: none.
    pub avatar_url: String,
    /// Closed for good.
    pub deactivated: bool,
}

/// A device with a session, alive or expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its id.
    pub device_id: String,
    /// Its name; may be empty.
    pub display_name: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Milliseconds since the Unix epoch; 0: never.
    pub expires_ms: u64,
}

impl View<'_> {
    /// Whose session a token's SHA-256 stands for, at a time: that by which a write would be judged now.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn session(&self, token_hash: &[u8], clock_ms: u64) -> Result<SessionState, QueryError> {
        let Some(token) = table::fetch::<store::Token>(self.rows, Table::Token, token_hash)? else {
            return Ok(SessionState::Unknown);
        };
        if token.expires_ms != 0 && token.expires_ms <= clock_ms {
            return Ok(SessionState::Expired);
        }
        Ok(SessionState::Alive(Session {
            user_id: id::user_id(&token.localpart, self.server_name()),
            localpart: token.localpart,
            device_id: token.device_id,
            expires_ms: token.expires_ms,
            lifetime_ms: token.lifetime_ms,
        }))
    }

    /// An account by localpart.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn account(&self, localpart: &str) -> Result<Option<Account>, QueryError> {
        let row = rows::account(self.rows, localpart)?;
        Ok(row.map(|row| Account {
            password_hash: row.password_hash,
            password_version: row.password_version,
            display_name: row.display_name,
            avatar_url: row.avatar_url,
            deactivated: row.deactivated,
        }))
    }

    /// Whether the account has a device of this id, with a session that is alive or expired.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn has_device(&self, localpart: &str, device_id: &str) -> Result<bool, QueryError> {
        Ok(self.rows.get(Table::Device, &key::device(localpart, device_id))?.is_some())
    }

    /// An account's devices, by id.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn devices(&self, localpart: &str) -> Result<Vec<DeviceInfo>, QueryError> {
        let from = key::devices_of(localpart);
        let mut out = Vec::new();
        self.rows.scan(Table::Device, &from, &key::after_prefix(&from), Direction::Forward, &mut |(key, value)| {
            let row: store::Device = table::decode(Table::Device, value)?;
            let device_id = String::from_utf8_lossy(key.get(from.len()..).unwrap_or_default()).into_owned();
            out.push(DeviceInfo {
                device_id,
                display_name: row.display_name,
                created_ms: row.created_ms,
                expires_ms: row.expires_ms,
            });
            Ok(Flow::More)
        })?;
        Ok(out)
    }

    /// Users whose last change of profile not all of their rooms show yet, by localpart, at most `limit`.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn unfinished_renewals(&self, limit: usize) -> Result<Vec<String>, QueryError> {
        let (from, end) = (key::RENEWALS, key::after_prefix(key::RENEWALS));
        let mut out = Vec::new();
        self.rows.scan(Table::Meta, from, &end, Direction::Forward, &mut |(key, _)| {
            if out.len() >= limit {
                return Ok(Flow::Stop);
            }
            out.push(String::from_utf8_lossy(key.get(from.len()..).unwrap_or_default()).into_owned());
            Ok(Flow::More)
        })?;
        Ok(out)
    }

    /// A stored filter's JSON.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn filter(&self, localpart: &str, filter_id: u64) -> Result<Option<Bytes>, QueryError> {
        Ok(self.rows.get(Table::Filter, &key::filter(localpart, filter_id))?)
    }

    /// One piece of account data, global or of a room: its JSON.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn account_data(
        &self,
        localpart: &str,
        room: Option<RoomNumber>,
        event_type: &str,
    ) -> Result<Option<Bytes>, QueryError> {
        let key = key::account_data(localpart, room.unwrap_or(RoomNumber(0)), event_type);
        let row = table::fetch::<store::AccountData>(self.rows, Table::AccountData, &key)?;
        Ok(row.map(|row| row.content))
    }
}
