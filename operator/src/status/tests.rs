//! Statuses that are reported in a few situations.

use super::*;
use crate::{
    fixture,
    observed::{
        AdminStatus, ClaimView, ClusterMarker, PeerTls, PodView, RaftMembership, RaftNode, RaftRole,
        ReplicationProgress,
    },
    plan::{Blocked, BlockedReason, Operation, OperationKind, OperationStep},
};
use jiff::Timestamp;
use quorate_crd::condition;
use std::time::Duration;

/// Returns three healthy members, nodes 11, 12 and 13, of which 11 leads in term 4.
fn healthy() -> ObservedState {
    let names = ["team-0", "team-1", "team-2"];
    let membership = RaftMembership {
        voter_sets: vec![[11, 12, 13].into()],
        nodes: (11..)
            .zip(names)
            .map(|(id, name)| (id, RaftNode { id, name: name.into(), ..RaftNode::default() }))
            .collect(),
        ..RaftMembership::default()
    };
    let slots = (0..).zip(names).map(|(ordinal, name)| {
        let id = 11 + u64::from(ordinal as u32);
        let leads = id == 11;
        let progress = ReplicationProgress { matched: 5, lag: 0, contact: Some(Duration::ZERO) };
        MemberSlot {
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
            answer: Some(AdminStatus {
                node: RaftNode { id, name: name.into(), ..RaftNode::default() },
                cluster_id: Some("c".into()),
                version: "0.1.0".into(),
                role: if leads { RaftRole::Leader } else { RaftRole::Follower },
                term: 4,
                leader: 11,
                membership: membership.clone(),
                quorum_ack: leads.then_some(Duration::ZERO),
                progress: [(12, progress), (13, progress)].into(),
                ready: true,
                ..AdminStatus::default()
            }),
            notice: None,
        }
    });
    ObservedState {
        now: "2026-01-01T00:00:00.5Z".parse().expect("a time"),
        fresh_cluster_id: String::new(),
        marker: Some(ClusterMarker {
            cluster_id: "c".into(),
            server_name: "chat.example.org".into(),
            initialized: true,
            voters: [11, 12, 13].into(),
            resource_version: None,
        }),
        stateful_set: None,
        slots: slots.collect(),
        beyond: Vec::new(),
        conflicts: Vec::new(),
        configs: Vec::new(),
        peer_tls: PeerTls::Present,
        sight: Default::default(),
        ownership: Vec::new(),
        previous: ChatClusterStatus::default(),
    }
}

fn told(observed: &ObservedState, outcome: &PlanOutcome) -> ChatClusterStatus {
    compute_status(&fixture::cluster(), observed, outcome)
}

fn holds(status: &ChatClusterStatus, kind: &str) -> (bool, String) {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind).expect("every condition is told");
    (found.status == "True", found.reason.clone())
}

