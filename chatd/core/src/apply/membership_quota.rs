//! Limits on the rooms that an account may be in, and on the unanswered invitations that it may have.
//!
//! The limits come with the command ([`log::Quotas`](crate::proto::log::Quotas)); rows are counted against them.
//! Changes of membership are rare compared with messages, and pay for the count.

use super::context::{ApplyContext, ApplyResult, refuse};
use crate::proto::log::Reason;
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead as _, key};

/// Maximum number of memberships examined, including those of rooms left long ago: some ten milliseconds of apply. An
/// account beyond it has been in as many rooms as the largest bots, and may not enter any others.
const MAX_LOOKED_AT: usize = 65_536;

/// Refuses a membership that would exceed the account's limit.
pub(super) fn check_membership_quota(
    context: &ApplyContext<'_>,
    target: &str,
    old: Kind,
    new: Kind,
) -> ApplyResult<()> {
    let most = match new {
        // A new profile, for example, adds no membership.
        _ if old == new => 0,
        Kind::Join => context.quotas.joined_rooms,
        Kind::Invite => context.quotas.pending_invites,
        _ => 0,
    };
    let Some(most) = usize::try_from(most).ok().filter(|most| *most > 0) else { return Ok(()) };
    if !has_reached_limit(context, target, new, most)? {
        return Ok(());
    }
    let message = match new {
        Kind::Join => format!("you are in {most} rooms, the most that an account may be in: leave one first"),
        _ => format!("{target} has {most} unanswered invitations and cannot be invited until some are answered"),
    };
    refuse(Reason::QuotaReached, message)
}

/// Returns `true` if the account has at least `most` memberships of a kind, or more memberships than are examined.
fn has_reached_limit(context: &ApplyContext<'_>, localpart: &str, kind: Kind, most: usize) -> ApplyResult<bool> {
    let from = key::devices_of(localpart);
    let mut found = 0;
    let mut looked_at = 0;
    context.rows.scan(&ScanRange::with_prefix(Table::Membership, &from), &mut |(_, value)| {
        looked_at += 1;
        let row: store::Membership = table::decode_value(Table::Membership, value)?;
        found += usize::from(row.kind() == kind);
        Ok(if found < most && looked_at < MAX_LOOKED_AT { ScanControl::More } else { ScanControl::Stop })
    })?;
    Ok(found >= most || looked_at >= MAX_LOOKED_AT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::set_membership::Change;
    use crate::proto::log::{self, Envelope};
    use crate::testing::{World, world};

    fn bounded(mut envelope: Envelope) -> Envelope {
        envelope.quotas = Some(log::Quotas { joined_rooms: 2, pending_invites: 1 });
        envelope
    }

    fn moved(world: &mut World, user: &str, room: &str, change: Change, target: &str) -> Envelope {
        bounded(world.membership(user, room, change, target))
    }

    #[test]
    fn an_account_is_in_so_many_rooms_and_leaves_one_for_another() {
        let mut world = world(&["alice", "bob"]);
        let rooms: Vec<_> = (0..3).map(|_| world.public_room("bob").1).collect();
        for room in &rooms[..2] {
            let join = moved(&mut world, "alice", room, Change::Join, "");
            world.accepted(join);
        }
        let third = moved(&mut world, "alice", &rooms[2], Change::Join, "");
        assert_eq!(world.rejected(third), Reason::QuotaReached);
        let create = bounded(world.by("alice", log::command::Kind::CreateRoom(log::CreateRoom::default())));
        assert_eq!(world.rejected(create), Reason::QuotaReached);
        let leave = moved(&mut world, "alice", &rooms[0], Change::Leave, "");
        world.accepted(leave);
        let third = moved(&mut world, "alice", &rooms[2], Change::Join, "");
        world.accepted(third);
    }

    #[test]
    fn an_account_is_not_flooded_with_invitations_and_those_without_a_bound_are_as_before() {
        let mut world = world(&["alice", "bob"]);
        let rooms: Vec<_> = (0..3).map(|_| world.public_room("bob").1).collect();
        let first = moved(&mut world, "bob", &rooms[0], Change::Invite, "alice");
        world.accepted(first);
        let content = r#"{"membership":"invite"}"#;
        let by_event = world.event("bob", &rooms[1], "m.room.member", Some("@alice:a.org"), content);
        assert_eq!(world.rejected(bounded(by_event)), Reason::QuotaReached);
        let accept = moved(&mut world, "alice", &rooms[0], Change::Join, "");
        world.accepted(accept);
        let second = moved(&mut world, "bob", &rooms[1], Change::Invite, "alice");
        world.accepted(second);
        world.moved("bob", &rooms[2], Change::Invite, "alice");
    }
}
