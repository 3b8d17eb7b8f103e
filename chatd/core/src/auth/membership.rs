//! Membership transitions: rule 4 of room version 11's authorization rules.

use super::{AuthDenial, forbidden_change};
use crate::proto::log::Reason;
use crate::proto::log::set_membership::Change;
use crate::proto::store::Levels;
use crate::proto::store::membership::Kind;

/// Facts by which the rules judge a change of membership.
pub(crate) struct MembershipFacts<'a> {
    /// Membership of the sender; [`Kind::Unspecified`] for none.
    pub(crate) sender: Kind,
    /// Membership of the target user; [`Kind::Unspecified`] for none.
    pub(crate) target: Kind,
    /// `true` if sender and target are the same user.
    pub(crate) oneself: bool,
    pub(crate) sender_power: i64,
    pub(crate) target_power: i64,
    pub(crate) levels: &'a Levels,
    /// Ways to enter the room. Read for joins and knocks only; other changes may leave it at the default.
    pub(crate) entrance: EntryRights,
}

/// Message for a user whom these rules alone keep out. It is the same if the room does not exist: ids can be guessed,
/// and only those who may enter should know which of them are rooms.
pub(crate) const BY_INVITATION: &str = "this room is invite-only, or it does not exist; ask a member to invite you";
pub(crate) const NO_KNOCKS: &str = "this room does not accept knocks, or it does not exist";
/// Message for those who know of the room anyway.
const SHUT: &str =
    "this room's version does not know its join rule, which lets nobody in; ask a moderator to change it";

/// Returns the refusal of a change in a room that does not exist.
pub(crate) fn no_such_room(change: Change) -> AuthDenial {
    match change {
        Change::Join => forbidden_change(BY_INVITATION),
        Change::Knock => forbidden_change(NO_KNOCKS),
        _ => AuthDenial { reason: Reason::RoomNotFound, message: "there is no such room".into() },
    }
}

/// Ways in which a user may enter a room, by its `m.room.join_rules`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EntryRights {
    /// `true` if anyone may join.
    pub(crate) open: bool,
    /// `true` if the room is restricted and the user is in one of the rooms that it allows.
    pub(crate) vouched: bool,
    /// `true` if users may knock.
    pub(crate) knock: bool,
    /// `true` if the room's version does not know its join rule: nobody may join, not even by invitation, nor change the
    /// profile as a member.
    pub(crate) shut: bool,
}

/// Returns the membership that the target has after the change.
///
/// # Errors
/// Fails if the rules forbid the change.
pub(crate) fn check_transition(change: Change, facts: &MembershipFacts<'_>) -> Result<Kind, AuthDenial> {
    match change {
        Change::Join => check_join(facts),
        Change::Knock => check_knock(facts),
        Change::Invite => check_invite(facts),
        Change::Leave if facts.oneself => check_leave(facts),
        Change::Leave | Change::Kick => check_kick(facts),
        Change::Ban => check_ban(facts),
        Change::Unban => check_unban(facts),
        Change::Unspecified | Change::Forget => Err(super::invalid_change("the membership change is missing")),
    }
}

fn check_join(facts: &MembershipFacts<'_>) -> Result<Kind, AuthDenial> {
    if !facts.oneself {
        return Err(forbidden_change("you can only join for yourself; invite the other user instead"));
    }
    match facts.target {
        Kind::Ban => Err(forbidden_change("you are banned from this room")),
        Kind::Join | Kind::Invite if facts.entrance.shut => Err(forbidden_change(SHUT)),
        Kind::Join | Kind::Invite => Ok(Kind::Join),
        _ if facts.entrance.open || facts.entrance.vouched => Ok(Kind::Join),
        _ => Err(forbidden_change(BY_INVITATION)),
    }
}

fn check_knock(facts: &MembershipFacts<'_>) -> Result<Kind, AuthDenial> {
    match facts.target {
        _ if !facts.oneself => Err(forbidden_change("you can only knock for yourself")),
        _ if !facts.entrance.knock => Err(forbidden_change(NO_KNOCKS)),
        Kind::Ban => Err(forbidden_change("you are banned from this room")),
        Kind::Join => Err(forbidden_change("you are already in this room")),
        Kind::Invite => Err(forbidden_change("you are already invited; join instead")),
        _ => Ok(Kind::Knock),
    }
}

fn check_invite(facts: &MembershipFacts<'_>) -> Result<Kind, AuthDenial> {
    sender_is_in(facts)?;
    match facts.target {
        Kind::Join => Err(forbidden_change("this user is already in the room")),
        Kind::Ban => Err(forbidden_change("this user is banned; lift the ban first")),
        _ => has_power(facts, facts.levels.invite, "invite").map(|()| Kind::Invite),
    }
}

fn check_leave(facts: &MembershipFacts<'_>) -> Result<Kind, AuthDenial> {
    match facts.target {
        Kind::Join | Kind::Invite | Kind::Knock => Ok(Kind::Leave),
        _ => Err(AuthDenial { reason: Reason::NotMember, message: "you are not in this room".into() }),
    }
}

fn check_kick(facts: &MembershipFacts<'_>) -> Result<Kind, AuthDenial> {
    sender_is_in(facts)?;
    match facts.target {
        Kind::Join | Kind::Invite | Kind::Knock => {
            has_power(facts, facts.levels.kick, "kick")?;
            outranks_target(facts).map(|()| Kind::Leave)
        }
        Kind::Ban => Err(forbidden_change("this user is banned; lift the ban instead")),
        _ => Err(forbidden_change("this user is not in the room")),
    }
}

fn check_ban(facts: &MembershipFacts<'_>) -> Result<Kind, AuthDenial> {
    sender_is_in(facts)?;
    has_power(facts, facts.levels.ban, "ban")?;
    outranks_target(facts).map(|()| Kind::Ban)
}

