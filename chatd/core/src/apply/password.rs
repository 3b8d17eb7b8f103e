//! Change of an account's password.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::quota;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::rows;
use crate::table::{self, Table, key};

/// Replaces the caller's password, and ends the account's other sessions if the command says so.
pub(super) fn apply_change_password(
    context: &mut ApplyContext<'_>,
    command: &log::ChangePassword,
) -> ApplyResult<CommandAnswer> {
    if command.password_hash.is_empty() {
        return refuse(Reason::Invalid, "an account needs a password hash");
    }
    let account = verified_account(context, command.password_version)?;
    let row = store::Account {
        password_hash: command.password_hash.clone(),
        password_version: account.password_version.saturating_add(1),
        ..account
    };
    context.rows.put(Table::Account, key::account_key(context.user), table::encode_value(&row));
    context.touched.user(context.user);
    let more = match command.end_others {
        0 => false,
        at_most => quota::close_others(context, at_most)?,
    };
    Ok(CommandAnswer::New(outcome::Kind::SessionsClosed(log::SessionsClosed { more }), None))
}

/// Returns the caller's account if its password is still the one that was verified.
pub(super) fn verified_account(context: &ApplyContext<'_>, password_version: u64) -> ApplyResult<store::Account> {
    match rows::account_row(&context.rows, context.user)? {
        None => refuse(Reason::UserNotFound, "there is no such user"),
        Some(account) if account.deactivated || account.password_version != password_version => {
            refuse(Reason::WrongPassword, "the password was changed meanwhile: try again")
        }
        Some(account) => Ok(account),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::testing::{World, command, session, world};

    fn change(world: &mut World, version: u64, end_others: u32) -> Envelope {
        let change =
            log::ChangePassword { password_hash: "$argon2id$new".into(), password_version: version, end_others };
        world.by("alice", Kind::ChangePassword(change))
    }

    fn with_devices(devices: &[&str]) -> World {
        let mut world = world(&["alice", "bob"]);
        for device in devices {
            let session = Some(session("alice", device, 0));
            let open =
                log::OpenSession { localpart: "alice".into(), session, password_version: 1, ..Default::default() };
            world.accepted(Envelope { command: command(Kind::OpenSession(open)), ..Envelope::default() });
        }
        world
    }

    fn devices(world: &World) -> Vec<String> {
        world.view().devices("alice").unwrap().into_iter().map(|device| device.device_id).collect()
    }

    #[test]
    fn a_new_password_ends_the_other_sessions_in_parts_and_a_retry_changes_nothing_more() {
        let mut world = with_devices(&["E", "F", "G"]);
        let envelope = change(&mut world, 1, 2);
        let first = world.accepted(envelope.clone());
        assert!(matches!(first.kind, Some(outcome::Kind::SessionsClosed(closed)) if closed.more));
        assert_eq!(devices(&world), ["D", "G"]);
        assert!(world.accepted(envelope).duplicate);
        assert_eq!(devices(&world), ["D", "G"]);
        let close = log::CloseSession { all_devices: true, at_most: 2, keep_own: true, ..Default::default() };
        let close = world.by("alice", Kind::CloseSession(close));
        world.accepted(close);
        assert_eq!(devices(&world), ["D"]);
        assert_eq!(world.view().devices("bob").unwrap().len(), 1);
        let account = world.view().account("alice").unwrap().unwrap();
        assert_eq!((account.password_hash.as_str(), account.password_version), ("$argon2id$new", 2));
    }

    #[test]
    fn other_sessions_can_be_kept() {
        let mut world = with_devices(&["E"]);
        let envelope = change(&mut world, 1, 0);
        world.accepted(envelope);
        assert_eq!(devices(&world), ["D", "E"]);
    }

    #[test]
    fn a_password_that_was_changed_meanwhile_is_not_changed_again() {
        let mut world = with_devices(&[]);
        let envelope = change(&mut world, 1, 0);
        world.accepted(envelope);
        let late = change(&mut world, 1, 0);
        assert_eq!(world.rejected(late), Reason::WrongPassword);
        let empty = log::ChangePassword { password_version: 2, ..Default::default() };
        let empty = world.by("alice", Kind::ChangePassword(empty));
        assert_eq!(world.rejected(empty), Reason::Invalid);
    }
}
