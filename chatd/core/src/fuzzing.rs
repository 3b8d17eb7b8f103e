//! What reads bytes that come from elsewhere, each with what must hold for any bytes: for `chatd/fuzz`, which feeds them,
//! and which alone calls this. A broken promise panics.
//!
//! No decoder may panic by itself, and none may take memory that the input did not pay for: whoever calls [`Decoder::run`]
//! watches both.

mod apply;
mod content;
mod keys;
mod message;
mod names;
mod rows;

/// Something that reads bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// `quorate.log.v1.Batch`: what stands in an entry.
    Batch,
    /// `quorate.log.v1.Outcome`: crosses between pods, and is remembered in rows.
    Outcome,
    /// Table and value of a row.
    Row,
    /// Keys, from their parts and back.
    Key,
    /// JSON of events.
    Content,
    /// Two contents of `m.room.power_levels`, one line each: the old and the new.
    Levels,
    /// A filter's JSON.
    Filter,
    /// Ids, aliases, cursors and tokens of `/sync`.
    Names,
    /// A batch, applied to a small world.
    Apply,
}

impl Decoder {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Batch,
        Self::Outcome,
        Self::Row,
        Self::Key,
        Self::Content,
        Self::Levels,
        Self::Filter,
        Self::Names,
        Self::Apply,
    ];

    /// Its corpus's directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Batch => "log-batch",
            Self::Outcome => "log-outcome",
            Self::Row => "row",
            Self::Key => "key",
            Self::Content => "content",
            Self::Levels => "power-levels",
            Self::Filter => "filter",
            Self::Names => "names",
            Self::Apply => "apply",
        }
    }

    /// Reads the bytes; whether they are what it reads.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn run(self, bytes: &[u8]) -> bool {
        match self {
            Self::Batch => message::stable::<crate::proto::log::Batch>(bytes),
            Self::Outcome => message::stable::<crate::proto::log::Outcome>(bytes),
            Self::Row => rows::run(bytes),
            Self::Key => keys::run(bytes),
            Self::Content => content::run(bytes),
            Self::Levels => content::levels(bytes),
            Self::Filter => content::filter(bytes),
            Self::Names => names::run(bytes),
            Self::Apply => apply::run(bytes),
        }
    }
}

pub use apply::{room, world};
pub use message::stable;

/// Would apply take this as an event's content?
#[must_use]
pub fn is_content(bytes: &[u8]) -> bool {
    crate::json::check_event_content(bytes).is_ok()
}
