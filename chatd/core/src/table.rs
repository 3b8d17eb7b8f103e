//! The rows of the state: which tables there are, how keys are built, how values are versioned.
//!
//! Bytes on disk are a promise. Every kind of key is enumerated here and in [`key`]; none is ever reused for another
//! meaning. A value is one version byte, then a message of `quorate.store.v1`.

pub mod key;
mod memory;
mod overlay;

pub use memory::MemTable;
pub use overlay::{Changes, Overlay};

use crate::id::Position;
use bytes::{Buf, Bytes};
use prost::Message;

/// The tables. The discriminant is written in snapshots' checksums and in fuzz corpora: never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// `"cluster"` → [`Cluster`](crate::proto::store::Cluster), `"renew/"` localpart →
    /// [`Renewal`](crate::proto::store::Renewal); raft's own rows are chatd's.
    Meta = 0,
    /// localpart → `Account`
    Account = 1,
    /// localpart, device id → `Device`
    Device = 2,
    /// token hash (32 bytes) → `Token`
    Token = 3,
    /// room → `Room`
    Room = 4,
    /// position of a create event → room (8 bytes)
    RoomByPosition = 5,
    /// room, position → `Event`
    Timeline = 6,
    /// room, type, state key, position → empty; the newest at or before a position is the state there. Of
    /// `m.room.member`: version byte and `Membership.Kind` (one byte)
    StateVersion = 7,
    /// room, position → empty: positions of the room's state events, for sync deltas
    StateChange = 8,
    /// localpart, room → `Membership` (current)
    Membership = 9,
    /// room, localpart → `Membership` (current)
    RoomMember = 10,
    /// room, position of the target, relation type, position of the relating event → `Relation`
    Relation = 11,
    /// localpart, device id, command's scope, transaction id → `Dedup`
    Dedup = 12,
    /// alias localpart → `Alias`
    Alias = 13,
    /// localpart, filter number → filter JSON, as it came (no version byte)
    Filter = 14,
    /// localpart, room or 0, type → `AccountData`
    AccountData = 15,
    /// position of an event → room (8 bytes): an event id needs it
    EventRoom = 16,
    /// room number → empty, for rooms listed in the public directory
    PublicRoom = 17,
    /// localpart, device id, id (8 bytes) → `Sequence`
    Sequence = 18,
}

impl Table {
    /// All tables, in order of their numbers.
    pub const ALL: [Self; 19] = [
        Self::Meta,
        Self::Account,
        Self::Device,
        Self::Token,
        Self::Room,
        Self::RoomByPosition,
        Self::Timeline,
        Self::StateVersion,
        Self::StateChange,
        Self::Membership,
        Self::RoomMember,
        Self::Relation,
        Self::Dedup,
        Self::Alias,
        Self::Filter,
        Self::AccountData,
        Self::EventRoom,
        Self::PublicRoom,
        Self::Sequence,
    ];
}

/// Version byte at the head of every value of this build.
pub const VALUE_VERSION: u8 = 1;

/// Why a row could not be read. Never a user's fault: the process stops or the read fails, nothing is guessed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The storage engine failed.
    #[error("reading table {table:?} failed")]
    Engine {
        /// Which table.
        table: Table,
        /// The engine's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value that this build cannot read: damaged, or written by a newer one.
    #[error("a row of table {table:?} cannot be read: {what}")]
    Damaged {
        /// Which table.
        table: Table,
        /// What is wrong with it.
        what: String,
    },
}

/// Which way a scan walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Backward,
}

/// What a scan's visitor says after each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Show me the next row.
    More,
    /// Enough.
    Stop,
}

/// One row, as a scan shows it: key and raw value, borrowed from the engine.
pub type Row<'a> = (&'a [u8], &'a [u8]);

/// A consistent view of the state.
pub trait Read {
    /// The value of a key.
    ///
    /// # Errors
    /// When the engine fails.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError>;

    /// Walks the rows with `from <= key < to` in the given direction until the visitor stops it.
    /// An empty `to` means "to the end of the table"; `from` beyond `to` means no rows.
    ///
    /// # Errors
    /// When the engine fails; what the visitor returns as an error ends the scan and is passed on.
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut dyn FnMut(Row<'_>) -> Result<Flow, ReadError>,
    ) -> Result<(), ReadError>;
}

impl<R: Read + ?Sized> Read for &mut R {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        (**self).get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut dyn FnMut(Row<'_>) -> Result<Flow, ReadError>,
    ) -> Result<(), ReadError> {
        (**self).scan(table, from, to, direction, visit)
    }
}

/// A view that takes changes; reads through it see them.
pub trait Write: Read {
    /// Sets a row.
    fn put(&mut self, table: Table, key: Vec<u8>, value: Bytes);
    /// Removes a row, if it is there.
    fn delete(&mut self, table: Table, key: Vec<u8>);
}

/// A message as a row's value.
#[must_use]
pub fn encode(value: &impl Message) -> Bytes {
    let mut out = Vec::with_capacity(1 + value.encoded_len());
    out.push(VALUE_VERSION);
    value.encode_raw(&mut out);
    out.into()
}

/// A row's value as its message. `bytes` fields share the value's buffer when it is a [`Bytes`].
///
/// # Errors
/// [`ReadError::Damaged`] when the version is unknown or the bytes are no such message.
pub fn decode<M: Message + Default>(table: Table, mut value: impl Buf) -> Result<M, ReadError> {
    if !value.has_remaining() {
        return Err(ReadError::Damaged { table, what: "it is empty".into() });
    }
    match value.get_u8() {
        VALUE_VERSION => M::decode(value).map_err(|e| ReadError::Damaged { table, what: e.to_string() }),
        version => Err(ReadError::Damaged {
            table,
            what: format!("its version is {version}, this build reads {VALUE_VERSION}; run a newer chatd"),
        }),
    }
}

/// Reads and decodes one row.
///
/// # Errors
/// As [`Read::get`] and [`decode`].
pub fn fetch<M: Message + Default>(
    view: &(impl Read + ?Sized),
    table: Table,
    key: &[u8],
) -> Result<Option<M>, ReadError> {
    view.get(table, key)?.map(|value| decode(table, value)).transpose()
}

/// A position field of a row: absent when empty.
///
/// # Errors
/// [`ReadError::Damaged`] when it has another length than a position.
pub fn position(table: Table, field: &[u8]) -> Result<Option<Position>, ReadError> {
    if field.is_empty() {
        return Ok(None);
    }
    match Position::from_bytes(field) {
        Some(position) => Ok(Some(position)),
        None => Err(ReadError::Damaged { table, what: format!("a position has {} bytes", field.len()) }),
    }
}

/// A position as a field of a row.
#[must_use]
pub fn position_field(position: Position) -> Bytes {
    Bytes::copy_from_slice(&position.to_bytes())
}
