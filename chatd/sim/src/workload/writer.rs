//! A client that sends, and sends again with the same transaction id until it is told where its message stands.

use super::call::{Clients, session};
use super::setup::USERS;
use crate::history::Send;
use crate::mutation::Mutation;
use crate::replica::Running;
use crate::rng::Rng;
use crate::world::Time;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quorate_chatd::service::{Code, Refusal, Sent};
use std::time::Duration;
use tokio::time::sleep;

/// Time after the end during which messages under way are still retried.
const LAST_TRIES: Time = 4_000_000_000;
/// Longest pause between two messages of a user, in milliseconds.
const PAUSE_MS: usize = 120;

/// Message or room name that is sent.
#[derive(Clone)]
struct Message {
    key: String,
    user: &'static str,
    room: usize,
    room_id: String,
    is_name: bool,
}

pub(super) async fn run(clients: Clients, mut rng: Rng, place: usize) {
    let user = USERS[place];
    let mut number = 0;
    while !clients.is_over() {
        sleep(Duration::from_millis(rng.below(PAUSE_MS) as u64)).await;
        let rooms = clients.history.lock().rooms.clone();
        let room = rng.below(rooms.len());
        // Only the user who made the rooms may name them.
        let is_name = place == 0 && rng.percent(15);
        let message = Message { key: format!("{user}-{number}"), user, room, room_id: rooms[room].clone(), is_name };
        number += 1;
        until_answered(&clients, &mut rng, message).await;
    }
}

async fn until_answered(clients: &Clients, rng: &mut Rng, message: Message) {
    let send =
        Send { room: message.room, invoked: clients.now(), acknowledged: None, answers: Vec::new(), attempts: 0 };
    let early = clients.mutation == Some(Mutation::AcknowledgeEarly);
    let send = Send { acknowledged: early.then(|| clients.now()), ..send };
    clients.history.lock().sends.insert(message.key.clone(), send);
    if early {
        let (later, mut fork) = (clients.clone(), Rng::new(rng.number()));
        clients.spawn(async move {
            sleep(Duration::from_millis(fork.below(PAUSE_MS * 2) as u64)).await;
            repeat(&later, &mut fork, &message).await;
        });
    } else {
        repeat(clients, rng, &message).await;
    }
}

async fn repeat(clients: &Clients, rng: &mut Rng, message: &Message) {
    loop {
        let sent = attempt(clients, rng, message).await;
        // Sometimes a message is repeated as if its acknowledgement had been lost: it must get the same answer.
        let again = rng.percent(10);
        if sent && !again || clients.now() >= clients.until + LAST_TRIES {
            return;
        }
        sleep(Duration::from_millis(20 + rng.below(100) as u64)).await;
    }
}

async fn attempt(clients: &Clients, rng: &mut Rng, message: &Message) -> bool {
    let pod = clients.any_pod(rng);
    if let Some(send) = clients.history.lock().sends.get_mut(&message.key) {
        send.attempts += 1;
    }
    let wish = message.clone();
    let answer = clients.call(pod, move |running| post(running, wish)).await;
    let mut history = clients.history.lock();
    match answer {
        Some(Ok(sent)) => {
            if let Some(send) = history.sends.get_mut(&message.key) {
                send.acknowledged.get_or_insert(clients.net.now());
                send.answers.push(sent.position);
            }
            true
        }
        // A pod that lags may not know the room or the account yet, but only when it is asked to read, not to write:
        // none of the log's own refusals can happen here.
        Some(Err(refusal)) => {
            if !matches!(refusal.code, Code::Unavailable | Code::Overloaded) {
                history.surprises.push(format!("{} was refused: {refusal}", message.key));
            }
            false
        }
        None => false,
    }
}

fn post(running: Running, message: Message) -> BoxFuture<'static, Result<Sent, Refusal>> {
    async move {
        let Message { key, user, room_id, is_name, .. } = message;
        let session = session(user);
        if is_name {
            let content = format!("{{\"name\":\"{key}\"}}").into();
            running.service.set_state(&session, &room_id, "m.room.name", "", content, &key).await
        } else {
            let content = format!("{{\"msgtype\":\"m.text\",\"body\":\"{key}\"}}").into();
            running.service.send(&session, &room_id, "m.room.message", content, &key).await
        }
    }
    .boxed()
}
