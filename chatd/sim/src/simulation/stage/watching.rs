//! Observation of the pods from outside; changes are told in the story.

use super::StoryPlayer;
use crate::layout::SPARE;
use crate::story::tell;
use crate::world::net::HostId;
use quorate_chatd::raft::cluster::NodeStatus;
use std::collections::{BTreeMap, BTreeSet};

/// State of the pods as it was seen last.
#[derive(Default)]
pub(super) struct WatchedPods {
    /// Names of nodes by their ids, which are drawn at random.
    names: BTreeMap<u64, String>,
    /// Last entry of the log and last entry in a snapshot, by pod.
    pods: BTreeMap<HostId, (u64, u64)>,
    voters: BTreeSet<u64>,
    /// Lines that the step `look` produced.
    pub(super) looked: Vec<String>,
}

impl WatchedPods {
    /// Forgets a pod whose process is gone; the next process is not compared with it.
    pub(super) fn forget(&mut self, pod: HostId) {
        self.pods.remove(&pod);
    }

    /// Notes that a pod starts with an empty volume.
    pub(super) fn is_new(&mut self, pod: HostId) {
        self.pods.insert(pod, (0, 0));
    }

    pub(super) fn name(&self, node_id: u64) -> String {
        self.names.get(&node_id).cloned().unwrap_or_else(|| "an unknown node".to_owned())
    }
}

/// Returns the name of a node: its pod, and which of the pod's volumes it lives on.
pub(super) fn node_name(pod: HostId, volume: u32) -> String {
    match volume {
        0 => tell::format_pod(pod),
        1 => format!("{} (new)", tell::format_pod(pod)),
        _ => format!("{} (new, {volume})", tell::format_pod(pod)),
    }
}

impl StoryPlayer {
    fn statuses(&self) -> Vec<(HostId, Option<NodeStatus>)> {
        let now = self.simulation.world.now();
        let status = |host: HostId| {
            let running = self.simulation.running(host)?;
            self.simulation.world.hosts[host].set_time(now);
            Some(running.node.cluster.status())
        };
        (0..=SPARE).map(|host| (host, status(host))).collect()
    }

    /// Returns `true` if a node leads a later term, with a majority.
    pub(super) fn leads_after(&self, term: u64) -> bool {
        self.statuses().into_iter().filter_map(|(_, status)| status).any(|status| status.leads() && status.term > term)
    }

    /// Returns the highest applied index of all pods.
    pub(super) fn applied(&self) -> u64 {
        self.statuses().iter().filter_map(|(_, status)| Some(status.as_ref()?.applied_index)).max().unwrap_or_default()
    }

    /// Tells what has changed since the last call.
    pub(super) fn watch(&mut self) {
        for (host, status) in self.statuses() {
            let Some(status) = status else { continue };
            let name = node_name(host, self.simulation.pods[host].volume);
            self.seen.names.insert(status.node_id, name);
            let last = status.last_log_index;
            let snapshot = status.snapshot_index;
            let before = self.seen.pods.insert(host, (last, snapshot));
            if let Some((last_before, snapshot_before)) = before
                && snapshot > snapshot_before
            {
                self.tell_snapshot(host, snapshot, last_before);
            }
            if status.leads() && status.membership.voter_sets.len() == 1 {
                self.tell_voters(&status.membership.voters());
            }
        }
    }

    fn tell_snapshot(&self, host: HostId, snapshot: u64, last_before: u64) {
        let pod = tell::format_pod(host);
        let what = match last_before {
            0 => format!("{pod}, which was empty, has installed a snapshot up to entry {snapshot}"),
            last if last < snapshot => {
                format!("{pod}, whose log ended at {last}, has installed a snapshot up to entry {snapshot}")
            }
            _ => format!("{pod} has taken a snapshot up to entry {snapshot}"),
        };
        self.cast.told.tell(self.simulation.world.now(), what);
    }

    fn tell_voters(&mut self, voters: &BTreeSet<u64>) {
        if *voters == self.seen.voters {
            return;
        }
        self.seen.voters.clone_from(voters);
        let mut names: Vec<_> = voters.iter().map(|voter| self.seen.name(*voter)).collect();
        names.sort();
        let what = format!("the voters are {}", tell::join_names(&names));
        self.cast.told.tell(self.simulation.world.now(), what);
    }

    /// Adds a line with the role, the log and the applied index of each pod.
    pub(super) fn look(&mut self) {
        let mut rows = Vec::new();
        for (host, status) in self.statuses() {
            let line = match status {
                Some(status) => tell::describe_status(&status, |id| self.seen.name(id)),
                None if self.simulation.pods[host].node_id.is_some() => "is off".to_owned(),
                // The spare pod is not told before the story gets to it.
                None => continue,
            };
            rows.push((node_name(host, self.simulation.pods[host].volume), line));
        }
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        self.seen.looked.extend(rows.into_iter().map(|(name, line)| format!("{name:<width$}  {line}")));
    }
}