fn check_unban(facts: &MembershipFacts<'_>) -> Result<Kind, AuthDenial> {
    sender_is_in(facts)?;
    if facts.target != Kind::Ban {
        // Also to those without the power: whether the user is banned is part of the state, which they may read.
        return Err(AuthDenial { reason: Reason::BadState, message: "this user is not banned".into() });
    }
    has_power(facts, facts.levels.ban, "lift bans")?;
    has_power(facts, facts.levels.kick, "lift bans")?;
    outranks_target(facts).map(|()| Kind::Leave)
}

fn sender_is_in(facts: &MembershipFacts<'_>) -> Result<(), AuthDenial> {
    match facts.sender {
        Kind::Join => Ok(()),
        _ => Err(AuthDenial { reason: Reason::NotMember, message: "you are not in this room; join it first".into() }),
    }
}

fn has_power(facts: &MembershipFacts<'_>, needed: i64, what: &str) -> Result<(), AuthDenial> {
    if facts.sender_power >= needed {
        Ok(())
    } else {
        Err(forbidden_change(format!("you need power {needed} to {what} here, but have {}", facts.sender_power)))
    }
}

fn outranks_target(facts: &MembershipFacts<'_>) -> Result<(), AuthDenial> {
    if facts.target_power < facts.sender_power {
        Ok(())
    } else {
        Err(forbidden_change("this user has as much power here as you or more"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Kind; 6] = [Kind::Unspecified, Kind::Join, Kind::Invite, Kind::Leave, Kind::Ban, Kind::Knock];

    fn levels() -> Levels {
        Levels { ban: 50, kick: 50, invite: 10, ..Levels::default() }
    }

    fn allowed(change: Change, sender: Kind, powers: (i64, i64), open: bool) -> Vec<Kind> {
        let levels = levels();
        let facts = |target| MembershipFacts {
            sender,
            target,
            oneself: false,
            sender_power: powers.0,
            target_power: powers.1,
            levels: &levels,
            entrance: EntryRights { open, ..EntryRights::default() },
        };
        ALL.into_iter().filter(|target| check_transition(change, &facts(*target)).is_ok()).collect()
    }

    fn allowed_alone(change: Change, entrance: EntryRights) -> Vec<Kind> {
        let levels = levels();
        let facts = |kind| MembershipFacts {
            sender: kind,
            target: kind,
            oneself: true,
            sender_power: 0,
            target_power: 0,
            levels: &levels,
            entrance,
        };
        ALL.into_iter().filter(|kind| check_transition(change, &facts(*kind)).is_ok()).collect()
    }

    #[test]
    fn a_closed_room_is_entered_by_invitation_only_and_by_the_banned_never() {
        let closed = EntryRights::default();
        let open = EntryRights { open: true, ..closed };
        assert_eq!(allowed_alone(Change::Join, closed), [Kind::Join, Kind::Invite]);
        assert_eq!(
            allowed_alone(Change::Join, open),
            [Kind::Unspecified, Kind::Join, Kind::Invite, Kind::Leave, Kind::Knock]
        );
    }

    #[test]
    fn a_rule_that_the_room_does_not_know_lets_nobody_in_even_by_invitation() {
        let shut = EntryRights { shut: true, ..EntryRights::default() };
        assert!(allowed_alone(Change::Join, shut).is_empty());
        assert_eq!(allowed_alone(Change::Leave, shut), [Kind::Join, Kind::Invite, Kind::Knock]);
    }

    #[test]
    fn a_ban_that_does_not_exist_cannot_be_lifted_whatever_the_power() {
        let levels = levels();
        for target in ALL.into_iter().filter(|target| *target != Kind::Ban) {
            let facts = MembershipFacts {
                sender: Kind::Join,
                target,
                oneself: false,
                sender_power: 100,
                target_power: 0,
                levels: &levels,
                entrance: EntryRights::default(),
            };
            let denied = check_transition(Change::Unban, &facts).unwrap_err();
            assert_eq!(denied.reason, Reason::BadState, "{target:?}");
        }
    }

    #[test]
    fn one_knocks_from_outside_where_knocking_is_open() {
        assert!(allowed_alone(Change::Knock, EntryRights::default()).is_empty());
        let knock = EntryRights { knock: true, ..EntryRights::default() };
        assert_eq!(allowed_alone(Change::Knock, knock), [Kind::Unspecified, Kind::Leave, Kind::Knock]);
    }

    #[test]
    fn one_leaves_what_one_is_in_or_called_to() {
        assert_eq!(allowed_alone(Change::Leave, EntryRights::default()), [Kind::Join, Kind::Invite, Kind::Knock]);
    }

    #[test]
    fn inviting_needs_membership_and_power() {
        assert_eq!(
            allowed(Change::Invite, Kind::Join, (10, 0), false),
            [Kind::Unspecified, Kind::Invite, Kind::Leave, Kind::Knock]
        );
        assert!(allowed(Change::Invite, Kind::Join, (9, 0), true).is_empty());
        assert!(allowed(Change::Invite, Kind::Invite, (100, 0), true).is_empty());
    }

    #[test]
    fn kicking_and_banning_need_more_power_than_the_target_has() {
        assert_eq!(allowed(Change::Kick, Kind::Join, (50, 49), false), [Kind::Join, Kind::Invite, Kind::Knock]);
        assert!(allowed(Change::Kick, Kind::Join, (50, 50), false).is_empty());
        assert!(allowed(Change::Kick, Kind::Join, (49, 0), false).is_empty());
        assert_eq!(allowed(Change::Ban, Kind::Join, (50, 0), false), ALL);
        assert_eq!(allowed(Change::Unban, Kind::Join, (50, 0), false), [Kind::Ban]);
    }
}
