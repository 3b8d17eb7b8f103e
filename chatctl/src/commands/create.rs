//! The `chatctl create` command, which creates a room.

use crate::{context::CommandContext, error::Error, position::EventPosition, send};
use clap::Args;
use quorate_wire::chat::v1::{CreateRoomRequest, create_room_request::Preset};
use serde_json::json;

/// Arguments of `chatctl create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl create Operations --public --alias ops
  chatctl create --direct --invite @bob:example.org
  chatctl create Plans --invite @bob:example.org --invite @eve:example.org --topic 'next week'")]
pub struct CreateArgs {
    /// Name of the room
    name: Option<String>,
    /// Let anybody join the room
    #[arg(long, conflicts_with = "direct")]
    public: bool,
    /// Create a direct chat between two users with equal rights
    #[arg(long)]
    direct: bool,
    /// Topic of the room
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    topic: String,
    /// Alias without # and server, as in "ops"
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    alias: String,
    /// Full user id to invite; may be repeated
    #[arg(long, value_name = "USER")]
    invite: Vec<String>,
}

/// Creates the room. The transaction id keeps a repeated attempt from creating a second one.
pub async fn run_create(command: CreateArgs, context: &CommandContext) -> Result<(), Error> {
    let session = context.session().await?;
    let transaction_id = send::transaction_id();
    let preset = if command.public {
        Preset::Public
    } else if command.direct {
        Preset::TrustedPrivate
    } else {
        Preset::Private
    };
    let request = CreateRoomRequest {
        preset: preset.into(),
        name: command.name.unwrap_or_default(),
        topic: command.topic,
        is_direct: command.direct,
        invite: command.invite,
        alias: command.alias,
        transaction_id: transaction_id.clone(),
        initial_state: Vec::new(),
    };
    let made = session.call(request, |mut chat, request| async move { chat.create_room(request).await }).await;
    let made = made.map_err(|failure| failure.of_write(&transaction_id))?;
    let position = made.position.map(EventPosition::from);
    context.out.emit(&json!({ "room_id": made.room_id, "position": position }), || made.room_id.clone())
}
