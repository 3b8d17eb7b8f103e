//! Starting and stopping of pods, and what becomes of their disks.

use super::Simulation;
use crate::boot::{PodSetup, boot_pod};
use crate::faults::{CALM, MS, PlannedFault};
use crate::invariants::{CheckResult, fail_check};
use crate::layout::SPARE;
use crate::mutation::Mutation;
use crate::replica::PodSlot;
use crate::replica::disk::FaultyDisk;
use crate::rng::Rng;
use crate::upgrade::PodVersion;
use crate::workload;
use crate::world::SimTime;
use crate::world::net::HostId;
use quorate_chatd::raft::log::sim_disk::SimDisk;
use quorate_chatd::raft::membership::CompactionOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time for which a machine is down after its power failed in a write.
const REBOOT: SimTime = 300 * MS;
/// Time for which a pod is down while it is upgraded.
const RESTART: SimTime = 50 * MS;

/// A machine's volume, and the pod that runs on it.
pub(super) struct SimPod {
    disk: SimDisk,
    /// Disk as it was at the last look, for [`Mutation::DiskGoesBack`].
    before: Option<SimDisk>,
    latency_ms: Arc<AtomicU64>,
    root: PathBuf,
    pub(super) volume: u32,
    compaction: CompactionOptions,
    pub(super) version: PodVersion,
    pub(super) slot: PodSlot,
    pub(super) node_id: Option<u64>,
    /// Index before which the log of the current process has been looked at.
    pub(super) looked_at: u64,
    armed: bool,
}

/// Draws the compaction of a seed: snapshots are taken seldom or all the time, and leave much of the log or little.
pub(super) fn random_compaction(rng: &mut Rng) -> CompactionOptions {
    CompactionOptions {
        entries: *rng.pick(&[20, 60, 100_000]),
        keep_entries: *rng.pick(&[0, 10, 40]),
        every: Duration::from_millis(200),
        ..CompactionOptions::default()
    }
}

impl SimPod {
    pub(super) fn new(dir: &Path, host: HostId, compaction: CompactionOptions) -> Self {
        Self {
            disk: SimDisk::new(),
            before: None,
            latency_ms: Arc::default(),
            root: dir.join(format!("pod-{host}")),
            volume: 0,
            compaction,
            version: PodVersion::Only,
            slot: PodSlot::default(),
            node_id: None,
            looked_at: 0,
            armed: false,
        }
    }

    pub(super) fn slow(&self, ms: u64) {
        self.latency_ms.store(ms, Ordering::Relaxed);
    }

    /// Keeps a copy of the disk for [`Mutation::DiskGoesBack`], which brings it back.
    pub(super) fn remember_disk(&mut self) {
        self.before = Some(self.disk.after_kill());
    }

    fn dir(&self) -> PathBuf {
        self.root.join(format!("volume-{}", self.volume))
    }
}

impl Simulation {
    pub(super) fn start(&mut self, host: HostId) {
        if self.world.hosts[host].is_on() {
            return;
        }
        let now = self.world.now();
        let pod = &mut self.pods[host];
        (pod.looked_at, pod.armed) = (0, false);
        let dir = pod.dir();
        std::fs::create_dir_all(&dir).unwrap();
        self.lives += 1;
        let lies = self.mutation == Some(Mutation::AcknowledgeBeforeSync);
        let start = PodSetup {
            host,
            net: self.world.net.clone(),
            disk: FaultyDisk { inner: pod.disk.clone(), latency_ms: pod.latency_ms.clone(), lies },
            dir,
            seed: self.rng.number(),
            mutation: self.mutation,
            version: pod.version,
            life: self.lives,
            odd: host == 0,
            compaction: pod.compaction.clone(),
            again: self.again,
            history: self.history.clone(),
            slot: pod.slot.clone(),
        };
        self.world.net.kernel_is_up(host);
        self.world.hosts[host].boot(now, boot_pod(start));
        self.world.net.mark(host);
    }

    /// Stops a pod by a kill or, with `power`, by a loss of power. Returns `false` if it is down already.
    pub(super) fn crash(&mut self, host: HostId, power: bool) -> bool {
        if !self.world.hosts[host].is_on() {
            return false;
        }
        let now = self.world.now();
        self.world.net.fell(host, power);
        let pod = &mut self.pods[host];
        // An armed failure leaves the disk in a state that is only found after a loss of power.
        let power = power || pod.armed;
        pod.disk = match pod.before.take().filter(|_| power) {
            Some(before) => before,
            None if power => pod.disk.after_power_loss(self.rng.number()),
            None => pod.disk.after_kill(),
        };
        let running = pod.slot.lock().unwrap().take();
        self.world.hosts[host].crash(now);
        drop(running);
        // Tasks that wait for this pod, on other pods or among the clients, are woken.
        for other in 0..self.world.hosts.len() {
            self.world.net.mark(other);
        }
        self.figures.crashes += 1;
        self.figures.power_losses += u64::from(power);
        true
    }

    pub(super) fn arm(&mut self, host: HostId, calls: u64) {
        if self.world.hosts[host].is_on() {
            self.pods[host].disk.power_off_after(calls);
            self.pods[host].armed = true;
        }
    }

    /// Handles a process that ended by itself, as it must when its disk fails, and never otherwise.
    pub(super) fn died(&mut self, host: HostId, reason: &str) -> CheckResult {
        if !self.world.hosts[host].is_on() {
            return Ok(());
        }
        if !self.pods[host].armed {
            return fail_check("pods_stop_for_a_reason", format!("pod {host} exited without a disk failure: {reason}"));
        }
        self.crash(host, true);
        let at = self.world.now() + REBOOT;
        self.world.net.act_at(at, crate::act::SimAction::Fault(PlannedFault::Start(host)));
        Ok(())
    }

    /// Stops a pod and starts it as the newer version. One that is down is started by what stopped it.
    pub(super) fn upgrade(&mut self, host: HostId) {
        self.pods[host].version = PodVersion::Newer;
        if self.crash(host, false) {
            let at = self.world.now() + RESTART;
            self.world.net.act_at(at, crate::act::SimAction::Fault(PlannedFault::Start(host)));
        }
    }

    /// Makes the operator replace the node that runs on `out` by the one that runs on `with`.
    pub(super) fn replace(&mut self, out: HostId, with: HostId) {
        if let Some(id) = self.pods[out].node_id {
            let task = workload::replace_voter(self.clients.clone(), id, with);
            self.client_task(task);
        }
    }

    pub(super) fn wipe(&mut self, host: HostId) {
        self.lose_volume(host);
        // The id of the lost node is known from before.
        self.replace(host, host);
        self.start(host);
    }

    /// Cuts the power of a machine and gives it an empty disk.
    pub(super) fn lose_volume(&mut self, host: HostId) {
        self.crash(host, true);
        let pod = &mut self.pods[host];
        pod.disk = SimDisk::new();
        pod.volume += 1;
        self.figures.wiped += 1;
    }

    pub(super) fn heal(&mut self) {
        self.world.net.heal();
        self.world.net.set_weather(CALM);
        for host in 0..=SPARE {
            self.pods[host].slow(0);
            self.start(host);
        }
    }
}
