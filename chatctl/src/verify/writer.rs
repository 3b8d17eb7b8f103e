//! One writer: issues messages at its rate, however long answers take, and records the outcome of each.

use super::{
    history::{IssuedMessage, MessageId, MessageOutcome},
    run::VerifyRun,
};
use crate::{
    client::CallFailure,
    post::{MessagePoster, PendingPost},
    send::{self, AcceptedMessage, MESSAGE},
    session::ClientSession,
};
use quorate_wire::chat::v1::SendRequest;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

/// Transport of a writer's messages.
enum MessageSender {
    /// Each message is a call of its own.
    Calls(ClientSession),
    /// All messages go over one stream.
    Stream(MessagePoster),
}

/// Interval at which a writer returns to preferring the server that it started with. Calls stay where they were
/// answered, so after a few losses all would be with one server, and the others would be spared.
const HOMING: Duration = Duration::from_secs(5);

/// Messages of one writer, with their outcomes.
#[derive(Default)]
pub(super) struct WriterRecord {
    /// Messages in the order of their numbers.
    pub(super) messages: Vec<IssuedMessage>,
    /// `true` if the messages went over one stream in this order.
    pub(super) in_order: bool,
}

/// Message that waits for its outcome.
enum PendingMessage {
    Call(ClientSession, SendRequest),
    Stream(PendingPost),
}

impl MessageSender {
    /// Starts sending a message; on a stream, it is queued behind the earlier ones.
    async fn start(&self, message: SendRequest) -> PendingMessage {
        match self {
            Self::Calls(session) => PendingMessage::Call(session.clone(), message),
            Self::Stream(poster) => PendingMessage::Stream(poster.enqueue(message).await),
        }
    }
}

impl PendingMessage {
    async fn outcome(self) -> Result<AcceptedMessage, CallFailure> {
        match self {
            Self::Call(session, message) => send::send_until_settled(&session, message).await,
            Self::Stream(posted) => posted.settled().await,
        }
    }
}

/// Writes until told to stop, then waits for messages in flight, at most as long as the run allows. Messages that are
/// not settled by then stay unknown.
pub(super) async fn write_until_stopped(
    writer: u32,
    session: ClientSession,
    run: Arc<VerifyRun>,
    mut stop: watch::Receiver<bool>,
) -> WriterRecord {
    let mut messages: Vec<IssuedMessage> = Vec::new();
    let mut in_flight: JoinSet<(u32, MessageOutcome)> = JoinSet::new();
    let sender = if run.post {
        MessageSender::Stream(MessagePoster::start(session.clone()))
    } else {
        MessageSender::Calls(session.clone())
    };
    stagger_start(writer, run.interval).await;
    let mut ticks = interval(run.interval);
    // Ticks missed in a pause are made up for after it, so that the number of messages depends on the time alone.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut homing = interval(HOMING);
    loop {
        tokio::select! {
            // The signal first: while missed ticks are made up for, there is always another message to send.
            biased;
            () = wait_for_stop(&mut stop) => break,
            _ = homing.tick() => session.client().servers().prefer(writer as usize),
            Some(Ok(settled)) = in_flight.join_next() => record_outcome(&mut messages, settled),
            _ = ticks.tick(), if in_flight.len() < run.in_flight => {
                let Ok(seq) = u32::try_from(messages.len()) else { break };
                let id = MessageId { writer, seq };
                let room = run.room_of(seq);
                run.issued();
                messages.push(IssuedMessage { id, room, invoked_us: run.now_us(), fate: MessageOutcome::Unknown });
                let way = sender.start(build_request(&run, id, room)).await;
                in_flight.spawn(settle_message(id, way, Arc::clone(&run)));
            }
        }
    }
    let deadline = Instant::now() + run.settle;
    while let Ok(Some(joined)) = timeout_at(deadline, in_flight.join_next()).await {
        if let Ok(settled) = joined {
            record_outcome(&mut messages, settled);
        }
    }
    let in_order = matches!(&sender, MessageSender::Stream(poster) if poster.kept_order());
    WriterRecord { messages, in_order }
}

async fn wait_for_stop(stop: &mut watch::Receiver<bool>) {
    // An error means that the other end is gone, which is a reason to stop, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Delays a writer by a part of its interval: writers that tick together would make gaps of a whole interval out of
/// nothing.
async fn stagger_start(writer: u32, interval: Duration) {
    tokio::time::sleep(interval.mul_f64(f64::from(writer % 16) / 16.0)).await;
}

fn record_outcome(messages: &mut [IssuedMessage], (seq, fate): (u32, MessageOutcome)) {
    if let Some(message) = usize::try_from(seq).ok().and_then(|seq| messages.get_mut(seq)) {
        message.fate = fate;
    }
}

fn build_request(run: &VerifyRun, id: MessageId, room: u16) -> SendRequest {
    SendRequest {
        room_id: run.rooms.get(usize::from(room)).cloned().unwrap_or_default(),
        r#type: MESSAGE.to_owned(),
        content: run.content(id).into(),
        transaction_id: run.transaction_id(id),
    }
}

async fn settle_message(id: MessageId, way: PendingMessage, run: Arc<VerifyRun>) -> (u32, MessageOutcome) {
    let outcome = way.outcome().await;
    let at_us = run.now_us();
    let fate = match outcome {
        Ok(AcceptedMessage { event_id, position, .. }) => {
            MessageOutcome::Acknowledged { at_us, position, event_id: event_id.into() }
        }
        // A refusal after an attempt in doubt promises nothing about that attempt.
        Err(failure) if failure.unknown => MessageOutcome::Unknown,
        Err(failure) => {
            run.refused(&failure);
            MessageOutcome::Refused
        }
    };
    run.settled(matches!(fate, MessageOutcome::Acknowledged { .. }).then_some(at_us));
    (id.seq, fate)
}
