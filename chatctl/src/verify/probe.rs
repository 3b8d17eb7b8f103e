//! Linearizable reads under load. Each server is asked on its own, at a fixed rate, however long answers take: a server
//! that was stopped or cut off still has what had reached it before, and must not pass off old rows as new.

use super::{
    history::{MessageId, RecordedRead, SeenMessage, event_key},
    options::VerifyArgs,
    run::{MessageMark, VerifyRun},
    setup::{self, RunSetup},
};
use crate::{
    client::{CallFailure, ClusterClient, PooledServer},
    error::Error,
    position::EventPosition,
    session::ClientSession,
};
use quorate_wire::chat::v1::{Consistency, Freshness, HistoryRequest, HistoryResponse, history_request::Direction};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

/// Number of events per read. One would do for a verdict; more show gaps.
const PAGE: u32 = 32;
/// Maximum number of unanswered reads of one server: what a server that is stopped for some seconds finds when it goes
/// on.
const IN_FLIGHT: usize = 256;

/// Counts of how reads ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct ReadTally {
    /// Reads that were answered as linearizable, and are judged.
    pub(super) linearizable: u64,
    /// Reads that were answered as possibly stale, and promise nothing.
    stale: u64,
    /// Reads that were refused, or not answered in time.
    failed: u64,
}

/// The running probes, one for each server.
pub(super) struct ReadProbes {
    tasks: JoinSet<(Vec<RecordedRead>, ReadTally)>,
}

impl ReadProbes {
    /// Starts one probe for each server, or none if no reads are wanted.
    ///
    /// # Errors
    /// [`Error::Usage`] for an invalid address.
    pub(super) fn start_all(command: &VerifyArgs, stage: &RunSetup, stop: &watch::Sender<bool>) -> Result<Self, Error> {
        let mut tasks = JoinSet::new();
        let asker = stage.readers.first().filter(|_| command.reads > 0);
        let known = asker.map(|asker| asker.client().servers().all()).unwrap_or_default();
        for (asker, slot) in asker.into_iter().cycle().zip(known) {
            let address = slot.address().to_owned();
            // Each probe has its own client: what it learns about a server must not steer the readers.
            let client = setup::create_client(
                std::slice::from_ref(&address),
                &setup::client_options(command, stage.trust.as_ref()),
                0,
            )?;
            let probe = ReadProbe {
                session: asker.over(client),
                server: address.into(),
                run: Arc::clone(&stage.run),
                patience: command.attempt_timeout,
            };
            let every = Duration::from_secs(1) / u32::from(command.reads);
            tasks.spawn(probe.run(every, stop.subscribe()));
        }
        Ok(Self { tasks })
    }

    /// Waits for the end of all probes, after the stop signal, and returns their reads and counts.
    pub(super) async fn finish(self) -> (Vec<RecordedRead>, ReadTally) {
        let mut reads = Vec::new();
        let mut tally = ReadTally::default();
        for (some, counts) in self.tasks.join_all().await {
            reads.extend(some);
            tally.linearizable += counts.linearizable;
            tally.stale += counts.stale;
            tally.failed += counts.failed;
        }
        (reads, tally)
    }
}

#[derive(Clone)]
struct ReadProbe {
    session: ClientSession,
    server: Arc<str>,
    run: Arc<VerifyRun>,
    patience: Duration,
}

impl ReadProbe {
    async fn run(self, every: Duration, mut stop: watch::Receiver<bool>) -> (Vec<RecordedRead>, ReadTally) {
        let mut reads = Vec::new();
        let mut tally = ReadTally::default();
        let mut in_flight = JoinSet::new();
        let mut ticks = interval(every);
        // No burst after a pause: the reads that were missed would prove no more than one does.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut rooms = (0..self.run.room_count()).cycle();
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(Ok(answer)) = in_flight.join_next() => record_read(answer, &mut reads, &mut tally),
                _ = ticks.tick(), if in_flight.len() < IN_FLIGHT => {
                    let Some(room) = rooms.next() else { break };
                    in_flight.spawn(self.clone().read(room));
                }
            }
        }
        // Each read gives up by itself; this timeout only guards against one that does not.
        let rest = async {
            while let Some(Ok(answer)) = in_flight.join_next().await {
                record_read(answer, &mut reads, &mut tally);
            }
        };
        let _ = timeout(self.patience * 2, rest).await;
        (reads, tally)
    }

    async fn read(self, room: u16) -> Result<(Freshness, RecordedRead), CallFailure> {
        let message = HistoryRequest {
            room_id: self.run.room(room).to_owned(),
            direction: Direction::Backward.into(),
            limit: PAGE,
            consistency: Consistency::Linearizable.into(),
            ..HistoryRequest::default()
        };
        let ask = |mut chat: crate::client::ChatStub| {
            let request = self.session.request(message.clone());
            async move { chat.history(request).await }
        };
        let client: &ClusterClient = self.session.client();
        let slot: Arc<PooledServer> = client
            .servers()
            .all()
            .into_iter()
            .next()
            .ok_or_else(|| CallFailure::unreachable(&self.server, "the client has no server"))?;
        let invoked_us = self.run.now_us();
        // One attempt: with retries, the read could span a fault and would match more moments than the answer had.
        let page = client.attempt(&slot, self.patience, &ask).await?;
        let ended_us = self.run.now_us();
        let freshness = page.freshness();
        let whole = page.next.is_empty();
        let page = self.seen(room, &page);
        Ok((freshness, RecordedRead { server: self.server, room, invoked_us, ended_us, page, whole }))
    }

    /// Returns the run's messages of a page, oldest first; the page has the newest first.
    fn seen(&self, room: u16, page: &HistoryResponse) -> Vec<SeenMessage> {
        let events = page.events.iter().rev();
        let of_run = events.filter_map(|event| match self.run.read_mark(&event.content)? {
            MessageMark::Message { writer, seq, .. } => Some(SeenMessage {
                id: MessageId { writer, seq },
                room,
                position: event.position.map(EventPosition::from).unwrap_or_default(),
                event: event_key(&event.event_id),
            }),
            MessageMark::Ready { .. } => None,
        });
        of_run.collect()
    }
}

fn record_read(
    answer: Result<(Freshness, RecordedRead), CallFailure>,
    reads: &mut Vec<RecordedRead>,
    tally: &mut ReadTally,
) {
    match answer {
        Ok((Freshness::Linearizable, read)) => {
            tally.linearizable += 1;
            reads.push(read);
        }
        Ok(_) => tally.stale += 1,
        Err(_) => tally.failed += 1,
    }
}
