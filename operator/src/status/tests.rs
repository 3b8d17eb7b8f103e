//! What is told of a few situations.

use super::*;
use crate::{
    fixture,
    observed::{ClaimView, Door, Marker, Membership, Node, PeerTls, PodView, Progress, Role},
};
use k8s_openapi::jiff::Timestamp;
use quorate_crd::condition;
use std::time::Duration;

/// Three healthy members, nodes 11, 12 and 13; 11 leads in term 4.
fn healthy() -> Observed {
    let names = ["team-0", "team-1", "team-2"];
    let membership = Membership {
        voter_sets: vec![[11, 12, 13].into()],
        nodes: (11..).zip(names).map(|(id, name)| (id, Node { id, name: name.into(), ..Node::default() })).collect(),
        ..Membership::default()
    };
    let slots = (0..).zip(names).map(|(ordinal, name)| {
        let id = 11 + u64::from(ordinal as u32);
        let leads = id == 11;
        let progress = Progress { matched: 5, lag: 0, contact: Some(Duration::ZERO) };
        Slot {
            ordinal,
            name: name.into(),
            pod: Some(PodView { uid: format!("uid-{ordinal}"), ready: true, ..PodView::default() }),
            claim: Some(ClaimView {
                name: format!("data-{name}"),
                volume: Some(format!("pv-{ordinal}")),
                requested: 1 << 30,
                capacity: Some(1 << 30),
                ..ClaimView::default()
            }),
            door: Some(Door {
                node: Node { id, name: name.into(), ..Node::default() },
                cluster_id: Some("c".into()),
                version: "0.1.0".into(),
                role: if leads { Role::Leader } else { Role::Follower },
                term: 4,
                leader: 11,
                membership: membership.clone(),
                quorum_ack: leads.then_some(Duration::ZERO),
                progress: [(12, progress), (13, progress)].into(),
                ready: true,
                ..Door::default()
            }),
        }
    });
    Observed {
        now: "2026-01-01T00:00:00.5Z".parse().expect("a time"),
        fresh_cluster_id: String::new(),
        marker: Some(Marker {
            cluster_id: "c".into(),
            server_name: "chat.example.org".into(),
            initialized: true,
            voters: [11, 12, 13].into(),
            resource_version: None,
        }),
        stateful_set: None,
        slots: slots.collect(),
        conflicts: Vec::new(),
        configs: Vec::new(),
        peer_tls: PeerTls::Present,
        previous: ChatClusterStatus::default(),
    }
}

fn told(observed: &Observed, outcome: &Outcome) -> ChatClusterStatus {
    status(&fixture::cluster(), observed, outcome)
}

fn holds(status: &ChatClusterStatus, kind: &str) -> (bool, String) {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind).expect("every condition is told");
    (found.status == "True", found.reason.clone())
}

#[test]
fn a_healthy_cluster_is_available_and_ready() {
    let status = told(&healthy(), &Outcome::default());
    let leader = status.leader.clone().expect("a leader");
    assert_eq!((leader.name.as_str(), leader.node_id.as_str(), leader.term), ("team-0", "11", 4));
    assert_eq!(status.ready.as_deref(), Some("3/3"));
    let raft = status.raft.clone().expect("figures");
    assert_eq!((raft.voters, raft.quorum, raft.fault_tolerance), (3, 2, 1));
    for kind in [condition::AVAILABLE, condition::READY, condition::STORAGE_HEALTHY] {
        assert!(holds(&status, kind).0, "{kind}");
    }
    for kind in [condition::RECONCILING, condition::STALLED] {
        assert!(!holds(&status, kind).0, "{kind}");
    }
    assert_eq!(status.members.iter().filter(|member| member.voter).count(), 3);
}

#[test]
fn the_same_seen_again_gives_the_same_status() {
    let mut observed = healthy();
    observed.previous = told(&observed, &Outcome::default());
    observed.now = observed.now.checked_add(Duration::from_secs(60)).expect("a time");
    assert_eq!(told(&observed, &Outcome::default()), observed.previous);
}

#[test]
fn times_have_no_fraction_because_the_api_server_keeps_none() {
    let status = told(&healthy(), &Outcome::default());
    let whole: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    assert_eq!(status.leader.expect("a leader").since.0, whole);
    assert!(status.conditions.iter().all(|condition| condition.last_transition_time.0 == whole));
}

#[test]
fn a_cut_off_leader_is_not_believed() {
    let mut observed = healthy();
    let mut cut_off = observed.slots[0].door.clone().expect("a door");
    cut_off.quorum_ack = Some(Duration::from_secs(60));
    observed.slots[0].door = Some(cut_off);
    let status = told(&observed, &Outcome::default());
    assert_eq!(status.leader, None);
    assert_eq!(holds(&status, condition::AVAILABLE), (false, "NoLeader".into()));
}

#[test]
fn of_two_leaders_the_one_with_the_higher_term_counts() {
    let mut observed = healthy();
    let mut newer = observed.slots[1].door.clone().expect("a door");
    newer.role = Role::Leader;
    newer.leader = 12;
    newer.term = 5;
    newer.quorum_ack = Some(Duration::ZERO);
    observed.slots[1].door = Some(newer);
    assert_eq!(told(&observed, &Outcome::default()).leader.expect("a leader").name, "team-1");
}

#[test]
fn a_lost_pod_is_unreachable_and_the_others_serve() {
    let mut observed = healthy();
    observed.slots[2].door = None;
    observed.slots[2].pod = None;
    let status = told(&observed, &Outcome::default());
    assert!(holds(&status, condition::AVAILABLE).0);
    assert_eq!(holds(&status, condition::READY), (false, "MembersNotReady".into()));
    let lost = status.members.iter().find(|member| member.pod == "team-2").expect("it is still a member");
    assert_eq!((lost.role.as_str(), lost.voter, lost.node_id.as_str()), ("unreachable", true, "13"));
    assert_eq!(status.raft.expect("figures").fault_tolerance, 0);
}

#[test]
fn a_claim_under_deletion_is_told_with_what_not_to_do() {
    let mut observed = healthy();
    observed.slots[1].claim.as_mut().expect("a claim").deleting_since = Some(observed.now);
    let status = told(&observed, &Outcome::default());
    let found = status.conditions.iter().find(|found| found.type_ == condition::STORAGE_HEALTHY).expect("told");
    assert_eq!(found.status, "False");
    assert!(found.message.contains("team-1") && found.message.contains("do not restart"), "{}", found.message);
}

#[test]
fn a_failed_step_counts_and_its_words_stand_until_the_next_try_has_ended() {
    let operation = Operation { kind: "ReplaceMember", step: "SwapVoter", member: None, message: "swapping".into() };
    let mut outcome = Outcome { operation: Some(operation), blocked: None, failed: Some("it was refused".into()) };
    let mut observed = healthy();
    observed.previous = told(&observed, &outcome);
    outcome.failed = None;
    assert_eq!(told(&observed, &outcome).operation, observed.previous.operation);
    outcome.failed = Some("it was refused again".into());
    let again = told(&observed, &outcome).operation.expect("it is under way");
    assert_eq!(again.attempts, 2);
    assert!(again.message.ends_with("it was refused again"), "{}", again.message);
}
