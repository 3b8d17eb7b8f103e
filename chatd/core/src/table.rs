//! Rows of the state: the tables, the construction of keys, and the versioning of values.
//!
//! Bytes on disk are a permanent format. Every kind of key is listed here and in [`key`], and none is ever reused for
//! another meaning. A value is one version byte followed by a message of `quorate.store.v1`.

pub mod key;
mod memory;
mod overlay;
mod range;

pub use memory::MemTable;
pub use overlay::{ChangeSet, Overlay};
pub use range::{ScanDirection, ScanRange};

use crate::id::Position;
use bytes::{Buf, Bytes};
use prost::Message;

/// Tables of the state, each documented as key → value. The discriminant is part of snapshot checksums and of fuzz
/// corpora: never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Facts about the cluster: `"cluster"` → [`Cluster`](crate::proto::store::Cluster), `"renew/"` localpart →
    /// [`Renewal`](crate::proto::store::Renewal), `"depart/"` localpart → [`Departure`](crate::proto::store::Departure),
    /// `"signing-key"` → [`SigningKey`](crate::proto::store::SigningKey), `"push"` →
    /// [`PushState`](crate::proto::store::PushState), `"profile/"` localpart →
    /// [`ProfileFields`](crate::proto::store::ProfileFields), `"removed/"` localpart →
    /// [`RemovedData`](crate::proto::store::RemovedData), `"standing/"` localpart →
    /// [`Standing`](crate::proto::store::Standing), `"registration/"` token →
    /// [`RegistrationToken`](crate::proto::store::RegistrationToken), `"block/"` room →
    /// [`RoomBlock`](crate::proto::store::RoomBlock), `"clear/"` room →
    /// [`RoomClearing`](crate::proto::store::RoomClearing), and `"notice/"` localpart →
    /// [`NoticeRoom`](crate::proto::store::NoticeRoom). The rows of Raft itself belong to `chatd`.
    Meta = 0,
    /// Accounts: localpart → `Account`.
    Account = 1,
    /// Devices: localpart, device id → `Device`.
    Device = 2,
    /// Access tokens: token hash (32 bytes) → `Token`.
    Token = 3,
    /// Rooms: room → `Room`.
    Room = 4,
    /// Room numbers by create event: position of the event → room (8 bytes).
    RoomByPosition = 5,
    /// Events of rooms: room, position → `Event`.
    Timeline = 6,
    /// Versions of state: room, type, state key, position → empty. The newest version at or before a position is the
    /// state there. For `m.room.member` the value is a version byte and `Membership.Kind` (one byte).
    StateVersion = 7,
    /// Positions of a room's state events, for sync deltas: room, position → empty.
    StateChange = 8,
    /// Current memberships by user: localpart, room → `Membership`.
    Membership = 9,
    /// Current memberships by room: room, localpart → `Membership`.
    RoomMember = 10,
    /// Relations: room, position of the target, relation type, position of the relating event → `Relation`.
    Relation = 11,
    /// Outcomes of accepted commands: localpart, device id, hash of the command's scope and transaction id → `Dedup`.
    Dedup = 12,
    /// Room aliases: localpart of the alias → `Alias`.
    Alias = 13,
    /// Filters: localpart, filter number → JSON of the filter as uploaded (no version byte).
    Filter = 14,
    /// Account data: localpart, room or 0, type → `AccountData`.
    AccountData = 15,
    /// Rooms of events, for lookups by event id: entry (incarnation and index) → `EntryEvents`.
    EventRoom = 16,
    /// Rooms listed in the public directory: room number → number of joined members (8 bytes), which is part of the key
    /// of the room's row in `PublicRoomBySize`.
    PublicRoom = 17,
    /// Sequences of commands: localpart, device id, sequence id (8 bytes) → `Sequence`.
    Sequence = 18,
    /// Newest receipts: room, localpart, kind (1 byte), thread → `Receipt`.
    Receipt = 25,
    /// Public receipts of a room in the order in which they were set: room, position of the command → `ReceiptChange`.
    ReceiptChange = 26,
    /// Receipts of all rooms in the order in which they were set: position of the command, kind → `ReceiptPlace`.
    ReceiptPlace = 27,
    /// Identity keys of devices: localpart, device id → `DeviceKeys`.
    DeviceKeys = 30,
    /// Numbers of one-time keys of devices, and their fallback keys: localpart, device id → `KeyStock`.
    KeyStock = 31,
    /// One-time keys: localpart, device id, algorithm, position of the upload, place in it (4 bytes) → `OneTimeKey`.
    OneTimeKey = 32,
    /// Cross-signing keys: localpart, usage → `CrossSigningKey`.
    CrossSigningKey = 33,
    /// Signatures of users under each other's master keys: localpart of the signer, localpart of the signed →
    /// `UserSignature`.
    UserSignature = 34,
    /// Changes of users' devices and keys, for each user the newest: position, localpart → `KeyChange`.
    KeyChange = 35,
    /// Newest changes by user: localpart → `LastKeyChange`.
    LastKeyChange = 36,
    /// Messages that wait for devices: localpart, device id, position → `ToDevice`.
    ToDevice = 38,
    /// Amount of messages that wait for a device: localpart, device id → `ToDeviceQueue`.
    ToDeviceQueue = 39,
    /// Versions of key backups: localpart, version (8 bytes) → `KeyBackup`.
    KeyBackup = 40,
    /// Keys in backups: localpart, version (8 bytes), room id, session id → `BackupKey`.
    BackupKey = 41,
    /// Pushers of users: localpart, app id, pushkey → `Pusher`.
    Pusher = 46,
    /// Users of pushers, by their ids: app id, pushkey, localpart → empty.
    PusherUser = 47,
    /// Notifications that wait for their gateways: localpart, app id, pushkey, position → `WaitingPush`.
    WaitingPush = 48,
    /// Aliases of rooms: room, localpart of the alias → empty.
    RoomAlias = 50,
    /// Rooms of the public directory, largest first: 2^64 - 1 less the number of joined members, room → empty.
    PublicRoomBySize = 51,
    /// Reports to administrators: localpart of the reporter, position of the command → `Report`.
    Report = 52,
    /// Sums of relations → `Aggregate`: room, 1, position of a thread's newest event; room, 2, root of a thread,
    /// localpart of one who wrote in it; room, 3, target, type, localpart, key of an annotation.
    Aggregate = 53,
    /// Dehydrated devices: localpart → `DehydratedDevice`.
    DehydratedDevice = 56,
}

