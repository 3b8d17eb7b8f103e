//! Acts about accounts: locking, suspending, a new password, closing for good.

use super::super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::super::{deactivate, quota};
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::rows;
use crate::table::{self, Table, TableRead as _, key};

/// Locks, suspends or frees an account.
pub(super) fn set_standing(context: &mut ApplyContext<'_>, set: &log::SetStanding) -> ApplyResult<CommandAnswer> {
    open_account(context, &set.localpart)?;
    let before = rows::standing_row(&context.rows, &set.localpart)?;
    let locked = set.locked.unwrap_or(before.locked);
    let suspended = set.suspended.unwrap_or(before.suspended);
    if (locked, suspended) == (before.locked, before.suspended) {
        return Ok(CommandAnswer::done());
    }
    let key = key::standing_key(&set.localpart);
    if locked || suspended {
        context.rows.put(Table::Meta, key, table::encode_value(&store::Standing { locked, suspended }));
    } else {
        context.rows.delete(Table::Meta, key);
    }
    // Whatever is kept in memory about the account's sessions is out of date, and its open streams have to end.
    context.touched.session(&set.localpart);
    context.touched.user(&set.localpart);
    Ok(CommandAnswer::done())
}

/// Replaces the password, and ends sessions, a bounded number at a time.
pub(super) fn reset_password<'a>(
    context: &mut ApplyContext<'a>,
    reset: &'a log::ResetPassword,
) -> ApplyResult<CommandAnswer> {
    if reset.password_hash.is_empty() {
        return refuse(Reason::Invalid, "an account needs a password hash");
    }
    let account = open_account(context, &reset.localpart)?;
    // The salt is random, so that the same hash means the same request: one that was repeated, or that goes on to end
    // sessions.
    if account.password_hash != reset.password_hash {
        let row = store::Account {
            password_hash: reset.password_hash.clone(),
            password_version: account.password_version.saturating_add(1),
            ..account
        };
        context.rows.put(Table::Account, key::account_key(&reset.localpart), table::encode_value(&row));
    }
    act_for(context, &reset.localpart);
    let more = match reset.end_sessions {
        0 => false,
        at_most => quota::close_others(context, at_most)?,
    };
    Ok(CommandAnswer::New(outcome::Kind::SessionsClosed(log::SessionsClosed { more }), None))
}

/// Closes an account for good, or erases what is left of a closed one. The cluster itself does what does not fit into one
/// command.
pub(super) fn close_account<'a>(
    context: &mut ApplyContext<'a>,
    close: &'a log::CloseAccount,
) -> ApplyResult<CommandAnswer> {
    let known = rows::account_row(&context.rows, &close.localpart)?;
    if let Some(closed) = known.filter(|account| account.deactivated) {
        return close_again(context, closed, close).map(continued);
    }
    let account = open_account(context, &close.localpart)?;
    act_for(context, &close.localpart);
    deactivate::close_account(context, account, close.erase).map(continued)
}

fn continued(part: log::DeactivationContinued) -> CommandAnswer {
    CommandAnswer::New(outcome::Kind::DeactivationContinued(part), None)
}

/// Tells what is left to do for an account that is closed already. It may be erased only now.
fn close_again<'a>(
    context: &mut ApplyContext<'a>,
    closed: store::Account,
    close: &'a log::CloseAccount,
) -> ApplyResult<log::DeactivationContinued> {
    if close.erase {
        act_for(context, &close.localpart);
        return deactivate::erase_closed_account(context, closed);
    }
    let more = context.rows.get(Table::Meta, &key::departure_key(&close.localpart))?.is_some();
    Ok(log::DeactivationContinued { rooms: 0, more })
}

/// Returns the account that an act is about. Callers with an account of their own have no power over administrators,
/// themselves among them.
fn open_account(context: &ApplyContext<'_>, localpart: &str) -> ApplyResult<store::Account> {
    match rows::account_row(&context.rows, localpart)?.filter(|account| !account.deactivated) {
        None => refuse(Reason::UserNotFound, format!("there is no user {localpart:?}, or the account is closed")),
        Some(account) if !context.user.is_empty() && (account.administrator || localpart == context.user) => {
            let message = "the account of an administrator is changed through the administrative API only";
            refuse(Reason::Forbidden, message)
        }
        Some(account) => Ok(account),
    }
}

/// Lets what follows happen to an account, as if its owner did it without a session.
fn act_for<'a>(context: &mut ApplyContext<'a>, localpart: &'a str) {
    context.user = localpart;
    context.device_id = "";
}

#[cfg(test)]
mod tests;
