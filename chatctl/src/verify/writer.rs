//! One writer: issues messages at its rate, however long answers take, and records the outcome of each.

use super::{
    history::{Fate, Message, MessageId},
    run::Run,
};
use crate::{
    client::Failure,
    post::{Posted, Poster},
    send::{self, Accepted, MESSAGE},
    session::Session,
};
use quorate_wire::chat::v1::SendRequest;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

/// Transport of a writer's messages.
enum Sender {
    /// Each message is a call of its own.
    Calls(Session),
    /// All messages go over one stream.
    Stream(Poster),
}

/// Interval at which a writer returns to preferring the server that it started with. Calls stay where they were
/// answered, so after a few losses all would be with one server, and the others would be spared.
const HOMING: Duration = Duration::from_secs(5);

/// Messages of one writer, with their outcomes.
#[derive(Default)]
pub(super) struct Written {
    /// Messages in the order of their numbers.
    pub(super) messages: Vec<Message>,
    /// `true` if the messages went over one stream in this order.
    pub(super) in_order: bool,
}

/// Message that waits for its outcome.
enum Way {
    Call(Session, SendRequest),
    Stream(Posted),
}

impl Sender {
    /// Starts sending a message; on a stream, it is queued behind the earlier ones.
    async fn start(&self, message: SendRequest) -> Way {
        match self {
            Self::Calls(session) => Way::Call(session.clone(), message),
            Self::Stream(poster) => Way::Stream(poster.enqueue(message).await),
        }
    }
}

impl Way {
    async fn outcome(self) -> Result<Accepted, Failure> {
        match self {
            Self::Call(session, message) => send::send(&session, message).await,
            Self::Stream(posted) => posted.settled().await,
        }
    }
}

/// Writes until told to stop, then waits for messages in flight, at most as long as the run allows. Messages that are
/// not settled by then stay unknown.
pub(super) async fn write(writer: u32, session: Session, run: Arc<Run>, mut stop: watch::Receiver<bool>) -> Written {
    let mut messages: Vec<Message> = Vec::new();
    let mut in_flight: JoinSet<(u32, Fate)> = JoinSet::new();
    let sender = if run.post { Sender::Stream(Poster::start(session.clone())) } else { Sender::Calls(session.clone()) };
    stagger(writer, run.interval).await;
    let mut ticks = interval(run.interval);
    // Ticks missed in a pause are made up for after it, so that the number of messages depends on the time alone.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut homing = interval(HOMING);
    loop {
        tokio::select! {
            biased;
            () = told(&mut stop) => break,
            _ = homing.tick() => session.client().servers().prefer(writer as usize),
            Some(Ok(settled)) = in_flight.join_next() => record(&mut messages, settled),
            _ = ticks.tick(), if in_flight.len() < run.in_flight => {
                let Ok(seq) = u32::try_from(messages.len()) else { break };
                let id = MessageId { writer, seq };
                let room = run.room_of(seq);
                run.issued();
                messages.push(Message { id, room, invoked_us: run.now_us(), fate: Fate::Unknown });
                let way = sender.start(message(&run, id, room)).await;
                in_flight.spawn(settle(id, way, Arc::clone(&run)));
            }
        }
    }
    let deadline = Instant::now() + run.settle;
    while let Ok(Some(joined)) = timeout_at(deadline, in_flight.join_next()).await {
        if let Ok(settled) = joined {
            record(&mut messages, settled);
        }
    }
    let in_order = matches!(&sender, Sender::Stream(poster) if poster.kept_order());
    Written { messages, in_order }
}

async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that the other end is gone, which is a reason to stop, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Delays a writer by a part of its interval: writers that tick together would make gaps of a whole interval out of
/// nothing.
async fn stagger(writer: u32, interval: Duration) {
    tokio::time::sleep(interval.mul_f64(f64::from(writer % 16) / 16.0)).await;
}

fn record(messages: &mut [Message], (seq, fate): (u32, Fate)) {
    if let Some(message) = usize::try_from(seq).ok().and_then(|seq| messages.get_mut(seq)) {
        message.fate = fate;
    }
}

fn message(run: &Run, id: MessageId, room: u16) -> SendRequest {
    SendRequest {
        room_id: run.rooms.get(usize::from(room)).cloned().unwrap_or_default(),
        r#type: MESSAGE.to_owned(),
        content: run.content(id).into(),
        transaction_id: run.transaction_id(id),
    }
}

async fn settle(id: MessageId, way: Way, run: Arc<Run>) -> (u32, Fate) {
    let outcome = way.outcome().await;
    let at_us = run.now_us();
    let fate = match outcome {
        Ok(Accepted { event_id, position, .. }) => Fate::Acknowledged { at_us, position, event_id: event_id.into() },
        // A refusal after an attempt in doubt promises nothing about that attempt.
        Err(failure) if failure.unknown => Fate::Unknown,
        Err(failure) => {
            run.refused(&failure);
            Fate::Refused
        }
    };
    run.settled(matches!(fate, Fate::Acknowledged { .. }).then_some(at_us));
    (id.seq, fate)
}
