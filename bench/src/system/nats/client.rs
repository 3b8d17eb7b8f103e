//! Minimal client of the NATS protocol: publications with acknowledgements, requests and subscriptions. Frames that are
//! written at the same time go out in one write, as in the clients of NATS themselves.

use super::wire::{NatsFrameReader, ServerFrame};
use crate::load::tasks::TaskGroup;
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};

/// Text that is sent first on every connection.
pub(super) const GREETING: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\
                                   \"no_responders\":true,\"protocol\":1,\"lang\":\"rust\",\"version\":\"0\"}\r\n";
/// Maximum number of frames that wait for the connection: more than any workload has callers.
const OUTGOING: usize = 4096;
/// Maximum number of frames in one write.
const TOGETHER: usize = 256;
/// Longest wait for an answer of the JetStream API.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer: the code of its status line, if it has one, and its payload.
#[derive(Debug)]
pub(super) struct NatsReply {
    status: Option<u16>,
    pub(super) payload: Bytes,
}

type PendingReplies = Arc<Mutex<HashMap<u64, oneshot::Sender<NatsReply>>>>;

/// A connection that many callers share.
#[derive(Clone)]
pub(super) struct NatsClient {
    out: mpsc::Sender<Vec<u8>>,
    waiting: PendingReplies,
    inbox: Arc<str>,
    next: Arc<AtomicU64>,
    _tasks: Arc<TaskGroup>,
}

impl NatsClient {
    pub(super) async fn connect(server: SocketAddr) -> anyhow::Result<Self> {
        let (reader, mut writer) = open_connection(server).await?;
        let inbox: Arc<str> = format!("_INBOX.{}", crate::payload::next_number()).into();
        writer.write_all(format!("SUB {inbox}.* 1\r\n").as_bytes()).await?;
        let (out, frames) = mpsc::channel(OUTGOING);
        let waiting = PendingReplies::default();
        let mut tasks = TaskGroup::default();
        tasks.spawn(write_frames(writer, frames));
        tasks.spawn(dispatch_frames(reader, out.clone(), waiting.clone()));
        Ok(Self { out, waiting, inbox, next: Arc::default(), _tasks: Arc::new(tasks) })
    }

    /// Sends a message. The answer comes later, or never if the connection has failed.
    pub(super) async fn send(
        &self,
        subject: &str,
        headers: &str,
        payload: &[u8],
    ) -> anyhow::Result<oneshot::Receiver<NatsReply>> {
        let number = self.next.fetch_add(1, Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        let reply = format!("{}.{number}", self.inbox);
        let frame = super::wire::encode_publication(subject, &reply, headers, payload);
        self.out.send(frame).await.ok().context("the connection failed")?;
        Ok(answer)
    }

    async fn ask(&self, subject: &str, payload: &[u8]) -> anyhow::Result<NatsReply> {
        let answer = self.send(subject, "", payload).await?;
        let reply = tokio::time::timeout(PATIENCE, answer).await.with_context(|| format!("no answer to {subject}"))?;
        let reply = reply.context("the connection failed")?;
        ensure!(reply.status.is_none_or(|status| status < 400), "{subject}: status {:?}", reply.status);
        Ok(reply)
    }

    /// Makes a request of the JetStream API.
    pub(super) async fn api(&self, what: &str, request: &Value) -> anyhow::Result<Value> {
        let text = if request.is_null() { String::new() } else { request.to_string() };
        let reply = self.ask(&format!("$JS.API.{what}"), text.as_bytes()).await?;
        let answer: Value = serde_json::from_slice(&reply.payload).context("the answer is not JSON")?;
        match answer.get("error") {
            Some(error) => bail!("{what}: {error}"),
            None => Ok(answer),
        }
    }

    /// Returns a message of the stream as it was published, or `None` if there is none.
    pub(super) async fn message(&self, stream: &str, sequence: u64) -> anyhow::Result<Option<Bytes>> {
        let request = format!("{{\"seq\":{sequence}}}");
        let answer = self.send(&format!("$JS.API.DIRECT.GET.{stream}"), "", request.as_bytes()).await?;
        let reply = tokio::time::timeout(PATIENCE, answer).await.context("no answer")?.context("no connection")?;
        Ok((reply.status.is_none()).then_some(reply.payload))
    }
}

/// Checks that a reply is an acknowledgement of the stream.
pub(super) fn check_ack(reply: NatsReply) -> anyhow::Result<()> {
    ensure!(reply.status.is_none(), "status {:?} instead of an acknowledgement", reply.status);
    let answer: Value = serde_json::from_slice(&reply.payload).context("the acknowledgement is not JSON")?;
    ensure!(answer.get("seq").is_some_and(Value::is_u64), "not stored: {answer}");
    Ok(())
}

/// Opens a connection and exchanges the greetings.
pub(super) async fn open_connection(server: SocketAddr) -> anyhow::Result<(NatsFrameReader, OwnedWriteHalf)> {
    let socket = TcpStream::connect(server).await.with_context(|| format!("cannot connect to {server}"))?;
    socket.set_nodelay(true)?;
    let (reading, mut writing) = socket.into_split();
    let mut reader = NatsFrameReader::new(reading);
    writing.write_all(format!("{GREETING}PING\r\n").as_bytes()).await?;
    loop {
        match reader.next().await? {
            ServerFrame::Pong => return Ok((reader, writing)),
            ServerFrame::Error(text) => bail!("NATS refused: {text}"),
            ServerFrame::Ping | ServerFrame::Other | ServerFrame::Message { .. } => {}
        }
    }
}

async fn write_frames(mut writer: OwnedWriteHalf, mut frames: mpsc::Receiver<Vec<u8>>) {
    let mut ready = Vec::with_capacity(TOGETHER);
    while frames.recv_many(&mut ready, TOGETHER).await > 0 {
        // Callers learn of a failed connection when their answers end.
        if writer.write_all(&ready.concat()).await.is_err() {
            return;
        }
        ready.clear();
    }
}

async fn dispatch_frames(mut reader: NatsFrameReader, out: mpsc::Sender<Vec<u8>>, waiting: PendingReplies) {
    while let Ok(frame) = reader.next().await {
        match frame {
            ServerFrame::Message { subject, status, payload } => {
                let number = subject.rsplit('.').next().and_then(|number| number.parse::<u64>().ok());
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(caller) = number.and_then(|number| waiting.remove(&number)) {
                    // A caller that has given up no longer waits for it.
                    let _ = caller.send(NatsReply { status, payload });
                }
            }
            ServerFrame::Ping => drop(out.send(b"PONG\r\n".to_vec()).await),
            ServerFrame::Error(_) | ServerFrame::Pong | ServerFrame::Other => {}
        }
    }
    // Wakes everyone who still waits: the connection has failed.
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
