//! Subscriptions that follow rooms across any number of lost connections.

use crate::{
    client::{CallFailure, ChatStub, PooledServer, pace::RetryPacer},
    position::EventPosition,
    session::ClientSession,
};
use quorate_wire::chat::v1::{Event, SubscribeRequest, SubscribeResponse};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tonic::Streaming;

/// Longest wait for the head of an answer. A server may hold it back until it has applied the cursor's position; beyond
/// this time the server is stuck.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// Subscription that outlives its connections: it resumes from the last cursor on another server.
pub struct ResumingSubscription {
    session: ClientSession,
    room_id: String,
    cursor: String,
    current: Option<CurrentStream>,
    pace: RetryPacer,
    opened: u64,
}

struct CurrentStream {
    slot: Arc<PooledServer>,
    generation: u64,
    frames: Streaming<SubscribeResponse>,
}

impl ResumingSubscription {
    /// Follows `room_id` (empty: all rooms of the caller) after `cursor` (empty: from now on).
    ///
    /// The client's time limit applies until the first connection is made; after that there is none.
    #[must_use]
    pub fn new(session: ClientSession, room_id: &str, cursor: &str) -> Self {
        let pace = RetryPacer::new(session.client());
        Self { session, room_id: room_id.into(), cursor: cursor.into(), current: None, pace, opened: 0 }
    }

    /// Returns the cursor to resume from, which stands after every event of every frame returned so far. Before the
    /// first frame it is the one given to [`Self::new`].
    #[must_use]
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Returns the number of times the connection was lost or moved.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.opened.saturating_sub(1)
    }

    /// Returns the address of the connected server; `None` while there is no connection.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        self.current.as_ref().map(|current| current.slot.address())
    }

    /// Waits for the next frame, reconnecting as needed. The future is safe to drop: no frame is lost.
    ///
    /// # Errors
    /// Returns only failures that no other server could mend: a session that ended, a room that is closed to the
    /// caller, an invalid cursor; or, before the first connection, that the client's time is up.
    pub async fn next(&mut self) -> Result<SubscribeResponse, CallFailure> {
        loop {
            let Some(current) = &mut self.current else {
                self.open().await?;
                continue;
            };
            match current.frames.message().await {
                Ok(Some(frame)) => return Ok(self.took(frame)),
                Ok(None) => self.lost(None).await?,
                Err(status) => {
                    let failure = CallFailure::from_status(current.slot.address(), &status);
                    self.lost(Some(failure)).await?;
                }
            }
        }
    }

    fn took(&mut self, frame: SubscribeResponse) -> SubscribeResponse {
        if !frame.cursor.is_empty() {
            self.cursor.clone_from(&frame.cursor);
        }
        self.pace.restart(self.session.client());
        if frame.reconnect
            && let Some(current) = self.current.take()
        {
            // The server announced that it stops, so the next connection goes elsewhere at once.
            current.slot.hold_off();
            self.pace.avoid(&current.slot);
        }
        frame
    }

    async fn lost(&mut self, failure: Option<CallFailure>) -> Result<(), CallFailure> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let failure = failure.unwrap_or_else(|| CallFailure::stream_ended(current.slot.address()));
        self.session.client().blame(&current.slot, current.generation, &failure).await;
        self.pace.after(self.session.client(), &current.slot, failure).await
    }

    async fn open(&mut self) -> Result<(), CallFailure> {
        let client = self.session.client().clone();
        let slot = self.pace.next_server(&client)?;
        match self.subscribe(&slot).await {
            Ok((generation, frames)) => {
                self.current = Some(CurrentStream { slot, generation, frames });
                self.opened += 1;
                self.pace.forget_deadline();
                Ok(())
            }
            Err(failure) => self.pace.after(&client, &slot, failure).await,
        }
    }

    async fn subscribe(&self, slot: &PooledServer) -> Result<(u64, Streaming<SubscribeResponse>), CallFailure> {
        let (channel, generation) = slot.connect().await.inspect_err(|_| slot.hold_off())?;
        let message = SubscribeRequest { room_id: self.room_id.clone(), cursor: self.cursor.clone() };
        let request = self.session.request(message);
        let mut chat = ChatStub::new(channel);
        let failure = match tokio::time::timeout(OPEN_TIMEOUT, chat.subscribe(request)).await {
            Ok(Ok(answer)) => {
                self.session.client().servers().succeeded(slot);
                return Ok((generation, answer.into_inner()));
            }
            Ok(Err(status)) => CallFailure::from_status(slot.address(), &status),
            Err(_) => CallFailure::timed_out(slot.address(), OPEN_TIMEOUT),
        };
        self.session.client().blame(slot, generation, &failure).await;
        Err(failure)
    }
}

/// Filter that passes each event once, should a server repeat some.
///
/// Memory use is one position per room of the account.
#[derive(Debug, Default)]
pub struct DuplicateFilter {
    last: HashMap<String, EventPosition>,
}

impl DuplicateFilter {
    /// Returns `true` if the event is new, that is, later than all earlier events of its room. An event without a
    /// position is always new.
    pub fn is_new(&mut self, event: &Event) -> bool {
        let Some(position) = event.position.map(EventPosition::from) else { return true };
        match self.last.get_mut(&event.room_id) {
            Some(last) if position <= *last => false,
            Some(last) => {
                *last = position;
                true
            }
            None => {
                self.last.insert(event.room_id.clone(), position);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_wire::chat::v1;

    fn event(room: &str, index: u64) -> Event {
        let position = Some(v1::Position { index, ..Default::default() });
        Event { room_id: room.into(), position, ..Default::default() }
    }

    #[test]
    fn a_repeated_event_is_passed_once_and_rooms_do_not_hide_each_other() {
        let mut once = DuplicateFilter::default();
        let passed: Vec<bool> = [("a", 1), ("a", 2), ("a", 1), ("a", 2), ("b", 1), ("a", 3)]
            .into_iter()
            .map(|(room, index)| once.is_new(&event(room, index)))
            .collect();
        assert_eq!(passed, [true, true, false, false, true, true]);
    }
}
