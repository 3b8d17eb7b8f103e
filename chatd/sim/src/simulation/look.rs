//! Inspection of the replicas from outside, without disturbing them.

use super::Simulation;
use crate::history::TermAndNode;
use crate::invariants::{CheckResult, ObservedEntry, ObservedReplica};
use crate::layout::SPARE;
use crate::mutation::Mutation;
use crate::replica::PodHandle;
use crate::world::net::HostId;
use futures::FutureExt as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _};
use openraft::{EntryPayload, ServerState};
use quorate_chatd::raft::codec::encode_entry;
use quorate_chatd::raft::types::{LogEntry, Vote};
use quorate_chatd::store::StateStore as _;
use quorate_core::invariant::state_digest;
use std::fmt::Write as _;

impl Simulation {
    pub(super) fn running(&self, host: HostId) -> Option<PodHandle> {
        self.pods[host].slot.lock().unwrap().clone()
    }

    pub(super) fn look_at_all(&mut self) -> CheckResult {
        for host in 0..=SPARE {
            let Some(running) = self.running(host) else { continue };
            self.world.hosts[host].set_time(self.world.now());
            let from = self.pods[host].looked_at;
            // A log that failed an instant ago cannot be read; its process is about to end.
            let Some(seen) = observe_replica(&running, from) else { continue };
            self.pods[host].node_id = Some(seen.node_id);
            if self.mutation == Some(Mutation::DiskGoesBack) {
                self.pods[host].remember_disk();
            }
            self.pods[host].looked_at = seen.applied.map_or(0, |id| id.index);
            self.world.trace.note(&[seen.node_id, seen.state.0, u64::from(seen.state.1)]);
            let record = self.history.lock();
            self.watch.look(&seen, &record)?;
        }
        Ok(())
    }

    /// Returns `true` if clients are done, a leader is there, no joint membership is in force, an upgrade has come to its
    /// end, and every voter has applied all of the leader's log.
    pub(super) fn has_settled(&self) -> bool {
        if self.history.lock().working > 0 {
            return false;
        }
        let now = self.world.now();
        let statuses: Vec<_> = (0..=SPARE)
            .filter_map(|host| {
                let running = self.running(host)?;
                self.world.hosts[host].set_time(now);
                Some(running.node.cluster.status())
            })
            .collect();
        let Some(leader) = statuses.iter().find(|status| status.leads()) else { return false };
        let applied = |id: &u64| {
            statuses.iter().any(|status| status.node_id == *id && status.applied_index == leader.last_log_index)
        };
        leader.levels.in_force == self.final_level
            && leader.membership.voter_sets.len() == 1
            && leader.membership.voters().iter().all(applied)
    }

    pub(super) fn describe(&self) -> String {
        let mut out = format!("{} clients at work", self.history.lock().working);
        for host in 0..=SPARE {
            let Some(running) = self.running(host) else {
                let _ = write!(out, "; pod {host} down");
                continue;
            };
            self.world.hosts[host].set_time(self.world.now());
            let status = running.node.cluster.status();
            let _ = write!(
                out,
                "; pod {host} {:x} {:?} term {} log {} applied {} purged {} level {}/{}",
                status.node_id >> 48,
                status.role,
                status.term,
                status.last_log_index,
                status.applied_index,
                status.purged_index,
                status.levels.in_force,
                status.levels.known
            );
        }
        out
    }
}

fn observe_replica(running: &PodHandle, from: u64) -> Option<ObservedReplica> {
    let (node_id, leads, applied) = {
        let metrics = running.node.peer_listener.consensus.metrics();
        let metrics = metrics.borrow_watched();
        let leads = (metrics.state == ServerState::Leader).then(|| ballot_of(&metrics.vote));
        (metrics.id, leads, metrics.last_applied)
    };
    // Everything is in memory, so none of these futures waits.
    let mut log = running.log.clone();
    let state = log.get_log_state().now_or_never()?.ok()?;
    let purged = state.last_purged_log_id.map(|id| id.index);
    let first = purged.map_or(0, |purged| purged + 1);
    let start = from.saturating_sub(1).max(first);
    let mut reader = log.get_log_reader().now_or_never()?;
    let vote = reader.read_vote().now_or_never()?.ok()?.map(|vote| ballot_of(&vote));
    let entries = match state.last_log_id {
        Some(last) if last.index >= start => reader.try_get_log_entries(start..=last.index).now_or_never()?.ok()?,
        _ => Vec::new(),
    };
    let rows = running.store.view();
    let of_state = (running.store.applied().index().unwrap_or(0), state_digest(&rows).unwrap());
    Some(ObservedReplica {
        node_id,
        leads,
        vote,
        applied,
        purged,
        entries: observe_entries(&entries),
        last: state.last_log_id,
        state: of_state,
    })
}

fn ballot_of(vote: &Vote) -> TermAndNode {
    (vote.leader_id.term, vote.leader_id.node_id)
}

fn observe_entries(entries: &[LogEntry]) -> Vec<ObservedEntry> {
    let mut before = None;
    let mut out = Vec::with_capacity(entries.len());
    for entry in entries {
        let batch = match &entry.payload {
            EntryPayload::Normal(batch) => Some(batch.clone()),
            _ => None,
        };
        out.push(ObservedEntry { id: entry.log_id, before, crc32: crc32fast::hash(&encode_entry(entry)), batch });
        before = Some(entry.log_id);
    }
    out
}
