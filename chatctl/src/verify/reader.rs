//! One reader: follows the rooms from its own starting server, and records every event, including those that come
//! twice.

use super::{
    history::{MessageId, Observation, SeenMessage, event_key},
    run::{MessageMark, VerifyRun},
    setup::RunSetup,
};
use crate::{client::CallFailure, position::EventPosition, session::ClientSession, tail::ResumingSubscription};
use quorate_wire::chat::v1::Event;
use serde::Serialize;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::{sync::watch, task::JoinHandle};

/// Progress of a reader.
#[derive(Debug, Clone, Default)]
struct ReaderProgress {
    /// `true` for each room in which the reader has met an event of the run.
    ready: Vec<bool>,
    /// Highest position met in each room.
    reached: Vec<EventPosition>,
}

/// Reader that runs as a task.
pub(super) struct ReaderTask {
    name: String,
    state: watch::Receiver<ReaderProgress>,
    count: Arc<AtomicU64>,
    task: JoinHandle<(Vec<SeenMessage>, ReaderSummary)>,
}

/// Summary of what a reader went through, for the report.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct ReaderSummary {
    name: String,
    events: u64,
    reconnects: u64,
    server: Option<String>,
    error: Option<String>,
}

impl ReaderTask {
    pub(super) fn start_all(stage: &RunSetup, stop: &watch::Sender<bool>) -> Vec<Self> {
        let sessions = stage.readers.iter().enumerate();
        sessions.map(|(index, session)| Self::start(index, session.clone(), &stage.run, stop.subscribe())).collect()
    }

    fn start(index: usize, session: ClientSession, run: &Arc<VerifyRun>, stop: watch::Receiver<bool>) -> Self {
        let rooms = run.rooms.len();
        let (publish, state) = watch::channel(ReaderProgress {
            ready: vec![false; rooms],
            reached: vec![EventPosition::default(); rooms],
        });
        let count = Arc::new(AtomicU64::new(0));
        let listener = EventRecorder { run: Arc::clone(run), publish, count: Arc::clone(&count), seen: Vec::new() };
        let task = tokio::spawn(listener.listen(index, session, stop));
        Self { name: format!("reader {index}"), state, count, task }
    }

    /// Returns the counter of the run's events met so far.
    pub(super) fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }

    /// Returns `true` if the reader has met an event of the run in every room.
    pub(super) fn is_ready(&self) -> bool {
        self.state.borrow().ready.iter().all(|ready| *ready)
    }

    /// Returns `true` if the reader has given up.
    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits until the reader has met the event at `target`, or one after it, in each room.
    pub(super) async fn reach(&mut self, target: &[EventPosition]) {
        let there =
            |state: &ReaderProgress| state.reached.iter().zip(target).all(|(reached, target)| reached >= target);
        // An error means that the reader has ended: waiting longer would not bring it further.
        let _ = self.state.wait_for(there).await;
    }

    /// Waits for the reader to end, after the stop signal, and returns what it met.
    pub(super) async fn finish(self) -> (Observation, ReaderSummary) {
        let (seen, summary) = self.task.await.unwrap_or_else(|panic| {
            (
                Vec::new(),
                ReaderSummary { error: Some(format!("the reader task failed: {panic}")), ..ReaderSummary::default() },
            )
        });
        let summary = ReaderSummary { name: self.name.clone(), ..summary };
        (Observation { name: self.name, seen }, summary)
    }
}

struct EventRecorder {
    run: Arc<VerifyRun>,
    publish: watch::Sender<ReaderProgress>,
    count: Arc<AtomicU64>,
    seen: Vec<SeenMessage>,
}

impl EventRecorder {
    async fn listen(
        mut self,
        home: usize,
        session: ClientSession,
        mut stop: watch::Receiver<bool>,
    ) -> (Vec<SeenMessage>, ReaderSummary) {
        // One room is followed by its id; several through the subscription to all rooms, which then holds these and no
        // others.
        let room = if let [only] = self.run.rooms.as_slice() { only.clone() } else { String::new() };
        let mut tail = ResumingSubscription::new(session.clone(), &room, "");
        let error: Option<CallFailure> = loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break None,
                frame = tail.next() => match frame {
                    Ok(frame) => {
                        // The next loss leads back to the reader's own server: otherwise all readers would end up with
                        // the same one.
                        session.client().servers().prefer(home);
                        self.take(&frame.events);
                    }
                    Err(failure) => break Some(failure),
                },
            }
        };
        let summary = ReaderSummary {
            name: String::new(),
            events: self.count.load(Ordering::Relaxed),
            reconnects: tail.reconnects(),
            server: tail.server().map(str::to_owned),
            error: error.map(|failure| failure.to_string()),
        };
        (self.seen, summary)
    }

    fn take(&mut self, events: &[Event]) {
        let mut state = self.publish.borrow().clone();
        for event in events {
            let position = event.position.map(EventPosition::from).unwrap_or_default();
            let (Some(room), Some(mark)) = (self.run.room_index(&event.room_id), self.run.read_mark(&event.content))
            else {
                continue;
            };
            if let Some(ready) = state.ready.get_mut(usize::from(room)) {
                *ready = true;
            }
            if let Some(reached) = state.reached.get_mut(usize::from(room)) {
                *reached = position.max(*reached);
            }
            if let MessageMark::Message { writer, seq, .. } = mark {
                self.seen.push(SeenMessage {
                    id: MessageId { writer, seq },
                    room,
                    position,
                    event: event_key(&event.event_id),
                });
                self.count.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.publish.send_replace(state);
    }
}
