//! The `chatctl members` command, which lists the members of a room.

use super::{history::freshness_name, room};
use crate::{
    context::CommandContext,
    error::Error,
    output::{format_table, printable_line},
};
use clap::Args;
use quorate_wire::chat::v1::{Consistency, ListMembersRequest, ListMembersResponse, Member};
use serde_json::{Value, json};

/// Arguments of `chatctl members`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl members '#ops'
  chatctl --output json members '#ops' | jq -r '.members[].user_id'")]
pub struct MembersArgs {
    /// Room id, alias, or name of one of your rooms
    room: String,
    /// Maximum number of members to list
    #[arg(long, default_value_t = 1000, value_name = "N")]
    limit: u32,
}

/// Lists the members, page by page.
pub async fn run_members(command: MembersArgs, context: &CommandContext) -> Result<(), Error> {
    let session = context.session().await?;
    let room_id = room::resolve_room_id(&session, &command.room).await?;
    let mut whole = ListMembersResponse::default();
    loop {
        let left = command.limit.saturating_sub(u32::try_from(whole.members.len()).unwrap_or(u32::MAX));
        if left == 0 {
            break;
        }
        let request = ListMembersRequest {
            room_id: room_id.clone(),
            consistency: Consistency::Linearizable.into(),
            limit: left.min(500),
            page: whole.next_page.clone(),
        };
        let page = session.call(request, |mut chat, request| async move { chat.list_members(request).await }).await?;
        whole.members.extend(page.members);
        whole.next_page = page.next_page;
        whole.freshness = whole.freshness.max(page.freshness);
        if whole.next_page.is_empty() {
            break;
        }
    }
    let members: Vec<Value> = whole.members.iter().map(member_document).collect();
    let document = json!({ "members": members, "freshness": freshness_name(whole.freshness()) });
    context.out.emit(&document, || member_table(&whole.members))
}

fn member_document(member: &Member) -> Value {
    json!({
        "user_id": member.user_id,
        "membership": member.membership,
        "display_name": member.display_name,
        "power_level": member.power_level,
    })
}

fn member_table(members: &[Member]) -> String {
    let row = |member: &Member| {
        let power = member.power_level.to_string();
        vec![member.user_id.clone(), member.membership.clone(), power, printable_line(&member.display_name)]
    };
    format_table(&["USER", "MEMBERSHIP", "POWER", "NAME"], &members.iter().map(row).collect::<Vec<_>>())
}
