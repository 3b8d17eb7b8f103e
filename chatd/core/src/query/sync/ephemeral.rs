//! Events of a sync that are in no timeline: receipts.

use super::{EphemeralEvent, SyncRequest};
use crate::id::{self, Position, RoomNumber};
use crate::query::{EventFilter, QueryError, StateView};
use crate::receipt::ReadReceipt;
use serde::Serialize;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Type of the event that carries receipts.
const RECEIPT: &str = "m.receipt";

/// Reader of receipts, and what the reader does not want to see.
#[derive(Clone, Copy, Debug)]
pub struct ReceiptReader<'a> {
    /// Server name, which is part of user ids.
    pub server_name: &'a str,
    /// Ids of the users whom the reader ignores.
    pub ignored: &'a BTreeSet<String>,
    /// Filter for events that are in no timeline.
    pub filter: &'a EventFilter,
}

/// Receipt as its event shows it.
#[derive(Serialize)]
struct ShownReceipt<'r> {
    ts: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    thread_id: &'r str,
}

/// Content of the event: event id → type of receipt → user id → receipt.
type ReceiptContent<'r> = BTreeMap<String, BTreeMap<&'static str, BTreeMap<String, ShownReceipt<'r>>>>;

impl ReceiptReader<'_> {
    /// Returns one event with the receipts of a room that the reader wants to see; `None` if there are none. They must
    /// be receipts that the reader may know of.
    ///
    /// # Errors
    /// Fails if the event cannot be rendered, which no content causes.
    pub fn event_of(
        &self,
        room_id: &str,
        receipts: &[ReadReceipt],
    ) -> Result<Option<EphemeralEvent>, serde_json::Error> {
        if !self.filter.wants_ephemeral(RECEIPT, room_id) {
            return Ok(None);
        }
        let mut content = ReceiptContent::new();
        for receipt in receipts {
            let reader = id::user_id(&receipt.reader, self.server_name);
            if self.ignored.contains(&reader) || !self.filter.wants_sender(&reader) {
                continue;
            }
            let of_event = content.entry(id::event_id(receipt.event)).or_default();
            let shown = ShownReceipt { ts: receipt.time_ms, thread_id: &receipt.thread_id };
            // A user who has read up to the same event in several ways is shown once: regardless of threads if so, as
            // that covers the others (MSC4102).
            match of_event.entry(receipt.kind.type_name()).or_default().entry(reader) {
                Entry::Vacant(entry) => drop(entry.insert(shown)),
                Entry::Occupied(mut entry) if shown.thread_id.is_empty() => drop(entry.insert(shown)),
                Entry::Occupied(_) => {}
            }
        }
        if content.is_empty() {
            return Ok(None);
        }
        let content = serde_json::to_vec(&content)?.into();
        Ok(Some(EphemeralEvent { event_type: RECEIPT.to_owned(), content }))
    }
}

impl StateView<'_> {
    /// Returns the events of a room that are in no timeline, as far as they are newer than what the client knows.
    pub(super) fn ephemeral_of(
        &self,
        request: &SyncRequest<'_>,
        room: RoomNumber,
        room_id: &str,
        known: Option<Position>,
    ) -> Result<Vec<EphemeralEvent>, QueryError> {
        if !request.filter.ephemeral.wants_ephemeral(RECEIPT, room_id) {
            return Ok(Vec::new());
        }
        let receipts = self.receipts_shown(room, request.localpart, known)?;
        if receipts.is_empty() {
            return Ok(Vec::new());
        }
        let ignored = self.users_ignored_by(request.localpart)?;
        let filter = &request.filter.ephemeral;
        let reader = ReceiptReader { server_name: self.server_name(), ignored: &ignored, filter };
        let event = reader.event_of(room_id, &receipts).map_err(unrendered)?;
        Ok(event.into_iter().collect())
    }
}

fn unrendered(error: serde_json::Error) -> QueryError {
    let what = format!("receipts cannot be shown: {error}");
    crate::table::ReadError::Damaged { table: crate::table::Table::Receipt, what }.into()
}
