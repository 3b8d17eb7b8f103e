//! Receipts in a sync: those in rows, and those that a poll finds in memory.

use super::super::context::MatrixContext;
use super::super::error::MatrixError;
use super::typed_content;
use crate::feed::tail::TailReceipt;
use crate::service::{CallerSession, RequestRefusal};
use quorate_core::id::{Position, RoomNumber};
use quorate_core::query::sync::{EphemeralEvent, JoinedRoom, ReceiptReader, SyncTimeline};
use quorate_core::query::{SyncFilter, SyncResponse};
use quorate_core::receipt::ReadReceipt;
use ruma::events::AnySyncEphemeralRoomEvent;
use ruma::serde::Raw;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Renders the events; they have no room in a sync, which names it around them.
pub(super) fn render_ephemeral(events: &[EphemeralEvent]) -> Result<Vec<Raw<AnySyncEphemeralRoomEvent>>, MatrixError> {
    events.iter().map(|event| typed_content(&event.event_type, &event.content)).collect()
}

/// New receipts of a room.
struct NewReceipts {
    room_id: Arc<str>,
    /// Newest receipt of each reader and thread.
    newest: BTreeMap<(String, String), ReadReceipt>,
}

/// Adds receipts that a poll found in memory to its answer, as far as the reader wants to see them.
pub(super) fn add_receipts(
    context: &MatrixContext,
    session: &CallerSession,
    filter: &SyncFilter,
    from: Position,
    receipts: Vec<TailReceipt>,
    response: &mut SyncResponse,
) -> Result<(), RequestRefusal> {
    let mut by_room = BTreeMap::<RoomNumber, NewReceipts>::new();
    for TailReceipt { room_id, receipt } in receipts.into_iter().filter(|found| found.receipt.changed > from) {
        let room = by_room.entry(receipt.room).or_insert_with(|| NewReceipts { room_id, newest: BTreeMap::new() });
        // They come in order: of a reader who has read on and on, only the last is told.
        room.newest.insert((receipt.reader.clone(), receipt.thread_id.clone()), receipt);
    }
    if by_room.is_empty() {
        return Ok(());
    }
    let ignored = context.service.ignored_by(session)?;
    let reader =
        ReceiptReader { server_name: context.service.server_name(), ignored: &ignored, filter: &filter.ephemeral };
    for (number, NewReceipts { room_id, newest }) in by_room {
        let receipts: Vec<ReadReceipt> = newest.into_values().collect();
        if !filter.wants_room(&room_id) {
            continue;
        }
        let event = reader.event_of(&room_id, &receipts).map_err(|error| {
            tracing::error!(%error, "receipts could not be rendered");
            RequestRefusal::internal()
        })?;
        let Some(event) = event else { continue };
        match response.join.iter_mut().find(|room| room.room == number) {
            Some(room) => room.ephemeral.push(event),
            None => response.join.push(JoinedRoom {
                room: number,
                room_id: room_id.to_string(),
                state: Vec::new(),
                timeline: SyncTimeline { prev_batch: from, ..SyncTimeline::default() },
                summary: None,
                account_data: Vec::new(),
                ephemeral: vec![event],
            }),
        }
    }
    Ok(())
}
