//! Queries over the state. Each answer comes from one consistent view; none changes anything.
//!
//! [`StateView::open`] reads the cluster's row once; its methods are grouped in one file per subject. Permission to see an
//! event is checked here, by the room's history visibility, so that no API can forget it.

mod accounts;
mod administration;
mod aggregations;
mod all_rooms;
mod around;
mod dehydrated;
mod device_keys;
mod device_lists;
mod directory;
mod ephemeral;
mod erased;
mod event;
mod feed;
mod filter;
mod key_backup;
mod members;
mod moment;
mod notified;
mod people;
mod preview;
mod push;
mod pushers;
mod reader;
mod receipts;
mod registration;
mod relations;
mod retention;
mod rooms;
mod state;
mod sweep;
pub mod sync;
mod threads;
mod timeline;
mod to_device;
mod unread;

pub use accounts::{AccountStanding, DataVersion, DeviceInfo, LiveSession, SessionState, UserAccount};
pub use administration::{ListedAccount, ListedAccounts};
pub use aggregations::{EventAggregations, ThreadAggregation};
pub use all_rooms::{ListedRoom, ListedRooms};
pub use around::EventSurroundings;
pub use dehydrated::{DehydratedDevice, DehydratedMessages};
pub use device_keys::{DeviceStock, SigningUsage, StoredKey, UserKeys};
pub use device_lists::{DeviceListChanges, MemberMove};
pub use directory::{DirectoryPage, DirectoryPlace, DirectoryQuery};
pub use event::RoomEvent;
pub use feed::{FeedPage, FeedScope};
pub use filter::{EventFilter, SyncFilter};
pub use key_backup::{BackedUpKey, BackupCursor, BackupPart, BackupVersion};
pub use members::{MemberPage, MemberSummary};
pub use notified::NewestVisitor;
pub use people::{FiledReport, FoundUser, FoundUsers};
pub use preview::{HierarchyPage, HierarchyQuery, HierarchyRoom};
pub use push::{EventsPart, PushProgress, WaitingItem};
pub use pushers::UserPusher;
pub use registration::RegistrationTokenInfo;
pub use relations::{RELATION_DEPTH, RelationQuery};
pub use rooms::{PublicRooms, RoomMembership, RoomSummary};
pub use state::{StateCursor, StatePart, StateScope};
pub use sweep::{SweepCursor, SweepPart};
pub use sync::{SyncRequest, SyncResponse};
pub use timeline::EventPage;
pub use to_device::{MAX_QUEUED_MESSAGES, QueuedMessage, QueuedMessages};
pub use unread::{MemberReading, NotificationPower, ReadPoints, UnreadEvent, UnreadWalk};

use crate::id::Position;
use crate::proto::store;
use crate::rows;
use crate::table::{ReadError, TableRead};
use std::sync::atomic::{AtomicBool, Ordering};

/// Limit on the bytes of one page ([`RoomEvent::weight`]), which the last event may exceed. gRPC clients accept messages of
/// up to 4 MiB unless told otherwise, and an event may have 64 KiB.
pub const PAGE_BYTES: usize = 1 << 20;

/// Error returned when a query cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The state cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The cluster has not been initialised yet.
    #[error("the cluster is not initialised yet")]
    NotBootstrapped,
    /// The room or alias does not exist.
    #[error("there is no such room")]
    RoomNotFound,
    /// The event does not exist, or the caller may not see it; the answer does not tell which.
    #[error("there is no such event")]
    EventNotFound,
    /// The caller may not read the room.
    #[error("you are not in this room and may not read it")]
    Forbidden,
    /// The caller is not, or no longer, in the room.
    #[error("you are not in this room; join it first")]
    NotMember,
    /// The cursor is after everything in this view: wait until this pod has applied that far.
    #[error("the cursor is ahead of this server; try again, or start without a cursor")]
    Ahead,
    /// Events that follow the cursor have been removed from a room's history.
    #[error(
        "events after the cursor were removed from the room's history: start again without a cursor, and read what \
         is left as pages of history"
    )]
    Purged,
    /// The caller has gone away, or the read took too long.
    #[error("the read was cancelled")]
    Stopped,
}

/// Consistent view of the state.
pub struct StateView<'a> {
    rows: &'a dyn TableRead,
    cluster: store::Cluster,
    /// Flag that is set when nobody waits for the answer any more.
    stop: Option<&'a AtomicBool>,
}

impl<'a> StateView<'a> {
    /// Opens a view over rows that do not change while it is in use.
    ///
    /// # Errors
    /// [`QueryError::NotBootstrapped`] before the cluster's first command.
    pub fn open(rows: &'a dyn TableRead) -> Result<Self, QueryError> {
        match rows::cluster_row(rows)? {
            Some(cluster) => Ok(Self { rows, cluster, stop: None }),
            None => Err(QueryError::NotBootstrapped),
        }
    }

    /// Returns the same view, whose long answers end early once `stop` is set.
    #[must_use]
    pub fn stopping(self, stop: &'a AtomicBool) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// Checks that somebody still waits for the answer. Long answers call it between two steps.
    ///
    /// # Errors
    /// [`QueryError::Stopped`] if nobody does.
    pub fn is_wanted(&self) -> Result<(), QueryError> {
        match self.stop {
            Some(stop) if stop.load(Ordering::Relaxed) => Err(QueryError::Stopped),
            _ => Ok(()),
        }
    }

    /// Returns the id of the cluster.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster.cluster_id
    }

    /// Returns the server name, which is part of user and room ids.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.cluster.server_name
    }

    /// Returns the log's time as of the newest batch, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.cluster.time_ms
    }

    /// Returns the end of the newest batch: a cursor that has seen everything in this view.
    #[must_use]
    pub fn now(&self) -> Position {
        Position::end_of_entry(self.cluster.incarnation, self.cluster.index)
    }

    /// Returns the cursor as it counts in this history: one that points past the end of its own, ended incarnation is
    /// moved back to that end.
    #[must_use]
    pub fn clamp(&self, cursor: Position) -> Position {
        let end = usize::try_from(cursor.incarnation).ok().and_then(|n| self.cluster.incarnation_ends.get(n));
        end.and_then(|end| Position::from_bytes(end)).map_or(cursor, |end| cursor.min(end))
    }

    /// Clamps the cursor as [`Self::clamp`] does, and refuses one that this view has not reached.
    fn reached(&self, cursor: Position) -> Result<Position, QueryError> {
        let cursor = self.clamp(cursor);
        if cursor <= self.now() { Ok(cursor) } else { Err(QueryError::Ahead) }
    }
}