impl Table {
    /// All tables, in order of their discriminants.
    pub const ALL: [Self; 41] = [
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
        Self::Receipt,
        Self::ReceiptChange,
        Self::ReceiptPlace,
        Self::DeviceKeys,
        Self::KeyStock,
        Self::OneTimeKey,
        Self::CrossSigningKey,
        Self::UserSignature,
        Self::KeyChange,
        Self::LastKeyChange,
        Self::ToDevice,
        Self::ToDeviceQueue,
        Self::KeyBackup,
        Self::BackupKey,
        Self::Pusher,
        Self::PusherUser,
        Self::WaitingPush,
        Self::RoomAlias,
        Self::PublicRoomBySize,
        Self::Report,
        Self::Aggregate,
        Self::DehydratedDevice,
    ];
}

/// Version byte at the start of every value that this build writes.
pub const VALUE_VERSION: u8 = 1;

/// Error returned when a row cannot be read. Never caused by a user: the process stops or the read fails, and nothing
/// is guessed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The storage engine failed to read the row.
    #[error("reading table {table:?} failed")]
    Engine {
        /// Table that was read.
        table: Table,
        /// Error of the storage engine.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The value cannot be read by this build: it is damaged, or a newer build wrote it.
    #[error("a row of table {table:?} cannot be read: {what}")]
    Damaged {
        /// Table that contains the row.
        table: Table,
        /// Description of what is wrong with the row.
        what: String,
    },
}

/// Answer of a scan's visitor after each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanControl {
    /// Continue with the next row.
    More,
    /// End the scan here.
    Stop,
}

/// Row as a scan shows it: the key and the raw value, borrowed from the engine.
pub type RowRef<'a> = (&'a [u8], &'a [u8]);

/// Read access to a consistent view of the state.
pub trait TableRead {
    /// Returns the value of a key, if the row exists.
    ///
    /// # Errors
    /// Fails if the engine fails.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError>;

    /// Visits the rows of a range in its direction until the visitor stops the scan.
    ///
    /// # Errors
    /// Fails if the engine fails. An error that the visitor returns ends the scan and is passed on.
    fn scan(
        &self,
        range: &ScanRange<'_>,
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<ScanControl, ReadError>,
    ) -> Result<(), ReadError>;
}

impl<R: TableRead + ?Sized> TableRead for &mut R {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        (**self).get(table, key)
    }

    fn scan(
        &self,
        range: &ScanRange<'_>,
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<ScanControl, ReadError>,
    ) -> Result<(), ReadError> {
        (**self).scan(range, visit)
    }
}

/// Write access to a view; reads through the view see its changes.
pub trait TableWrite: TableRead {
    /// Sets the value of a row.
    fn put(&mut self, table: Table, key: Vec<u8>, value: Bytes);
    /// Removes a row, if it exists.
    fn delete(&mut self, table: Table, key: Vec<u8>);
}

/// Encodes a message as the value of a row.
#[must_use]
pub fn encode_value(value: &impl Message) -> Bytes {
    let mut out = Vec::with_capacity(1 + value.encoded_len());
    out.push(VALUE_VERSION);
    value.encode_raw(&mut out);
    out.into()
}

/// Decodes the value of a row. Fields of type `bytes` share the value's buffer if it is a [`Bytes`].
///
/// # Errors
/// [`ReadError::Damaged`] if the version is unknown or the bytes do not encode such a message.
pub fn decode_value<M: Message + Default>(table: Table, mut value: impl Buf) -> Result<M, ReadError> {
    if !value.has_remaining() {
        return Err(ReadError::Damaged { table, what: "it is empty".into() });
    }
    match value.get_u8() {
        VALUE_VERSION => M::decode(value).map_err(|e| ReadError::Damaged { table, what: e.to_string() }),
        version => Err(ReadError::Damaged {
            table,
            what: format!("its version is {version}, but this build reads {VALUE_VERSION}; run a newer chatd"),
        }),
    }
}

/// Reads and decodes one row.
///
/// # Errors
/// Fails as [`TableRead::get`] and [`decode_value`] do.
pub fn fetch_row<M: Message + Default>(
    view: &(impl TableRead + ?Sized),
    table: Table,
    key: &[u8],
) -> Result<Option<M>, ReadError> {
    view.get(table, key)?.map(|value| decode_value(table, value)).transpose()
}

/// Decodes a position field of a row; `None` if it is empty.
///
/// # Errors
/// [`ReadError::Damaged`] if the length is not that of a position.
pub fn decode_position(table: Table, field: &[u8]) -> Result<Option<Position>, ReadError> {
    if field.is_empty() {
        return Ok(None);
    }
    match Position::from_bytes(field) {
        Some(position) => Ok(Some(position)),
        None => Err(ReadError::Damaged { table, what: format!("a position has {} bytes", field.len()) }),
    }
}

/// Encodes a position as a field of a row.
#[must_use]
pub fn position_field(position: Position) -> Bytes {
    Bytes::copy_from_slice(&position.to_bytes())
}
