//! Registration tokens.

use super::{QueryError, StateView};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, key};

/// Token with which accounts are registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationTokenInfo {
    /// The token itself.
    pub token: String,
    /// Number of accounts that can be registered with it; `None` for any number.
    pub uses_allowed: Option<u64>,
    /// Number of accounts that were registered with it.
    pub used: u64,
    /// Time from which it is good for nothing, in milliseconds since the Unix epoch; 0 means never.
    pub expires_ms: u64,
    /// Time of its creation, in milliseconds since the Unix epoch.
    pub created_ms: u64,
}

impl RegistrationTokenInfo {
    fn new(token: String, row: store::RegistrationToken) -> Self {
        let store::RegistrationToken { uses_allowed, expires_ms, used, created_ms } = row;
        Self { token, uses_allowed, used, expires_ms, created_ms }
    }
}

impl StateView<'_> {
    /// Returns a registration token, whether or not it can still be used.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn registration_token(&self, token: &str) -> Result<Option<RegistrationTokenInfo>, QueryError> {
        let row = rows::registration_token_row(self.rows, token)?;
        Ok(row.map(|row| RegistrationTokenInfo::new(token.to_owned(), row)))
    }

    /// Returns `true` if an account can be registered with this token at the log's time. The command decides in the end.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn is_registration_token(&self, token: &str) -> Result<bool, QueryError> {
        let row = rows::registration_token_row(self.rows, token)?;
        Ok(row.is_some_and(|row| rows::is_usable_token(&row, self.time_ms())))
    }

    /// Returns the localpart of the account that was registered in a dialogue of user-interactive authentication, if there
    /// is one and the dialogue has not expired.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn registered_in(&self, expires_ms: u64, digest: &[u8]) -> Result<Option<String>, QueryError> {
        let row = rows::registered_dialogue_row(self.rows, expires_ms, digest)?;
        Ok(row.map(|row| row.localpart))
    }

    /// Returns at most `limit` registration tokens in byte order, beginning after one.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn registration_tokens(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RegistrationTokenInfo>, QueryError> {
        let mut from = key::registration_token(after.unwrap_or_default());
        if after.is_some() {
            // The smallest key after this one.
            from.push(0);
        }
        let end = key::after_prefix(key::REGISTRATION_TOKENS);
        let mut out = Vec::new();
        self.rows.scan(&ScanRange::between(Table::Meta, &from, &end), &mut |(key, value)| {
            let row: store::RegistrationToken = table::decode_value(Table::Meta, value)?;
            let token = key.get(key::REGISTRATION_TOKENS.len()..).unwrap_or_default();
            out.push(RegistrationTokenInfo::new(String::from_utf8_lossy(token).into_owned(), row));
            Ok(if out.len() < limit { ScanControl::More } else { ScanControl::Stop })
        })?;
        Ok(out)
    }
}
