//! Sessions, accounts, and the data that belongs to them.

use super::{QueryError, StateView};
use crate::id::{self, RoomNumber};
use crate::proto::store;
use crate::proto::store::token::Use;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, key};
use bytes::Bytes;

/// State of the session that an access token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// The session is alive.
    Alive(LiveSession),
    /// The session would be alive, but an administrator has locked the account: it is good for nothing but to be ended.
    Locked(LiveSession),
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
    /// `true` if the token replaced another one that is still valid, so that a `ConfirmRefresh` is due.
    pub confirms_refresh: bool,
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
    /// `true` if the account may administer the server.
    pub administrator: bool,
}

/// Decisions of administrators about an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountStanding {
    /// `true` if the account can do nothing but end its sessions.
    pub locked: bool,
    /// `true` if the account reads and leaves rooms, but neither writes nor enters them.
    pub suspended: bool,
}

/// Device with a session, alive or expired; or a dehydrated one.
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
    /// Time of the login, or of the last extension of the session, whichever is later, in milliseconds since the Unix
    /// epoch; 0 if it is not known.
    pub seen_ms: u64,
    /// Address from which the device logged in; empty if it is not known.
    pub seen_address: String,
    /// `false` for a dehydrated device, which has no session.
    pub has_session: bool,
}

impl DeviceInfo {
    fn new(device_id: String, row: store::Device) -> Self {
        let store::Device { display_name, token_hash, created_ms, expires_ms, seen_ms, seen_address, .. } = row;
        let has_session = !token_hash.is_empty();
        Self { device_id, display_name, created_ms, expires_ms, seen_ms, seen_address, has_session }
    }
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
        let token = table::fetch_row::<store::Token>(self.rows, Table::Token, token_hash)?;
        // The others are good for nothing but new tokens and sessions.
        let for_requests = |token: &store::Token| matches!(token.r#use(), Use::Access | Use::RefreshedAccess);
        let Some(token) = token.filter(for_requests) else {
            return Ok(SessionState::Unknown);
        };
        if token.expires_ms != 0 && token.expires_ms <= clock_ms {
            return Ok(SessionState::Expired);
        }
        let refreshed = token.r#use() == Use::RefreshedAccess;
        let confirms_refresh = refreshed && {
            let device = key::device_key(&token.localpart, &token.device_id);
            let device = table::fetch_row::<store::Device>(self.rows, Table::Device, &device)?.unwrap_or_default();
            !device.old_token_hash.is_empty() && device.token_hash == token_hash
        };
        let locked = self.standing(&token.localpart)?.locked;
        let session = LiveSession {
            user_id: id::user_id(&token.localpart, self.server_name()),
            localpart: token.localpart,
            device_id: token.device_id,
            expires_ms: token.expires_ms,
            // Use does not extend a token that is refreshed.
            lifetime_ms: if refreshed { 0 } else { token.lifetime_ms },
            confirms_refresh,
        };
        Ok(if locked { SessionState::Locked(session) } else { SessionState::Alive(session) })
    }

    /// Returns what administrators have decided about an account.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn standing(&self, localpart: &str) -> Result<AccountStanding, QueryError> {
        let store::Standing { locked, suspended } = rows::standing_row(self.rows, localpart)?;
        Ok(AccountStanding { locked, suspended })
    }

    /// Returns `true` if a refresh token has this SHA-256.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn is_refresh_token(&self, token_hash: &[u8]) -> Result<bool, QueryError> {
        let token = table::fetch_row::<store::Token>(self.rows, Table::Token, token_hash)?;
        Ok(token.is_some_and(|token| token.r#use() == Use::Refresh))
    }

    /// Returns the localpart of the account that a login token with this SHA-256 opens; `None` if there is none. Whether it
    /// has expired is decided by the command that uses it.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn login_token_owner(&self, token_hash: &[u8]) -> Result<Option<String>, QueryError> {
        let token = table::fetch_row::<store::Token>(self.rows, Table::Token, token_hash)?;
        Ok(token.filter(|token| token.r#use() == Use::Login).map(|token| token.localpart))
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
            administrator: row.administrator,
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
            out.push(DeviceInfo::new(device_id, row));
            Ok(ScanControl::More)
        })?;
        Ok(out)
    }

    /// Returns a device of an account, if it exists.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn device(&self, localpart: &str, device_id: &str) -> Result<Option<DeviceInfo>, QueryError> {
        let key = key::device_key(localpart, device_id);
        let row = table::fetch_row::<store::Device>(self.rows, Table::Device, &key)?;
        Ok(row.map(|row| DeviceInfo::new(device_id.to_owned(), row)))
    }

    /// Returns the key with which every pod signs what clients bring back, if there is one yet.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn signing_key(&self) -> Result<Option<Bytes>, QueryError> {
        let row = table::fetch_row::<store::SigningKey>(self.rows, Table::Meta, key::SIGNING_KEY)?;
        Ok(row.map(|row| row.key))
    }

    /// Returns the localparts of at most `limit` users whose deactivation has left something to remove.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn unfinished_departures(&self, limit: usize) -> Result<Vec<String>, QueryError> {
        let mut out = Vec::new();
        self.rows.scan(&ScanRange::with_prefix(Table::Meta, key::DEPARTURES), &mut |(key, _)| {
            if out.len() >= limit {
                return Ok(ScanControl::Stop);
            }
            out.push(String::from_utf8_lossy(key.get(key::DEPARTURES.len()..).unwrap_or_default()).into_owned());
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
