//! Frames of the NATS client protocol.

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;

/// Length of the longest line that a server may send: its INFO.
const LINE: usize = 64 * 1024;
/// Size of the largest message that is expected.
const MESSAGE: usize = 8 * 1024 * 1024;

/// Frame that a server sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ServerFrame {
    /// A message, with the code of its status line if it has one.
    Message {
        subject: String,
        status: Option<u16>,
        payload: Bytes,
    },
    Ping,
    Pong,
    Error(String),
    /// Frame that needs no answer, such as INFO and OK.
    Other,
}

/// Encodes a message to the server, with an inbox for the answer; `headers` are whole lines.
pub(super) fn encode_publication(subject: &str, reply: &str, headers: &str, payload: &[u8]) -> Vec<u8> {
    let mut frame = if headers.is_empty() {
        format!("PUB {subject} {reply} {}\r\n", payload.len()).into_bytes()
    } else {
        let headers = format!("NATS/1.0\r\n{headers}\r\n");
        format!("HPUB {subject} {reply} {} {}\r\n{headers}", headers.len(), headers.len() + payload.len()).into_bytes()
    };
    frame.extend_from_slice(payload);
    frame.extend_from_slice(b"\r\n");
    frame
}

/// Reader of the frames that a server sends.
pub(super) struct NatsFrameReader {
    socket: OwnedReadHalf,
    pending: BytesMut,
}

impl NatsFrameReader {
    pub(super) fn new(socket: OwnedReadHalf) -> Self {
        Self { socket, pending: BytesMut::new() }
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<ServerFrame> {
        loop {
            if let Some(frame) = parse_frame(&mut self.pending)? {
                return Ok(frame);
            }
            let count = self.socket.read_buf(&mut self.pending).await?;
            ensure!(count > 0, "the server closed the connection");
        }
    }
}

/// Takes the first frame if it has arrived in full.
fn parse_frame(pending: &mut BytesMut) -> anyhow::Result<Option<ServerFrame>> {
    let Some(end) = pending.windows(2).position(|pair| pair == b"\r\n") else {
        ensure!(pending.len() < LINE, "line too long");
        return Ok(None);
    };
    let line = String::from_utf8_lossy(pending.get(..end).unwrap_or_default()).into_owned();
    let words: Vec<&str> = line.split(' ').collect();
    let (sizes, subject) = match words.as_slice() {
        ["MSG", subject, _, .., size] => ((0, parse_size(size)?), *subject),
        ["HMSG", subject, _, .., headers, size] => ((parse_size(headers)?, parse_size(size)?), *subject),
        _ => {
            pending.advance(end + 2);
            return Ok(Some(parse_control(&line)));
        }
    };
    let (headers, total) = sizes;
    ensure!(headers <= total && total <= MESSAGE, "invalid message size of {total} bytes");
    if pending.len() < end + 2 + total + 2 {
        return Ok(None);
    }
    pending.advance(end + 2);
    let mut payload = pending.split_to(total).freeze();
    pending.advance(2);
    let headers = payload.split_to(headers);
    Ok(Some(ServerFrame::Message { subject: subject.to_owned(), status: status_code(&headers), payload }))
}

fn parse_size(word: &str) -> anyhow::Result<usize> {
    word.parse().with_context(|| format!("{word:?} is not a size"))
}

fn parse_control(line: &str) -> ServerFrame {
    match line {
        "PING" => ServerFrame::Ping,
        "PONG" => ServerFrame::Pong,
        _ => line.strip_prefix("-ERR").map_or(ServerFrame::Other, |text| ServerFrame::Error(text.trim().to_owned())),
    }
}

/// Returns the code of a status line: `NATS/1.0 503` says that nobody answers; a message's own headers have no code.
fn status_code(headers: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(headers).ok()?;
    text.lines().next()?.strip_prefix("NATS/1.0 ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_whole_however_they_are_cut() {
        let stream = b"INFO {}\r\nPING\r\nMSG a.b 1 5\r\nhel\r\n\r\nHMSG a.c 1 x 16 16\r\nNATS/1.0 503\r\n\r\n\r\nPONG\r\n-ERR 'no'\r\n";
        let expected = [
            ServerFrame::Other,
            ServerFrame::Ping,
            ServerFrame::Message { subject: "a.b".into(), status: None, payload: Bytes::from_static(b"hel\r\n") },
            ServerFrame::Message { subject: "a.c".into(), status: Some(503), payload: Bytes::new() },
            ServerFrame::Pong,
            ServerFrame::Error("'no'".into()),
        ];
        for size in 1..stream.len() {
            let (mut pending, mut found) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(size) {
                pending.extend_from_slice(piece);
                while let Some(frame) = parse_frame(&mut pending).unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_publication_says_its_sizes() {
        assert_eq!(encode_publication("s", "r", "", b"abc"), b"PUB s r 3\r\nabc\r\n");
        let with = encode_publication("s", "r", "Nats-Msg-Id: 7\r\n", b"abc");
        assert_eq!(with, b"HPUB s r 28 31\r\nNATS/1.0\r\nNats-Msg-Id: 7\r\n\r\nabc\r\n");
    }
}
