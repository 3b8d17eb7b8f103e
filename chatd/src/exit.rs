//! Exit codes of the process: one for each kind of cause, with the numbers of `sysexits.h` where one fits.

use quorate_wire::cause::message_with_causes;

/// Reason why the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitReason {
    /// The process stopped as it was told to.
    Done = 0,
    /// The command line is wrong.
    Usage = 64,
    /// The data directory is damaged.
    Damaged = 65,
    /// The address of a listener cannot be bound.
    Address = 69,
    /// The log or the state failed while running.
    Fatal = 70,
    /// Standard output cannot be written to.
    Output = 73,
    /// The data directory cannot be used.
    DataDir = 74,
    /// The data directory belongs to another cluster.
    WrongCluster = 76,
    /// The cluster uses a format that this version does not know.
    TooOld = 77,
    /// The configuration, or a file that it names, is wrong.
    Config = 78,
}

impl ExitReason {
    /// All exit codes, in ascending order.
    pub const ALL: [Self; 10] = [
        Self::Done,
        Self::Usage,
        Self::Damaged,
        Self::Address,
        Self::Fatal,
        Self::Output,
        Self::DataDir,
        Self::WrongCluster,
        Self::TooOld,
        Self::Config,
    ];

    /// Returns the numeric exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Returns the explanation for the reference of the configuration.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "stopped on request",
            Self::Usage => "the command line is not valid",
            Self::Damaged => {
                "the data under `dataDir` is damaged; the message names the file. Replace the member, or restore its volume"
            }
            Self::Address => "an address of `listen` is in use or does not belong to this host",
            Self::Fatal => {
                "writing the log or the state failed, or an internal fault was detected; the process stops at once rather than \
                 continue with a state that may be wrong. It can be started again"
            }
            Self::Output => {
                "the requested output (help, configuration, reference) cannot be written to standard output"
            }
            Self::DataDir => {
                "`dataDir` cannot be read, written or locked, or its volume has too little space to start; the message says \
                 how much is needed"
            }
            Self::WrongCluster => "`dataDir` belongs to another cluster or to another `serverName`",
            Self::TooOld => {
                "the cluster uses commands that this version does not know: nothing is written, and the pod continues once it \
                 runs a version of the other pods"
            }
            Self::Config => {
                "the configuration, or a certificate that it names, is missing or not valid; the message names the key"
            }
        }
    }
}

/// Reason why the process cannot start or continue: one sentence for people, and its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct ProcessFailure {
    /// Exit code of the process.
    pub exit: ExitReason,
    /// Sentence that names what to change.
    pub sentence: String,
}

impl ProcessFailure {
    /// Creates a failure with the given sentence.
    #[must_use]
    pub fn new(exit: ExitReason, sentence: String) -> Self {
        Self { exit, sentence }
    }

    /// Creates a failure whose sentence consists of the message of `error` and those of its causes.
    #[must_use]
    pub fn caused(exit: ExitReason, error: &dyn std::error::Error) -> Self {
        Self { exit, sentence: message_with_causes(error) }
    }
}
