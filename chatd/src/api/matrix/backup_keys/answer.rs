//! Keys of a backup, sent as they are read: a backup may have hundreds of thousands.
//!
//! A part is read when the connection has taken the one before it, so that a slow reader holds one part in memory and no
//! turn at the store. Each key is whole; keys that change meanwhile are sent as they were before or after.

use super::super::backup_versions::no_such_backup;
use super::super::context::MatrixContext;
use super::super::error::MatrixError;
use super::super::streamed::json_response;
use crate::service::{CallerSession, ChatService, ReadConsistency, RequestRefusal};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use quorate_core::query::{BackedUpKey, BackupCursor, BackupPart, StateView};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum time for one answer: a reader that is slower than a megabyte a second with the largest backup keeps a
/// connection and a part for nothing, and begins anew.
const LONGEST: Duration = Duration::from_secs(600);

/// Answers with the keys of a version, those of one room or of all.
pub(super) async fn stream_backup(
    context: &MatrixContext,
    session: &CallerSession,
    version: u64,
    room_id: Option<String>,
) -> Result<Response, MatrixError> {
    let localpart = session.localpart.clone();
    let room = room_id.clone();
    let question = move |view: &StateView<'_>| {
        let Some(_) = view.key_backup(&localpart, Some(version))? else { return Ok(None) };
        view.backup_part(&localpart, version, room.as_deref(), None).map(Some)
    };
    let first = context.read(question).await?.ok_or_else(no_such_backup)?;
    let mut answer = BackupAnswer {
        service: context.service.clone(),
        localpart: session.localpart.clone(),
        version,
        writer: KeyWriter::new(room_id.is_none()),
        room_id,
        deadline: Instant::now() + LONGEST,
    };
    let mut out = answer.writer.open().to_vec();
    let body = match answer.add(first, &mut out)? {
        None => Body::from(out),
        Some(next) => Body::from_stream(answer.stream(out, next)),
    };
    Ok(json_response(body))
}

struct BackupAnswer {
    service: ChatService,
    localpart: String,
    version: u64,
    room_id: Option<String>,
    writer: KeyWriter,
    deadline: Instant,
}

/// Next output of the stream.
enum BackupChunk {
    Ready(Vec<u8>, BackupCursor),
    Part(BackupCursor),
    End,
}

impl BackupAnswer {
    /// Adds a part, and returns where the next one begins.
    fn add(&mut self, part: BackupPart, out: &mut Vec<u8>) -> Result<Option<BackupCursor>, MatrixError> {
        for key in &part.keys {
            self.writer.write(key, out)?;
        }
        if part.next.is_none() {
            self.writer.close(out);
        }
        Ok(part.next)
    }

    fn stream(self, first: Vec<u8>, next: BackupCursor) -> impl stream::Stream<Item = Result<Bytes, RequestRefusal>> {
        stream::unfold((self, BackupChunk::Ready(first, next)), |(mut answer, ahead)| async move {
            match ahead {
                BackupChunk::Ready(out, next) => Some((Ok(Bytes::from(out)), (answer, BackupChunk::Part(next)))),
                BackupChunk::Part(cursor) => match answer.part(cursor).await {
                    Ok((out, next)) => {
                        let after = next.map_or(BackupChunk::End, BackupChunk::Part);
                        Some((Ok(Bytes::from(out)), (answer, after)))
                    }
                    // The connection is closed before the end of the body, so that nobody takes it for the whole.
                    Err(refusal) => Some((Err(refusal), (answer, BackupChunk::End))),
                },
                BackupChunk::End => None,
            }
        })
    }

    async fn part(&mut self, from: BackupCursor) -> Result<(Vec<u8>, Option<BackupCursor>), RequestRefusal> {
        if Instant::now() >= self.deadline {
            return Err(RequestRefusal::unavailable("the response was not read in time", Duration::ZERO));
        }
        let localpart = self.localpart.clone();
        let room_id = self.room_id.clone();
        let version = self.version;
        let question =
            move |view: &StateView<'_>| view.backup_part(&localpart, version, room_id.as_deref(), Some(&from));
        // Local: the first part was as fresh as promised, and this pod does not go back behind it.
        let (part, _) = self.service.read(ReadConsistency::Local, question).await?;
        let mut out = Vec::new();
        let next = self.add(part, &mut out).map_err(|_| RequestRefusal::internal())?;
        Ok((out, next))
    }
}

