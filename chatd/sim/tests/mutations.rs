//! Proof that each check can fail: what is broken on purpose is caught by the invariants that are there for it.
#![allow(clippy::panic, reason = "a failed check of a test is a panic")]

use quorate_sim::driver::{self, SeedResult};
use quorate_sim::mutation::Mutation;
use std::path::Path;

/// Number of seeds that are tried; a mutation that none of them catches counts as not caught.
const SEEDS: u64 = 60;

/// Runs seeds until one is broken, and asserts that it was by one of these invariants.
fn caught(mutation: Mutation, by: &[&str]) {
    let mut first: Option<SeedResult> = None;
    driver::run_seeds(Path::new(env!("CARGO_BIN_EXE_quorate-sim")), 0..SEEDS, Some(mutation), |ended| {
        if !ended.sound && first.is_none() {
            first = Some(ended.clone());
        }
        first.is_none()
    });
    let Some(ended) = first else { panic!("{mutation} was not caught by {SEEDS} seeds") };
    println!("{mutation}: {}", ended.line);
    assert!(by.contains(&ended.invariant()), "{mutation} was caught by something else: {}", ended.line);
}

/// Runs seeds until this very invariant finds the mutation: others may come first in other seeds.
fn found(mutation: Mutation, by: &str) {
    let (mut found, mut others) = (None::<SeedResult>, Vec::new());
    driver::run_seeds(Path::new(env!("CARGO_BIN_EXE_quorate-sim")), 0..SEEDS, Some(mutation), |ended| {
        if ended.invariant() == by {
            found.get_or_insert_with(|| ended.clone());
        } else if !ended.sound {
            others.push(ended.invariant().to_owned());
        }
        found.is_none()
    });
    let Some(ended) = found else { panic!("{mutation} was not found by {by} in {SEEDS} seeds, but by {others:?}") };
    println!("{mutation}: {}; by others before: {others:?}", ended.line);
}

#[test]
fn a_write_acknowledged_before_it_was_synced_is_caught() {
    caught(
        Mutation::AcknowledgeBeforeSync,
        &[
            "leader_completeness",
            "committed_entries_stay",
            "votes_never_go_back",
            "election_safety",
            "exactly_once",
            // Such a log can be damaged in its middle, and then refuses to open.
            "pods_stop_for_a_reason",
        ],
    );
}

#[test]
fn an_entry_committed_without_a_quorum_is_caught() {
    caught(Mutation::CommitWithoutQuorum, &["leader_completeness", "committed_entries_stay", "exactly_once", "heals"]);
}

#[test]
fn votes_given_to_everybody_are_caught() {
    caught(
        Mutation::GrantEveryVote,
        // The log itself refuses to take committed entries back, and the pod stops.
        &["leader_completeness", "committed_entries_stay", "pods_stop_for_a_reason"],
    );
}

#[test]
fn a_forgotten_transaction_id_is_caught() {
    // Commands of one batch still see each other's, so that replicas that batch differently differ.
    caught(Mutation::DropDedupRow, &["exactly_once", "applied_agreement"]);
}

#[test]
fn a_message_applied_twice_is_caught() {
    caught(Mutation::ApplyDuplicate, &["exactly_once"]);
}

#[test]
fn a_replica_that_differs_is_caught() {
    caught(Mutation::ReplicaDiffers, &["applied_agreement"]);
}

#[test]
fn a_snapshot_that_lacks_a_row_is_caught() {
    caught(Mutation::SnapshotLacksRow, &["applied_agreement", "snapshot_replay_equals_log_replay"]);
}

#[test]
fn state_that_changes_afterwards_is_caught() {
    // The rows that are forgotten depend on what was committed before, and so on how a replica batches.
    caught(Mutation::ForgetOldState, &["state_at_an_event_is_stable", "applied_agreement"]);
}

#[test]
fn a_stale_read_is_caught() {
    caught(Mutation::StaleRead, &["reads_are_linearizable"]);
}

#[test]
fn a_gap_in_a_stream_is_caught() {
    caught(Mutation::SkipOnResume, &["streams_have_no_gaps"]);
}

#[test]
fn a_pod_that_announces_a_level_that_it_does_not_know_is_caught() {
    caught(Mutation::AnnounceNewerLevel, &["pods_stop_for_a_reason"]);
}

#[test]
fn a_node_that_leads_a_term_in_two_lives_is_found() {
    found(Mutation::DiskGoesBack, "election_safety");
}

#[test]
fn logs_that_say_two_things_of_one_entry_are_found() {
    found(Mutation::EntryDiffers, "log_matching");
}

#[test]
fn a_state_that_all_replicas_have_and_the_log_does_not_make_is_found() {
    found(Mutation::ContentDiffers, "snapshot_replay_equals_log_replay");
}

#[test]
fn a_message_acknowledged_before_it_had_its_place_is_found() {
    found(Mutation::AcknowledgeEarly, "writes_keep_their_order");
}

#[test]
fn a_stream_whose_messages_overtake_each_other_is_found() {
    found(Mutation::PostAside, "streams_keep_their_order");
}

#[test]
fn an_index_that_lacks_rows_on_every_replica_is_found() {
    found(Mutation::ForgetStateChange, "rows_agree");
}
