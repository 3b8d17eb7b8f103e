//! Options of `chatctl verify`.

use crate::error::Error;
use clap::Args;
use quorate_duration::parse_duration;
use std::{path::PathBuf, time::Duration};

/// Arguments of `chatctl verify`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  chatctl --server a:7400,b:7400,c:7400 verify --duration 60s
  chatctl verify --servers a:7400,b:7400,c:7400 --writers 4 --readers 3 --rate 20 --output json > report.json
  chatctl verify --servers a:7400 --duration 10m --history run.jsonl
  chatctl verify --servers a:7400,b:7400,c:7400 --reads 20
  chatctl verify --servers a:7400,b:7400 --post --rate 1000 --in-flight 1000

The command creates its own users and rooms. It checks that every acknowledged message reaches every reader and every
server's history exactly once, in one order, at the position given in the acknowledgement. With --reads, it also checks
that reads are linearizable: a read returns everything that was acknowledged before it began, whichever server is asked.
SIGINT and SIGTERM end the load early; the check still runs. A server rate limit below --rate only slows the load down,
but makes the reported gaps meaningless.

Exit codes: 0 all guarantees held; 10 a guarantee was violated; 11 nothing was acknowledged, or nothing could be
compared.")]
pub struct VerifyArgs {
    /// Number of accounts that write
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub writers: u16,
    /// Number of accounts that subscribe, each starting on another server
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub readers: u16,
    /// Duration of the load
    #[arg(long, value_parser = parse_duration, default_value = "30s", value_name = "DURATION")]
    pub duration: Duration,
    /// Messages per second of each writer
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub rate: u32,
    /// Number of public rooms to write to, in turn
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub rooms: u16,
    /// Linearizable reads per second of each server, which are then checked
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub reads: u16,
    /// Bytes of text in each message
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    pub payload: u32,
    /// Write over one stream per writer (Post) instead of one call per message (Send)
    #[arg(long)]
    pub post: bool,
    /// Maximum number of unacknowledged messages per writer; at the limit it pauses
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub in_flight: u16,
    /// Longest wait for one answer before the same message goes to another server
    #[arg(long, value_parser = parse_duration, default_value = "3s", value_name = "DURATION")]
    pub attempt_timeout: Duration,
    /// Longest wait for users, rooms and readers to be ready
    #[arg(long, value_parser = parse_duration, default_value = "120s", value_name = "DURATION")]
    pub setup_timeout: Duration,
    /// Longest wait at the end: for acknowledgements in flight, then for readers, then for each server's history
    #[arg(long, value_parser = parse_duration, default_value = "30s", value_name = "DURATION")]
    pub settle: Duration,
    /// File to write the whole record to, one JSON document per line
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
}

/// Maximum number of bytes of text: an event's content is at most 64 KiB, and beside the text it holds the message's
/// number.
const MOST_PAYLOAD: u32 = 60 * 1024;

impl VerifyArgs {
    /// Checks that every option is in its range.
    ///
    /// # Errors
    /// [`Error::Usage`] names the option.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = [
            (self.writers == 0, "--writers must be at least 1"),
            (self.readers == 0, "--readers must be at least 1"),
            (self.rooms == 0, "--rooms must be at least 1"),
            (self.in_flight == 0, "--in-flight must be at least 1"),
            (self.reads > 1000, "--reads must be at most 1000: answers are kept in memory until the end"),
            (self.rate == 0 || self.rate > 100_000, "--rate must be between 1 and 100000"),
            (
                self.payload > MOST_PAYLOAD,
                "--payload must be at most 61440: the content of an event is limited to 64 KiB",
            ),
            (self.duration.is_zero(), "--duration must be greater than 0"),
            (self.attempt_timeout.is_zero(), "--attempt-timeout must be greater than 0"),
        ];
        match wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, text)) => Err(Error::Usage(text.to_owned())),
            None => Ok(()),
        }
    }
}
