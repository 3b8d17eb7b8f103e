//! Messages of a room, as the pods have them.

use anyhow::{Result, ensure};
use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::room::MessagesOptions;
use matrix_sdk::ruma::events::{AnySyncMessageLikeEvent, AnySyncTimelineEvent, SyncMessageLikeEvent};

/// Text that stands for a message that the device cannot decrypt.
pub const UNREADABLE: &str = "(cannot be decrypted)";

/// Limit of the pages of a room: ten events each, and no test sends more than a few hundred.
const MAX_PAGES: usize = 200;

/// Returns the bodies of all messages of a room from its beginning on, read page by page.
///
/// # Errors
/// Returns an error if a page cannot be read, or if there is no end of them.
pub async fn messages_of(room: &Room) -> Result<Vec<String>> {
    let mut bodies = Vec::new();
    let mut from: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let page = room.messages(MessagesOptions::backward().from(from.as_deref())).await?;
        bodies.extend(page.chunk.iter().filter_map(body_of));
        from = page.end.filter(|_| !page.chunk.is_empty());
        if from.is_none() {
            break;
        }
    }
    ensure!(from.is_none(), "the room has more than {MAX_PAGES} pages");
    bodies.reverse();
    Ok(bodies)
}

/// Returns the body of an event that is a message, decrypted or not.
fn body_of(event: &TimelineEvent) -> Option<String> {
    match event.raw().deserialize().ok()? {
        AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::RoomMessage(SyncMessageLikeEvent::Original(
            message,
        ))) => Some(message.content.body().to_owned()),
        AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::RoomEncrypted(_)) => Some(UNREADABLE.to_owned()),
        _ => None,
    }
}
