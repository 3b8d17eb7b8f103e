//! Display name and avatar, which the member events of joined rooms repeat.

use super::context::{Answer, Applies, Context, refuse};
use super::member;
use crate::id::RoomNumber;
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows;
use crate::table::{self, Direction, Flow, Read, Table, Write, key};

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
    context.rows.scan(Table::Membership, &from, &key::after_prefix(&from), Direction::Forward, &mut |(key, value)| {
        let row: store::Membership = table::decode(Table::Membership, value)?;
        if row.kind() == Kind::Join {
            out.push(rows::room_in(Table::Membership, key.get(from.len()..).unwrap_or_default())?);
        }
        Ok(if out.len() < MAX_ROOMS { Flow::More } else { Flow::Stop })
    })?;
    Ok(out)
}
