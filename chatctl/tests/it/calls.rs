//! Calls across the loss of servers.

use crate::fake::{Fake, World, WriteFault};
use quorate_chatctl::{
    client::{ClientOptions, ClusterClient, FailureKind},
    exit, send,
    session::{self, ClientSession, Credentials},
};
use quorate_wire::chat::v1::{ErrorCode, SendRequest, WhoAmIRequest};
use std::time::{Duration, Instant};
use tokio::time::timeout;

fn options() -> ClientOptions {
    ClientOptions {
        attempt_timeout: Duration::from_millis(500),
        limit: Some(Duration::from_secs(20)),
        backoff_base: Duration::from_millis(20),
        backoff_cap: Duration::from_millis(100),
        ..ClientOptions::default()
    }
}

fn session(servers: &[String], token: &str) -> ClientSession {
    ClientSession::new(ClusterClient::new(servers, options()).unwrap(), token).unwrap()
}

fn message(room: &str, transaction_id: &str) -> SendRequest {
    SendRequest {
        room_id: room.into(),
        r#type: send::MESSAGE.into(),
        content: "{}".into(),
        transaction_id: transaction_id.into(),
    }
}

fn credentials(password: &str) -> Credentials {
    Credentials { username: "eve".into(), password: password.into(), device_name: String::new(), device_id: None }
}

