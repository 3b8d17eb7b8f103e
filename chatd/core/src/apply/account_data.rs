//! Account data: what a user's clients keep for each other, globally or for a room.

use super::append;
use super::context::{Answer, Applies, Context, refuse};
use crate::id::RoomNumber;
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::table::{self, Table, Write, key};

/// Largest content, as of an event.
const MAX_BYTES: usize = 65_536;

pub(super) fn apply(context: &mut Context<'_>, command: &log::PutAccountData) -> Applies<Answer> {
    append::check_names(&command.r#type, None)?;
    if command.content.len() > MAX_BYTES {
        return refuse(Reason::TooLarge, format!("account data must have at most {MAX_BYTES} bytes"));
    }
    append::check_content(&command.content)?;
    let room = match command.room_id.is_empty() {
        true => RoomNumber(0),
        false => context.room_by_id(&command.room_id)?.number,
    };
    let row = store::AccountData {
        content: command.content.clone(),
        position: table::position_field(context.first),
    };
    context.rows.put(Table::AccountData, key::account_data(context.user, room, &command.r#type), table::encode(&row));
    context.touched.user(context.user);
    Ok(Answer::done())
}
