//! A client that posts over one stream, with many messages on their way at once, as a program does. When an answer is
//! missing it opens another stream, at any pod, and sends again, in order, every message whose fate it does not know
//! (ADR 13).

use super::call::{ClientContext, session_of};
use super::setup::USERS;
use crate::act::SimAction;
use crate::history::ClientSend;
use crate::mutation::Mutation;
use crate::replica::PodHandle;
use crate::rng::Rng;
use crate::world::SimTime;
use crate::world::net::HostId;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quorate_chatd::service::{RefusalCode, RequestRefusal, SentEvent, WriteProposal};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Largest number of messages on their way at once.
const IN_FLIGHT: usize = 8;
/// Longest pause between two bursts, in milliseconds.
const PAUSE_MS: usize = 400;
/// Messages per hundred that follow the previous one without a pause.
const BURST: usize = 45;
/// Time after the end during which messages under way are still retried.
const LAST_TRIES: SimTime = 4_000_000_000;

#[derive(Clone)]
struct StreamMessage {
    key: String,
    room_id: String,
}

type PostAnswer = (String, Result<SentEvent, RequestRefusal>);

/// One stream, from the client's side.
struct ClientStream {
    pod: HostId,
    jobs: mpsc::Sender<(u64, StreamMessage)>,
    answers: mpsc::Receiver<PostAnswer>,
    /// Arrival time of the last message, which nothing overtakes on the way.
    last: SimTime,
    sent: u64,
}

/// A posting client with its unanswered messages.
struct PostingClient {
    clients: ClientContext,
    rng: Rng,
    user: &'static str,
    number: u64,
    /// Messages without an answer, oldest first.
    open: VecDeque<StreamMessage>,
}

pub(super) async fn run_poster(clients: ClientContext, rng: Rng, place: usize) {
    let mut poster = PostingClient { clients, rng, user: USERS[place], number: 0, open: VecDeque::new() };
    while !poster.is_done() {
        let mut stream = poster.connect();
        for message in poster.open.clone() {
            stream.send(&poster.clients, message);
            poster.count(None);
        }
        poster.post(stream).await;
        sleep(Duration::from_millis(poster.rng.below(100) as u64)).await;
    }
}

impl PostingClient {
    fn is_done(&self) -> bool {
        let now = self.clients.now();
        now >= self.clients.until + LAST_TRIES || now >= self.clients.until && self.open.is_empty()
    }

    fn connect(&mut self) -> ClientStream {
        let (jobs, arriving) = mpsc::channel(IN_FLIGHT * 2);
        let (told, answers) = mpsc::channel(IN_FLIGHT * 2);
        let pod = self.clients.any_pod(&mut self.rng);
        let user = self.user;
        let aside = self.clients.mutation == Some(Mutation::PostAside);
        let net = self.clients.net.clone();
        let answer = move |answer: PostAnswer| {
            let told = told.clone();
            // A client that has lost patience no longer listens.
            net.act_over(SimAction::ToClients(pod, Box::new(move || drop(told.try_send(answer)))));
        };
        let mut stream = ClientStream { pod, jobs, answers, last: 0, sent: 0 };
        let serve = Box::new(move |running| serve_stream(running, user, arriving, aside, answer).boxed());
        self.clients.net.act_after(&mut stream.last, SimAction::ToPod(pod, serve));
        stream
    }

    /// Posts until the stream is no longer of any use.
    async fn post(&mut self, mut stream: ClientStream) {
        while !self.is_done() {
            if self.open.len() < IN_FLIGHT && !self.clients.is_over() {
                let pause = if self.rng.percent(BURST) { 0 } else { self.rng.below(PAUSE_MS) };
                let pause = Duration::from_millis(pause as u64);
                // A missing answer is noticed when no more messages may be sent.
                let Ok(answer) = timeout(pause, stream.answers.recv()).await else {
                    let message = self.next();
                    stream.send(&self.clients, message);
                    continue;
                };
                if !self.take(answer) {
                    return;
                }
                continue;
            }
            let answer = timeout(self.clients.patience, stream.answers.recv()).await;
            if !answer.is_ok_and(|answer| self.take(answer)) {
                return;
            }
        }
    }