#[tokio::test]
async fn an_unknown_outcome_is_retried_with_the_same_transaction_id_and_applied_once() {
    for applied in [true, false] {
        let world = World::new();
        let (token, room) = world.furnished();
        let (fakes, addresses) = Fake::cluster(&world, 3);
        for fake in &fakes {
            fake.on_writes([WriteFault::Unknown { applied }]);
        }
        let accepted = send::send_until_settled(&session(&addresses, &token), message(&room, "t1")).await.unwrap();
        let state = world.state.lock().unwrap();
        assert_eq!((state.events.len(), state.attempts["t1"]), (1, 4), "applied: {applied}");
        assert_eq!(accepted.event_id, state.events[0].event_id);
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_left_after_the_attempts_time_out() {
    let world = World::new();
    let (token, room) = world.furnished();
    let (fakes, addresses) = Fake::cluster(&world, 2);
    fakes[0].on_writes([WriteFault::Hang]);
    send::send_until_settled(&session(&addresses, &token), message(&room, "t1")).await.unwrap();
    assert_eq!(world.state.lock().unwrap().events.len(), 1);
}

#[tokio::test]
async fn the_loss_of_the_preferred_server_is_a_hiccup() {
    let world = World::new();
    let (token, room) = world.furnished();
    let (mut fakes, addresses) = Fake::cluster(&world, 3);
    // The backoff is so long that only an immediate retry succeeds before the test times out.
    let backoff = Duration::from_secs(3600);
    let options =
        ClientOptions { backoff_base: backoff, backoff_cap: backoff, limit: None, ..ClientOptions::default() };
    let client = ClusterClient::new(&addresses, options).unwrap();
    let session = ClientSession::new(client, &token).unwrap();
    send::send_until_settled(&session, message(&room, "before")).await.unwrap();
    fakes[0].kill();
    timeout(Duration::from_secs(30), send::send_until_settled(&session, message(&room, "after")))
        .await
        .expect("at once")
        .unwrap();
    assert_eq!(session.client().servers().pick(None).unwrap().address(), addresses[1]);
}

#[tokio::test]
async fn a_refusal_for_good_is_not_retried() {
    let world = World::new();
    let (token, room) = world.furnished();
    let (fakes, addresses) = Fake::cluster(&world, 2);
    fakes[0].on_writes([WriteFault::Refuse(ErrorCode::Forbidden)]);
    let failure = send::send_until_settled(&session(&addresses, &token), message(&room, "t1")).await.unwrap_err();
    assert_eq!((failure.code(), failure.exit_code(), failure.unknown), ("FORBIDDEN", exit::REFUSED, false));
    assert_eq!(world.state.lock().unwrap().attempts["t1"], 1);
}

#[tokio::test]
async fn a_rate_limit_is_waited_out() {
    let world = World::new();
    let (token, room) = world.furnished();
    let (fakes, addresses) = Fake::cluster(&world, 1);
    fakes[0].on_writes([WriteFault::Limit { retry_after_ms: 150 }]);
    let session = session(&addresses, &token);
    let began = Instant::now();
    send::send_until_settled(&session, message(&room, "t1")).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(150));
    assert_eq!(session.client().counters().rate_limited(), 1);
}

#[tokio::test]
async fn a_write_in_doubt_when_the_time_is_up_says_so_and_names_its_transaction_id() {
    let world = World::new();
    let (token, room) = world.furnished();
    let (fakes, addresses) = Fake::cluster(&world, 1);
    fakes[0].on_writes(std::iter::repeat_n(WriteFault::Unknown { applied: false }, 1000));
    let client =
        ClusterClient::new(&addresses, ClientOptions { limit: Some(Duration::from_millis(200)), ..options() }).unwrap();
    let failure =
        send::send_until_settled(&ClientSession::new(client, &token).unwrap(), message(&room, "t1")).await.unwrap_err();
    assert_eq!((failure.exit_code(), failure.transaction_id.as_deref()), (exit::UNKNOWN, Some("t1")));
    assert!(failure.to_string().contains("same transaction id"), "{failure}");
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_not_unknown() {
    let world = World::new();
    let (token, room) = world.furnished();
    let (mut fakes, addresses) = Fake::cluster(&world, 2);
    fakes.iter_mut().for_each(Fake::kill);
    let client =
        ClusterClient::new(&addresses, ClientOptions { limit: Some(Duration::from_millis(300)), ..options() }).unwrap();
    let failure =
        send::send_until_settled(&ClientSession::new(client, &token).unwrap(), message(&room, "t1")).await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.unknown, failure.exit_code()),
        (FailureKind::Unavailable, false, exit::UNAVAILABLE)
    );
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again() {
    let world = World::new();
    let (token, room) = world.furnished();
    let (mut fakes, addresses) = Fake::cluster(&world, 1);
    let session = session(&addresses, &token);
    send::send_until_settled(&session, message(&room, "before")).await.unwrap();
    fakes[0].kill();
    let sending = tokio::spawn(async move { send::send_until_settled(&session, message(&room, "during")).await });
    let address = addresses[0].parse().unwrap();
    let _back = tokio::task::spawn_blocking({
        let world = world.clone();
        move || Fake::start_at(&world, address)
    })
    .await
    .unwrap();
    sending.await.unwrap().unwrap();
    assert_eq!(world.state.lock().unwrap().events.len(), 2);
}

#[tokio::test]
async fn a_wrong_token_is_unauthenticated() {
    let world = World::new();
    let (_fakes, addresses) = Fake::cluster(&world, 1);
    let session = session(&addresses, "nonsense");
    let failure = session.call(WhoAmIRequest {}, |mut c, r| async move { c.who_am_i(r).await }).await.unwrap_err();
    assert_eq!(failure.exit_code(), exit::UNAUTHENTICATED);
}

#[tokio::test]
async fn a_registration_that_went_through_unseen_ends_in_a_session() {
    let world = World::new();
    let (fakes, addresses) = Fake::cluster(&world, 1);
    fakes[0].on_writes([WriteFault::Limit { retry_after_ms: 20 }, WriteFault::Unknown { applied: true }]);
    let client = ClusterClient::new(&addresses, options()).unwrap();
    let opened = session::register_user(&client, &credentials("right")).await.unwrap();
    assert_eq!(opened.user_id, "@eve:test");
}

#[tokio::test]
async fn a_name_that_somebody_else_has_stays_taken() {
    let world = World::new();
    world.state.lock().unwrap().passwords.insert("eve".into(), "theirs".into());
    let (_fakes, addresses) = Fake::cluster(&world, 1);
    let client = ClusterClient::new(&addresses, options()).unwrap();
    let failure = session::register_user(&client, &credentials("mine")).await.unwrap_err();
    assert_eq!(failure.error_code, ErrorCode::AlreadyExists);
}

#[tokio::test]
async fn servers_that_the_cluster_names_are_used_when_the_known_one_is_gone() {
    let world = World::new();
    let (token, room) = world.furnished();
    let (mut fakes, addresses) = Fake::cluster(&world, 2);
    fakes[0].tells_of(&addresses);
    let session = session(&addresses[..1], &token);
    assert_eq!(session.learn_servers().await.unwrap(), 1);
    fakes[0].kill();
    send::send_until_settled(&session, message(&room, "t1")).await.unwrap();
}
