//! Verdict at the end: all replicas agree, and the clients' history is judged by what they agree on.

use super::Simulation;
use crate::faults::MS;
use crate::invariants::clients::FinalState;
use crate::invariants::{CheckResult, fail_check, snapshot_replay_equals_log_replay};
use crate::layout::SPARE;
use quorate_chatd::raft::codec::log_id_from_pb;
use quorate_chatd::raft::types::LogId;
use quorate_chatd::store::StateStore as _;
use quorate_core::invariant::state_digest;

impl Simulation {
    pub(super) fn verdict(&mut self) -> CheckResult {
        self.look_at_all()?;
        let mut judged = None;
        for host in 0..=SPARE {
            let Some(running) = self.running(host) else { continue };
            let rows = running.store.view();
            let Some(last) = running.store.applied().log_id.map(|id| log_id_from_pb(&id)) else { continue };
            // The replica that has applied most is judged: the spare may belong to no cluster, and one that left knows
            // only what was before.
            if judged.as_ref().is_none_or(|(known, _): &(LogId, _)| known.index < last.index) {
                judged = Some((last, rows));
            }
        }
        let Some((last, rows)) = judged else {
            return fail_check("heals", "no replica has applied anything".to_owned());
        };
        let record = self.history.lock();
        FinalState::new(&record, &rows).check()?;
        let of_replica = (last, state_digest(&rows).unwrap());
        self.figures.replayed = snapshot_replay_equals_log_replay(&record.appended, of_replica)? as u64;
        Ok(())
    }

    pub(super) fn count(&mut self) {
        let record = self.history.lock();
        let figures = &mut self.figures;
        figures.simulated_ms = self.world.now() / MS;
        figures.steps = self.world.trace.steps();
        figures.leaders = record.leaders.len() as u64;
        figures.entries = self.watch.committed.len() as u64;
        figures.sends = record.sends.len() as u64;
        figures.acknowledged = record.sends.values().filter(|send| send.acknowledged.is_some()).count() as u64;
        figures.repeated = record.sends.values().filter(|send| send.attempts > 1).count() as u64;
        figures.reads = record.reads.len() as u64;
        figures.linearizable = record.reads.iter().filter(|read| read.linearizable).count() as u64;
        figures.connections = record.followed.values().map(|followed| u64::from(followed.connections)).sum();
        figures.member_changes = u64::from(record.member_changes);
        figures.transfers = u64::from(record.transfers);
        figures.snapshots = u64::from(record.snapshots);
    }
}
