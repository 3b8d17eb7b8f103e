//! Read receipts as their rows tell them.

use crate::id::{self, Position, RoomNumber};
use crate::json;
use crate::proto::store;
use crate::table::{self, ReadError, Table, key};
use bytes::Bytes;

/// Thread id of receipts for what is in no thread.
pub const MAIN_TIMELINE: &str = "main";

/// Kind of a receipt, by who may know of it. The numbers are part of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ReceiptKind {
    /// Receipt for everybody in the room (`m.read`).
    Public = 1,
    /// Receipt for the reader alone (`m.read.private`).
    Private = 2,
}

impl ReceiptKind {
    /// Returns the kind with this number.
    #[must_use]
    pub fn of_byte(byte: u8) -> Option<Self> {
        [Self::Public, Self::Private].into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Returns the type of the receipt as Matrix spells it.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Public => "m.read",
            Self::Private => "m.read.private",
        }
    }
}

/// Receipt: how far a user has read in a room or thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadReceipt {
    /// Number of the room.
    pub room: RoomNumber,
    /// Localpart of the user who has read.
    pub reader: String,
    /// Kind of the receipt.
    pub kind: ReceiptKind,
    /// Thread of the receipt: [`MAIN_TIMELINE`] or the id of a root event; empty for a receipt regardless of threads.
    pub thread_id: String,
    /// Position of the event up to which the user has read.
    pub event: Position,
    /// Time at which the receipt was set, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Position of the command that set the receipt.
    pub changed: Position,
}

impl ReadReceipt {
    /// Decodes a row of `Table::Receipt`.
    ///
    /// # Errors
    /// Fails if key or value are damaged.
    pub fn of_row(key: &[u8], value: Bytes) -> Result<Self, ReadError> {
        let damaged = |what: &str| ReadError::Damaged { table: Table::Receipt, what: what.to_owned() };
        let (room, reader, kind, thread_id) =
            key::parse_receipt(key).ok_or_else(|| damaged("its key is not that of a receipt"))?;
        let row: store::Receipt = table::decode_value(Table::Receipt, value)?;
        let position =
            |field: &[u8]| table::decode_position(Table::Receipt, field)?.ok_or_else(|| damaged("it lacks a position"));
        Ok(Self {
            room,
            reader: reader.to_owned(),
            kind,
            thread_id: thread_id.to_owned(),
            event: position(&row.event)?,
            time_ms: row.time_ms,
            changed: position(&row.changed)?,
        })
    }

    /// Returns the approximate number of bytes of the receipt on its way to a client.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// Bytes of an event id, a receipt's type, a time and field names.
        const FIXED: usize = 96;
        FIXED + self.reader.len() + self.thread_id.len()
    }
}

/// Returns the event that the content of a fully-read marker names.
pub(crate) fn marked_event(content: &[u8]) -> Option<Position> {
    json::string_field(&json::stored_object(content), "event_id").and_then(id::parse_event_id)
}
