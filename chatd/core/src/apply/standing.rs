//! Standing of accounts: whether an administrator has locked or suspended the caller's, and what that withholds.
//!
//! A locked account can do nothing but end its sessions (Matrix specification, "Account locking"). A suspended one still
//! reads, leaves rooms, takes back what it wrote and looks after its devices, but neither writes nor enters rooms
//! ("Account suspension").

use super::context::{ApplyContext, ApplyResult, refuse};
use crate::id;
use crate::proto::log::command::Kind;
use crate::proto::log::set_membership::Change;
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::rows;
use crate::table::ReadError;

/// Returns the caller's standing; refuses the command if the account is locked, unless it ends sessions.
pub(super) fn unlocked_standing(context: &ApplyContext<'_>, kind: &Kind) -> ApplyResult<store::Standing> {
    let standing = rows::standing_row(&context.rows, context.user)?;
    if standing.locked && !matches!(kind, Kind::CloseSession(_)) {
        return refuse_locked();
    }
    Ok(standing)
}

/// Refuses a command about a session whose account is locked.
pub(super) fn check_not_locked(context: &ApplyContext<'_>, localpart: &str) -> ApplyResult<()> {
    if rows::standing_row(&context.rows, localpart)?.locked { refuse_locked() } else { Ok(()) }
}

/// Refuses an act of an administrator whose account is locked or suspended.
pub(super) fn check_may_administer(context: &ApplyContext<'_>, localpart: &str) -> ApplyResult<()> {
    let standing = rows::standing_row(&context.rows, localpart)?;
    if standing.locked {
        return refuse_locked();
    }
    if standing.suspended { refuse_suspended() } else { Ok(()) }
}

fn refuse_locked<T>() -> ApplyResult<T> {
    refuse(Reason::UserLocked, "an administrator has locked this account: ask one to unlock it")
}

/// Refuses what a suspended account may not do.
pub(super) fn check_not_suspended(
    context: &ApplyContext<'_>,
    standing: store::Standing,
    kind: &Kind,
) -> ApplyResult<()> {
    if standing.suspended && is_withheld(context, kind)? { refuse_suspended() } else { Ok(()) }
}

fn refuse_suspended<T>() -> ApplyResult<T> {
    let message = "an administrator has suspended this account: it can read and leave, but not write or join";
    refuse(Reason::UserSuspended, message)
}

/// Returns `true` for what others see of the caller. Whatever else there is, the owner of a suspended account may do.
fn is_withheld(context: &ApplyContext<'_>, kind: &Kind) -> Result<bool, ReadError> {
    Ok(match kind {
        Kind::SendEvent(_)
        | Kind::CreateRoom(_)
        | Kind::SetProfile(_)
        | Kind::SetProfileField(_)
        | Kind::SetAlias(_)
        | Kind::SetListed(_)
        | Kind::UpgradeRoom(_) => true,
        Kind::SetMembership(command) => !is_departure(context, command),
        Kind::Redact(command) => !is_own_event(context, command)?,
        _ => false,
    })
}

/// Returns `true` if the caller leaves or forgets a room, or rejects an invitation.
fn is_departure(context: &ApplyContext<'_>, command: &log::SetMembership) -> bool {
    let oneself = command.target.is_empty()
        || id::user_localpart(&command.target, context.server_name).is_some_and(|target| target == context.user);
    oneself && matches!(command.change(), Change::Leave | Change::Forget)
}

/// Returns `true` if the command takes back an event of the caller.
fn is_own_event(context: &ApplyContext<'_>, command: &log::Redact) -> Result<bool, ReadError> {
    let Some(at) = id::parse_event_id(&command.event_id) else { return Ok(false) };
    let Some(room) = rows::room_by_id(&context.rows, &command.room_id, context.server_name)? else {
        return Ok(false);
    };
    let event = rows::event_row(&context.rows, room, at)?;
    Ok(event.is_some_and(|event| event.sender == context.user_id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::testing::{World, command, register, session, world};

    fn set(world: &mut World, localpart: &str, locked: Option<bool>, suspended: Option<bool>) {
        let set = log::SetStanding { localpart: localpart.into(), locked, suspended };
        let act = log::Administer { configured: false, action: Some(log::administer::Action::SetStanding(set)) };
        world.accepted(Envelope { command: command(Kind::Administer(act)), ..Envelope::default() });
    }

    #[test]
    fn a_locked_account_ends_its_sessions_and_nothing_else() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        set(&mut world, "alice", Some(true), None);
        let event = world.event("alice", &room, "t", None, "{}");
        assert_eq!(world.rejected(event.clone()), Reason::UserLocked);
        let leave = world.membership("alice", &room, Change::Leave, "");
        assert_eq!(world.rejected(leave), Reason::UserLocked);
        let open = log::OpenSession {
            localpart: "alice".into(),
            session: Some(session("alice", "E", 0)),
            password_version: 1,
            ..Default::default()
        };
        let open = Envelope { command: command(Kind::OpenSession(open)), ..Envelope::default() };
        assert_eq!(world.rejected(open.clone()), Reason::UserLocked);
        set(&mut world, "alice", Some(false), None);
        world.accepted(event);
        world.accepted(open);
        set(&mut world, "alice", Some(true), None);
        let close = world.by("alice", Kind::CloseSession(log::CloseSession::default()));
        world.accepted(close);
        assert_eq!(world.view().devices("alice").unwrap().len(), 1);
    }

    #[test]
    fn a_suspended_account_reads_leaves_and_takes_back_but_neither_writes_nor_joins() {
        let mut world = world(&["alice", "bob"]);
        let (_, room) = world.public_room("alice");
        let (_, other) = world.public_room("bob");
        world.moved("bob", &room, Change::Join, "");
        let mine = crate::id::event_id(world.say("alice", &room, "mine"));
        let theirs = crate::id::event_id(world.say("bob", &room, "theirs"));
        let sent = world.event("alice", &room, "t", None, "{}");
        world.accepted(sent.clone());
        set(&mut world, "alice", None, Some(true));
        assert!(world.accepted(sent).duplicate, "what was accepted before is still answered");
        let redact = |world: &mut World, event: &str| {
            let redact = log::Redact { room_id: room.clone(), event_id: event.into(), reason: String::new() };
            world.by("alice", Kind::Redact(redact))
        };
        let named = log::SetProfile { display_name: Some("A".into()), ..Default::default() };
        for withheld in [
            world.event("alice", &room, "t", None, "{}"),
            world.by("alice", Kind::CreateRoom(log::CreateRoom::default())),
            world.membership("alice", &other, Change::Join, ""),
            world.membership("alice", &room, Change::Kick, "bob"),
            world.by("alice", Kind::SetProfile(named)),
            redact(&mut world, &theirs),
        ] {
            assert_eq!(world.rejected(withheld.clone()), Reason::UserSuspended, "{withheld:?}");
        }
        let own = redact(&mut world, &mine);
        world.accepted(own);
        world.moved("alice", &room, Change::Leave, "");
        world.say("bob", &room, "others write as before");
        set(&mut world, "alice", None, Some(false));
        world.moved("alice", &other, Change::Join, "");
        let key = crate::table::key::standing_key("alice");
        assert!(!world.rows.rows().any(|(_, row, _)| row == key.as_slice()), "no row is left");
        world.accepted(register("carol", "D"));
    }
}
