//! State that writers, readers and the progress line share during a run.

use super::history::MessageId;
use crate::{client::CallFailure, commands::time};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Key of the content under which a message carries its identifier.
const MARK: &str = "dev.quorate.verify";

/// State and clock of one run.
#[derive(Debug)]
pub(super) struct VerifyRun {
    /// Random identifier, so that runs do not take each other's messages for their own.
    pub(super) id: String,
    /// Ids of the rooms; a message names its room by index.
    pub(super) rooms: Vec<String>,
    pub(super) payload: usize,
    pub(super) interval: Duration,
    pub(super) in_flight: usize,
    pub(super) post: bool,
    pub(super) settle: Duration,
    epoch: Instant,
    epoch_ms: u64,
    begun_us: OnceLock<u64>,
    ended_us: OnceLock<u64>,
    sent: AtomicU64,
    settled: AtomicU64,
    acknowledged: AtomicU64,
    last_acknowledged_us: AtomicU64,
    refusal: OnceLock<String>,
}

/// Mark in the content of a run's messages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum MessageMark {
    Message { run: String, writer: u32, seq: u32 },
    Ready { run: String, ready: u32 },
}

impl VerifyRun {
    pub(super) fn new(id: String, rooms: Vec<String>, command: &super::options::VerifyArgs) -> Self {
        Self {
            id,
            rooms,
            payload: command.payload as usize,
            interval: Duration::from_secs(1) / command.rate,
            in_flight: usize::from(command.in_flight),
            post: command.post,
            settle: command.settle,
            epoch: Instant::now(),
            epoch_ms: time::now_ms(),
            begun_us: OnceLock::new(),
            ended_us: OnceLock::new(),
            sent: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            last_acknowledged_us: AtomicU64::new(0),
            refusal: OnceLock::new(),
        }
    }

    /// Returns the time since the run was set up, in microseconds, by the monotonic clock.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Converts a time of this run to milliseconds since the Unix epoch.
    pub(super) fn to_epoch_ms(&self, us: u64) -> u64 {
        self.epoch_ms + us / 1000
    }

    pub(super) fn begin(&self) {
        let now = *self.begun_us.get_or_init(|| self.now_us());
        self.last_acknowledged_us.store(now, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.ended_us.get_or_init(|| self.now_us());
    }

    pub(super) fn begun_us(&self) -> u64 {
        self.begun_us.get().copied().unwrap_or(0)
    }

    pub(super) fn ended_us(&self) -> u64 {
        self.ended_us.get().copied().unwrap_or_else(|| self.now_us())
    }

    pub(super) fn issued(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn settled(&self, acknowledged_at: Option<u64>) {
        self.settled.fetch_add(1, Ordering::Relaxed);
        if let Some(at) = acknowledged_at {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            self.last_acknowledged_us.fetch_max(at, Ordering::Relaxed);
        }
    }

    /// Keeps the first refusal for the report, because the refusals of a run are all of a kind.
    pub(super) fn refused(&self, failure: &CallFailure) {
        self.refusal.get_or_init(|| failure.to_string());
    }

    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(super) fn pending(&self) -> u64 {
        let settled = self.settled.load(Ordering::Relaxed);
        self.sent.load(Ordering::Relaxed).saturating_sub(settled)
    }

    pub(super) fn silent_ms(&self) -> u64 {
        self.now_us().saturating_sub(self.last_acknowledged_us.load(Ordering::Relaxed)) / 1000
    }

    /// Returns the transaction id of a message, which is the same in every attempt.
    pub(super) fn transaction_id(&self, id: MessageId) -> String {
        format!("verify-{}-{}-{}", self.id, id.writer, id.seq)
    }

    /// Returns the index of the room that a message goes to.
    pub(super) fn room_of(&self, seq: u32) -> u16 {
        let count = u32::try_from(self.rooms.len()).unwrap_or(1).max(1);
        u16::try_from(seq % count).unwrap_or(0)
    }

    pub(super) fn room_count(&self) -> u16 {
        u16::try_from(self.rooms.len()).unwrap_or(u16::MAX)
    }

    /// Returns the id of the room at `index`; empty if there is none.
    pub(super) fn room(&self, index: u16) -> &str {
        self.rooms.get(usize::from(index)).map_or("", String::as_str)
    }

    pub(super) fn room_index(&self, room_id: &str) -> Option<u16> {
        self.rooms.iter().position(|room| room == room_id).and_then(|index| u16::try_from(index).ok())
    }

    pub(super) fn content(&self, id: MessageId) -> Vec<u8> {
        let mut body = format!("{id} ");
        body.extend(std::iter::repeat_n('x', self.payload.saturating_sub(body.len())));
        let mark = MessageMark::Message { run: self.id.clone(), writer: id.writer, seq: id.seq };
        json!({ "msgtype": "m.text", "body": body, MARK: mark }).to_string().into_bytes()
    }

    pub(super) fn ready_content(&self, ready: u32) -> Vec<u8> {
        let mark = MessageMark::Ready { run: self.id.clone(), ready };
        json!({ "msgtype": "m.notice", "body": "ready?", MARK: mark }).to_string().into_bytes()
    }

    /// Returns the mark in an event's content, if it belongs to this run.
    pub(super) fn read_mark(&self, content: &[u8]) -> Option<MessageMark> {
        #[derive(Deserialize)]
        struct Marked {
            #[serde(rename = "dev.quorate.verify")]
            mark: MessageMark,
        }
        let Marked { mark } = serde_json::from_slice(content).ok()?;
        let (MessageMark::Message { run, .. } | MessageMark::Ready { run, .. }) = &mark;
        (*run == self.id).then_some(mark)
    }
}
