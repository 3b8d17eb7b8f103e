//! Display name and avatar, which the member events of joined rooms repeat.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::member;
use crate::id::RoomNumber;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead, key};

/// Maximum length in bytes of a display name or avatar URL.
const MAX_BYTES: usize = 1024;

/// Maximum number of joined rooms whose member event is renewed at once by a command without `in_parts`.
const MAX_ROOMS: usize = 1000;
/// Limits on the rooms that one command renews, and on the memberships that it examines for that: some milliseconds of
/// apply.
const PART_ROOMS: usize = 32;
const PART_LOOKED_AT: usize = 1024;

pub(super) fn apply_set_profile(
    context: &mut ApplyContext<'_>,
    command: &log::SetProfile,
) -> ApplyResult<CommandAnswer> {
    let fits = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= MAX_BYTES);
    if !fits(&command.display_name) || !fits(&command.avatar_url) {
        return refuse(Reason::TooLarge, format!("display name and avatar URL must have at most {MAX_BYTES} bytes"));
    }
    let old = rows::account_row(&context.rows, context.user)?.unwrap_or_default();
    let new = store::Account {
        display_name: command.display_name.clone().unwrap_or_else(|| old.display_name.clone()),
        avatar_url: command.avatar_url.clone().unwrap_or_else(|| old.avatar_url.clone()),
        ..old.clone()
    };
    if new != old {
        context.rows.put(Table::Account, key::account_key(context.user), table::encode_value(&new));
        context.touched.user(context.user);
        if command.in_parts {
            // Begin at the first room even if an earlier change is unfinished: its remaining rooms get this profile.
            renew_part(context, RoomNumber(0))?;
        } else {
            let looked_at = RenewalBounds { rooms: MAX_ROOMS, looked_at: usize::MAX };
            for number in joined_rooms(context, RoomNumber(0), &looked_at)?.0 {
                member::renew_member_event(context, number)?;
            }
        }
    }
    Ok(CommandAnswer::done())
}

/// Continues with what [`apply_set_profile`] left over. The profile is the current one: rooms joined in the meantime have it
/// already.
pub(super) fn apply_renew_members<'a>(
    context: &mut ApplyContext<'a>,
    command: &'a log::RenewMembers,
) -> ApplyResult<CommandAnswer> {
    if !context.user.is_empty() {
        return refuse(Reason::Invalid, "this command has no caller");
    }
    let left_over =
        table::fetch_row::<store::Renewal>(&context.rows, Table::Meta, &key::renewal_key(&command.localpart))?;
    let (rooms, more) = match left_over {
        None => (0, false),
        Some(row) => {
            // The cluster sends the command, but the member events are the user's own.
            context.user = &command.localpart;
            renew_part(context, RoomNumber(row.next_room))?
        }
    };
    Ok(CommandAnswer::New(outcome::Kind::MembersRenewed(log::MembersRenewed { rooms, more }), None))
}

/// Renews the caller's member events of some rooms, and records where to continue. Returns the number of rooms, and
/// `true` if there are more.
fn renew_part(context: &mut ApplyContext<'_>, from: RoomNumber) -> ApplyResult<(u64, bool)> {
    let bounds = RenewalBounds { rooms: PART_ROOMS, looked_at: PART_LOOKED_AT };
    let (rooms, next) = joined_rooms(context, from, &bounds)?;
    for number in &rooms {
        member::renew_member_event(context, *number)?;
    }
    let key = key::renewal_key(context.user);
    match next {
        Some(next) => context.rows.put(Table::Meta, key, table::encode_value(&store::Renewal { next_room: next.0 })),
        None => context.rows.delete(Table::Meta, key),
    }
    Ok((u64::try_from(rooms.len()).unwrap_or(u64::MAX), next.is_some()))
}

struct RenewalBounds {
    rooms: usize,
    looked_at: usize,
}

