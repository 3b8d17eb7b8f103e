//! Notifications on their way to push gateways: what they contain, that none is lost, and where they may not go.

use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::matrix::{MatrixUser, each, escape};
use crate::support::process::Node;
use quorate_wire::admin::v1::SetUserStandingRequest;
use quorate_wire::admin::v1::moderation_client::ModerationClient;
use serde_json::{Value, json};

const OPEN: &str = "rateLimit: {enabled: false}\npush: {allowPrivate: true}";

fn set_pusher(user: &MatrixUser, gateway: &Gateway, pushkey: &str, format: Option<&str>) {
    let mut body = json!({
        "app_id": "org.example.app", "pushkey": pushkey, "kind": "http", "app_display_name": "App",
        "device_display_name": "Phone", "lang": "en", "append": true,
        "data": {"url": gateway.url(), "default_payload": {"a": 1}},
    });
    if let Some(format) = format {
        body["data"]["format"] = format.into();
    }
    user.must("POST", "v3/pushers/set", &body);
}

/// Returns notifications without those that were repeated: a new leader sends again what it does not know to be taken.
fn without_repetitions(all: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for notification in all {
        let is_repeated = match notification.get("event_id") {
            Some(event_id) => kept.iter().any(|earlier| earlier.get("event_id") == Some(event_id)),
            None => kept.iter().rfind(|earlier| earlier.get("event_id").is_none()) == Some(&notification),
        };
        if !is_repeated {
            kept.push(notification);
        }
    }
    kept
}

/// Waits until the gateway has taken as many notifications of a pusher, and returns them.
async fn taken(gateway: &Gateway, pushkey: &str, count: usize) -> Vec<Value> {
    let of_pusher = || -> Vec<Value> {
        let all = gateway.got(200).into_iter();
        without_repetitions(all.filter(|notification| notification["devices"][0]["pushkey"] == pushkey))
    };
    let waited = format!("{count} notifications of {pushkey}");
    eventually(&waited, || async { Some(of_pusher()).filter(|taken| taken.len() >= count) }).await
}

