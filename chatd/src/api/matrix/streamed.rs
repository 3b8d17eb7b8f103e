//! Answers for which the specification has no pages, sent as they are read: the state of a room may be any number of
//! events.
//!
//! A part is read when the connection has taken the one before it. So a slow reader holds one part in memory and no
//! turn at the store; all parts are of the same position, so that they make one state.

use super::context::MatrixContext;
use super::error::MatrixError;
use crate::service::{CallerSession, ChatService, ReadConsistency, RequestRefusal};
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use quorate_core::id::{Position, RoomNumber};
use quorate_core::query::{QueryError, RoomEvent, StateCursor, StatePart, StateScope, StateView};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum time for one answer: a reader that is slower than some tens of kilobytes a second in a large room keeps a
/// connection and a part for nothing.
const LONGEST: Duration = Duration::from_secs(120);

/// JSON around the items of an answer.
#[derive(Clone, Copy)]
pub(super) struct JsonFrame {
    pub(super) open: &'static str,
    pub(super) close: &'static str,
}

/// Writer of the items of an answer.
pub(super) trait WriteItem: Send + 'static {
    /// Writes an event as an item; `false` if the event is left out. What was written of an item that fails or is left
    /// out is dropped.
    fn item(&mut self, event: &RoomEvent, out: &mut Vec<u8>) -> Result<bool, MatrixError>;
}

impl<F: FnMut(&RoomEvent, &mut Vec<u8>) -> Result<bool, MatrixError> + Send + 'static> WriteItem for F {
    fn item(&mut self, event: &RoomEvent, out: &mut Vec<u8>) -> Result<bool, MatrixError> {
        self(event, out)
    }
}

/// State that an answer is asked for.
pub(super) struct StreamedState<P> {
    pub(super) scope: StateScope,
    /// Position of the request's token, which the pod must have applied.
    pub(super) token: Option<Position>,
    /// Question that gives the room, and the position whose state the reader may see.
    pub(super) place: P,
    pub(super) frame: JsonFrame,
}