#[test]
fn a_healthy_cluster_is_available_and_ready() {
    let status = told(&healthy(), &PlanOutcome::default());
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
fn pods_of_a_former_chat_cluster_do_not_make_the_new_one_available() {
    let observed = ObservedState { marker: None, ..healthy() };
    let status = told(&observed, &PlanOutcome::default());
    assert_eq!(holds(&status, condition::AVAILABLE), (false, "NotInitialized".to_owned()));
    assert!(!holds(&status, condition::READY).0);
    assert_eq!(status.leader, None);
}

#[test]
fn the_same_seen_again_gives_the_same_status() {
    let mut observed = healthy();
    observed.previous = told(&observed, &PlanOutcome::default());
    observed.now = observed.now.checked_add(Duration::from_secs(60)).expect("a time");
    assert_eq!(told(&observed, &PlanOutcome::default()), observed.previous);
}

#[test]
fn times_have_no_fraction_because_the_api_server_keeps_none() {
    let status = told(&healthy(), &PlanOutcome::default());
    let whole: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    assert_eq!(status.leader.expect("a leader").since.0, whole);
    assert!(status.conditions.iter().all(|condition| condition.last_transition_time.0 == whole));
}

#[test]
fn a_cut_off_leader_is_not_believed() {
    let mut observed = healthy();
    let mut cut_off = observed.slots[0].answer.clone().expect("an answer");
    cut_off.quorum_ack = Some(Duration::from_secs(60));
    observed.slots[0].answer = Some(cut_off);
    let status = told(&observed, &PlanOutcome::default());
    assert_eq!(status.leader, None);
    assert_eq!(holds(&status, condition::AVAILABLE), (false, "NoLeader".into()));
}

#[test]
fn of_two_leaders_the_one_with_the_higher_term_counts() {
    let mut observed = healthy();
    let mut newer = observed.slots[1].answer.clone().expect("an answer");
    newer.role = RaftRole::Leader;
    newer.leader = 12;
    newer.term = 5;
    newer.quorum_ack = Some(Duration::ZERO);
    observed.slots[1].answer = Some(newer);
    assert_eq!(told(&observed, &PlanOutcome::default()).leader.expect("a leader").name, "team-1");
}

#[test]
fn a_volume_that_is_nearly_full_is_told_and_the_cluster_is_available_but_not_ready() {
    let mut observed = healthy();
    let mut short = observed.slots[1].answer.clone().expect("an answer");
    short.storage_short = true;
    observed.slots[1].answer = Some(short);
    let status = told(&observed, &PlanOutcome::default());
    assert_eq!(holds(&status, condition::STORAGE_HEALTHY), (false, "VolumesNearlyFull".into()));
    assert_eq!(holds(&status, condition::READY), (false, "VolumesNearlyFull".into()));
    assert!(holds(&status, condition::AVAILABLE).0, "reading, deleting and administration go on");
}

#[test]
fn a_lost_pod_is_unreachable_and_the_others_serve() {
    let mut observed = healthy();
    observed.slots[2].answer = None;
    observed.slots[2].pod = None;
    let status = told(&observed, &PlanOutcome::default());
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
    let status = told(&observed, &PlanOutcome::default());
    let found = status.conditions.iter().find(|found| found.type_ == condition::STORAGE_HEALTHY).expect("told");
    assert_eq!(found.status, "False");
    assert!(found.message.contains("team-1") && found.message.contains("do not restart"), "{}", found.message);
}

#[test]
fn a_failed_step_counts_and_its_words_stand_until_the_next_try_has_ended() {
    let operation = Operation {
        kind: OperationKind::ReplaceMember,
        step: OperationStep::SwapVoter,
        member: None,
        message: "swapping".into(),
    };
    let mut outcome =
        PlanOutcome { operation: Some(operation), failed: Some("it was refused".into()), ..PlanOutcome::default() };
    let mut observed = healthy();
    observed.previous = told(&observed, &outcome);
    outcome.failed = None;
    assert_eq!(told(&observed, &outcome).operation, observed.previous.operation);
    outcome.failed = Some("it was refused again".into());
    let again = told(&observed, &outcome).operation.expect("it is under way");
    assert_eq!(again.attempts, 2);
    assert!(again.message.ends_with("it was refused again"), "{}", again.message);
}

fn condition_of(status: &ChatClusterStatus, kind: &str) -> (String, String, String) {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind).expect("every condition is told");
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

fn refusal(lasts: bool) -> WriteRefusal {
    WriteRefusal {
        object: "Service/team".into(),
        words: "cannot apply Service/team: exceeded quota: services.loadbalancers".into(),
        lasts,
        fresh: true,
        times: 3,
    }
}

fn later(observed: &ObservedState, seconds: u64) -> ObservedState {
    let now = observed.now.checked_add(Duration::from_secs(seconds)).expect("a time");
    ObservedState { now, ..observed.clone() }
}

/// Returns an observation in which nobody answers although Kubernetes considers all pods ready.
fn deaf(unheard: Duration) -> ObservedState {
    let mut observed = healthy();
    observed.previous = told(&observed, &PlanOutcome::default());
    observed.slots.iter_mut().for_each(|slot| slot.answer = None);
    observed.sight.leader_unheard = unheard;
    observed
}

#[test]
fn a_refused_object_is_told_in_the_api_servers_words_and_ready_is_false() {
    let outcome = PlanOutcome { application: ApplyState::of(&[refusal(true)]), ..PlanOutcome::default() };
    let status = told(&healthy(), &outcome);
    for kind in [condition::STALLED, condition::READY] {
        let (_, reason, message) = condition_of(&status, kind);
        assert_eq!(reason, "ObjectRefused");
        assert!(message.contains("Service/team") && message.contains("exceeded quota"), "{message}");
    }
    assert!(holds(&status, condition::STALLED).0 && holds(&status, condition::AVAILABLE).0);
    assert!(!holds(&status, condition::READY).0 && !holds(&status, condition::RECONCILING).0);
}

#[test]
fn what_passes_by_itself_is_reconciling_and_not_stalled() {
    let outcome = PlanOutcome { application: ApplyState::of(&[refusal(false)]), ..PlanOutcome::default() };
    let status = told(&healthy(), &outcome);
    assert!(!holds(&status, condition::STALLED).0);
    assert_eq!(holds(&status, condition::RECONCILING), (true, "ObjectRefused".into()));
}

#[test]
fn a_new_generation_is_not_told_of_before_its_objects_are_applied() {
    let mut observed = healthy();
    observed.previous = told(&observed, &PlanOutcome::default());
    let mut cluster = fixture::cluster();
    cluster.generation = 2;
    let pending = PlanOutcome { application: ApplyState::Pending, ..PlanOutcome::default() };
    let early = compute_status(&cluster, &observed, &pending);
    assert_eq!(early.observed_generation, 1);
    let ready = early.conditions.iter().find(|found| found.type_ == condition::READY).expect("told");
    assert_eq!((ready.status.as_str(), ready.observed_generation), ("True", Some(1)), "of the former generation");
    let late = compute_status(&cluster, &observed, &PlanOutcome::default());
    assert_eq!(late.observed_generation, 2);
}

#[test]
fn nothing_is_ready_before_anything_was_applied() {
    let pending = PlanOutcome { application: ApplyState::Pending, ..PlanOutcome::default() };
    let status = told(&healthy(), &pending);
    assert_eq!(holds(&status, condition::READY), (false, "Applying".into()));
    assert!(holds(&status, condition::RECONCILING).0);
}

#[test]
fn more_voters_than_wanted_are_not_ready() {
    let mut observed = healthy();
    for slot in &mut observed.slots {
        let answer = slot.answer.as_mut().expect("an answer");
        answer.membership.voter_sets = vec![[11, 12, 13, 14, 15].into()];
    }
    let status = told(&observed, &PlanOutcome::default());
    assert_eq!(holds(&status, condition::READY), (false, "VotersDiffer".into()));
    assert!(holds(&status, condition::RECONCILING).0);
    assert!(condition_of(&status, condition::READY).2.contains("5 nodes vote, but the spec asks for 3"));
}

#[test]
fn an_operator_that_hears_nobody_says_so_and_not_that_writes_wait() {
    let brief = told(&deaf(Duration::from_secs(3)), &PlanOutcome::default());
    assert!(holds(&brief, condition::AVAILABLE).0, "for a moment, what was known stands");
    assert_eq!(brief.leader.map(|leader| leader.name).as_deref(), Some("team-0"));
    let lost = told(&deaf(Duration::from_secs(11)), &PlanOutcome::default());
    for kind in [condition::AVAILABLE, condition::READY, condition::RECONCILING] {
        let (status, reason, message) = condition_of(&lost, kind);
        assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "NotObserved"), "{kind}");
        assert!(message.contains("NetworkPolicy") && message.contains("7401"), "{message}");
    }
    assert!(!holds(&lost, condition::STALLED).0);
    assert_eq!(lost.raft.expect("as it was").fault_tolerance, 1);
}

