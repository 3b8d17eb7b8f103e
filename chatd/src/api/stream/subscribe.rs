//! A subscription as frames, with many events in each, a cursor in every one, and a hint to move when the pod stops.

use crate::api::{convert, error};
use crate::metrics::StreamGuard;
use crate::metrics::delivery::DeliveryTimer;
use crate::service::subscription::EventSubscription;
use crate::service::{CallerSession, RequestRefusal};
use futures::{Stream, stream};
use prost::Message as _;
use quorate_core::id::{self, Position};
use quorate_wire::chat::v1::{Event, SubscribeResponse};
use std::collections::VecDeque;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Maximum bytes of events in one frame: a quarter of what gRPC clients accept by default (4 MiB), and one event may be
/// 64 KiB.
const FRAME: usize = 1024 * 1024;

/// Returns the frames until the subscription or the pod ends. Nothing is read ahead of the client: the next read is
/// made when the connection takes the frame before it.
pub fn subscription_frames(
    subscription: EventSubscription,
    session: CallerSession,
    stopping: CancellationToken,
    guard: StreamGuard,
    delivery: DeliveryTimer,
) -> impl Stream<Item = Result<SubscribeResponse, Status>> {
    let reader = FrameReader { subscription, session, stopping, ready: VecDeque::new(), ended: false, guard, delivery };
    stream::unfold(reader, |mut reader| async move { reader.next().await.map(|frame| (frame, reader)) })
}

struct FrameReader {
    subscription: EventSubscription,
    session: CallerSession,
    stopping: CancellationToken,
    /// Frames of the last read: at most those of one page.
    ready: VecDeque<SubscribeResponse>,
    ended: bool,
    guard: StreamGuard,
    delivery: DeliveryTimer,
}

impl FrameReader {
    async fn next(&mut self) -> Option<Result<SubscribeResponse, Status>> {
        if self.ended {
            return None;
        }
        if let Some(frame) = self.ready.pop_front() {
            // The client may have taken the frame before it long ago.
            return Some(self.subscription.check().map(|()| frame).map_err(|refusal| self.end(refusal)));
        }
        let stopping = self.stopping.clone();
        let before = self.subscription.after();
        tokio::select! {
            // Readers move before the pod goes, not after.
            biased;
            () = stopping.cancelled() => {
                self.ended = true;
                let cursor = id::encode_cursor(self.subscription.after());
                Some(Ok(SubscribeResponse { events: Vec::new(), cursor, reconnect: true }))
            }
            step = self.subscription.next() => match step {
                Ok(step) => {
                    self.guard.events(step.events.len());
                    self.delivery.handed(step.applied);
                    let _traced = self.subscription.traced(before, &step.events);
                    let events = step.events.into_iter().map(|event| (event.position, convert::event_to_wire(event, &self.session)));
                    self.ready = split_frames(events, step.after);
                    // Never empty: a step without events is a frame with its cursor.
                    self.ready.pop_front().map(Ok)
                }
                Err(refusal) => Some(Err(self.end(refusal))),
            },
        }
    }

    fn end(&mut self, refusal: RequestRefusal) -> Status {
        self.ended = true;
        error::refusal_to_status(refusal)
    }
}

/// Splits events into frames of bounded size. The cursor of each frame is that of its last event; that of the last
/// frame is `after`.
fn split_frames(events: impl Iterator<Item = (Position, Event)>, after: Position) -> VecDeque<SubscribeResponse> {
    let mut frames = VecDeque::new();
    let mut frame = Vec::new();
    let mut bytes = 0_usize;
    let mut last = after;
    for (position, event) in events {
        let size = event.encoded_len();
        if !frame.is_empty() && bytes.saturating_add(size) > FRAME {
            let events = std::mem::take(&mut frame);
            frames.push_back(SubscribeResponse { events, cursor: id::encode_cursor(last), reconnect: false });
            bytes = 0;
        }
        bytes = bytes.saturating_add(size);
        last = position;
        frame.push(event);
    }
    frames.push_back(SubscribeResponse { events: frame, cursor: id::encode_cursor(after), reconnect: false });
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(count: u32, size: usize) -> impl Iterator<Item = (Position, Event)> {
        (0..count).map(move |n| {
            let position = Position { incarnation: 0, index: 7, ordinal: n };
            (position, Event { content: vec![b'x'; size].into(), ..Event::default() })
        })
    }

    #[test]
    fn frames_are_bounded_and_their_cursors_lead_on_without_a_gap() {
        let after = Position { incarnation: 0, index: 9, ordinal: u32::MAX };
        let frames = split_frames(events(100, 60_000), after);
        assert!(frames.iter().all(|frame| frame.encoded_len() <= FRAME + 1024));
        assert_eq!(frames.iter().map(|frame| frame.events.len()).sum::<usize>(), 100);
        assert_eq!(frames.back().unwrap().cursor, id::encode_cursor(after));
        let first = frames.front().unwrap();
        let last_of_first = u32::try_from(first.events.len() - 1).unwrap();
        assert_eq!(first.cursor, id::encode_cursor(Position { incarnation: 0, index: 7, ordinal: last_of_first }));
    }

    #[test]
    fn silence_is_one_frame_with_a_cursor() {
        let frames = split_frames(events(0, 0), Position::ZERO);
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].cursor, id::encode_cursor(Position::ZERO));
    }
}
