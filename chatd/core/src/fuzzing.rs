//! Decoders of bytes that come from outside, each with the properties that must hold for any bytes. Called only by
//! `chatd/fuzz`, which feeds them. A violated property panics.
//!
//! No decoder may panic by itself, and none may allocate memory that is not proportionate to its input; the caller of
//! [`CoreDecoder::run`] watches both.

mod apply;
mod content;
mod keys;
mod message;
mod names;
mod rows;

/// Decoder of bytes from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreDecoder {
    /// Contents of a log entry, `quorate.log.v1.Batch`.
    Batch,
    /// Outcome of a command, `quorate.log.v1.Outcome`, which crosses between pods and is remembered in rows.
    Outcome,
    /// Number of a table, followed by the value of a row.
    Row,
    /// Keys, built from their parts and parsed again.
    Key,
    /// JSON content of an event.
    Content,
    /// Two contents of `m.room.power_levels`, one line each: the old and the new.
    Levels,
    /// JSON of a filter.
    Filter,
    /// Ids, aliases, cursors and tokens of `/sync`.
    Names,
    /// Batch that is applied to a small world.
    Apply,
}

impl CoreDecoder {
    /// All decoders, in order of their declaration.
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

    /// Returns the name of the directory that contains the decoder's corpus.
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

    /// Decodes the bytes. Returns `true` if they are valid input for this decoder.
    ///
    /// # Panics
    /// Panics if a property is violated.
    pub fn run(self, bytes: &[u8]) -> bool {
        match self {
            Self::Batch => message::fuzz_protobuf::<crate::proto::log::Batch>(bytes),
            Self::Outcome => message::fuzz_protobuf::<crate::proto::log::Outcome>(bytes),
            Self::Row => rows::fuzz_row(bytes),
            Self::Key => keys::fuzz_keys(bytes),
            Self::Content => content::fuzz_content(bytes),
            Self::Levels => content::fuzz_levels(bytes),
            Self::Filter => content::fuzz_filter(bytes),
            Self::Names => names::fuzz_names(bytes),
            Self::Apply => apply::fuzz_apply(bytes),
        }
    }
}

pub use apply::{sample_room_id, sample_world};
pub use message::fuzz_protobuf;

/// Returns `true` if apply would accept the bytes as the content of an event.
#[must_use]
pub fn is_content(bytes: &[u8]) -> bool {
    crate::json::check_event_content(bytes).is_ok()
}
