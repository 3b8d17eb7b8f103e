//! Logins: guessers are slowed down, owners are not, and an outage is not taken for a wrong password.

use crate::support::client::{PASSWORD, User, detail, message};
use crate::support::cluster::Cluster;
use crate::support::eventually;
use quorate_wire::chat::v1::chat_client::ChatClient;
use quorate_wire::chat::v1::create_room_request::Preset;
use quorate_wire::chat::v1::*;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;
use tonic::transport::{Channel, Endpoint};

/// Starts a single pod, which is enough for what a pod does by itself.
async fn single(settings: &str) -> Cluster {
    let cluster = Cluster::uninitialised(1, settings);
    cluster.initialise().await;
    cluster.all_ready().await;
    cluster
}

/// Connects to the gRPC API from another loopback address.
async fn from(cluster: &Cluster, last: u8) -> ChatClient<Channel> {
    let address = IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
    let endpoint = Endpoint::from_shared(format!("http://{}", cluster.nodes[0].grpc)).expect("an address");
    let endpoint = endpoint.local_address(Some(address));
    ChatClient::new(eventually("the gRPC listener is open", || async { endpoint.connect().await.ok() }).await)
}

fn login(name: &str, password: &str, device: &str) -> LoginRequest {
    LoginRequest {
        username: name.into(),
        password: password.into(),
        device_id: device.into(),
        ..LoginRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guesser_locks_nobody_out_and_gains_nothing_by_the_owners_logins() {
    let cluster = single("").await;
    let alice = User::register(&cluster, 0, "alice").await;
    let device = alice.session.device_id.clone();
    let (mut guesser, mut owner, mut newcomer) =
        (from(&cluster, 2).await, from(&cluster, 2).await, from(&cluster, 3).await);
    let (began, mut guesses) = (Instant::now(), 0_u64);
    for round in 0..60 {
        let refused = guesser.login(login("alice", "wrong", "")).await.expect_err("wrong");
        match detail(&refused).code() {
            ErrorCode::WrongCredentials => guesses += 1,
            ErrorCode::LimitExceeded => assert!(detail(&refused).retry_after_ms > 0),
            other => panic!("{other:?}"),
        }
        if round % 10 == 9 {
            owner.login(login("alice", PASSWORD, &device)).await.expect("a known device, at the guesser's address");
            newcomer.login(login("alice", PASSWORD, "")).await.expect("somewhere else");
        }
    }
    let allowed = 10 + began.elapsed().as_secs() / 10 + 1;
    assert!((10..=allowed).contains(&guesses), "{guesses} guesses, {allowed} are meant");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_not_a_wrong_password() {
    let mut cluster = Cluster::start("").await;
    let alice = User::register(&cluster, 0, "alice").await;
    cluster.kill(1);
    cluster.kill(2);
    let logins = (0..15).map(|_| {
        let mut client = alice.client(0);
        async move { client.login(login("alice", PASSWORD, "")).await }
    });
    for answer in futures::future::join_all(logins).await {
        // One login may succeed before the pod notices that it is alone.
        if let Err(refused) = answer {
            assert_eq!(detail(&refused).code(), ErrorCode::Unavailable, "{refused}");
            assert!(detail(&refused).retry_after_ms > 0);
        }
    }
    cluster.restart(1);
    eventually("the right password is let in again", || async {
        match alice.client(0).login(login("alice", PASSWORD, "")).await {
            Ok(_) => Some(()),
            Err(refused) => {
                assert_eq!(detail(&refused).code(), ErrorCode::Unavailable, "{refused}");
                None
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_makes_a_bounded_number_of_accounts() {
    let cluster = single("").await;
    let mut client = from(&cluster, 2).await;
    let mut refused = None;
    // On a slow machine, some of the budget is restored meanwhile.
    for n in 0..400 {
        let request =
            RegisterRequest { username: format!("user{n}"), password: PASSWORD.into(), ..RegisterRequest::default() };
        if let Err(status) = client.register(request).await {
            refused = Some((n, detail(&status)));
            break;
        }
    }
    let (made, detail) = refused.expect("refused at last");
    assert!(made >= 50, "{made}");
    assert_eq!(detail.code(), ErrorCode::LimitExceeded);
    User::register(&cluster, 0, "somebody-else").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_logs_in_again_repeats_its_requests_and_one_that_logged_out_does_not() {
    let cluster = single("").await;
    let alice = User::register(&cluster, 0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    let sent = alice.say(0, &room, "once", "t1").await.expect("sent");
    let again = alice.client(0).login(login("alice", PASSWORD, &alice.session.device_id)).await.expect("logged in");
    let again = User { session: again.into_inner(), clients: alice.clients.clone() };
    assert_eq!(again.session.device_id, alice.session.device_id);
    assert!(alice.say(0, &room, "the old token", "t2").await.is_err(), "it ended with the new login");
    let repeated = again.say(0, &room, "once", "t1").await.expect("known");
    assert_eq!(repeated.event_id, sent.event_id);
    again.client(0).logout(again.asks(LogoutRequest { all_devices: true })).await.expect("logged out");
    let another = alice.client(0).login(login("alice", PASSWORD, &alice.session.device_id)).await.expect("logged in");
    let another = User { session: another.into_inner(), clients: alice.clients.clone() };
    assert_ne!(another.say(0, &room, "twice", "t1").await.expect("sent").event_id, sent.event_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_registrations_are_answered_as_the_specification_says() {
    let cluster = single("").await;
    let node = &cluster.nodes[0];
    let code = |method: &str, path: &str, body: &str| {
        let (status, body) = node.matrix(method, path, "", body).expect("an answer");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        (status, body)
    };
    let (status, body) = code("GET", "/_matrix/client/v3/register/available?username=a%20b", "");
    assert_eq!((status, body["errcode"].as_str()), (400, Some("M_INVALID_USERNAME")));
    let register = |name: &str| {
        format!(r#"{{"username":"{name}","password":"p","inhibit_login":true,"auth":{{"type":"m.login.dummy"}}}}"#)
    };
    let (status, body) = code("POST", "/_matrix/client/v3/register", &register("b@d"));
    assert_eq!((status, body["errcode"].as_str()), (400, Some("M_INVALID_USERNAME")));
    let (status, body) = code("POST", "/_matrix/client/v3/register", &register("bob"));
    assert_eq!((status, body["user_id"].as_str()), (200, Some("@bob:chat.test")));
    assert!(body.get("access_token").is_none() && body.get("device_id").is_none(), "{body}");
    let (status, body) = code("GET", "/_matrix/client/v3/profile/@bob:chat.test", "");
    assert_eq!((status, &body), (200, &serde_json::json!({})));
    let (status, _) = code("GET", "/_matrix/client/v3/profile/@nobody:chat.test", "");
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_from_a_refusal_whether_a_room_is_there() {
    let cluster = single("rateLimit: {enabled: false}").await;
    let (alice, mallory) = (User::register(&cluster, 0, "alice").await, User::register(&cluster, 0, "mallory").await);
    let there = alice.create_room(0, Preset::Private, "secret").await;
    // An id of the same form, which any caller can construct.
    let elsewhere = quorate_core::id::room_id(
        quorate_core::id::Position { incarnation: 0, index: 999_999, ordinal: 0 },
        "chat.test",
    );
    let (mut http, mut grpc) = (Vec::new(), Vec::new());
    for room in [&there, &elsewhere] {
        http.push(over_http(&cluster, &mallory, room));
        grpc.push(over_grpc(&mallory, room).await);
    }
    assert_eq!(http[0], http[1]);
    assert_eq!(grpc[0], grpc[1]);
    assert!(http[0].iter().all(|(_, status, _)| *status >= 400), "{http:?}");
    alice.say(0, &there, "still here", "end").await.expect("sent");
}

/// Calls every endpoint that takes a room, with valid and invalid requests; returns name, status and body of each.
fn over_http(cluster: &Cluster, user: &User, room: &str) -> Vec<(String, u16, String)> {
    let event = "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let member = |membership: &str| format!(r#"{{"membership":"{membership}"}}"#);
    let me = format!("@mallory:{}", "chat.test");
    let calls: Vec<(&str, String, String)> = vec![
        ("POST", "join".into(), "{}".into()),
        ("POST", "leave".into(), "{}".into()),
        ("POST", "forget".into(), "{}".into()),
        ("POST", "invite".into(), r#"{"user_id":"@alice:chat.test"}"#.into()),
        ("POST", "invite".into(), r#"{"user_id":"@alice:elsewhere.org"}"#.into()),
        ("POST", "kick".into(), r#"{"user_id":"@alice:chat.test"}"#.into()),
        ("POST", "ban".into(), r#"{"user_id":"@nobody:chat.test"}"#.into()),
        ("POST", "unban".into(), r#"{"user_id":"@alice:chat.test"}"#.into()),
        ("GET", "state".into(), String::new()),
        ("GET", "state/m.room.name".into(), String::new()),
        ("GET", "members".into(), String::new()),
        ("GET", "joined_members".into(), String::new()),
        ("GET", "messages?dir=b".into(), String::new()),
        ("GET", format!("event/{event}"), String::new()),
        ("PUT", "send/m.room.message/t1".into(), r#"{"body":"x"}"#.into()),
        ("PUT", "send/m.room.redaction/t2".into(), "{}".into()),
        ("PUT", format!("redact/{event}/t3"), "{}".into()),
        ("POST", format!("receipt/m.read/{event}"), "{}".into()),
        ("POST", "read_markers".into(), format!(r#"{{"m.fully_read":"{event}"}}"#)),
        ("PUT", "state/m.room.name".into(), r#"{"name":"x"}"#.into()),
        ("PUT", "state/m.room.create".into(), "{}".into()),
        ("PUT", format!("state/m.room.member/{me}"), member("join")),
        ("PUT", format!("state/m.room.member/{me}"), member("knock")),
        ("PUT", format!("state/m.room.member/{me}"), member("leave")),
        ("PUT", format!("state/m.room.member/{me}"), member("nonsense")),
        ("PUT", "state/m.room.member/@alice:chat.test".into(), member("join")),
        ("PUT", "state/m.room.member/nobody".into(), member("join")),
    ];
    let mut answers = Vec::new();
    let mut ask = |method: &str, path: String, body: &str| {
        let (status, answer) =
            cluster.nodes[0].matrix(method, &path, &user.session.access_token, body).expect("answered");
        answers.push((path.replace(room, "ROOM"), status, answer.replace(room, "ROOM")));
    };
    for (method, path, body) in calls {
        ask(method, format!("/_matrix/client/v3/rooms/{room}/{path}"), &body);
    }
    ask("POST", format!("/_matrix/client/v3/join/{room}"), "{}");
    let mine = format!("/_matrix/client/v3/user/{me}/rooms/{room}/account_data/x");
    ask("GET", mine.clone(), "");
    ask("PUT", mine, "{}");
    let tags = format!("/_matrix/client/v3/user/{me}/rooms/{room}/tags");
    ask("PUT", format!("{tags}/u.x"), "{}");
    ask("DELETE", format!("{tags}/u.x"), "");
    answers
}

async fn over_grpc(user: &User, room: &str) -> Vec<(tonic::Code, String)> {
    let mut client = user.client(0);
    let room_id = room.to_owned();
    let join = user.asks(JoinRoomRequest { room: room.into(), ..JoinRoomRequest::default() });
    let leave = user.asks(LeaveRoomRequest { room_id: room.into(), ..LeaveRoomRequest::default() });
    let invite = InviteRequest { room_id: room.into(), user_id: "@alice:chat.test".into(), ..InviteRequest::default() };
    let members = user.asks(ListMembersRequest { room_id: room.into(), ..ListMembersRequest::default() });
    let history = user.asks(HistoryRequest { room_id: room.into(), ..HistoryRequest::default() });
    let subscribe = user.asks(SubscribeRequest { room_id, cursor: String::new() });
    let state = SetStateRequest {
        room_id: room.into(),
        r#type: "m.room.name".into(),
        content: "{}".into(),
        ..SetStateRequest::default()
    };
    let mark = MarkReadRequest { room_id: room.into(), event_id: "$x".into(), ..MarkReadRequest::default() };
    let refused = [
        client.join_room(join).await.map(drop).expect_err("join"),
        client.leave_room(leave).await.map(drop).expect_err("leave"),
        client.invite(user.asks(invite)).await.map(drop).expect_err("invite"),
        client.list_members(members).await.map(drop).expect_err("members"),
        client.history(history).await.map(drop).expect_err("history"),
        client.subscribe(subscribe).await.map(drop).expect_err("subscribe"),
        client.set_state(user.asks(state)).await.map(drop).expect_err("state"),
        client.send(user.asks(message(room, "x", "t"))).await.map(drop).expect_err("send"),
        client.mark_read(user.asks(mark)).await.map(drop).expect_err("mark_read"),
    ];
    refused.iter().map(|status| (status.code(), format!("{:?}", detail(status)).replace(room, "ROOM"))).collect()
}