    fn next(&mut self) -> StreamMessage {
        let rooms = self.clients.history.lock().rooms.clone();
        let room = self.rng.below(rooms.len());
        let message = StreamMessage { key: format!("{}-{}", self.user, self.number), room_id: rooms[room].clone() };
        self.number += 1;
        let send =
            ClientSend { room, invoked: self.clients.now(), acknowledged: None, answers: Vec::new(), attempts: 0 };
        let mut record = self.clients.history.lock();
        record.sends.insert(message.key.clone(), send);
        record.streamed.entry(self.user).or_default().push(message.key.clone());
        drop(record);
        self.open.push_back(message.clone());
        self.count(Some(&message.key));
        message
    }

    /// Counts one more attempt of this message, or of all messages without an answer.
    fn count(&self, key: Option<&String>) {
        let mut record = self.clients.history.lock();
        let keys: Vec<_> = match key {
            Some(key) => vec![key],
            None => self.open.iter().map(|message| &message.key).collect(),
        };
        for key in keys {
            if let Some(send) = record.sends.get_mut(key) {
                send.attempts += 1;
            }
        }
    }

    /// Takes an answer. Returns `false` if the stream has to be given up.
    fn take(&mut self, answer: Option<PostAnswer>) -> bool {
        let mut record = self.clients.history.lock();
        match answer {
            Some((key, Ok(sent))) => {
                self.open.retain(|message| message.key != key);
                if let Some(send) = record.sends.get_mut(&key) {
                    send.acknowledged.get_or_insert(self.clients.net.now());
                    send.answers.push(sent.position);
                }
                true
            }
            Some((key, Err(refusal))) => {
                if !matches!(refusal.code, RefusalCode::Unavailable | RefusalCode::Overloaded) {
                    record.surprises.push(format!("{key} was refused: {refusal}"));
                }
                false
            }
            None => false,
        }
    }
}

impl ClientStream {
    /// Sends a message in order, as over TCP.
    fn send(&mut self, clients: &ClientContext, message: StreamMessage) {
        let jobs = self.jobs.clone();
        let numbered = (self.sent, message);
        self.sent += 1;
        let arrive = Box::new(move |_| {
            // A process that is gone no longer takes it.
            drop(jobs.try_send(numbered));
            futures::future::ready(()).boxed()
        });
        clients.net.act_after(&mut self.last, SimAction::ToPod(self.pod, arrive));
    }
}

/// Serves a stream as the pod's APIs do: each message is queued in order, and its answer is awaited separately.
async fn serve_stream(
    running: PodHandle,
    user: &'static str,
    mut jobs: mpsc::Receiver<(u64, StreamMessage)>,
    aside: bool,
    answer: impl Fn(PostAnswer) + Clone + core::marker::Send + Sync + 'static,
) {
    let posts = running.service.ordered(IN_FLIGHT);
    let mut expected = 0;
    while let Some((number, StreamMessage { key, room_id })) = jobs.recv().await {
        // A missing number means a message that was lost on the way: the stream counts as broken.
        if number != expected {
            return;
        }
        expected += 1;
        let content = format!("{{\"msgtype\":\"m.text\",\"body\":\"{key}\"}}").into();
        let proposal = WriteProposal::message(&session_of(user), &room_id, "m.room.message", content, &key);
        let posted: BoxFuture<'static, Result<SentEvent, RequestRefusal>> = match proposal {
            Err(refusal) => futures::future::ready(Err(refusal)).boxed(),
            Ok(proposal) if aside => {
                let service = running.service.clone();
                async move { service.post(proposal).await }.boxed()
            }
            Ok(proposal) => posts.post(proposal).boxed(),
        };
        let answer = answer.clone();
        tokio::spawn(async move { answer((key, posted.await)) });
    }
}
