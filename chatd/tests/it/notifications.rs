//! Unread notifications in `/sync`: by room and by thread, whichever pod counts them.

use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::matrix::{MatrixUser, escape, next_batch};
use serde_json::{Value, json};

const QUIET: &str = "rateLimit: {enabled: false}";

/// Waits until the user's pod has applied all that was answered: a linearizable read does.
fn caught_up(user: &MatrixUser) {
    user.get("v3/joined_rooms");
}

/// Room in which Bob reads what Alice writes.
struct RoomOfTwo {
    cluster: Cluster,
    alice: MatrixUser,
    bob: MatrixUser,
    id: String,
}

impl RoomOfTwo {
    async fn new() -> Self {
        let cluster = Cluster::start(QUIET).await;
        let alice = MatrixUser::register(&cluster.nodes[0], "alice");
        let bob = MatrixUser::register(&cluster.nodes[1], "bob");
        let id = alice.public_room();
        bob.join(&id);
        Self { cluster, alice, bob, id }
    }

    fn in_thread(&self, root: &str, body: &str) -> String {
        let relation = json!({"rel_type": "m.thread", "event_id": root});
        let content = json!({"msgtype": "m.text", "body": body, "m.relates_to": relation});
        self.alice.send(&self.id, "m.room.message", &content)
    }

    fn read(&self, event: &str, thread: Option<&str>) {
        let path = format!("v3/rooms/{}/receipt/m.read/{}", escape(&self.id), escape(event));
        self.bob.must("POST", &path, &thread.map_or_else(|| json!({}), |thread| json!({ "thread_id": thread })));
    }