#[test]
fn a_leader_that_only_the_operator_does_not_hear_is_not_taken_for_lost() {
    let mut observed = deaf(Duration::from_secs(11));
    let heard = healthy();
    observed.slots[1].answer = heard.slots[1].answer.clone();
    let status = told(&observed, &PlanOutcome::default());
    let (truth, _, message) = condition_of(&status, condition::AVAILABLE);
    assert_eq!(truth, "Unknown");
    assert!(message.contains("team-1 follows team-0"), "{message}");
    // Kubernetes does not consider it ready either: then it is lost.
    observed.slots[0].pod.as_mut().expect("a pod").ready = false;
    let status = told(&observed, &PlanOutcome::default());
    assert_eq!(holds(&status, condition::AVAILABLE), (false, "NoLeader".into()));
}

#[test]
fn pods_that_are_not_there_are_no_reason_for_doubt() {
    let mut observed = deaf(Duration::from_secs(60));
    observed.slots.iter_mut().for_each(|slot| slot.pod.as_mut().expect("a pod").ready = false);
    let status = told(&observed, &PlanOutcome::default());
    assert_eq!(holds(&status, condition::AVAILABLE), (false, "NoLeader".into()));
}

#[test]
fn reconciling_is_never_done_beside_a_cluster_that_is_not_ready() {
    let operation = Operation {
        kind: OperationKind::Rollout,
        step: OperationStep::RestartPod,
        member: None,
        message: "restarting".into(),
    };
    let operations = [None, Some(operation)];
    let blocked = [None, Some(Blocked { reason: BlockedReason::DataLost, message: "restore".into() })];
    let applications =
        [ApplyState::done(), ApplyState::Pending, ApplyState::of(&[refusal(true)]), ApplyState::of(&[refusal(false)])];
    let mut scenes = vec![healthy(), deaf(Duration::ZERO), deaf(Duration::from_secs(30)), fixture::nothing_seen()];
    let mut lost = healthy();
    lost.slots[2].answer = None;
    lost.slots[2].pod = None;
    scenes.push(lost);
    let mut unbound = healthy();
    unbound.slots[1].claim = None;
    scenes.push(unbound);
    for observed in &scenes {
        for operation in &operations {
            for blocked in &blocked {
                for application in &applications {
                    for paused in [false, true] {
                        let mut cluster = fixture::cluster();
                        cluster.spec.paused = paused;
                        let outcome = PlanOutcome {
                            operation: operation.clone(),
                            blocked: blocked.clone(),
                            failed: None,
                            application: application.clone(),
                        };
                        let told = compute_status(&cluster, observed, &outcome);
                        let (ready, ..) = condition_of(&told, condition::READY);
                        let (reconciling, reason, _) = condition_of(&told, condition::RECONCILING);
                        let stalled = condition_of(&told, condition::STALLED).0 == "True";
                        let consistent = match ready.as_str() {
                            "True" => reconciling == "False" && reason == "Done" && !stalled,
                            "Unknown" => reconciling == "Unknown" || stalled,
                            _ => (reconciling == "True") != stalled || paused,
                        };
                        assert!(consistent, "{ready} {reconciling} {reason} {stalled} for {outcome:?}");
                        assert!(reason != "Done" || ready == "True");
                    }
                }
            }
        }
    }
}