/// Writer of the keys of all rooms, or of one room, as one JSON object.
struct KeyWriter {
    /// `true` if the keys are grouped by room.
    by_room: bool,
    /// Room of the last key; `None` before the first one.
    room: Option<String>,
}

impl KeyWriter {
    fn new(by_room: bool) -> Self {
        Self { by_room, room: None }
    }

    fn open(&self) -> &'static [u8] {
        if self.by_room { br#"{"rooms":{"#.as_slice() } else { br#"{"sessions":{"#.as_slice() }
    }

    /// Writes a key. The keys of a room come one after the other.
    fn write(&mut self, key: &BackedUpKey, out: &mut Vec<u8>) -> Result<(), MatrixError> {
        let goes_on = self.room.as_ref() == Some(&key.room_id);
        if self.by_room && !goes_on {
            if self.room.is_some() {
                out.extend_from_slice(b"}},");
            }
            write_json(&key.room_id, out)?;
            out.extend_from_slice(br#":{"sessions":{"#);
        } else if goes_on {
            out.push(b',');
        }
        self.room = Some(key.room_id.clone());
        write_json(&key.session_id, out)?;
        out.push(b':');
        out.extend_from_slice(render_key(key)?.get().as_bytes());
        Ok(())
    }

    fn close(&self, out: &mut Vec<u8>) {
        if self.by_room && self.room.is_some() {
            out.extend_from_slice(b"}}");
        }
        out.extend_from_slice(b"}}");
    }
}

fn write_json(text: &str, out: &mut Vec<u8>) -> Result<(), MatrixError> {
    serde_json::to_writer(out, text).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> MatrixError {
    MatrixError::damaged("key", error)
}

/// Renders a key as clients send and receive it.
pub(super) fn render_key(key: &BackedUpKey) -> Result<Box<RawValue>, MatrixError> {
    #[derive(Serialize)]
    struct Shown<'a> {
        first_message_index: u64,
        forwarded_count: u64,
        is_verified: bool,
        session_data: &'a RawValue,
    }
    let shown = serde_json::from_slice(&key.session_data).and_then(|session_data| {
        to_raw_value(&Shown {
            first_message_index: key.first_message_index,
            forwarded_count: key.forwarded_count,
            is_verified: key.is_verified,
            session_data,
        })
    });
    shown.map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn written(by_room: bool, keys: &[(&str, &str)]) -> Value {
        let mut writer = KeyWriter::new(by_room);
        let mut out = writer.open().to_vec();
        for (room_id, session_id) in keys {
            let key = BackedUpKey {
                room_id: (*room_id).to_owned(),
                session_id: (*session_id).to_owned(),
                first_message_index: 1,
                forwarded_count: 0,
                is_verified: false,
                session_data: Bytes::from_static(b"{}"),
            };
            writer.write(&key, &mut out).unwrap();
        }
        writer.close(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn keys_are_grouped_by_room_and_session() {
        let key = json!({"first_message_index": 1, "forwarded_count": 0, "is_verified": false, "session_data": {}});
        assert_eq!(written(true, &[]), json!({"rooms": {}}));
        assert_eq!(written(false, &[]), json!({"sessions": {}}));
        assert_eq!(written(false, &[("!a", "1"), ("!a", "\"2\"")]), json!({"sessions": {"1": key, "\"2\"": key}}));
        let rooms = json!({"rooms": {"!a": {"sessions": {"1": key, "2": key}}, "!b": {"sessions": {"1": key}}}});
        assert_eq!(written(true, &[("!a", "1"), ("!a", "2"), ("!b", "1")]), rooms);
    }
}
