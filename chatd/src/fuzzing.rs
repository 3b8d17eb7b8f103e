//! What reads bytes that come from elsewhere, each with what must hold for any bytes: for `chatd/fuzz`, which feeds them,
//! and which alone calls this. A broken promise panics.
//!
//! The closed list is [`Decoder`]; where it can be, what it calls goes through a list of its own that the compiler keeps
//! whole: tables, kinds of records, endpoints of the Matrix door.

mod callers;
mod config;
mod content;

use crate::api::grpc;
use crate::api::listen;
use crate::api::matrix;
use crate::raft::{codec, log, network, snapshot};
use crate::store;
use quorate_core::fuzzing as core;

/// Something that reads bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// One of the domain's.
    Core(core::Decoder),
    /// A segment of the log, as it lies on the disk.
    Segment,
    /// Records of segments, whose checksums are made right.
    Records,
    /// A log entry, as on disk and between pods.
    Entry,
    /// A message between pods: its kind, then its bytes.
    Peer,
    /// A snapshot's manifest, whose checksum is made right, and as it is.
    Manifest,
    /// Rows of the state that say how far the log is applied.
    Applied,
    /// The configuration file.
    Config,
    /// A duration of the configuration.
    Duration,
    /// An event's content at the door.
    Content,
    /// A page token of the gRPC door.
    Page,
    /// A request of the Matrix door: endpoint, arguments of the path, query, body.
    Matrix,
    /// Trusted proxies, and what they say in `X-Forwarded-For`.
    Forwarded,
    /// The URIs of a certificate.
    Role,
    /// Where gRPC messages end in a body.
    Messages,
}

/// Those of this crate.
const HERE: [Decoder; 14] = [
    Decoder::Segment,
    Decoder::Records,
    Decoder::Entry,
    Decoder::Peer,
    Decoder::Manifest,
    Decoder::Applied,
    Decoder::Config,
    Decoder::Duration,
    Decoder::Content,
    Decoder::Page,
    Decoder::Matrix,
    Decoder::Forwarded,
    Decoder::Role,
    Decoder::Messages,
];

impl Decoder {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        core::Decoder::ALL.into_iter().map(Self::Core).chain(HERE)
    }

    /// Its corpus's directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Core(decoder) => decoder.name(),
            Self::Segment => "log-segment",
            Self::Records => "log-records",
            Self::Entry => "log-entry",
            Self::Peer => "peer",
            Self::Manifest => "snapshot-manifest",
            Self::Applied => "applied",
            Self::Config => "config",
            Self::Duration => "duration",
            Self::Content => "door-content",
            Self::Page => "page",
            Self::Matrix => "matrix",
            Self::Forwarded => "forwarded",
            Self::Role => "role",
            Self::Messages => "grpc-messages",
        }
    }

    /// Reads the bytes; whether they are what it reads.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn run(self, bytes: &[u8]) -> bool {
        match self {
            Self::Core(decoder) => decoder.run(bytes),
            Self::Segment => log::fuzzing::segment(bytes),
            Self::Records => log::fuzzing::records(bytes),
            Self::Entry => codec::fuzzing::entry(bytes),
            Self::Peer => network::fuzzing::message(bytes),
            Self::Manifest => snapshot::fuzzing::manifest(bytes),
            Self::Applied => store::fuzzing::applied(bytes),
            Self::Config => config::file(bytes),
            Self::Duration => config::duration(bytes),
            Self::Content => content::at_the_door(bytes),
            Self::Page => grpc::fuzzing::page(bytes),
            Self::Matrix => matrix::fuzzing::request(bytes),
            Self::Forwarded => callers::forwarded(bytes),
            Self::Role => callers::role(bytes),
            Self::Messages => listen::fuzzing::messages(bytes),
        }
    }
}
