//! Bad input: each is refused with a specific error, nothing is lost, and no pod panics.

use crate::support::client::{User, detail, message, with_token};
use crate::support::cluster::Cluster;
use crate::support::process::Node;
use quorate_core::id;
use quorate_wire::chat::v1::create_room_request::Preset;
use quorate_wire::chat::v1::*;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use tonic::{Code, Status};

fn is(status: &Status, code: ErrorCode, words: &str) {
    let detail = detail(status);
    assert_eq!(detail.code(), code, "{status}");
    assert!(detail.message.contains(words), "{words:?} is not in: {}", detail.message);
    assert_eq!(detail.message, status.message());
}

async fn send(user: &User, request: SendRequest) -> Status {
    user.client(1).send(user.asks(request)).await.expect_err("a refusal")
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_one_by_one_and_the_pod_lives_on() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let (alice, mallory) = (cluster.user(0, "alice").await, cluster.user(1, "mallory").await);
    let room = alice.create_room(0, Preset::Private, "").await;

    tokens(&alice).await;
    events(&alice, &mallory, &room).await;
    names_and_cursors(&alice, &mallory, &room).await;
    accounts(&alice).await;
    frames(&alice, &room).await;
    login_without_a_type(&cluster);
    content_that_no_event_may_carry(&cluster, &alice, &room);
    tokens_of_nobody(&cluster, &alice, &room);
    garbage(&cluster);

    alice.say(2, &room, "still here", "end").await.expect("sent");
    assert_eq!(alice.read_all(0, &room).await.len(), 1);
    for node in &cluster.nodes {
        assert!(!node.log().contains("panicked"), "{}", node.log());
    }
}

/// Checks tokens that no pod can have issued. A page or list from a valid token waits until the pod has applied that
/// far; one from these is refused.
fn tokens_of_nobody(cluster: &Cluster, alice: &User, room: &str) {
    let ahead = id::encode_cursor(id::Position { incarnation: 0, index: 1 << 40, ordinal: 0 });
    for path in
        [format!("messages?dir=b&from={ahead}"), format!("messages?dir=f&to={ahead}"), format!("members?at={ahead}")]
    {
        let path = format!("/_matrix/client/v3/rooms/{room}/{path}");
        let answer = cluster.nodes[0].matrix("GET", &path, &alice.session.access_token, "").expect("an answer");
        assert!(answer.0 == 400 && answer.1.contains("M_INVALID_PARAM"), "{path}: {answer:?}");
    }
}

async fn tokens(alice: &User) {
    let mut client = alice.client(0);
    let none = client.who_am_i(WhoAmIRequest {}).await.expect_err("no token");
    is(&none, ErrorCode::Unauthenticated, "Bearer");
    assert_eq!(none.code(), Code::Unauthenticated);
    for token in ["", "x", "qat_AAAA", &format!("qat_{}", "x".repeat(4000))] {
        let wrong = client.who_am_i(with_token(WhoAmIRequest {}, token)).await.expect_err("no such token");
        is(&wrong, ErrorCode::Unauthenticated, "log in");
    }
}

