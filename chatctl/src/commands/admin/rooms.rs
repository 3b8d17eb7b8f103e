//! The `chatctl admin rooms` commands.

use super::{AdminTarget, show_progress};
use crate::{
    context::CommandContext,
    error::Error,
    output::{format_table, printable_line},
};
use clap::{Args, Subcommand};
use quorate_wire::admin::v1::{BlockRoomRequest, DeleteRoomRequest, ListRoomsRequest, RoomListing};
use serde_json::{Value, json};
use std::time::Duration;

/// Interval at which the progress of a deletion is asked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Arguments of `chatctl admin rooms`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin rooms list --search spam --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin rooms delete '!abc:example.org' --admin 127.0.0.1:7401 --tls-dir ./cluster")]
pub(super) struct RoomsArgs {
    #[command(subcommand)]
    action: RoomAction,
}

#[derive(Debug, Subcommand)]
enum RoomAction {
    /// List all rooms, optionally those whose name, topic or alias contains a text
    List(ListRoomsArgs),
    /// Block a room: nobody can enter it, and those inside go on
    Block(BlockRoomArgs),
    /// Unblock a room
    Unblock(BlockRoomArgs),
    /// Delete a room for good, with all that was said in it
    Delete(DeleteRoomArgs),
}

/// Arguments of `chatctl admin rooms list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin rooms list --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin rooms list --search spam --limit 20 --admin 127.0.0.1:7401 --tls-dir ./cluster")]
struct ListRoomsArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Text that the id, the name, the topic or the canonical alias contains
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    search: String,
    /// Maximum number of rooms to list
    #[arg(long, default_value_t = 1000, value_name = "N")]
    limit: usize,
}

/// Arguments of `chatctl admin rooms block` and `unblock`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin rooms block '!abc:example.org' --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin rooms unblock '!abc:example.org' --admin 127.0.0.1:7401 --tls-dir ./cluster")]
struct BlockRoomArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Room id, as `chatctl admin rooms list` prints it
    room: String,
}

/// Arguments of `chatctl admin rooms delete`.
///
/// Nobody can enter the room any more, its aliases and its place in the directory go, all members leave, and the messages
/// are removed from all servers. The command waits for the end; the servers go on if it is interrupted.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin rooms delete '!abc:example.org' --reason 'against the rules' --admin 127.0.0.1:7401 --tls-dir ./cluster")]
struct DeleteRoomArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Room id, as `chatctl admin rooms list` prints it
    room: String,
    /// Reason that the members' clients show
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
}

/// Runs the chosen action.
pub(super) async fn run_rooms(command: RoomsArgs, context: &CommandContext) -> Result<(), Error> {
    match command.action {
        RoomAction::List(command) => list_rooms(command, context).await,
        RoomAction::Block(command) => block_room(command, true, context).await,
        RoomAction::Unblock(command) => block_room(command, false, context).await,
        RoomAction::Delete(command) => delete_room(command, context).await,
    }
}

async fn list_rooms(command: ListRoomsArgs, context: &CommandContext) -> Result<(), Error> {
    let (connection, _) = command.target.any().await?;
    let mut rooms = Vec::new();
    let mut from = String::new();
    while rooms.len() < command.limit {
        let limit = u32::try_from(command.limit - rooms.len()).unwrap_or(u32::MAX);
        let request = ListRoomsRequest { search: command.search.clone(), from, limit };
        let page = connection.moderate(|mut api| async move { api.list_rooms(request).await }).await?;
        rooms.extend(page.rooms);
        from = page.next;
        if from.is_empty() {
            break;
        }
    }
    let document = json!({ "rooms": rooms.iter().map(room_document).collect::<Vec<_>>() });
    context.out.emit(&document, || room_table(&rooms))
}

async fn block_room(command: BlockRoomArgs, blocked: bool, context: &CommandContext) -> Result<(), Error> {
    let BlockRoomArgs { target, room } = command;
    let (connection, _) = target.any().await?;
    let request = BlockRoomRequest { room_id: room, blocked };
    let changed = connection.moderate(|mut api| async move { api.block_room(request).await }).await?;
    let room = changed.room.unwrap_or_default();
    context.out.emit(&room_document(&room), || room_table(std::slice::from_ref(&room)))
}

/// Deletes the room, and repeats the call until nothing is left to do.
async fn delete_room(command: DeleteRoomArgs, context: &CommandContext) -> Result<(), Error> {
    let DeleteRoomArgs { target, room, reason } = command;
    let (connection, _) = target.any().await?;
    loop {
        let request = DeleteRoomRequest { room_id: room.clone(), reason: reason.clone() };
        let done = connection.moderate(|mut api| async move { api.delete_room(request).await }).await?;
        let listing = done.room.unwrap_or_default();
        if !done.more {
            return context.out.emit(&room_document(&listing), || format!("{}: deleted", listing.room_id));
        }
        let left = listing.joined_members.saturating_add(listing.invited_members);
        let words = format!("nobody can enter {room} any more; {left} members and what they said are to be removed");
        show_progress(context, &json!({ "room_id": room, "members_left": left }), &words);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn room_document(room: &RoomListing) -> Value {
    json!({
        "room_id": room.room_id,
        "name": room.name,
        "canonical_alias": room.canonical_alias,
        "creator": room.creator,
        "joined_members": room.joined_members,
        "invited_members": room.invited_members,
        "version": room.version,
        "listed": room.listed,
        "encrypted": room.encrypted,
        "blocked": room.blocked,
        "deleted": room.deleted,
        "clearing": room.clearing,
    })
}

fn room_table(rooms: &[RoomListing]) -> String {
    let row = |room: &RoomListing| {
        let name = if room.name.is_empty() { "-" } else { &room.name };
        vec![
            room.room_id.clone(),
            printable_line(name),
            printable_line(&room.creator),
            room.joined_members.to_string(),
            standing_word(room).to_owned(),
        ]
    };
    format_table(&["ROOM", "NAME", "CREATOR", "MEMBERS", "STANDING"], &rooms.iter().map(row).collect::<Vec<_>>())
}

fn standing_word(room: &RoomListing) -> &'static str {
    if room.clearing {
        "being deleted"
    } else if room.deleted {
        "deleted"
    } else if room.blocked {
        "blocked"
    } else {
        "-"
    }
}
