//! A client that sends, and sends again with the same transaction id until it is told where its message stands.

use super::call::{ClientContext, session_of};
use super::setup::USERS;
use crate::history::ClientSend;
use crate::mutation::Mutation;
use crate::replica::PodHandle;
use crate::rng::Rng;
use crate::world::SimTime;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quorate_chatd::service::{RefusalCode, RequestRefusal, SentEvent};
use std::time::Duration;
use tokio::time::sleep;

/// Time after the end during which messages under way are still retried.
const LAST_TRIES: SimTime = 4_000_000_000;
/// Longest pause between two messages of a user, in milliseconds.
const PAUSE_MS: usize = 120;

/// Message or room name that is sent.
#[derive(Clone)]
struct PendingSend {
    key: String,
    user: &'static str,
    room: usize,
    room_id: String,
    is_name: bool,
}

pub(super) async fn run_writer(clients: ClientContext, mut rng: Rng, place: usize) {
    let user = USERS[place];
    let mut number = 0;
    while !clients.is_over() {
        sleep(Duration::from_millis(rng.below(PAUSE_MS) as u64)).await;
        let rooms = clients.history.lock().rooms.clone();
        let room = rng.below(rooms.len());
        // Only the user who made the rooms may name them.
        let is_name = place == 0 && rng.percent(15);
        let message =
            PendingSend { key: format!("{user}-{number}"), user, room, room_id: rooms[room].clone(), is_name };
        number += 1;
        until_answered(&clients, &mut rng, message).await;
    }
}

async fn until_answered(clients: &ClientContext, rng: &mut Rng, message: PendingSend) {
    let send =
        ClientSend { room: message.room, invoked: clients.now(), acknowledged: None, answers: Vec::new(), attempts: 0 };
    let early = clients.mutation == Some(Mutation::AcknowledgeEarly);
    let send = ClientSend { acknowledged: early.then(|| clients.now()), ..send };
    clients.history.lock().sends.insert(message.key.clone(), send);
    if early {
        let later = clients.clone();
        let mut fork = Rng::new(rng.number());
        clients.spawn(async move {
            sleep(Duration::from_millis(fork.below(PAUSE_MS * 2) as u64)).await;
            send_repeatedly(&later, &mut fork, &message).await;
        });
    } else {
        send_repeatedly(clients, rng, &message).await;
    }
}

async fn send_repeatedly(clients: &ClientContext, rng: &mut Rng, message: &PendingSend) {
    loop {
        let sent = attempt_send(clients, rng, message).await;
        // Sometimes a message is repeated as if its acknowledgement had been lost: it must get the same answer.
        let again = rng.percent(10);
        if sent && !again || clients.now() >= clients.until + LAST_TRIES {
            return;
        }
        sleep(Duration::from_millis(20 + rng.below(100) as u64)).await;
    }
}

async fn attempt_send(clients: &ClientContext, rng: &mut Rng, message: &PendingSend) -> bool {
    let pod = clients.any_pod(rng);
    if let Some(send) = clients.history.lock().sends.get_mut(&message.key) {
        send.attempts += 1;
    }
    let wish = message.clone();
    let answer = clients.call(pod, move |running| send_event(running, wish)).await;
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
            if !matches!(refusal.code, RefusalCode::Unavailable | RefusalCode::Overloaded) {
                history.surprises.push(format!("{} was refused: {refusal}", message.key));
            }
            false
        }
        None => false,
    }
}

fn send_event(running: PodHandle, message: PendingSend) -> BoxFuture<'static, Result<SentEvent, RequestRefusal>> {
    async move {
        let PendingSend { key, user, room_id, is_name, .. } = message;
        let session = session_of(user);
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
