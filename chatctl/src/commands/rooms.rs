//! The `chatctl rooms` command, which lists rooms.

use super::room;
use crate::{
    context::CommandContext,
    error::Error,
    output::{format_table, printable_line},
};
use clap::Args;
use quorate_wire::chat::v1::Room;
use serde_json::{Value, json};

/// Arguments of `chatctl rooms`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl rooms
  chatctl rooms --public
  chatctl --output json rooms | jq -r '.rooms[].room_id'")]
pub struct RoomsArgs {
    /// Also list public rooms that you have not joined
    #[arg(long)]
    public: bool,
    /// Maximum number of rooms to list
    #[arg(long, default_value_t = 1000, value_name = "N")]
    limit: u32,
}

/// Lists the caller's rooms, page by page.
pub async fn run_rooms(command: RoomsArgs, context: &CommandContext) -> Result<(), Error> {
    let session = context.session().await?;
    let limit = command.limit as usize;
    let mut rooms: Vec<Room> = Vec::new();
    let mut next = String::new();
    while rooms.len() < limit {
        let wanted = u32::try_from(limit - rooms.len()).unwrap_or(u32::MAX);
        let answer = room::fetch_rooms_page(&session, command.public, &next, wanted).await?;
        rooms.extend(answer.rooms);
        next = answer.next_page;
        if next.is_empty() {
            break;
        }
    }
    rooms.truncate(limit);
    let document = json!({ "rooms": rooms.iter().map(room_document).collect::<Vec<_>>() });
    context.out.emit(&document, || room_table(&rooms))
}

fn room_document(room: &Room) -> Value {
    json!({
        "room_id": room.room_id,
        "name": room.name,
        "topic": room.topic,
        "canonical_alias": room.canonical_alias,
        "joined_members": room.joined_members,
        "membership": room.membership,
        "is_direct": room.is_direct,
        "join_rule": room.join_rule,
    })
}

fn room_table(rooms: &[Room]) -> String {
    let row = |room: &Room| {
        let name = if room.name.is_empty() { "-" } else { &room.name };
        vec![
            room.room_id.clone(),
            printable_line(name),
            room.canonical_alias.clone(),
            room.membership.clone(),
            room.joined_members.to_string(),
        ]
    };
    format_table(&["ROOM", "NAME", "ALIAS", "YOU", "MEMBERS"], &rooms.iter().map(row).collect::<Vec<_>>())
}
