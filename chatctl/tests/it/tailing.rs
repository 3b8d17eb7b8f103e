//! Subscriptions over lost connections.

use crate::fake::{Fake, StreamFault, World};
use quorate_chatctl::{
    client::{ClientOptions, ClusterClient},
    session::ClientSession,
    tail::{DuplicateFilter, ResumingSubscription},
};
use quorate_wire::chat::v1::{ErrorCode, Event};
use std::{sync::Arc, time::Duration};

fn tail(servers: &[String], token: &str, room: &str, cursor: &str) -> ResumingSubscription {
    let options = ClientOptions {
        backoff_base: Duration::from_millis(10),
        backoff_cap: Duration::from_millis(50),
        limit: Some(Duration::from_secs(20)),
        ..ClientOptions::default()
    };
    ResumingSubscription::new(
        ClientSession::new(ClusterClient::new(servers, options).unwrap(), token).unwrap(),
        room,
        cursor,
    )
}

async fn events(tail: &mut ResumingSubscription, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(tail.next().await.unwrap().events);
    }
    events
}

fn indices(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.position.unwrap().index).collect()
}

fn world_with(count: usize) -> (Arc<World>, String, String) {
    let world = World::new();
    let (token, room) = world.furnished();
    for number in 0..count {
        world.say(&room, &number.to_string());
    }
    (world, token, room)
}

#[tokio::test]
async fn every_event_comes_once_over_servers_that_end_the_stream_again_and_again() {
    let (world, token, room) = world_with(30);
    let (fakes, addresses) = Fake::cluster(&world, 3);
    for (index, fake) in fakes.iter().enumerate() {
        let fault = StreamFault { end_after: Some(3), ask_to_reconnect: index == 0, ..StreamFault::default() };
        fake.on_streams(std::iter::repeat_n(fault, 3));
    }
    let mut tail = tail(&addresses, &token, &room, "c0");
    assert_eq!(indices(&events(&mut tail, 30).await), (1..=30).collect::<Vec<_>>());
    assert_eq!(tail.reconnects(), 9);
    assert_eq!(tail.cursor(), "c30");
}

#[tokio::test]
async fn a_request_to_reconnect_moves_to_another_server() {
    let (world, token, room) = world_with(4);
    let (fakes, addresses) = Fake::cluster(&world, 2);
    fakes[0].on_streams([StreamFault { end_after: Some(2), ask_to_reconnect: true, ..StreamFault::default() }]);
    let mut tail = tail(&addresses, &token, &room, "c0");
    events(&mut tail, 1).await;
    assert_eq!(tail.server(), Some(addresses[0].as_str()));
    events(&mut tail, 3).await;
    assert_eq!(tail.server(), Some(addresses[1].as_str()));
}

#[tokio::test]
async fn a_killed_server_costs_nothing() {
    let (world, token, room) = world_with(0);
    let (mut fakes, addresses) = Fake::cluster(&world, 2);
    let mut tail = tail(&addresses, &token, &room, "");
    tail.next().await.unwrap();
    world.say(&room, "one");
    assert_eq!(indices(&events(&mut tail, 1).await), [1]);
    fakes[0].kill();
    world.say(&room, "two");
    world.say(&room, "three");
    assert_eq!(indices(&events(&mut tail, 2).await), [2, 3]);
    assert_eq!(tail.server(), Some(addresses[1].as_str()));
}

#[tokio::test]
async fn what_a_server_repeats_after_a_resume_is_passed_once() {
    let (world, token, room) = world_with(10);
    let (fakes, addresses) = Fake::cluster(&world, 2);
    fakes[0].on_streams([StreamFault { end_after: Some(5), ..StreamFault::default() }]);
    fakes[1].on_streams([StreamFault { repeat: 3, ..StreamFault::default() }]);
    let mut tail = tail(&addresses, &token, &room, "c0");
    let raw = events(&mut tail, 13).await;
    let mut once = DuplicateFilter::default();
    let passed: Vec<Event> = raw.into_iter().filter(|event| once.is_new(event)).collect();
    assert_eq!(indices(&passed), (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_bad_cursor_ends_it_with_the_servers_reason() {
    let (world, token, room) = world_with(1);
    let (fakes, addresses) = Fake::cluster(&world, 1);
    fakes[0].on_streams([StreamFault { refuse: Some(ErrorCode::BadCursor), ..StreamFault::default() }]);
    let failure = tail(&addresses, &token, &room, "c0").next().await.unwrap_err();
    assert_eq!(failure.code(), "BAD_CURSOR");
}

#[tokio::test]
async fn without_any_server_it_gives_up_only_if_it_never_had_one() {
    let (world, token, room) = world_with(0);
    let (mut fakes, addresses) = Fake::cluster(&world, 1);
    fakes[0].kill();
    let options = ClientOptions { limit: Some(Duration::from_millis(200)), ..ClientOptions::default() };
    let session = ClientSession::new(ClusterClient::new(&addresses, options).unwrap(), &token).unwrap();
    let failure = ResumingSubscription::new(session, &room, "").next().await.unwrap_err();
    assert_eq!(failure.code(), "UNAVAILABLE");
}
