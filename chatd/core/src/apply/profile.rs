//! Display name and avatar, which the member events of joined rooms repeat.

use super::context::{Answer, Applies, Context, refuse};
use super::member;
use crate::id::RoomNumber;
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows;
use crate::table::{self, Direction, Flow, Read, Table, key};

/// Longest display name or avatar URL.
const MAX_BYTES: usize = 1024;

/// Joined rooms whose member event is renewed at once, the oldest rooms first; one command stays bounded. The others
/// show the new profile when the user next joins or changes it with fewer rooms.
const MAX_ROOMS: usize = 1000;

pub(super) fn apply(context: &mut Context<'_>, command: &log::SetProfile) -> Applies<Answer> {
    let fits = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= MAX_BYTES);
    if !fits(&command.display_name) || !fits(&command.avatar_url) {
        return refuse(Reason::TooLarge, format!("display name and avatar URL must have at most {MAX_BYTES} bytes"));
    }
    let old = rows::account(&context.rows, context.user)?.unwrap_or_default();
    let new = store::Account {
        display_name: command.display_name.clone().unwrap_or_else(|| old.display_name.clone()),
        avatar_url: command.avatar_url.clone().unwrap_or_else(|| old.avatar_url.clone()),
        ..old.clone()
    };
    if new != old {
        context.rows.put(Table::Account, key::account(context.user), table::encode(&new));
        context.touched.user(context.user);
        for number in joined_rooms(context)? {
            member::renew(context, number)?;
        }
    }
    Ok(Answer::done())
}

fn joined_rooms(context: &Context<'_>) -> Applies<Vec<RoomNumber>> {
    let from = key::devices_of(context.user);
    let mut out = Vec::new();
    context.rows.scan(Table::Membership, &from, &key::after_prefix(&from), Direction::Forward, &mut |(
        key,
        value,
    )| {
        let row: store::Membership = table::decode(Table::Membership, value)?;
        if row.kind() == Kind::Join {
            out.push(rows::room_in(Table::Membership, key.get(from.len()..).unwrap_or_default())?);
        }
        Ok(if out.len() < MAX_ROOMS { Flow::More } else { Flow::Stop })
    })?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::proto::log::set_membership::Change;
    use crate::testing::{World, world};

    fn name(world: &mut World, name: &str) -> Envelope {
        world.by("alice", Kind::SetProfile(log::SetProfile { display_name: Some(name.into()), avatar_url: None }))
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

    #[test]
    fn a_name_too_long_is_refused() {
        let mut world = world(&["alice"]);
        let envelope = name(&mut world, &"x".repeat(MAX_BYTES + 1));
        assert_eq!(world.rejected(envelope), Reason::TooLarge);
    }
}
