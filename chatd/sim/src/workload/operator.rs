//! Requests of an operator to the cluster: replace a member, transfer leadership, take a snapshot. A replacement is
//! tried again until it succeeds, as the real operator does.

use super::call::ClientContext;
use crate::layout::CLIENTS;
use crate::replica::CLUSTER;
use crate::world::net::HostId;
use futures::FutureExt as _;
use quorate_chatd::raft::cluster::NodeStatus;
use quorate_chatd::raft::membership::VoterChange;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

const PAUSE: Duration = Duration::from_millis(100);

/// Returns the pod that leads, with its status, or `None` if nobody leads.
async fn find_leader(clients: &ClientContext) -> Option<(HostId, NodeStatus)> {
    for pod in 0..CLIENTS {
        let status = clients.call(pod, |running| async move { running.node.cluster.status() }.boxed()).await;
        if let Some(status) = status.filter(NodeStatus::leads) {
            return Some((pod, status));
        }
    }
    None
}

/// Replaces the voter `out` by the node on the machine `with`: learner first, then one joint change.
pub(crate) async fn replace_voter(clients: ClientContext, out: u64, with: HostId) {
    loop {
        if advance_replacement(&clients, out, with).await == Some(true) {
            clients.history.lock().member_changes += 1;
            clients.pods.fetch_or(1 << with, Ordering::Relaxed);
            return;
        }
        sleep(PAUSE).await;
    }
}

/// Takes the next step of a replacement. Returns `Some(true)` if nothing is left to do, and `None` if nobody answers.
async fn advance_replacement(clients: &ClientContext, out: u64, with: HostId) -> Option<bool> {
    let new = clients.call(with, |running| async move { running.node.own().clone() }.boxed()).await?;
    let (pod, status) = find_leader(clients).await?;
    let voters = status.membership.voters();
    if status.membership.voter_sets.len() == 1 && voters.contains(&new.node_id) && !voters.contains(&out) {
        return Some(true);
    }
    if !status.membership.contains(new.node_id) {
        let add = move |running: crate::replica::PodHandle| {
            async move { running.node.administration.add_learner(CLUSTER, new).await.is_ok() }.boxed()
        };
        clients.call(pod, add).await?;
        return Some(false);
    }
    let mut wanted: BTreeSet<u64> = voters.clone();
    wanted.remove(&out);
    wanted.insert(new.node_id);
    let wish = VoterChange { voters: wanted, expected: voters, max_lag: 20, ..VoterChange::default() };
    let change = move |running: crate::replica::PodHandle| {
        async move { running.node.administration.change_voters(&wish).await.is_ok() }.boxed()
    };
    clients.call(pod, change).await
}

/// Transfers leadership to the node `to`, or to any that qualifies. Returns `true` if that succeeded.
pub(crate) async fn transfer_leadership(clients: ClientContext, to: Option<u64>) -> bool {
    let Some((pod, _)) = find_leader(&clients).await else { return false };
    let hand_over = move |running: crate::replica::PodHandle| {
        async move { running.node.administration.transfer_leader(to, Duration::from_secs(1)).await.is_ok() }.boxed()
    };
    let done = clients.call(pod, hand_over).await == Some(true);
    clients.history.lock().transfers += u32::from(done);
    done
}

/// Makes a pod take a snapshot and purge its log. Returns `true` if it did.
pub(crate) async fn request_snapshot(clients: ClientContext, pod: HostId) -> bool {
    let take = |running: crate::replica::PodHandle| {
        async move { running.node.administration.take_snapshot(true).await.is_ok() }.boxed()
    };
    let done = clients.call(pod, take).await == Some(true);
    clients.history.lock().snapshots += u32::from(done);
    done
}