async fn users(settings: &str) -> (Cluster, MatrixUser, MatrixUser, String) {
    let cluster = Cluster::start(settings).await;
    let alice = MatrixUser::register(&cluster.nodes[0], "alice");
    let bob = MatrixUser::register(&cluster.nodes[1], "bob");
    let room = alice.create_room(&json!({"preset": "public_chat", "name": "Lounge"}));
    (cluster, alice, bob, room)
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_get_what_notifies_and_a_rejected_pusher_is_removed() {
    let gateway = Gateway::start();
    let (_cluster, alice, bob, room) = users(OPEN).await;
    set_pusher(&bob, &gateway, "full", None);
    set_pusher(&bob, &gateway, "ids", Some("event_id_only"));
    alice.must("POST", &format!("v3/rooms/{}/invite", escape(&room)), &json!({"user_id": bob.id}));
    let invitation = taken(&gateway, "full", 1).await.remove(0);
    assert_eq!(invitation["type"], "m.room.member");
    assert_eq!((&invitation["membership"], &invitation["user_is_target"]), (&json!("invite"), &json!(true)));
    assert_eq!(invitation["room_name"], "Lounge");
    // Whoever has joined is not told of the invitation any more.
    taken(&gateway, "ids", 1).await;

    bob.join(&room);
    let message = alice.say(&room, "Hello!");
    let full = taken(&gateway, "full", 2).await.remove(1);
    assert_eq!(
        (&full["event_id"], &full["room_id"], &full["sender"]),
        (&json!(message), &json!(room), &json!(alice.id))
    );
    assert_eq!(full["content"], json!({"msgtype": "m.text", "body": "Hello!"}));
    assert_eq!((&full["counts"]["unread"], &full["prio"]), (&json!(1), &json!("high")));
    let device = &full["devices"][0];
    assert_eq!(device["data"], json!({"default_payload": {"a": 1}}), "without the URL");
    assert_eq!(device["tweaks"]["sound"], "default");
    let ids = taken(&gateway, "ids", 2).await.remove(1);
    assert_eq!(ids["event_id"], json!(message));
    for absent in ["sender", "content", "type", "room_name"] {
        assert!(ids.get(absent).is_none(), "{ids}");
    }
    let read = format!("v3/rooms/{}/receipt/m.read.private/{}", escape(&room), escape(&message));
    bob.must("POST", &read, &json!({}));
    let badge = taken(&gateway, "full", 3).await.remove(2);
    assert_eq!((&badge["counts"]["unread"], badge.get("event_id")), (&json!(0), None), "all is read");
    let notice = json!({"msgtype": "m.notice", "body": "quiet"});
    alice.send(&room, "m.room.message", &notice);
    bob.say(&room, "mine");

    let last = alice.say(&room, "Are you there?");
    assert_eq!(taken(&gateway, "full", 4).await[3]["event_id"], json!(last), "neither the notice nor bob's own");
    gateway.answers(200, json!({"rejected": ["full"]}));
    alice.say(&room, "Hello?");
    eventually("the pusher is removed", || async {
        (each(&bob.get("v3/pushers")["pushers"], "/pushkey") == ["ids"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_did_not_take_is_sent_by_the_next_leader() {
    let gateway = Gateway::start();
    let (mut cluster, alice, bob, room) = users(OPEN).await;
    bob.join(&room);
    set_pusher(&bob, &gateway, "phone", None);
    gateway.answers(500, json!({}));
    let said = [alice.say(&room, "one"), alice.say(&room, "two")];
    eventually("the gateway was asked", || async { (!gateway.got(500).is_empty()).then_some(()) }).await;
    let (leader, term) = cluster.leader(0).await;
    let waiting = |line: &str| line.starts_with("quorate_push_waiting ") && line.ends_with(" 2");
    eventually("both wait in the log", || async {
        let (_, page) = cluster.nodes[leader].page("/metrics")?;
        page.lines().any(waiting).then_some(())
    })
    .await;
    cluster.kill(leader);
    cluster.leader(term + 1).await;
    gateway.answers(200, json!({}));
    let got = taken(&gateway, "phone", 2).await;
    assert_eq!(each(&json!(got), "/event_id"), said.map(|id| json!(id)), "in the order of the events");
}

/// Returns `true` if a pod has counted notifications with this outcome.
fn is_counted(node: &Node, outcome: &str) -> Option<()> {
    let name = format!("quorate_push_notifications_total{{outcome=\"{outcome}\"}}");
    let (_, page) = node.page("/metrics")?;
    page.lines().any(|line| line.starts_with(&name) && !line.ends_with(" 0")).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_account_is_notified_of_nothing() {
    let gateway = Gateway::start();
    let (cluster, alice, bob, room) = users(OPEN).await;
    bob.join(&room);
    set_pusher(&bob, &gateway, "phone", None);
    let mut api = ModerationClient::new(eventually("the admin API answers", || cluster.try_peer(0)).await);
    let standing = |locked| SetUserStandingRequest {
        user: "bob".into(),
        locked: Some(locked),
        ..SetUserStandingRequest::default()
    };
    api.set_user_standing(standing(true)).await.expect("locked");
    alice.say(&room, "while he is locked out");
    let moot = || async { cluster.nodes.iter().find_map(|node| is_counted(node, "moot")) };
    eventually("the notification was dropped", moot).await;
    api.set_user_standing(standing(false)).await.expect("unlocked");
    let later = alice.say(&room, "welcome back");
    assert_eq!(taken(&gateway, "phone", 1).await[0]["event_id"], json!(later));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_goes_to_a_private_address_unless_allowed() {
    let gateway = Gateway::start();
    let (cluster, alice, bob, room) = users("rateLimit: {enabled: false}").await;
    bob.join(&room);
    set_pusher(&bob, &gateway, "phone", None);
    alice.say(&room, "one");
    let failed = || async { cluster.nodes.iter().find_map(|node| is_counted(node, "failed")) };
    eventually("it was tried", failed).await;
    assert!(gateway.got(200).is_empty());
}
