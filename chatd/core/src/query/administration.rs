//! Reads of administrators: all accounts, whoever owns them.

use super::{AccountStanding, QueryError, StateView};
use crate::id;
use crate::proto::store;
use crate::table::{self, ScanControl, ScanRange, Table, key};

/// Maximum number of accounts that are examined for one page: a search for a rare word gives short pages instead of slow
/// ones. Each account costs one row, and a lookup if it is shown.
const MAX_LOOKED_AT: usize = 5000;

/// Account as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedAccount {
    /// Localpart of the account.
    pub localpart: String,
    /// Full user id.
    pub user_id: String,
    /// Display name; empty if there is none.
    pub display_name: String,
    /// Time of the registration, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// `true` if the account was registered as an administrator's. The configuration may name others.
    pub administrator: bool,
    /// `true` if the account is closed for good.
    pub deactivated: bool,
    /// Decisions of administrators about the account.
    pub standing: AccountStanding,
}

/// Page of accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedAccounts {
    /// Accounts in byte order of their localparts.
    pub accounts: Vec<ListedAccount>,
    /// Localpart after which the next page begins; `None` at the end. A page may be empty without being the last.
    pub next: Option<String>,
}

impl StateView<'_> {
    /// Returns a page of at most `limit` accounts after a localpart whose localpart or display name contains the term, in
    /// any case; an empty term stands for all accounts.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn list_accounts(&self, term: &str, after: Option<&str>, limit: usize) -> Result<ListedAccounts, QueryError> {
        let term = term.to_lowercase();
        let mut from = after.map(key::account_key).unwrap_or_default();
        if after.is_some() {
            // The smallest key after this one.
            from.push(0);
        }
        let mut found = Vec::new();
        let mut looked_at = 0;
        let mut last = String::new();
        let mut next = None;
        self.rows.scan(&ScanRange::starting_at(Table::Account, &from), &mut |(key, value)| {
            if found.len() >= limit || looked_at >= MAX_LOOKED_AT {
                next = Some(std::mem::take(&mut last));
                return Ok(ScanControl::Stop);
            }
            looked_at += 1;
            let row: store::Account = table::decode_value(Table::Account, value)?;
            last = String::from_utf8_lossy(key).into_owned();
            if term.is_empty() || last.contains(&term) || row.display_name.to_lowercase().contains(&term) {
                found.push((last.clone(), row));
            }
            Ok(ScanControl::More)
        })?;
        let accounts = found.into_iter().map(|(localpart, row)| self.listed_account(localpart, row));
        Ok(ListedAccounts { accounts: accounts.collect::<Result<_, _>>()?, next })
    }

    /// Returns the account with this localpart as administrators see it, if it exists.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn find_account(&self, localpart: &str) -> Result<Option<ListedAccount>, QueryError> {
        let row = crate::rows::account_row(self.rows, localpart)?;
        row.map(|row| self.listed_account(localpart.to_owned(), row)).transpose()
    }

    fn listed_account(&self, localpart: String, row: store::Account) -> Result<ListedAccount, QueryError> {
        Ok(ListedAccount {
            user_id: id::user_id(&localpart, self.server_name()),
            display_name: row.display_name,
            created_ms: row.created_ms,
            administrator: row.administrator,
            deactivated: row.deactivated,
            standing: self.standing(&localpart)?,
            localpart,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::proto::log;
    use crate::proto::log::command::Kind;
    use crate::testing::{World, world};

    fn names(world: &World, term: &str, after: Option<&str>, limit: usize) -> (Vec<String>, Option<String>) {
        let page = world.view().list_accounts(term, after, limit).unwrap();
        (page.accounts.into_iter().map(|account| account.localpart).collect(), page.next)
    }

    #[test]
    fn accounts_are_listed_in_pages_and_found_by_name() {
        let mut world = world(&["alice", "bob", "carol"]);
        let named = log::SetProfile { display_name: Some("Alicia B".into()), ..Default::default() };
        let envelope = world.by("carol", Kind::SetProfile(named));
        world.accepted(envelope);
        assert_eq!(names(&world, "", None, 2), (vec!["alice".into(), "bob".into()], Some("bob".into())));
        assert_eq!(names(&world, "", Some("bob"), 2), (vec!["carol".into()], None));
        assert_eq!(names(&world, "ALIC", None, 9), (vec!["alice".into(), "carol".into()], None));
        assert_eq!(names(&world, "nobody", None, 9), (vec![], None));
        let found = world.view().find_account("carol").unwrap().unwrap();
        assert_eq!((found.user_id.as_str(), found.display_name.as_str()), ("@carol:a.org", "Alicia B"));
        assert!(world.view().find_account("dave").unwrap().is_none());
    }
}
