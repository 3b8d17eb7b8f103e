//! Volumes with less free space than their reserve, from the point of view of users and operators.

use crate::support::client::{User, detail};
use crate::support::cluster::Cluster;
use crate::support::eventually;
use quorate_wire::chat::v1::ErrorCode;
use quorate_wire::chat::v1::create_room_request::Preset;
use serde_json::Value;
use tonic::Code;

/// Reserve that exceeds any volume.
const ALL: &str = "storage: {reserveMebibytes: 1000000000}";

async fn restart_with(cluster: &mut Cluster, settings: &str) {
    for n in 0..3 {
        cluster.kill(n);
        cluster.nodes[n].configure(settings);
    }
    for n in 0..3 {
        cluster.restart(n);
    }
    cluster.all_ready().await;
}

async fn reconnected(cluster: &Cluster, user: User) -> User {
    User { clients: vec![cluster.chat(0).await, cluster.chat(1).await, cluster.chat(2).await], ..user }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_that_storage_is_full_at_both_apis_and_can_still_read() {
    let mut cluster = Cluster::start("").await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    let said = alice.say(0, &room, "hello", "1").await.expect("sent");
    restart_with(&mut cluster, ALL).await;
    let alice = reconnected(&cluster, alice).await;
    let (leader, _) = cluster.leader(0).await;
    eventually("the leader refuses", || async { cluster.status(leader).await?.writes_refused.then_some(()) }).await;
    let token = alice.session.access_token.as_str();
    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/2");
    for n in 0..3 {
        let refused = alice.say(n, &room, "more", "2").await.expect_err("refused");
        let told = detail(&refused);
        assert_eq!((refused.code(), told.code()), (Code::ResourceExhausted, ErrorCode::StorageFull), "{refused:?}");
        assert!(told.retry_after_ms > 0 && !told.unknown, "{told:?}");
        let (status, body) = cluster.nodes[n].matrix("PUT", &path, token, r#"{"body":"more"}"#).expect("an answer");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((status, &body["errcode"]), (507, &"M_RESOURCE_LIMIT_EXCEEDED".into()), "{body}");
        assert_eq!(body["admin_contact"], "https://chat.test");
        assert_eq!(alice.read_all(n, &room).await.len(), 1, "reading goes on");
        let status = cluster.status(n).await.expect("a status");
        assert!(status.storage_short && status.storage_reserve_bytes > status.storage_total_bytes, "{status:?}");
        let (_, page) = cluster.nodes[n].page("/metrics").expect("metrics");
        assert!(page.contains("quorate_storage_short 1\n"), "{page}");
    }
    // Sending again: a message accepted before the volumes were full keeps its answer.
    assert_eq!(alice.say(1, &room, "hello", "1").await.expect("known").event_id, said.event_id);
    restart_with(&mut cluster, "storage: {reserveMebibytes: 0}").await;
    let alice = reconnected(&cluster, alice).await;
    alice.say(2, &room, "more", "2").await.expect("sent");
}
