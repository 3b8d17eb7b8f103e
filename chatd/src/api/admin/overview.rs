//! Overview of the whole cluster: this pod asks every member for its status, all at once and each for a bounded time
//! ([`gather_overview`]), and puts the answers together ([`assemble_overview`]).

use super::{AdminApi, convert::member_to_pb};
use crate::raft::{cluster::PRESENT, network::PeerSet};
use futures::future::join_all;
use quorate_wire::admin::v1 as pb;
use quorate_wire::cause::causes_of;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tonic::Status;

/// Default wait for a member: one that takes longer is as good as away for somebody who looks on.
const DEFAULT: Duration = Duration::from_secs(1);
/// Maximum wait for a member: a caller may be more patient than the default, but not for ever.
const LONGEST: Duration = Duration::from_secs(10);

/// Returns the wait that a caller asked for; 0 means the default.
pub(super) fn member_timeout(millis: u32) -> Duration {
    match millis {
        0 => DEFAULT,
        millis => Duration::from_millis(millis.into()).min(LONGEST),
    }
}

/// Result of asking one member.
struct MemberReply {
    node: pb::Node,
    answer: Result<pb::StatusResponse, String>,
    /// Time that the answer took; `None` without an answer, and for this pod itself.
    round_trip: Option<Duration>,
}

/// Asks all members that this pod knows of, then those that only the leader knows of: a pod that is behind may not have
/// heard of them.
pub(super) async fn gather_overview(api: &AdminApi, limit: Duration) -> pb::OverviewResponse {
    let own = member_to_pb(&api.inner.own);
    let asked_node_id = own.node_id;
    let mut all = vec![MemberReply { node: own, answer: Ok(api.status_now()), round_trip: None }];
    for _ in 0..2 {
        let known: BTreeSet<u64> = all.iter().map(|asked| asked.node.node_id).collect();
        let unasked = current_membership(&all).nodes.into_iter().filter(|node| !known.contains(&node.node_id));
        all.extend(join_all(unasked.map(|node| query_member(&api.inner.peers, node, limit))).await);
    }
    assemble_overview(asked_node_id, all)
}

async fn query_member(peers: &PeerSet, node: pb::Node, limit: Duration) -> MemberReply {
    let peer = peers.peer(node.node_id, &node.peer_address);
    let (admin, connection) = peer.admin();
    let call = async {
        // The first call makes the connection where there is none, so that the second one is measured.
        let identity = admin.clone().identity(pb::IdentityRequest {}).await?.into_inner();
        // Addresses pass from pod to pod: the status of another node must not stand for this one.
        if identity.node_id != node.node_id {
            return Err(Status::failed_precondition("another node answers at this address"));
        }
        let began = Instant::now();
        let status = admin.clone().status(pb::StatusRequest {}).await?.into_inner();
        Ok((status, began.elapsed()))
    };
    let (answer, round_trip) = match timeout(limit, call).await {
        Ok(Ok((status, took))) => (Ok(status), Some(took)),
        Ok(Err(status)) => {
            peer.failed(&connection, &status);
            (Err(root_cause(&status)), None)
        }
        Err(_) => (Err(format!("no response within {} ms", limit.as_millis())), None),
    };
    MemberReply { node, answer, round_trip }
}

/// Returns the innermost cause, which says more to people than "transport error".
fn root_cause(status: &Status) -> String {
    causes_of(status).last().map_or_else(|| status.message().to_owned(), ToString::to_string)
}

impl MemberReply {
    fn status(&self) -> Option<&pb::StatusResponse> {
        self.answer.as_ref().ok()
    }

    /// Returns `true` if the member leads, and has a quorum: otherwise it would not name itself.
    fn leads(&self) -> bool {
        self.status().is_some_and(|status| status.leader_node_id == self.node.node_id)
    }
}

/// Returns the status of the member that leads by its own word, in the newest term if there are two.
fn leader_status(all: &[MemberReply]) -> Option<&pb::StatusResponse> {
    all.iter().filter(|asked| asked.leads()).filter_map(MemberReply::status).max_by_key(|status| status.term)
}

/// Returns the leader's membership, or else the newest that any member knows.
fn current_membership(all: &[MemberReply]) -> pb::Membership {
    let newest = || {
        let known = all.iter().filter_map(MemberReply::status).filter_map(|status| status.membership.as_ref());
        known.max_by_key(|membership| membership.log_index)
    };
    leader_status(all).and_then(|status| status.membership.as_ref()).or_else(newest).cloned().unwrap_or_default()
}

