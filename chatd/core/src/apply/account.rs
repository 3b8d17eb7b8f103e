//! Creation of accounts and their first session.

use super::administer::registration;
use super::context::{ApplyContext, ApplyResult, CommandAnswer, position_to_proto, refuse};
use super::{dialogue, session};
use crate::id;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::rows;
use crate::table::{self, Table, key};

/// Creates an account. A repeated password hash means a repeated request, because its salt is random.
pub(super) fn apply_register(context: &mut ApplyContext<'_>, command: &log::Register) -> ApplyResult<CommandAnswer> {
    // `user_localpart` also accepts a full user id, which is not a user name.
    let localpart =
        id::user_localpart(&command.localpart, context.server_name).filter(|local| *local == command.localpart);
    let Some(localpart) = localpart else {
        return refuse(
            Reason::Invalid,
            "a user name may contain only a-z, 0-9 and . _ = - / +, and must not be too long",
        );
    };
    if command.password_hash.is_empty() {
        return refuse(Reason::Invalid, "an account needs a password hash");
    }
    if let Some(known) = rows::account_row(&context.rows, localpart)? {
        return answer_known_account(context, command, localpart, &known);
    }
    dialogue::note_dialogue(context, command)?;
    if !command.registration_token.is_empty() {
        registration::use_token(context, &command.registration_token)?;
    }
    let row = store::Account {
        password_hash: command.password_hash.clone(),
        password_version: 1,
        created_ms: context.time_ms,
        created_at: table::position_field(context.first),
        administrator: command.administrator,
        ..store::Account::default()
    };
    context.rows.put(Table::Account, key::account_key(localpart), table::encode_value(&row));
    context.touched.user(localpart);
    match &command.session {
        Some(new) => session::put_session(context, localpart, new).map(|opened| CommandAnswer::New(opened, None)),
        None => Ok(CommandAnswer::done()),
    }
}

fn answer_known_account(
    context: &ApplyContext<'_>,
    command: &log::Register,
    localpart: &str,
    known: &store::Account,
) -> ApplyResult<CommandAnswer> {
    if known.password_hash == command.password_hash {
        let at = table::decode_position(Table::Account, &known.created_at)?.unwrap_or_default();
        match &command.session {
            None => return Ok(CommandAnswer::again(outcome::Kind::Done(log::Done {}), at)),
            Some(new) => {
                if let Some((opened, _)) = session::opened_before(context, localpart, new)? {
                    return Ok(CommandAnswer::Again(log::Outcome {
                        position: Some(position_to_proto(at)),
                        duplicate: true,
                        kind: Some(opened),
                    }));
                }
            }
        }
    }
    refuse(Reason::UserExists, format!("the user name {localpart} is taken"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::command::Kind;
    use crate::testing::{register, world};

    #[test]
    fn a_name_is_taken_once_but_a_retry_is_answered_again() {
        let mut world = world(&[]);
        let first = world.accepted(register("alice", "D"));
        let again = world.accepted(register("alice", "D"));
        assert_eq!(again, log::Outcome { duplicate: true, ..first });
        let mut other = register("alice", "E");
        if let Some(log::Command { kind: Some(Kind::Register(register)) }) = &mut other.command {
            register.password_hash = "$argon2id$other".into();
        }
        assert_eq!(world.rejected(other), Reason::UserExists);
    }

    #[test]
    fn a_name_outside_the_grammar_is_refused() {
        let mut world = world(&[]);
        for bad in ["", "Alice", "a b", "@alice:a.org", "a\0"] {
            assert_eq!(world.rejected(register(bad, "D")), Reason::Invalid, "{bad:?}");
        }
        for device in ["", "a\0b"] {
            assert_eq!(world.rejected(register("alice", device)), Reason::Invalid, "{device:?}");
        }
    }
}