async fn events(alice: &User, mallory: &User, room: &str) {
    let with = |content: String| SendRequest { content: content.into(), ..message(room, "", "t") };
    let long = format!("{{\"body\":\"{}\"}}", "x".repeat(65_536));
    is(&send(alice, with(long)).await, ErrorCode::TooLarge, "65536");
    is(&send(alice, with("{".into())).await, ErrorCode::Invalid, "content");
    is(&send(alice, with("[1]".into())).await, ErrorCode::Invalid, "JSON object");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    is(&send(alice, with(deep)).await, ErrorCode::Invalid, "nested");
    let untyped = SendRequest { r#type: String::new(), ..message(room, "", "t") };
    is(&send(alice, untyped).await, ErrorCode::Invalid, "type");
    let long_txn = message(room, "", &"t".repeat(256));
    is(&send(alice, long_txn).await, ErrorCode::TooLarge, "transaction_id");
    let zero = message(room, "", "a\0b");
    is(&send(alice, zero).await, ErrorCode::Invalid, "zero byte");
    is(&send(mallory, message(room, "let me in", "t")).await, ErrorCode::NotMember, "");
    // Exceeds the limit of the transport, which refuses it with a code of its own.
    let huge = with("x".repeat(5 << 20));
    assert_eq!(send(alice, huge).await.code(), Code::OutOfRange);
}

async fn names_and_cursors(alice: &User, mallory: &User, room: &str) {
    is(&send(alice, message("!nowhere:chat.test", "", "t")).await, ErrorCode::NotMember, "room");
    is(&send(alice, message("nonsense", "", "t")).await, ErrorCode::NotMember, "room");
    let history = |from: &str| HistoryRequest { room_id: room.into(), from: from.into(), ..HistoryRequest::default() };
    // The last one is well formed, but lies beyond everything, so nobody can have issued it.
    let future = id::encode_cursor(id::Position { incarnation: 0, index: u64::MAX, ordinal: 0 });
    for cursor in ["x", "qAAAA", "s72594_4483_1934", future.as_str()] {
        let refused = alice.client(0).history(alice.asks(history(cursor))).await.expect_err("no cursor");
        is(&refused, ErrorCode::BadCursor, "cursor");
    }
    let refused = mallory.client(0).history(mallory.asks(history(""))).await.expect_err("not a member");
    assert!(matches!(detail(&refused).code(), ErrorCode::NotMember | ErrorCode::Forbidden), "{refused}");
    let subscribe = SubscribeRequest { room_id: room.into(), cursor: "x".into() };
    let refused = alice.client(0).subscribe(alice.asks(subscribe)).await.expect_err("no cursor");
    is(&refused, ErrorCode::BadCursor, "cursor");
    let subscribe = SubscribeRequest { room_id: room.into(), cursor: String::new() };
    let refused = mallory.client(0).subscribe(mallory.asks(subscribe)).await.expect_err("not a member");
    assert!(matches!(detail(&refused).code(), ErrorCode::NotMember | ErrorCode::Forbidden), "{refused}");
    let page = ListRoomsRequest { page: "zzz".into(), ..ListRoomsRequest::default() };
    let refused = alice.client(0).list_rooms(alice.asks(page)).await.expect_err("no page");
    is(&refused, ErrorCode::BadCursor, "page");
    let refused = alice.join(0, "lobby").await.expect_err("neither id nor alias");
    is(&refused, ErrorCode::Invalid, "alias");
}

async fn accounts(alice: &User) {
    let register = |username: &str, password: &str| RegisterRequest {
        username: username.into(),
        password: password.into(),
        ..RegisterRequest::default()
    };
    let mut client = alice.client(2);
    is(&client.register(register("alice", "x")).await.expect_err("taken"), ErrorCode::AlreadyExists, "taken");
    is(&client.register(register("Alice", "x")).await.expect_err("folded"), ErrorCode::AlreadyExists, "taken");
    for name in ["", "a b", "@bob:elsewhere.org", "ü"] {
        is(&client.register(register(name, "x")).await.expect_err("no name"), ErrorCode::Invalid, "localpart");
    }
    is(&client.register(register("carol", "")).await.expect_err("empty"), ErrorCode::Invalid, "password");
    for name in ["alice", "nobody"] {
        let login = LoginRequest { username: name.into(), password: "wrong".into(), ..LoginRequest::default() };
        is(&client.login(login).await.expect_err("wrong"), ErrorCode::WrongCredentials, "name and password");
    }
    let mut limited = None;
    for _ in 0..20 {
        let login = LoginRequest { username: "victim".into(), password: "guess".into(), ..LoginRequest::default() };
        let refused = client.login(login).await.expect_err("wrong");
        if detail(&refused).code() == ErrorCode::LimitExceeded {
            limited = Some(detail(&refused).retry_after_ms);
            break;
        }
    }
    assert!(limited.is_some_and(|wait| wait > 0), "guessing is slowed down");
}

async fn frames(alice: &User, room: &str) {
    let many = PostRequest { events: (0..1025).map(|n| message(room, "", &n.to_string())).collect() };
    let request = alice.asks(tokio_stream::iter([many]));
    let mut answers = alice.client(0).post(request).await.expect("open").into_inner();
    let refused = answers.message().await.expect_err("a broken frame ends the stream");
    is(&refused, ErrorCode::TooLarge, "1024");
}

/// Sends one request to a node's Matrix API, and returns the whole answer.
fn matrix(node: &Node, method: &str, path: &str, token: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(node.http).expect("open");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let length = body.len();
    let head = format!("{method} /_matrix/client/v3/{path} HTTP/1.0\r\nHost: test\r\nAuthorization: Bearer {token}");
    let request = format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Sends a login that makes ruma panic when it is decoded; anyone may send it.
fn login_without_a_type(cluster: &Cluster) {
    let answer = matrix(&cluster.nodes[0], "POST", "login", "", "{}");
    assert!(answer.contains(" 400 ") && answer.contains("M_BAD_JSON"), "{answer}");
}

fn content_that_no_event_may_carry(cluster: &Cluster, alice: &User, room: &str) {
    let token = &alice.session.access_token;
    for (path, body, errcode, words) in [
        ("send/t/n1", r#"{"a":1.5}"#, "M_BAD_JSON", "numbers must"),
        ("send/t/n2", r#"{"a":9007199254740992}"#, "M_BAD_JSON", "numbers must"),
        ("send/t/n3", r#"{"body":"one","body":"two"}"#, "M_BAD_JSON", "appears twice"),
        ("state/t", r#"{"a":[1e3]}"#, "M_BAD_JSON", "numbers must"),
        ("send/m.room.member/n4", r#"{"membership":"join"}"#, "M_INVALID_PARAM", "is a state event"),
        ("send/m.room.create/n5", "{}", "M_INVALID_PARAM", "is a state event"),
    ] {
        let answer = matrix(&cluster.nodes[1], "PUT", &format!("rooms/{room}/{path}"), token, body);
        assert!(answer.contains(" 400 ") && answer.contains(errcode) && answer.contains(words), "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn further_fields_of_a_join_stand_in_its_event() {
    let cluster = Cluster::start("").await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let room = alice.create_room(0, Preset::Public, "").await;
    let joined =
        matrix(&cluster.nodes[1], "POST", &format!("join/{room}"), &bob.session.access_token, r#"{"foo":"bar"}"#);
    assert!(joined.contains(" 200 ") && joined.contains(&room), "{joined}");
    let path = format!("rooms/{room}/state/m.room.member/{}", bob.session.user_id);
    let event = matrix(&cluster.nodes[2], "GET", &path, &alice.session.access_token, "");
    assert!(event.contains(r#""foo":"bar""#) && event.contains(r#""membership":"join""#), "{event}");
}

/// Sends bytes that are neither HTTP nor TLS to all listeners.
fn garbage(cluster: &Cluster) {
    for node in &cluster.nodes {
        for address in [node.grpc, node.http, node.peer, node.metrics] {
            let mut stream = TcpStream::connect(address).expect("open");
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
            // The listener may answer or close the connection, as long as it stays up.
            let _ = stream.write_all(&[0xff; 4096]);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read(&mut [0; 1024]);
        }
    }
}