fn rolling(kind: OperationKind, member: &str) -> PlanOutcome {
    let operation =
        Operation { kind, step: OperationStep::WaitForPod, member: Some(member.into()), message: "waiting".into() };
    PlanOutcome { operation: Some(operation), ..PlanOutcome::default() }
}

#[test]
fn a_pod_that_restarts_in_a_rollout_does_not_begin_another_operation() {
    let mut observed = healthy();
    observed.previous = told(&observed, &rolling(OperationKind::Rollout, "team-2"));
    let began = observed.previous.operation.clone().expect("under way").started_at;
    for (seconds, kind, member) in [
        (5, OperationKind::Recover, "team-2"),
        (9, OperationKind::Rollout, "team-2"),
        (20, OperationKind::Rollout, "team-1"),
    ] {
        observed.previous = told(&later(&observed, seconds), &rolling(kind, member));
        let operation = observed.previous.operation.clone().expect("under way");
        assert_eq!((operation.r#type.as_str(), &operation.started_at), ("Rollout", &began));
    }
}

#[test]
fn what_comes_no_nearer_to_its_end_is_stalled_with_the_reason() {
    let mut observed = healthy();
    let pod = observed.slots[2].pod.as_mut().expect("a pod");
    pod.trouble = Some("does not start (ImagePullBackOff for image x)".into());
    observed.slots[2].answer = None;
    observed.previous = told(&observed, &rolling(OperationKind::Rollout, "team-2"));
    assert!(!holds(&observed.previous, condition::STALLED).0);
    observed.previous = told(&later(&observed, 599), &rolling(OperationKind::Recover, "team-2"));
    assert!(!holds(&observed.previous, condition::STALLED).0);
    let status = told(&later(&observed, 700), &rolling(OperationKind::Rollout, "team-2"));
    let (truth, reason, message) = condition_of(&status, condition::STALLED);
    assert_eq!((truth.as_str(), reason.as_str()), ("True", "ProgressDeadlineExceeded"));
    assert!(message.contains("ImagePullBackOff") && message.contains("10m"), "{message}");
    // One more pod is as it should be, which is progress.
    let mut mended = later(&observed, 700);
    mended.slots[2].answer = healthy().slots[2].answer.clone();
    assert!(!holds(&told(&mended, &rolling(OperationKind::Rollout, "team-1")), condition::STALLED).0);
}

#[test]
fn another_spec_begins_anew() {
    let mut observed = healthy();
    observed.previous = told(&observed, &rolling(OperationKind::Rollout, "team-2"));
    let mut cluster = fixture::cluster();
    cluster.generation = 2;
    let status = compute_status(&cluster, &later(&observed, 3600), &rolling(OperationKind::Rollout, "team-2"));
    assert!(!holds(&status, condition::STALLED).0);
}

#[test]
fn the_reason_why_a_pod_does_not_come_is_told_with_what_waits_for_it() {
    let mut observed = healthy();
    observed.slots[2].answer = None;
    observed.slots[2].pod = None;
    observed.slots[2].notice = Some("FailedCreate: exceeded quota: pods=3".into());
    let status = told(&observed, &rolling(OperationKind::Rollout, "team-2"));
    let operation = status.operation.clone().expect("under way");
    assert!(operation.message.contains("exceeded quota: pods=3"), "{}", operation.message);
    for kind in [condition::READY, condition::RECONCILING] {
        assert!(condition_of(&status, kind).2.contains("exceeded quota: pods=3"));
    }
}

#[test]
fn a_label_that_is_overruled_is_told() {
    let mut cluster = fixture::cluster();
    cluster.spec.pod_template.metadata.labels.insert("app.kubernetes.io/name".into(), "mine".into());
    let told = compute_status(&cluster, &healthy(), &PlanOutcome::default());
    assert!(condition_of(&told, condition::READY).2.contains("app.kubernetes.io/name"));
}