/// Returns the rooms that the caller has joined, beginning at a number, and the number to continue at.
fn joined_rooms(
    context: &ApplyContext<'_>,
    from: RoomNumber,
    bounds: &RenewalBounds,
) -> ApplyResult<(Vec<RoomNumber>, Option<RoomNumber>)> {
    let prefix = key::devices_of(context.user);
    let from = key::membership_key(context.user, from);
    let mut out = Vec::new();
    let mut looked_at = 0;
    let mut next = None;
    let end = key::after_prefix(&prefix);
    context.rows.scan(&ScanRange::between(Table::Membership, &from, &end), &mut |(key, value)| {
        let room = rows::room_in(Table::Membership, key.get(prefix.len()..).unwrap_or_default())?;
        if out.len() >= bounds.rooms || looked_at >= bounds.looked_at {
            next = Some(room);
            return Ok(ScanControl::Stop);
        }
        looked_at += 1;
        let row: store::Membership = table::decode_value(Table::Membership, value)?;
        if row.kind() == Kind::Join {
            out.push(room);
        }
        Ok(ScanControl::More)
    })?;
    Ok((out, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::proto::log::set_membership::Change;
    use crate::testing::{World, command as command_of, world};

    fn name(world: &mut World, name: &str) -> Envelope {
        world.by("alice", Kind::SetProfile(log::SetProfile { display_name: Some(name.into()), ..Default::default() }))
    }

    #[test]
    fn a_new_name_shows_in_the_rooms_one_is_in_and_does_not_begin_a_new_stay() {
        let mut world = world(&["alice", "bob"]);
        let (one, _) = world.public_room("alice");
        let (left, left_id) = world.public_room("bob");
        world.moved("alice", &left_id, Change::Join, "");
        world.moved("alice", &left_id, Change::Leave, "");
        let since = world.view().rooms_of("alice").unwrap()[0].joined_since;
        let envelope = name(&mut world, "Alice");
        world.accepted(envelope);
        let shown = |room| {
            world
                .view()
                .member_page_for("alice", room, None, 10)
                .unwrap()
                .members
                .into_iter()
                .map(|m| m.display_name)
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(one), ["Alice"]);
        assert_eq!(shown(left), [""]);
        assert_eq!(world.view().rooms_of("alice").unwrap()[0].joined_since, since);
        assert_eq!(world.view().account("alice").unwrap().unwrap().display_name, "Alice");
    }

    #[test]
    fn the_same_name_again_makes_no_events() {
        let mut world = world(&["alice"]);
        world.public_room("alice");
        let envelope = name(&mut world, "Alice");
        assert_eq!(world.apply(vec![envelope]).remove(0).touched.rooms.len(), 1);
        let envelope = name(&mut world, "Alice");
        assert_eq!(world.apply(vec![envelope]).remove(0).touched.rooms.len(), 0);
    }

    fn in_parts(world: &mut World, name: &str) -> Envelope {
        let set = log::SetProfile { display_name: Some(name.into()), avatar_url: None, in_parts: true };
        world.by("alice", Kind::SetProfile(set))
    }

    fn renewed(world: &mut World) -> log::MembersRenewed {
        let command = Kind::RenewMembers(log::RenewMembers { localpart: "alice".into() });
        let outcome = world.accepted(Envelope { command: command_of(command), ..Envelope::default() });
        match outcome.kind {
            Some(outcome::Kind::MembersRenewed(renewed)) => renewed,
            other => panic!("{other:?}"),
        }
    }

    fn names(world: &World) -> Vec<String> {
        let rooms = world.view().rooms_of("alice").unwrap();
        let of = |room| world.view().member_page_for("alice", room, None, 10).unwrap().members.remove(0).display_name;
        rooms.into_iter().map(|membership| of(membership.room)).collect()
    }

    #[test]
    fn many_rooms_show_a_new_profile_part_by_part_in_order_and_a_join_meanwhile_shows_it_at_once() {
        let mut world = world(&["alice"]);
        let count = PART_ROOMS * 2 + 1;
        (0..count).for_each(|_| drop(world.public_room("alice")));
        let first = in_parts(&mut world, "One");
        let touched = world.apply(vec![first]).remove(0).touched.rooms.len();
        assert_eq!(touched, PART_ROOMS, "one command stays bounded");
        assert_eq!(world.view().unfinished_renewals(10).unwrap(), ["alice"]);
        // Another change before the first one is finished starts again, with the latest profile.
        let second = in_parts(&mut world, "Two");
        world.accepted(second);
        world.public_room("alice");
        assert_eq!(renewed(&mut world), log::MembersRenewed { rooms: PART_ROOMS as u64, more: true });
        assert_eq!(names(&world).iter().filter(|name| *name == "Two").count(), PART_ROOMS * 2 + 1);
        assert_eq!(names(&world)[PART_ROOMS * 2], "", "the last of the old rooms is still to come");
        assert_eq!(renewed(&mut world), log::MembersRenewed { rooms: 2, more: false });
        assert!(names(&world).iter().all(|name| name == "Two"));
        assert_eq!(renewed(&mut world), log::MembersRenewed { rooms: 0, more: false }, "a repetition does nothing");
        assert!(world.view().unfinished_renewals(10).unwrap().is_empty());
    }

    #[test]
    fn a_room_that_was_left_meanwhile_is_passed_over_and_people_may_not_renew() {
        let mut world = world(&["alice"]);
        let rooms: Vec<_> = (0..=PART_ROOMS).map(|_| world.public_room("alice").1).collect();
        let envelope = in_parts(&mut world, "One");
        world.accepted(envelope);
        world.moved("alice", rooms.last().unwrap(), Change::Leave, "");
        assert_eq!(renewed(&mut world), log::MembersRenewed { rooms: 0, more: false });
        let by_user = world.by("alice", Kind::RenewMembers(log::RenewMembers { localpart: "alice".into() }));
        assert_eq!(world.rejected(by_user), Reason::Invalid);
    }

    #[test]
    fn a_name_too_long_is_refused() {
        let mut world = world(&["alice"]);
        let envelope = name(&mut world, &"x".repeat(MAX_BYTES + 1));
        assert_eq!(world.rejected(envelope), Reason::TooLarge);
    }
}
