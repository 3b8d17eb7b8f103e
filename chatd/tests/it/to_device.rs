//! Messages to devices.

use crate::support::client::User;
use crate::support::cluster::Cluster;
use crate::support::eventually;
use serde_json::{Value, json};

/// Sends a message to a device of Bob's, or to all of them, through a node.
fn send(cluster: &Cluster, n: usize, sender: &User, device: &str, txn: usize) {
    let body = json!({"messages": {"@bob:chat.test": {device: {"n": txn}}, "@nobody:chat.test": {"*": {}}}});
    let path = format!("/_matrix/client/v3/sendToDevice/m.test/{txn}");
    let answer = cluster.nodes[n].matrix("PUT", &path, &sender.session.access_token, &body.to_string());
    assert_eq!(answer, Some((200, "{}".into())));
}

/// Syncs through a node; returns the numbers of the messages, and the next token.
fn sync(cluster: &Cluster, n: usize, user: &User, since: &str, timeout: u32) -> (Vec<u64>, String) {
    let since = if since.is_empty() { String::new() } else { format!("&since={since}") };
    let path = format!("/_matrix/client/v3/sync?timeout={timeout}{since}");
    let answer = cluster.nodes[n].ask("GET", &path, &user.session.access_token, "", "");
    let events = answer["to_device"]["events"].as_array().cloned().unwrap_or_default();
    for event in &events {
        assert_eq!((event["type"].as_str(), event["sender"].as_str()), (Some("m.test"), Some("@alice:chat.test")));
    }
    let numbers = events.iter().map(|event| event["content"]["n"].as_u64().expect("a number"));
    (numbers.collect(), answer["next_batch"].as_str().expect("a token").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_given_until_the_next_token_acknowledges_it_whatever_the_pod() {
    let cluster = Cluster::start("").await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let (none, start) = sync(&cluster, 1, &bob, "", 0);
    assert_eq!(none, Vec::<u64>::new());
    for n in [0, 1, 2, 0] {
        send(&cluster, n, &alice, &bob.session.device_id, 7);
    }
    send(&cluster, 2, &alice, "no-device", 8);
    let mut tokens = Vec::new();
    for n in [0, 1, 2, 1] {
        let (given, next) = sync(&cluster, n, &bob, &start, 20_000);
        assert_eq!(given, [7], "node {n}");
        tokens.push(next);
    }
    for (n, token) in tokens.iter().enumerate() {
        let (given, next) = sync(&cluster, n % 3, &bob, token, 0);
        assert_eq!(given, Vec::<u64>::new(), "node {n}");
        assert_eq!(sync(&cluster, (n + 1) % 3, &bob, &next, 0).0, Vec::<u64>::new());
    }
    // Removed in the background: then it is not even given to a client that begins anew, or comes with an old token.
    eventually("it is removed", || async { sync(&cluster, 2, &bob, "", 0).0.is_empty().then_some(()) }).await;
    eventually("it is removed", || async { sync(&cluster, 0, &bob, &start, 0).0.is_empty().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_given_in_order_by_a_hundred_and_a_parked_sync_is_woken() {
    let cluster = Cluster::start("").await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let (_, mut since) = sync(&cluster, 2, &bob, "", 0);
    let parked = {
        let (node, token, since) = (cluster.nodes[2].clone(), bob.session.access_token.clone(), since.clone());
        let path = format!("/_matrix/client/v3/sync?timeout=25000&since={since}");
        tokio::task::spawn_blocking(move || node.ask("GET", &path, &token, "", ""))
    };
    // More requests at once than messages in rooms would be allowed.
    for txn in 0..120 {
        send(&cluster, txn % 3, &alice, "*", txn);
    }
    let woken: Value = parked.await.expect("no panic");
    assert_eq!(woken["to_device"]["events"][0]["content"]["n"], 0, "{woken}");
    let mut all = Vec::new();
    for (n, expected) in [(0, 100), (1, 20), (2, 0)] {
        let (given, next) = sync(&cluster, n, &bob, &since, 0);
        assert_eq!(given.len(), expected);
        all.extend(given);
        since = next;
    }
    assert_eq!(all, (0..120).collect::<Vec<u64>>());
}
