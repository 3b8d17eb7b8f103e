//! What can be asked of the state. Each answer comes from one consistent view; none changes anything.
//!
//! [`View::open`] reads the cluster's row once; its methods stand in one file per subject. Permission to see an event
//! is checked here, by the room's history visibility, so that no door can forget it.

mod accounts;
mod event;
mod feed;
mod filter;
mod members;
mod reader;
mod relations;
mod retention;
mod rooms;
mod state;
mod sweep;
pub mod sync;
mod timeline;

pub use accounts::{Account, DeviceInfo, Session, SessionState};
pub use event::Event;
pub use feed::{Feed, Scope};
pub use filter::{EventFilter, Filter};
pub use members::{Member, MemberPage};
pub use relations::Relations;
pub use rooms::{PublicRooms, RoomMembership, RoomSummary};
pub use state::{StateCursor, StatePart};
pub use sweep::{SweepCursor, SweepPart};
pub use sync::{SyncRequest, SyncResponse};
pub use timeline::Page;

use crate::id::Position;
use crate::proto::store;
use crate::rows;
use crate::table::{Read, ReadError};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of one page at most ([`Event::weight`]), and one event more: a gRPC client takes messages up to 4 MiB unless it
/// is told otherwise, and an event may have 64 KiB.
pub const PAGE_BYTES: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The state cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nobody initialised the cluster yet.
    #[error("the cluster is not initialised yet")]
    NotBootstrapped,
    /// No such room or alias.
    #[error("there is no such room")]
    RoomNotFound,
    /// No such event, or none that the caller may see: the answer does not tell which.
    #[error("there is no such event")]
    EventNotFound,
    /// The room is not the caller's to read.
    #[error("you are not in this room and may not read it")]
    Forbidden,
    /// The caller is not, or no longer, in the room.
    #[error("you are not in this room; join it first")]
    NotMember,
    /// The cursor lies after everything this view has: wait until this pod has applied so far.
    #[error("the cursor is ahead of this server; try again, or start without a cursor")]
    Ahead,
    /// What follows the cursor was removed from a room's history meanwhile.
    #[error(
        "events after the cursor were removed from the room's history: begin again without a cursor, and read what is \
         left as pages of history"
    )]
    Purged,
    /// Whoever asked has gone, or the read took too long.
    #[error("the read was given up")]
    Stopped,
}

/// A consistent view of the state.
pub struct View<'a> {
    rows: &'a dyn Read,
    cluster: store::Cluster,
    /// Set when nobody waits for the answer any more.
    stop: Option<&'a AtomicBool>,
}

impl<'a> View<'a> {
    /// Opens a view over rows that will not change meanwhile.
    ///
    /// # Errors
    /// [`QueryError::NotBootstrapped`] before the cluster's first command.
    pub fn open(rows: &'a dyn Read) -> Result<Self, QueryError> {
        match rows::cluster(rows)? {
            Some(cluster) => Ok(Self { rows, cluster, stop: None }),
            None => Err(QueryError::NotBootstrapped),
        }
    }

    /// The same view; its long answers end early once `stop` is set.
    #[must_use]
    pub fn stopping(self, stop: &'a AtomicBool) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// Whether somebody still waits for the answer; to be asked between two steps of a long one.
    ///
    /// # Errors
    /// [`QueryError::Stopped`] when nobody does.
    pub fn is_wanted(&self) -> Result<(), QueryError> {
        match self.stop {
            Some(stop) if stop.load(Ordering::Relaxed) => Err(QueryError::Stopped),
            _ => Ok(()),
        }
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster.cluster_id
    }

    /// The server part of user and room ids.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.cluster.server_name
    }

    /// The time of the newest batch, milliseconds since the Unix epoch.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.cluster.time_ms
    }

    /// The end of the newest batch: a cursor that has seen everything in this view.
    #[must_use]
    pub fn now(&self) -> Position {
        Position::end_of_entry(self.cluster.incarnation, self.cluster.index)
    }

    /// A cursor as it counts now: one that points past the end of its own, ended incarnation is taken back to that end.
    #[must_use]
    pub fn clamp(&self, cursor: Position) -> Position {
        let end = usize::try_from(cursor.incarnation).ok().and_then(|n| self.cluster.incarnation_ends.get(n));
        end.and_then(|end| Position::from_bytes(end)).map_or(cursor, |end| cursor.min(end))
    }

    /// [`Self::clamp`], refusing what this view has not reached.
    fn reached(&self, cursor: Position) -> Result<Position, QueryError> {
        let cursor = self.clamp(cursor);
        match cursor <= self.now() {
            true => Ok(cursor),
            false => Err(QueryError::Ahead),
        }
    }
}
