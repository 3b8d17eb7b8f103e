//! Errors that can end a command, and the exit code of each kind.

use crate::{
    client::{CallFailure, TrustError},
    exit,
};
use serde_json::{Value, json};
use std::{io, path::PathBuf};
use thiserror::Error;

/// Error that ended a command before it had done what was asked.
#[derive(Debug, Error)]
pub enum Error {
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The call was refused permanently, or did not succeed within the time limit.
    #[error(transparent)]
    Call(#[from] CallFailure),
    /// The profile has no session.
    #[error("profile `{profile}` has no session: run `chatctl login` first")]
    NoSession {
        /// Name of the profile.
        profile: String,
    },
    /// No server is named by command line, environment or profile.
    #[error("no servers configured: pass --server host:port, set QUORATE_SERVERS, or log in once with --server")]
    NoServers,
    /// A local file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A local file can be read, but must not be used as it is.
    #[error("{path}: {problem}", path = path.display())]
    BadFile {
        /// Path of the file.
        path: PathBuf,
        /// Description of the problem, and what to do about it.
        problem: String,
    },
    /// The password cannot be read.
    #[error("no password: {0}")]
    Password(String),
    /// A certificate cannot be created.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The state of the cluster does not allow the operation.
    #[error("{0}")]
    Cluster(String),
    /// `verify` found a broken promise; the report is already printed.
    #[error("the cluster violated a guarantee: {0}")]
    Violation(String),
    /// `verify` could not compare anything; the report is already printed.
    #[error("verification was inconclusive: {0}")]
    Inconclusive(String),
    /// The reader of standard output is gone, which is an ordinary end.
    #[error("standard output is closed")]
    OutputClosed,
    /// Standard output cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
}

impl From<TrustError> for Error {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::Unreadable { path, source } => Self::File { path, source },
            TrustError::Unusable { path, problem } => Self::BadFile { path, problem },
        }
    }
}

impl Error {
    /// Returns a function that adds the path of a file to an I/O error.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// Converts an error of writing to standard output. A broken pipe is an ordinary end, because it means that the
    /// reader is gone.
    #[must_use]
    pub fn from_output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Output(error),
        }
    }

    /// Returns the exit code of the process.
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

    /// Returns a stable name for programs: the server's error code if it sent one.
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

    /// Returns the document that `--output json` prints on standard error.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "error": self.document() })
    }

    /// Returns code, message and exit code; for a failed call also whether its outcome is unknown, the time after which
    /// to retry, and the transaction id of a write.
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
