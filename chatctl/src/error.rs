//! Everything that can end a command, and the exit code that says which kind it was.

use crate::client::Failure;
use serde_json::{Value, json};
use std::{io, path::PathBuf};
use thiserror::Error;

/// Exit codes of `chatctl`: part of its interface, described in `docs/chatctl.md`.
pub mod exit {
    /// Done.
    pub const OK: u8 = 0;
    /// A fault of `chatctl` itself or of the machine it runs on.
    pub const INTERNAL: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// The server refused the request for good.
    pub const REFUSED: u8 = 3;
    /// No session, or one that has ended.
    pub const UNAUTHENTICATED: u8 = 4;
    /// No server answered in time; nothing was written.
    pub const UNAVAILABLE: u8 = 5;
    /// Nobody knows whether the write happened; the same transaction id may be sent again.
    pub const UNKNOWN: u8 = 6;
    /// A local file (profile, certificate, cluster id) cannot be used.
    pub const LOCAL: u8 = 7;
    /// `verify` found a promise broken.
    pub const VIOLATION: u8 = 10;
    /// `verify` ran, but nothing was acknowledged or nothing could be compared.
    pub const INCONCLUSIVE: u8 = 11;
}

/// Why a command ended without doing what was asked.
#[derive(Debug, Error)]
pub enum Error {
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The call failed for good, or longer than the time-out.
    #[error(transparent)]
    Call(#[from] Failure),
    /// There is no session in the profile.
    #[error("no session in profile `{profile}`: run `chatctl login` first")]
    NoSession {
        /// Name of the profile.
        profile: String,
    },
    /// No server is named anywhere.
    #[error("no server is known: give --server host:port, set QUORATE_SERVERS, or log in once with --server")]
    NoServers,
    /// A local file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A local file can be read, but must not be used as it is.
    #[error("{path}: {problem}", path = path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The password cannot be read.
    #[error("no password: {0}")]
    Password(String),
    /// A certificate cannot be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The cluster is not in a state in which this can be done.
    #[error("{0}")]
    Cluster(String),
    /// `verify` found a promise broken; the report is already printed.
    #[error("the cluster broke a promise: {0}")]
    Violation(String),
    /// `verify` could not compare anything; the report is already printed.
    #[error("nothing was proved: {0}")]
    Inconclusive(String),
    /// The reader of standard output has gone: an ordinary end.
    #[error("standard output is closed")]
    OutputClosed,
    /// Standard output cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
}

impl Error {
    /// A file error with its path.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// Why standard output could not be written: a reader that has gone is an ordinary end.
    #[must_use]
    pub fn from_output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Output(error),
        }
    }

    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NoServers | Self::Password(_) => exit::USAGE,
            Self::Call(failure) => failure.exit_code(),
            Self::NoSession { .. } => exit::UNAUTHENTICATED,
            Self::File { .. } | Self::BadFile { .. } => exit::LOCAL,
            Self::Cluster(_) => exit::REFUSED,
            Self::Violation(_) => exit::VIOLATION,
            Self::Inconclusive(_) => exit::INCONCLUSIVE,
            Self::OutputClosed => exit::OK,
            Self::Certificate(_) | Self::Output(_) => exit::INTERNAL,
        }
    }

    /// A stable name for programs: the server's error code where it sent one.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Usage(_) | Self::NoServers => "USAGE",
            Self::Password(_) => "NO_PASSWORD",
            Self::Call(failure) => failure.code(),
            Self::NoSession { .. } => "NO_SESSION",
            Self::File { .. } | Self::BadFile { .. } => "LOCAL_FILE",
            Self::Cluster(_) => "CLUSTER_STATE",
            Self::Violation(_) => "VIOLATION",
            Self::Inconclusive(_) => "INCONCLUSIVE",
            Self::OutputClosed => "OUTPUT_CLOSED",
            Self::Certificate(_) | Self::Output(_) => "INTERNAL",
        }
    }

    /// The document that `--output json` prints on standard error.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "error": self.document() })
    }

    /// Code, message and exit code; for a failed call also whether its outcome is unknown.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut error = json!({
            "code": self.code(),
            "message": self.to_string(),
            "exit_code": self.exit_code(),
        });
        if let (Self::Call(failure), Some(object)) = (self, error.as_object_mut()) {
            object.insert("unknown".into(), failure.unknown.into());
            object.insert("retry_after_ms".into(), failure.retry_after_ms().into());
            if let Some(id) = &failure.transaction_id {
                object.insert("transaction_id".into(), id.as_str().into());
            }
        }
        error
    }
}
