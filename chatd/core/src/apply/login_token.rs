//! Login tokens: a session hands one out, and whoever has it logs in to the account once, without the password.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::device::remove_token;
use super::session::{self, TokenOwner};
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::proto::store::token::Use;
use crate::table::{self, Table, key};
use bytes::Bytes;

/// Keeps a login token of the caller's session, in place of an earlier one: each device has at most one.
pub(super) fn apply_issue_login_token(
    context: &mut ApplyContext<'_>,
    command: &log::IssueLoginToken,
) -> ApplyResult<CommandAnswer> {
    if command.lifetime_ms == 0 {
        return refuse(Reason::Invalid, "a login token must expire");
    }
    session::check_fresh(context, &command.token_hash)?;
    let device = context.session()?;
    remove_token(context, &device.login_token_hash);
    let owner = TokenOwner { localpart: context.user, device_id: context.device_id };
    session::put_token(context, owner, &command.token_hash, Use::Login, command.lifetime_ms);
    let row = store::Device { login_token_hash: command.token_hash.clone(), ..device };
    context.rows.put(Table::Device, key::device_key(context.user, context.device_id), table::encode_value(&row));
    Ok(CommandAnswer::done())
}

/// Uses up a login token of an account.
pub(super) fn redeem_login_token(context: &mut ApplyContext<'_>, localpart: &str, hash: &[u8]) -> ApplyResult<()> {
    let token = table::fetch_row::<store::Token>(&context.rows, Table::Token, hash)?;
    let token = token.filter(|token| token.r#use() == Use::Login && token.localpart == localpart);
    let Some(token) = token.filter(|token| token.expires_ms > context.time_ms) else {
        return refuse(Reason::WrongPassword, "the login token was used already or has expired: ask for another one");
    };
    let device_key = key::device_key(localpart, &token.device_id);
    if let Some(device) = table::fetch_row::<store::Device>(&context.rows, Table::Device, &device_key)? {
        let row = store::Device { login_token_hash: Bytes::new(), ..device };
        context.rows.put(Table::Device, device_key, table::encode_value(&row));
    }
    remove_token(context, hash);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::query::SessionState;
    use crate::testing::{World, command, session, world};

    fn hash(name: &str) -> Bytes {
        format!("{name:.>32}").into()
    }

    fn issue(world: &mut World, name: &str) {
        let issue = log::IssueLoginToken { token_hash: hash(name), lifetime_ms: 100 };
        let issue = world.by("alice", Kind::IssueLoginToken(issue));
        world.accepted(issue);
    }

    fn login(user: &str, device: &str, token: &str) -> Envelope {
        let open = log::OpenSession {
            localpart: user.into(),
            session: Some(session(user, device, 0)),
            password_version: 0,
            login_token_hash: hash(token),
        };
        Envelope { command: command(Kind::OpenSession(open)), ..Envelope::default() }
    }

    #[test]
    fn a_login_token_opens_one_session_of_its_account() {
        let mut world = world(&["alice", "bob"]);
        issue(&mut world, "one");
        assert_eq!(world.view().session(&hash("one"), world.time_ms).unwrap(), SessionState::Unknown);
        assert_eq!(world.view().login_token_owner(&hash("one")).unwrap().as_deref(), Some("alice"));
        assert_eq!(world.rejected(login("bob", "E", "one")), Reason::WrongPassword);
        let first = world.accepted(login("alice", "E", "one"));
        assert_eq!(world.accepted(login("alice", "E", "one")), log::Outcome { duplicate: true, ..first });
        assert_eq!(world.rejected(login("alice", "F", "one")), Reason::WrongPassword);
        assert_eq!(world.view().devices("alice").unwrap().len(), 2);
    }

    #[test]
    fn a_login_token_ends_with_time_its_successor_or_its_session() {
        let mut world = world(&["alice"]);
        issue(&mut world, "one");
        issue(&mut world, "two");
        assert_eq!(world.rejected(login("alice", "E", "one")), Reason::WrongPassword);
        world.time_ms += 100;
        assert_eq!(world.rejected(login("alice", "E", "two")), Reason::WrongPassword);
        issue(&mut world, "three");
        let close = world.by("alice", Kind::CloseSession(log::CloseSession::default()));
        world.accepted(close);
        assert_eq!(world.rejected(login("alice", "E", "three")), Reason::WrongPassword);
        let forever = log::IssueLoginToken { token_hash: hash("four"), lifetime_ms: 0 };
        let mut other = crate::testing::world(&["alice"]);
        let forever = other.by("alice", Kind::IssueLoginToken(forever));
        assert_eq!(other.rejected(forever), Reason::Invalid);
    }
}
