//! The admin API, as the operator sees it: over the wire, with its statuses.

use super::certificates::CallerTls;
use super::harness::{CLUSTER, Cluster, SERVER, Setup};
use hyper_util::rt::TokioIo;
use quorate_wire::admin::v1::{self as pb, admin_client::AdminClient};
use std::{future::Future, time::Duration};
use tokio::time::timeout;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

type Client = AdminClient<Channel>;

/// Calls the admin API of this node with an administrator's certificate.
fn ask<T, F>(cluster: &Cluster, place: usize, call: impl FnOnce(Client) -> F) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    ask_as(cluster, cluster.authority.administrator(), place, |channel| call(Client::new(channel)))
}

/// Calls a node with the certificate of `tls`.
pub(super) fn ask_as<T, F>(cluster: &Cluster, tls: CallerTls, place: usize, call: impl FnOnce(Channel) -> F) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let address = cluster.nodes[place].listen;
    let connector = tower::service_fn(move |_| {
        let tls = tls.clone();
        async move { tls.connect(address).await.map(TokioIo::new) }
    });
    // Entered because the channel must be created inside the runtime that drives it.
    let _entered = cluster.nodes[place].enter();
    let called = call(Endpoint::from_static("http://quorate-peer").connect_with_connector_lazy(connector));
    cluster.nodes[place].run(|_| called)
}

fn voters(cluster: &Cluster) -> Vec<pb::Node> {
    let members = cluster.members().into_iter();
    members
        .map(|m| pb::Node {
            node_id: m.node_id,
            peer_address: m.peer_address,
            client_address: m.client_address,
            name: m.name,
        })
        .collect()
}

#[test]
fn a_cluster_is_made_looked_at_and_changed_over_the_wire() {
    let cluster = Cluster::empty(3, Setup::default());
    let before = ask(&cluster, 1, |mut c| async move { c.identity(pb::IdentityRequest {}).await });
    let before = before.expect("answers always").into_inner();
    assert!(before.empty && before.cluster_id.is_empty() && before.node_id == cluster.nodes[1].id());
    assert_eq!(before.server_name, SERVER);

    let request =
        pb::InitializeRequest { cluster_id: CLUSTER.into(), server_name: SERVER.into(), voters: voters(&cluster) };
    let nobody = pb::InitializeRequest { voters: Vec::new(), ..request.clone() };
    let refused = ask(&cluster, 0, |mut c| async move { c.initialize(nobody).await }).expect_err("no voters");
    assert_eq!(refused.code(), Code::InvalidArgument);
    ask(&cluster, 0, |mut c| async move { c.initialize(request).await }).expect("makes the cluster");
    for place in 0..3 {
        cluster.wait(place, "led", |status| status.leader.is_some());
    }
    let (leader, other) = (cluster.leader(), cluster.follower());
    let status = ask(&cluster, leader, |mut c| async move { c.status(pb::StatusRequest {}).await });
    let status = status.expect("answers").into_inner();
    assert_eq!((status.role(), status.leader_node_id), (pb::Role::Leader, cluster.nodes[leader].id()));
    assert_eq!(status.progress.len(), 2);
    assert!(status.millis_since_quorum_ack.is_some_and(|millis| millis < 1000), "{status:?}");
    assert!(!status.identity.expect("is there").empty);

    let asked_wrong = ask(&cluster, other, |mut c| async move {
        c.transfer_leader(pb::TransferLeaderRequest { to_node_id: 0, timeout_ms: 0 }).await
    });
    let asked_wrong = asked_wrong.expect_err("it does not lead");
    assert_eq!(asked_wrong.code(), Code::FailedPrecondition);
    let told = asked_wrong.metadata().get("quorate-leader-node-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    assert_eq!(told, Some(cluster.nodes[leader].id().to_string()));
}

#[test]
fn a_watch_tells_the_state_at_once_each_new_leader_and_that_it_lives() {
    let cluster = Cluster::started(3, Setup::default());
    let (leader, other) = (cluster.leader(), cluster.follower());
    let (old, administration) = (cluster.nodes[leader].id(), cluster.nodes[leader].node().administration);
    let (first, changed, alive) = ask(&cluster, other, |mut c| async move {
        let watch = c.watch(pb::WatchRequest { interval_ms: 100 }).await.expect("opens");
        let mut watch = watch.into_inner();
        let first = watch.message().await.expect("open").expect("a status");
        let (new, _) = administration.transfer_leader(None, Duration::from_secs(5)).await.expect("hands over");
        let changed = timeout(Duration::from_secs(5), async {
            loop {
                let status = watch.message().await.expect("open").expect("a status");
                if status.leader_node_id == new {
                    return status;
                }
            }
        });
        let changed = changed.await.expect("in time");
        let alive = timeout(Duration::from_secs(5), watch.message()).await.expect("in time").expect("open");
        (first, changed, alive)
    });
    assert_eq!(first.leader_node_id, old);
    assert!(changed.leader_node_id != old && changed.term > first.term);
    assert!(alive.is_some());
}