/// Answers with the state of the room that the question `place` gives, as the caller may see it.
pub(super) async fn stream_state<P>(
    context: &MatrixContext,
    session: &CallerSession,
    wanted: StreamedState<P>,
    write: impl WriteItem,
) -> Result<Response, MatrixError>
where
    P: FnOnce(&StateView<'_>) -> Result<(RoomNumber, Position), QueryError> + Send + 'static,
{
    stream_state_after(context, session, Vec::new(), wanted, write).await
}

/// Answers like [`stream_state`], after bytes with which the answer begins.
pub(super) async fn stream_state_after<P>(
    context: &MatrixContext,
    session: &CallerSession,
    begin: Vec<u8>,
    wanted: StreamedState<P>,
    write: impl WriteItem,
) -> Result<Response, MatrixError>
where
    P: FnOnce(&StateView<'_>) -> Result<(RoomNumber, Position), QueryError> + Send + 'static,
{
    let StreamedState { scope, token, place, frame } = wanted;
    let localpart = session.localpart.clone();
    let first_scope = scope.clone();
    let question = move |view: &StateView<'_>| {
        let (room, at) = place(view)?;
        Ok((room, at, view.state_part_for(&localpart, room, &first_scope, at, None)?))
    };
    let (room, at, first) = context.read_at(token, question).await?;
    let service = context.service.clone();
    let localpart = session.localpart.clone();
    let deadline = Instant::now() + LONGEST;
    let mut answer = StateAnswer { service, localpart, room, at, scope, frame, write, any: false, deadline };
    let mut out = begin;
    out.extend_from_slice(frame.open.as_bytes());
    let next = answer.add(first, &mut out)?;
    let body = match next {
        // The usual room: one part, of known length.
        None => Body::from(out),
        Some(next) => Body::from_stream(answer.stream(out, next)),
    };
    Ok(json_response(body))
}

/// Answers with a body of JSON.
pub(super) fn json_response(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

struct StateAnswer<W> {
    service: ChatService,
    localpart: String,
    room: RoomNumber,
    at: Position,
    scope: StateScope,
    frame: JsonFrame,
    write: W,
    /// `true` once an item was written: the next one has a comma before it.
    any: bool,
    deadline: Instant,
}

/// Writes items with commas between them; `any` is `true` if there were some before. Returns `true` if there are some
/// now.
fn write_items(
    events: &[RoomEvent],
    mut any: bool,
    write: &mut impl WriteItem,
    out: &mut Vec<u8>,
) -> Result<bool, MatrixError> {
    for event in events {
        let before = out.len();
        if any {
            out.push(b',');
        }
        match write.item(event, out) {
            Ok(true) => any = true,
            other => {
                out.truncate(before);
                other?;
            }
        }
    }
    Ok(any)
}

/// Next output of the stream.
enum NextChunk {
    Ready(Vec<u8>, Option<StateCursor>),
    Part(StateCursor),
    End,
}

impl<W: WriteItem> StateAnswer<W> {
    /// Adds a part, and returns where the next one begins.
    fn add(&mut self, part: StatePart, out: &mut Vec<u8>) -> Result<Option<StateCursor>, MatrixError> {
        self.any = write_items(&part.events, self.any, &mut self.write, out)?;
        if part.next.is_none() {
            out.extend_from_slice(self.frame.close.as_bytes());
        }
        Ok(part.next)
    }

    fn stream(self, first: Vec<u8>, next: StateCursor) -> impl stream::Stream<Item = Result<Bytes, RequestRefusal>> {
        stream::unfold((self, NextChunk::Ready(first, Some(next))), |(mut answer, ahead)| async move {
            let after = |next: Option<StateCursor>| next.map_or(NextChunk::End, NextChunk::Part);
            match ahead {
                NextChunk::Ready(out, next) => Some((Ok(Bytes::from(out)), (answer, after(next)))),
                NextChunk::Part(cursor) => match answer.part(cursor).await {
                    Ok((out, next)) => Some((Ok(Bytes::from(out)), (answer, after(next)))),
                    // The connection is closed before the end of the body, so that nobody takes it for the whole.
                    Err(refusal) => Some((Err(refusal), (answer, NextChunk::End))),
                },
                NextChunk::End => None,
            }
        })
    }

    async fn part(&mut self, from: StateCursor) -> Result<(Vec<u8>, Option<StateCursor>), RequestRefusal> {
        if Instant::now() >= self.deadline {
            return Err(RequestRefusal::unavailable("the response was not read in time", Duration::ZERO));
        }
        let room = self.room;
        let at = self.at;
        let scope = self.scope.clone();
        let localpart = self.localpart.clone();
        let question = move |view: &StateView<'_>| view.state_part_for(&localpart, room, &scope, at, Some(&from));
        // Local: the first part was as fresh as promised, and all parts are of its position.
        let (part, _) = self.service.read(ReadConsistency::Local, question).await?;
        let mut out = Vec::new();
        let next = self.add(part, &mut out).map_err(|_| RequestRefusal::internal())?;
        Ok((out, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_type(event: &RoomEvent, out: &mut Vec<u8>) -> Result<bool, MatrixError> {
        out.extend_from_slice(event.event_type.as_bytes());
        Ok(event.event_type != "no")
    }

    #[test]
    fn items_of_all_parts_are_one_list() {
        let frame = JsonFrame { open: "[", close: "]" };
        let event = |event_type: &str| RoomEvent {
            position: Position::ZERO,
            event_id: String::new(),
            room: RoomNumber(1),
            room_id: String::new(),
            sender: String::new(),
            event_type: event_type.into(),
            state_key: None,
            content: Bytes::new(),
            origin_server_ts: 0,
            device_id: String::new(),
            transaction_id: String::new(),
            replaces: None,
            redacts: None,
            redacted_by: None,
            redacted_because: None,
            prev_content: None,
            membership: None,
            aggregations: None,
        };
        let mut any = false;
        let mut text = String::from(frame.open);
        for types in [vec!["no", "1"], vec!["no"], vec!["2", "3", "no"]] {
            let mut out = Vec::new();
            any =
                write_items(&types.into_iter().map(event).collect::<Vec<_>>(), any, &mut write_type, &mut out).unwrap();
            text.push_str(std::str::from_utf8(&out).unwrap());
        }
        text.push_str(frame.close);
        assert_eq!(text, "[1,2,3]");
    }
}