    /// Returns Bob's unread notifications and highlights of the room, and the threads that are counted by themselves:
    /// the same ones on each pod.
    fn unread(&self, since: &str, filter: &Value) -> (u64, u64, Value) {
        let mut answers = self.cluster.nodes.iter().map(|node| {
            let bob = MatrixUser { node: node.clone(), ..self.bob.clone() };
            caught_up(&bob);
            let room = bob.sync(Some(since), filter)["rooms"]["join"][&self.id].clone();
            let count = |name: &str| room["unread_notifications"][name].as_u64().unwrap_or_else(|| panic!("{room}"));
            (count("notification_count"), count("highlight_count"), room["unread_thread_notifications"].clone())
        });
        let first = answers.next().expect("a node");
        answers.for_each(|other| assert_eq!(other, first));
        first
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_with_and_without_threads_clear_what_they_name_on_every_pod() {
    let room = RoomOfTwo::new().await;
    let since = room.bob.token();
    let a = room.alice.say(&room.id, "Hello world!");
    let b = room.in_thread(&a, "Start thread!");
    room.in_thread(&a, &format!("Thread response {}!", room.bob.id));
    let d = room.alice.say(&room.id, &format!("Hello {}!", room.bob.id));
    room.in_thread(&a, "End thread");
    let reference = json!({"rel_type": "m.reference", "event_id": a});
    let content = json!({"msgtype": "m.text", "body": "Reference!", "m.relates_to": reference});
    let f = room.alice.send(&room.id, "m.room.message", &content);
    let annotation = json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": f, "key": "test"}});
    let g = room.alice.send(&room.id, "m.reaction", &annotation);

    let threads = json!({"room": {"timeline": {"unread_thread_notifications": true}}});
    let check = |all: (u64, u64), main: (u64, u64), thread: Option<(u64, u64)>| {
        assert_eq!(room.unread(&since, &Value::Null), (all.0, all.1, Value::Null));
        let thread =
            thread.map(|(notified, marked)| json!({"notification_count": notified, "highlight_count": marked}));
        let threads_of = thread.map(|counts| json!({ a.clone(): counts })).unwrap_or_default();
        assert_eq!(room.unread(&since, &threads), (main.0, main.1, threads_of));
    };
    check((6, 2), (3, 1), Some((3, 1)));
    room.read(&a, Some("main"));
    check((5, 2), (2, 1), Some((3, 1)));
    room.read(&b, Some(&a));
    check((4, 2), (2, 1), Some((2, 1)));
    room.read(&d, None);
    check((2, 0), (1, 0), Some((1, 0)));
    room.read(&g, None);
    check((0, 0), (0, 0), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_follow_the_rules_the_messages_and_what_becomes_of_them() {
    let room = RoomOfTwo::new().await;
    let since = room.bob.token();
    let unread = || {
        let (notified, highlighted, _) = room.unread(&since, &Value::Null);
        (notified, highlighted)
    };
    room.alice.say(&room.id, "one");
    assert_eq!(unread(), (1, 0));
    let mention = json!({"msgtype": "m.text", "body": "two", "m.mentions": {"user_ids": [room.bob.id]}});
    let mention = room.alice.send(&room.id, "m.room.message", &mention);
    assert_eq!(unread(), (2, 1));
    // Who says whom a message mentions is not misunderstood by its text.
    let named = json!({"msgtype": "m.text", "body": "bob", "m.mentions": {}});
    room.alice.send(&room.id, "m.room.message", &named);
    assert_eq!(unread(), (3, 1));
    let notice = json!({"msgtype": "m.notice", "body": "bob"});
    room.alice.send(&room.id, "m.room.message", &notice);
    room.alice.send(&room.id, "m.room.encrypted", &json!({"algorithm": "x", "ciphertext": "y"}));
    assert_eq!(unread(), (4, 1), "the encrypted one counts, the notice does not");
    let everybody = json!({"msgtype": "m.text", "body": "all", "m.mentions": {"room": true}});
    room.alice.send(&room.id, "m.room.message", &everybody);
    assert_eq!(unread(), (5, 2), "whoever has the power may notify everybody");
    let redact = format!("v3/rooms/{}/redact/{}/r", escape(&room.id), escape(&mention));
    room.alice.must("PUT", &redact, &json!({}));
    assert_eq!(unread(), (4, 1));
    let rule = format!("v3/pushrules/global/room/{}", escape(&room.id));
    room.bob.must("PUT", &rule, &json!({"actions": []}));
    assert_eq!(unread(), (1, 1), "a room rule comes after those for mentions, and before those for messages");
    room.bob.must("DELETE", &rule, &Value::Null);
    let bob = MatrixUser { node: room.cluster.nodes[2].clone(), ..room.bob.clone() };
    bob.say(&room.id, "mine");
    assert_eq!(unread(), (0, 0));
    room.bob.say(&room.id, "@room");
    let next = next_batch(&room.alice.sync(None, &Value::Null));
    room.bob.say(&room.id, "@room, please");
    caught_up(&room.alice);
    let news = room.alice.sync(Some(&next), &Value::Null);
    let counts = &news["rooms"]["join"][&room.id]["unread_notifications"];
    assert_eq!(*counts, json!({"notification_count": 3, "highlight_count": 0}), "without the power");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_in_which_somebody_only_types_comes_with_the_counts_of_its_threads() {
    let room = RoomOfTwo::new().await;
    let root = room.alice.say(&room.id, "root");
    room.in_thread(&root, "in the thread");
    caught_up(&room.bob);
    let threads = json!({"room": {"timeline": {"unread_thread_notifications": true}}});
    let since = next_batch(&room.bob.sync(None, &threads));
    let typing = format!("v3/rooms/{}/typing/{}", escape(&room.id), escape(&room.alice.id));
    room.alice.must("PUT", &typing, &json!({"typing": true, "timeout": 100_000}));
    let news = eventually("bob is told that alice types", || async {
        let news = room.bob.sync(Some(&since), &threads)["rooms"]["join"][&room.id].clone();
        news["ephemeral"].to_string().contains(&room.alice.id).then_some(news)
    })
    .await;
    assert_eq!(news["timeline"]["events"].as_array().map_or(0, Vec::len), 0, "{news}");
    assert_eq!(news["unread_thread_notifications"][&root]["notification_count"], 1, "{news}");
}