fn assemble_overview(asked_node_id: u64, all: Vec<MemberReply>) -> pb::OverviewResponse {
    let membership = current_membership(&all);
    let voters: BTreeSet<u64> =
        membership.voter_sets.last().map(|set| set.node_ids.iter().copied().collect()).unwrap_or_default();
    let leader = leader_status(&all).cloned();
    let (leader_node_id, quorum) = leader_and_quorum(&all, &voters, leader.as_ref());
    let identity = all.iter().find(|asked| asked.node.node_id == asked_node_id).and_then(MemberReply::status);
    let identity = identity.and_then(|status| status.identity.clone()).unwrap_or_default();
    let furthest = all.iter().filter_map(MemberReply::status).map(|status| status.last_log_index).max();
    let term = all.iter().filter_map(MemberReply::status).map(|status| status.term).max();
    let mut members: Vec<pb::MemberOverview> =
        all.into_iter().map(|asked| member_overview(asked, &voters, leader.as_ref(), furthest)).collect();
    members.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
    pb::OverviewResponse {
        asked_node_id,
        cluster_id: identity.cluster_id,
        server_name: identity.server_name,
        leader_node_id,
        term: term.unwrap_or_default(),
        quorum: Some(quorum),
        members,
    }
}

fn sort_key(member: &pb::MemberOverview) -> (&str, u64) {
    member.node.as_ref().map(|node| (node.name.as_str(), node.node_id)).unwrap_or_default()
}

/// Finds the leader and the state of its quorum. A leader that cannot be reached from this pod still holds its quorum
/// while a majority, itself included, hears it.
fn leader_and_quorum(
    all: &[MemberReply],
    voters: &BTreeSet<u64>,
    leader: Option<&pb::StatusResponse>,
) -> (u64, pb::Quorum) {
    let votes = |asked: &&MemberReply| voters.contains(&asked.node.node_id);
    let healthy = all.iter().filter(votes).filter(|asked| asked.status().is_some_and(|status| status.ready)).count();
    let needed = voters.len() / 2 + 1;
    let told = leader.map(|status| status.leader_node_id);
    let heard = all.iter().filter_map(MemberReply::status).filter(|status| status.leader_node_id != 0);
    let newest = heard.max_by_key(|status| status.term);
    let hearing = newest.filter(|newest| {
        let same = |asked: &&MemberReply| {
            asked.status().is_some_and(|s| (s.leader_node_id, s.term) == (newest.leader_node_id, newest.term))
        };
        let unheard = all.iter().any(|asked| asked.node.node_id == newest.leader_node_id && asked.answer.is_err());
        // A leader that does not answer this pod still counts as one of those who hear it.
        all.iter().filter(votes).filter(same).count() + usize::from(unheard) >= needed
    });
    let leader_node_id = told.or_else(|| hearing.map(|status| status.leader_node_id)).unwrap_or_default();
    let millis_since_ack = leader.and_then(|status| status.millis_since_quorum_ack);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let quorum = pb::Quorum {
        voters: count(voters.len()),
        healthy: count(healthy),
        needed: count(needed),
        // Without the leader's own word, a majority that hears it must do.
        held: leader_node_id != 0 && millis_since_ack.is_none_or(|age| u128::from(age) <= PRESENT.as_millis()),
        millis_since_ack,
    };
    (leader_node_id, quorum)
}

fn member_overview(
    asked: MemberReply,
    voters: &BTreeSet<u64>,
    leader: Option<&pb::StatusResponse>,
    furthest: Option<u64>,
) -> pb::MemberOverview {
    let id = asked.node.node_id;
    let leads = leader.is_some_and(|status| status.leader_node_id == id);
    let progress = leader.and_then(|status| status.progress.iter().find(|progress| progress.node_id == id));
    let behind = |status: &pb::StatusResponse| furthest.map(|last| last.saturating_sub(status.last_log_index));
    let lag = if leads { Some(0) } else { progress.map(|progress| progress.lag) };
    let contact = match (leads, progress) {
        (true, _) => None,
        (false, Some(progress)) => progress.millis_since_contact,
        (false, None) => asked.status().and_then(|status| status.millis_since_leader_contact),
    };
    pb::MemberOverview {
        voter: voters.contains(&id),
        lag: lag.or_else(|| asked.status().and_then(behind)),
        millis_since_contact: contact,
        round_trip_ms: asked.round_trip.map(|took| took.as_secs_f64() * 1000.0),
        error: asked.answer.as_ref().err().cloned().unwrap_or_default(),
        status: asked.answer.ok(),
        node: Some(asked.node),
    }
}

#[cfg(test)]
mod tests;
