//! Registration tokens: each lets people register, as often and as long as an administrator has said.

use super::super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead as _, key};

/// Maximum number of tokens: all of them are counted when one is added, and a thousand are more than anybody hands out.
const MAX_TOKENS: usize = 1000;

/// Maximum length of a token (Matrix specification, "Token-authenticated registration").
const MAX_TOKEN_BYTES: usize = 64;

/// Creates a token, or changes its limits.
pub(super) fn put_token(context: &mut ApplyContext<'_>, put: &log::PutRegistrationToken) -> ApplyResult<CommandAnswer> {
    let is_known_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    if put.token.is_empty() || put.token.len() > MAX_TOKEN_BYTES || !put.token.bytes().all(is_known_letter) {
        let message = format!("a registration token has 1 to {MAX_TOKEN_BYTES} letters of A-Z, a-z, 0-9 and ._~-");
        return refuse(Reason::Invalid, message);
    }
    let before = rows::registration_token_row(&context.rows, &put.token)?;
    if before.is_none() && count_tokens(context)? >= MAX_TOKENS {
        let message = format!("there are {MAX_TOKENS} registration tokens already: delete some first");
        return refuse(Reason::QuotaReached, message);
    }
    let before =
        before.unwrap_or_else(|| store::RegistrationToken { created_ms: context.time_ms, ..Default::default() });
    let row = store::RegistrationToken { uses_allowed: put.uses_allowed, expires_ms: put.expires_ms, ..before };
    context.rows.put(Table::Meta, key::registration_token(&put.token), table::encode_value(&row));
    Ok(CommandAnswer::done())
}

/// Removes a token.
pub(super) fn delete_token(context: &mut ApplyContext<'_>, delete: &log::DeleteRegistrationToken) -> CommandAnswer {
    context.rows.delete(Table::Meta, key::registration_token(&delete.token));
    CommandAnswer::done()
}

/// Counts one use of a token; refuses the registration if the token cannot be used any more.
pub(in super::super) fn use_token(context: &mut ApplyContext<'_>, token: &str) -> ApplyResult<()> {
    match rows::registration_token_row(&context.rows, token)? {
        Some(row) if rows::is_usable_token(&row, context.time_ms) => {
            let row = store::RegistrationToken { used: row.used.saturating_add(1), ..row };
            context.rows.put(Table::Meta, key::registration_token(token), table::encode_value(&row));
            Ok(())
        }
        _ => refuse(Reason::Forbidden, "the registration token has expired or was used as often as it may be"),
    }
}

fn count_tokens(context: &ApplyContext<'_>) -> ApplyResult<usize> {
    let mut count = 0;
    context.rows.scan(&ScanRange::with_prefix(Table::Meta, key::REGISTRATION_TOKENS), &mut |_| {
        count += 1;
        Ok(if count < MAX_TOKENS { ScanControl::More } else { ScanControl::Stop })
    })?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::administer::Action;
    use crate::proto::log::command::Kind;
    use crate::testing::{World, command, register, world};

    fn act(action: Action) -> Envelope {
        let act = log::Administer { configured: false, action: Some(action) };
        Envelope { command: command(Kind::Administer(act)), ..Envelope::default() }
    }

    fn put(token: &str, uses_allowed: Option<u64>, expires_ms: u64) -> Envelope {
        act(Action::PutRegistrationToken(log::PutRegistrationToken { token: token.into(), uses_allowed, expires_ms }))
    }

    fn with_token(user: &str, token: &str) -> Envelope {
        let mut envelope = register(user, "D");
        if let Some(log::Command { kind: Some(Kind::Register(register)) }) = &mut envelope.command {
            register.registration_token = token.into();
        }
        envelope
    }

    fn used(world: &World, token: &str) -> u64 {
        world.view().registration_token(token).unwrap().unwrap().used
    }

    #[test]
    fn a_token_is_used_as_often_as_it_may_be_and_a_retry_or_a_taken_name_uses_nothing_up() {
        let mut world = world(&["taken"]);
        world.accepted(put("abc", Some(2), 0));
        assert!(world.accepted(with_token("one", "abc")).kind.is_some());
        assert!(world.accepted(with_token("one", "abc")).duplicate);
        let mut taken = with_token("taken", "abc");
        if let Some(log::Command { kind: Some(Kind::Register(register)) }) = &mut taken.command {
            register.password_hash = "$argon2id$other".into();
        }
        assert_eq!(world.rejected(taken), Reason::UserExists);
        assert_eq!(used(&world, "abc"), 1);
        world.accepted(with_token("two", "abc"));
        assert_eq!(world.rejected(with_token("three", "abc")), Reason::Forbidden);
        assert!(world.view().account("three").unwrap().is_none());
        world.accepted(put("abc", None, 0));
        world.accepted(with_token("three", "abc"));
        assert_eq!(used(&world, "abc"), 3, "the count goes on");
    }

    #[test]
    fn a_token_that_has_expired_or_is_gone_is_refused() {
        let mut world = world(&[]);
        let now = world.time_ms;
        world.accepted(put("late", None, now + 30));
        world.accepted(with_token("one", "late"));
        world.time_ms += 100;
        assert_eq!(world.rejected(with_token("two", "late")), Reason::Forbidden);
        assert!(!world.view().is_registration_token("late").unwrap());
        world.accepted(put("late", None, 0));
        assert!(world.view().is_registration_token("late").unwrap());
        let delete = || act(Action::DeleteRegistrationToken(log::DeleteRegistrationToken { token: "late".into() }));
        world.accepted(delete());
        world.accepted(delete());
        assert_eq!(world.rejected(with_token("two", "late")), Reason::Forbidden);
        assert!(world.view().registration_token("late").unwrap().is_none());
    }

    #[test]
    fn tokens_have_few_letters_and_are_few() {
        let mut world = world(&[]);
        for bad in ["", "a b", "a/b", "\u{e9}", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
            assert_eq!(world.rejected(put(bad, None, 0)), Reason::Invalid, "{bad}");
        }
        let all = (0..MAX_TOKENS).map(|n| put(&format!("t{n:04}"), None, 0)).collect();
        world.apply(all);
        assert_eq!(world.rejected(put("one-more", None, 0)), Reason::QuotaReached);
        world.accepted(put("t0000", Some(1), 0));
        let page = world.view().registration_tokens(Some("t0000"), 2).unwrap();
        let names: Vec<_> = page.iter().map(|token| token.token.as_str()).collect();
        assert_eq!(names, ["t0001", "t0002"]);
    }
}
