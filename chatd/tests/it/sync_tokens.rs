//! What `/sync` tells at a token: after a write on the same pod, and on a pod that is behind the token.

use crate::support::cluster::Cluster;
use crate::support::matrix::{self, MatrixUser, each, single_node};
use crate::support::process::Node;
use quorate_wire::chat::v1::create_room_request::Preset;
use serde_json::Value;

const QUIET: &str = "rateLimit: {enabled: false}";

fn sync(node: &Node, access_token: &str, since: Option<&str>) -> (u16, Value) {
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    let path = format!("/_matrix/client/v3/sync?timeout=0{since}");
    let (status, body) = node.matrix("GET", &path, access_token, "").expect("an answer");
    (status, serde_json::from_str(&body).expect("JSON"))
}

fn next_batch(answer: &(u16, Value)) -> String {
    answer.1["next_batch"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_has_not_reached_a_token_does_not_go_back_behind_it() {
    let mut cluster = Cluster::start(QUIET).await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    let access_token = alice.session.access_token.clone();
    let (leader, _) = cluster.leader(0).await;
    let behind = (leader + 1) % 3;
    // From now on this pod knows the user's rooms, and tells what is new in them from memory.
    let first = next_batch(&sync(&cluster.nodes[behind], &access_token, None));
    let known = next_batch(&sync(&cluster.nodes[behind], &access_token, Some(&first)));

    cluster.processes[behind].as_ref().expect("it runs").signal("STOP");
    for n in 0..20 {
        alice.say(leader, &room, &format!("line {n}"), &n.to_string()).await.expect("sent");
    }
    let newest = next_batch(&sync(&cluster.nodes[leader], &access_token, Some(&known)));
    // Alone, it can learn nothing more.
    cluster.kill(leader);
    cluster.kill((leader + 2) % 3);
    cluster.processes[behind].as_ref().expect("it runs").signal("CONT");
    let answer = sync(&cluster.nodes[behind], &access_token, Some(&newest));
    // Not the marks behind it, which are those of the pod that answers.
    let position = |token: &str| token.split('.').next().map(str::to_owned);
    let is_there = answer.1["next_batch"].as_str().is_some_and(|next| position(next) == position(&newest));
    assert!(answer.0 == 503 || is_there, "{newest}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_message_is_in_the_next_sync() {
    let cluster = single_node().await;
    let alice = MatrixUser::register(&cluster.nodes[0], "alice");
    let room = alice.public_room();
    let mut since = alice.token();
    // Again and again, because a message that came too late would do so only now and then.
    for n in 0..100 {
        let sent = alice.say(&room, &format!("line {n}"));
        let answer = alice.sync(Some(&since), &Value::Null);
        let timeline = &answer["rooms"]["join"][room.as_str()]["timeline"]["events"];
        assert!(timeline.is_array(), "line {n} is not there: {answer}");
        assert_eq!(each(timeline, "/event_id"), [sent]);
        since = matrix::next_batch(&answer);
    }
}
