//! One writer: issues messages at its rate, however long answers take, and records what became of each.

use super::{
    history::{Fate, Message, MessageId},
    run::Run,
};
use crate::{
    post::Poster,
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

/// How messages go out.
#[derive(Clone)]
enum Sender {
    /// One call each.
    Calls(Session),
    /// All over one stream.
    Stream(Poster),
}

/// How often a writer goes back to preferring the server that it started with. Calls stay where they were
/// answered, so that after a few losses all would be with one server, and the others would be spared.
const HOMING: Duration = Duration::from_secs(5);

/// Writes until told to stop, then waits for what is in flight, at most as long as the run allows. What is not settled
/// then stays unknown.
pub(super) async fn write(
    writer: u32,
    session: Session,
    run: Arc<Run>,
    mut stop: watch::Receiver<bool>,
) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    let mut in_flight: JoinSet<(u32, Fate)> = JoinSet::new();
    let sender = if run.post { Sender::Stream(Poster::start(session.clone())) } else { Sender::Calls(session.clone()) };
    stagger(writer, run.interval).await;
    let mut ticks = interval(run.interval);
    // What a pause held back is issued after it, so that the number of messages depends on the time alone.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut homing = interval(HOMING);
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            _ = homing.tick() => session.client().servers().prefer(writer as usize),
            Some(Ok(settled)) = in_flight.join_next() => record(&mut messages, settled),
            _ = ticks.tick(), if in_flight.len() < run.in_flight => {
                let Ok(seq) = u32::try_from(messages.len()) else { break };
                let id = MessageId { writer, seq };
                let room = run.room_of(seq);
                run.issued();
                messages.push(Message { id, room, invoked_us: run.now_us(), fate: Fate::Unknown });
                in_flight.spawn(issue(id, room, sender.clone(), Arc::clone(&run)));
            }
        }
    }
    let deadline = Instant::now() + run.settle;
    while let Ok(Some(joined)) = timeout_at(deadline, in_flight.join_next()).await {
        if let Ok(settled) = joined {
            record(&mut messages, settled);
        }
    }
    messages
}

/// Writers that tick together would make gaps of a whole interval out of nothing.
async fn stagger(writer: u32, interval: Duration) {
    tokio::time::sleep(interval.mul_f64(f64::from(writer % 16) / 16.0)).await;
}

fn record(messages: &mut [Message], (seq, fate): (u32, Fate)) {
    if let Some(message) = usize::try_from(seq).ok().and_then(|seq| messages.get_mut(seq)) {
        message.fate = fate;
    }
}

async fn issue(id: MessageId, room: u16, sender: Sender, run: Arc<Run>) -> (u32, Fate) {
    let message = SendRequest {
        room_id: run.rooms.get(usize::from(room)).cloned().unwrap_or_default(),
        r#type: MESSAGE.to_owned(),
        content: run.content(id).into(),
        transaction_id: run.transaction_id(id),
    };
    let outcome = match sender {
        Sender::Calls(session) => send::send(&session, message).await,
        Sender::Stream(poster) => poster.post(message).await,
    };
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
