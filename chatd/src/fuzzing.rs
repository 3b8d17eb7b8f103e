//! Decoders of bytes that come from outside, each with the properties that must hold for arbitrary input. Only
//! `chatd/fuzz` calls them. A violated property panics.
//!
//! [`FuzzDecoder`] is the complete list. Where possible, what it calls covers a list of its own that the compiler keeps
//! complete: tables, kinds of log records, endpoints of the Matrix API.

mod callers;
mod config;
mod content;

use crate::api::grpc;
use crate::api::listen;
use crate::api::matrix;
use crate::ephemeral;
use crate::raft::{codec, log, network, snapshot};
use crate::store;
use quorate_core::fuzzing as core;

/// Decoder that can be fuzzed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FuzzDecoder {
    /// A decoder of `quorate_core`.
    Core(core::CoreDecoder),
    /// A segment of the log, as on disk.
    Segment,
    /// Records of log segments, with their checksums corrected.
    Records,
    /// A log entry, as on disk and between pods.
    Entry,
    /// A message between pods: its kind, then its bytes. What it says of typing and presence is also taken over.
    Peer,
    /// The manifest of a snapshot, both with its checksum corrected and as it is.
    Manifest,
    /// Rows of the state that say how far the log is applied.
    Applied,
    /// The configuration file in YAML.
    Config,
    /// A duration of the configuration.
    Duration,
    /// The content of an event, as a client sends it.
    Content,
    /// A page token of the gRPC API.
    Page,
    /// A request of the Matrix API: endpoint, path arguments, query and body.
    Matrix,
    /// Trusted proxies, and the `X-Forwarded-For` headers that they send.
    Forwarded,
    /// The URIs of a certificate.
    Role,
    /// The boundaries of gRPC messages in a body.
    Messages,
}

/// Decoders of this crate.
const HERE: [FuzzDecoder; 14] = [
    FuzzDecoder::Segment,
    FuzzDecoder::Records,
    FuzzDecoder::Entry,
    FuzzDecoder::Peer,
    FuzzDecoder::Manifest,
    FuzzDecoder::Applied,
    FuzzDecoder::Config,
    FuzzDecoder::Duration,
    FuzzDecoder::Content,
    FuzzDecoder::Page,
    FuzzDecoder::Matrix,
    FuzzDecoder::Forwarded,
    FuzzDecoder::Role,
    FuzzDecoder::Messages,
];

impl FuzzDecoder {
    /// Returns all decoders, those of `quorate_core` first.
    pub fn all() -> impl Iterator<Item = Self> {
        core::CoreDecoder::ALL.into_iter().map(Self::Core).chain(HERE)
    }

    /// Returns the name of the decoder, which is also that of its corpus directory.
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
            Self::Content => "api-content",
            Self::Page => "page",
            Self::Matrix => "matrix",
            Self::Forwarded => "forwarded",
            Self::Role => "role",
            Self::Messages => "grpc-messages",
        }
    }

    /// Decodes `bytes`, and returns `true` if they are valid input.
    ///
    /// # Panics
    /// Panics if a property is violated.
    pub fn run(self, bytes: &[u8]) -> bool {
        match self {
            Self::Core(decoder) => decoder.run(bytes),
            Self::Segment => log::fuzzing::fuzz_segment(bytes),
            Self::Records => log::fuzzing::fuzz_records(bytes),
            Self::Entry => codec::fuzzing::fuzz_entry(bytes),
            Self::Peer => {
                if let Some(frame) = network::fuzzing::gossip_frame(bytes) {
                    ephemeral::fuzzing::check_heard_frame(&frame);
                }
                network::fuzzing::fuzz_message(bytes)
            }
            Self::Manifest => snapshot::fuzzing::fuzz_manifest(bytes),
            Self::Applied => store::fuzzing::fuzz_applied(bytes),
            Self::Config => config::check_config_file(bytes),
            Self::Duration => config::check_duration(bytes),
            Self::Content => content::check_content_agreement(bytes),
            Self::Page => grpc::fuzzing::check_page_token(bytes),
            Self::Matrix => matrix::fuzzing::check_matrix_request(bytes),
            Self::Forwarded => callers::check_forwarded(bytes),
            Self::Role => callers::check_certificate_role(bytes),
            Self::Messages => listen::fuzzing::check_grpc_framing(bytes),
        }
    }
}
