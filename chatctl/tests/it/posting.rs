//! Posting over streams that break.

use crate::fake::{Fake, World, WriteFault};
use quorate_chatctl::{
    client::{ClientOptions, ClusterClient},
    post::MessagePoster,
    send::MESSAGE,
    session::ClientSession,
};
use quorate_wire::chat::v1::{ErrorCode, SendRequest};
use std::time::Duration;
use tokio::task::JoinSet;

fn poster(servers: &[String], token: &str) -> MessagePoster {
    let options = ClientOptions {
        attempt_timeout: Duration::from_millis(500),
        limit: None,
        backoff_base: Duration::from_millis(20),
        backoff_cap: Duration::from_millis(100),
        ..ClientOptions::default()
    };
    MessagePoster::start(ClientSession::new(ClusterClient::new(servers, options).unwrap(), token).unwrap())
}

fn message(room: &str, number: usize) -> SendRequest {
    SendRequest {
        room_id: room.into(),
        r#type: MESSAGE.into(),
        content: format!("{number}").into(),
        transaction_id: format!("t{number}"),
    }
}

#[tokio::test]
async fn every_message_is_there_once_although_servers_die_hang_and_do_not_know() {
    let world = World::new();
    let (token, room) = world.furnished();
    let (mut fakes, addresses) = Fake::cluster(&world, 3);
    for applied in [true, false] {
        fakes[0].on_writes([WriteFault::Unknown { applied }, WriteFault::Limit { retry_after_ms: 10 }]);
    }
    fakes[1].on_writes([WriteFault::Hang]);
    let poster = poster(&addresses, &token);
    let mut posting = JoinSet::new();
    for number in 0..500 {
        let (poster, message) = (poster.clone(), message(&room, number));
        posting.spawn(async move { poster.post(message).await });
        if number == 250 {
            // Some messages are settled, some are in flight, some are not even sent.
            posting.join_next().await.unwrap().unwrap().unwrap();
            fakes[0].kill();
        }
    }
    while let Some(settled) = posting.join_next().await {
        settled.unwrap().unwrap();
    }
    let state = world.state.lock().unwrap();
    let mut said: Vec<usize> =
        state.events.iter().map(|e| String::from_utf8_lossy(&e.content).parse().unwrap()).collect();
    said.sort_unstable();
    assert_eq!(said, (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_faults_messages_stand_in_the_order_in_which_they_were_posted() {
    let world = World::new();
    let (token, room) = world.furnished();
    let (_fakes, addresses) = Fake::cluster(&world, 1);
    let poster = poster(&addresses, &token);
    let all = (0..300).map(|number| poster.post(message(&room, number)));
    // The futures are polled in their order, so that the messages are queued in their order.
    let mut posting: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        posting.retain_mut(|one| one.as_mut().poll(context).map(|settled| settled.unwrap()).is_pending());
        if posting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    let state = world.state.lock().unwrap();
    let said: Vec<String> = state.events.iter().map(|e| String::from_utf8_lossy(&e.content).into_owned()).collect();
    assert_eq!(said, (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_refused_message_does_not_hold_up_the_others() {
    let world = World::new();
    let (token, room) = world.furnished();
    let (fakes, addresses) = Fake::cluster(&world, 1);
    fakes[0].on_writes([WriteFault::Refuse(ErrorCode::TooLarge)]);
    let poster = poster(&addresses, &token);
    let failure = poster.post(message(&room, 0)).await.unwrap_err();
    assert_eq!((failure.code(), failure.unknown), ("TOO_LARGE", false));
    assert_eq!(poster.post(message(&room, 1)).await.unwrap().transaction_id, "t1");
}

#[tokio::test]
async fn a_session_that_ended_fails_what_was_posted() {
    let world = World::new();
    let (_fakes, addresses) = Fake::cluster(&world, 1);
    let failure = poster(&addresses, "nonsense").post(message("!room:test", 0)).await.unwrap_err();
    assert_eq!(failure.code(), "UNAUTHENTICATED");
}
