//! How the process ends: one code for each kind of cause (the numbers are those of `sysexits.h` where one fits).

/// Why the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Told to, and did.
    Done = 0,
    /// The command line is wrong.
    Usage = 64,
    /// The data directory is damaged.
    Damaged = 65,
    /// A door's address cannot be listened on.
    Address = 69,
    /// The log or the state failed while running.
    Fatal = 70,
    /// Standard output cannot be written.
    Output = 73,
    /// The data directory cannot be used.
    DataDir = 74,
    /// The data directory is another cluster's.
    WrongCluster = 76,
    /// The configuration, or a file that it names, is wrong.
    Config = 78,
}

impl Exit {
    /// All.
    pub const ALL: [Self; 9] = [
        Self::Done,
        Self::Usage,
        Self::Damaged,
        Self::Address,
        Self::Fatal,
        Self::Output,
        Self::DataDir,
        Self::WrongCluster,
        Self::Config,
    ];

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// For the reference.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "stopped as told",
            Self::Usage => "the command line is wrong",
            Self::Damaged => {
                "the data under `dataDir` is damaged; the message names the file. Replace the member, or restore its volume"
            }
            Self::Address => "an address of `listen` is taken or not this host's",
            Self::Fatal => {
                "writing the log or the state failed, or a fault was found; the process stops at once rather than go on with a \
                 state that may be wrong, and may be started again"
            }
            Self::Output => "what was asked for (help, configuration, reference) cannot be written to standard output",
            Self::DataDir => {
                "`dataDir` cannot be read, written or locked, or its volume has no space left to start; the message says how \
                 much is needed"
            }
            Self::WrongCluster => "`dataDir` belongs to another cluster or to another `serverName`",
            Self::Config => {
                "the configuration, or a certificate that it names, is missing or wrong; the message names the key"
            }
        }
    }
}

/// Why the process cannot start or go on: one sentence for people, and its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Failure {
    /// The kind.
    pub exit: Exit,
    /// Names what to change.
    pub sentence: String,
}

impl Failure {
    /// With its own words.
    #[must_use]
    pub fn new(exit: Exit, sentence: String) -> Self {
        Self { exit, sentence }
    }

    /// With an error's words and those of its causes.
    #[must_use]
    pub fn caused(exit: Exit, error: &dyn std::error::Error) -> Self {
        let mut sentence = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // Some errors repeat their cause.
            if !sentence.contains(&words) {
                sentence.push_str(": ");
                sentence.push_str(&words);
            }
            cause = error.source();
        }
        Self { exit, sentence }
    }
}
