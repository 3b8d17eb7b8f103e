//! Simulation of one seed, from an empty cluster to the verdict.
//!
//! The plan of [`crate::faults`] and the clients of [`crate::workload`] are put into the queue of a [`SimWorld`] → every
//! act is carried out here → every 100 simulated milliseconds all replicas are looked at ([`crate::invariants`]) → when
//! everything has healed and all replicas agree, the clients' history is judged.

mod look;
mod machines;
mod stage;
mod verdict;

pub use stage::{PlayedStory, play_story};

use crate::act::SimAction;
use crate::faults::{self, LAST_WORK, MS, PlannedFault};
use crate::history::SharedHistory;
use crate::invariants::{CheckResult, InvariantChecker, PropertyViolation, fail_check};
use crate::layout::{CLIENTS, SPARE};
use crate::mutation::Mutation;
use crate::rng::Rng;
use crate::upgrade::{self, PodVersion};
use crate::workload::{self, ClientContext};
use crate::world::host::HostClock;
use crate::world::{SimTime, SimWorld};
use futures::FutureExt as _;
use machines::SimPod;
use quorate_chatd::raft::membership::CompactionOptions;
use quorate_core::apply::KnownFormat;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// Interval between two looks at all replicas.
const LOOK_EVERY: SimTime = 100 * MS;
/// Time for which clients of seeds wait for an answer: longer than an election, shorter than what the proposer itself
/// waits, so that answers are lost, too.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests per thousand that are delivered a second time, late.
const AGAIN: usize = 20;
/// Time by which everything must have settled: elections, retries and snapshots after the last fault take a second or
/// two.
const SETTLED: SimTime = 25_000 * MS;

/// Result of simulating a seed.
#[derive(Debug)]
pub struct SimulationOutcome {
    /// Property that was broken, if any.
    pub violation: Option<PropertyViolation>,
    /// Digest of everything that happened.
    pub trace: String,
    /// Figures about what the simulation did.
    pub figures: SimulationStats,
}

/// Counts of what happened in a simulation.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "they are what they are called")]
pub struct SimulationStats {
    pub simulated_ms: u64,
    pub steps: u64,
    pub crashes: u64,
    pub power_losses: u64,
    pub wiped: u64,
    pub leaders: u64,
    pub entries: u64,
    pub replayed: u64,
    pub sends: u64,
    pub acknowledged: u64,
    pub repeated: u64,
    pub reads: u64,
    pub linearizable: u64,
    pub connections: u64,
    pub member_changes: u64,
    pub transfers: u64,
    pub snapshots: u64,
}

/// A simulation under way.
pub struct Simulation {
    world: SimWorld<SimAction>,
    rng: Rng,
    pods: Vec<SimPod>,
    clients: ClientContext,
    history: SharedHistory,
    watch: InvariantChecker,
    lives: u64,
    again: usize,
    /// Format level that must be in force in the end.
    final_level: u32,
    mutation: Option<Mutation>,
    figures: SimulationStats,
}

static PANIC: OnceLock<String> = OnceLock::new();

/// Makes a panic in any task of the simulated program a failure, though tokio keeps it from ending the process.
pub fn note_panics() {
    std::panic::set_hook(Box::new(|info| {
        let _ = PANIC.set(info.to_string());
        eprintln!("{info}\n{}", std::backtrace::Backtrace::capture());
    }));
}

/// Runs a seed on this thread, which is steered from then on. Snapshots go into `dir`, which must be empty.
#[must_use]
pub fn simulate_seed(seed: u64, mutation: Option<Mutation>, dir: &Path) -> SimulationOutcome {
    quorate_steer::steer_thread(seed);
    let mut simulation = Simulation::new(seed, mutation, dir);
    let violation = simulation.run().err();
    let trace = simulation.world.trace.to_string();
    simulation.count();
    SimulationOutcome { violation, trace, figures: simulation.figures }
}

impl Simulation {
    fn new(seed: u64, mutation: Option<Mutation>, dir: &Path) -> Self {
        let mut rng = Rng::new(seed);
        let mut world = SimWorld::new(rng.number());
        let clocks: Vec<_> = (0..=SPARE)
            .map(|_| HostClock {
                ahead_ms: rng.below(20_000) as i64 - 10_000,
                fast_ppm: rng.below(4_000) as i64 - 2_000,
            })
            .collect();
        for clock in clocks {
            world.add_host(clock);
        }
        world.add_host(HostClock::default());
        let compaction = machines::random_compaction(&mut rng);
        let mut simulation = Self::of(world, rng, &compaction, mutation, dir);
        if let Some(plan) = upgrade::plan_upgrade(seed) {
            simulation.schedule_upgrade(plan);
        }
        simulation
    }

    fn of(
        world: SimWorld<SimAction>,
        rng: Rng,
        compaction: &CompactionOptions,
        mutation: Option<Mutation>,
        dir: &Path,
    ) -> Self {
        let history = SharedHistory::default();
        let clients = ClientContext {
            net: world.net.clone(),
            history: history.clone(),
            mutation,
            until: LAST_WORK,
            pods: ClientContext::first_pods(),
            patience: PATIENCE,
        };
        Self {
            world,
            rng,
            pods: (0..=SPARE).map(|host| SimPod::new(dir, host, compaction.clone())).collect(),
            clients,
            history,
            watch: InvariantChecker::default(),
            lives: 0,
            again: AGAIN,
            final_level: KnownFormat::CURRENT.level,
            mutation,
            figures: SimulationStats::default(),
        }
    }

    /// Makes all pods of the cluster run the older version until they are upgraded. The spare runs the newer one from the
    /// start, for no operator adds a pod of a version that the cluster is leaving.
    fn schedule_upgrade(&mut self, plan: Vec<(SimTime, PlannedFault)>) {
        for pod in &mut self.pods {
            pod.version = PodVersion::Older;
        }
        self.pods[SPARE].version = PodVersion::Newer;
        self.final_level = PodVersion::Newer.format().level;
        for (at, fault) in plan {
            self.world.net.act_at(at, SimAction::Fault(fault));
        }
    }

    fn run(&mut self) -> CheckResult {
        for (at, fault) in faults::plan_faults(&mut self.rng) {
            self.world.net.act_at(at, SimAction::Fault(fault));
        }
        for pod in 0..=SPARE {
            self.start(pod);
        }
        let clients = self.clients.clone();
        let seed = self.rng.number();
        self.history.lock().working += 1;
        let history = self.history.clone();
        self.world.hosts[CLIENTS].boot(0, async move {
            workload::run_workload(clients, seed).await;
            history.lock().working -= 1;
        });
        self.world.net.mark(CLIENTS);
        self.world.net.act_at(LOOK_EVERY, SimAction::Look);
        while let Some(act) = self.world.next_act(SETTLED) {
            if self.act(act)? {
                return self.verdict();
            }
            if let Some(panic) = PANIC.get() {
                return fail_check("nobody_panics", panic.clone());
            }
        }
        fail_check("heals", format!("not settled after {} ms: {}", SETTLED / MS, self.describe()))
    }

    /// Carries out an act. Returns `true` if everything has settled.
    fn act(&mut self, act: SimAction) -> Result<bool, PropertyViolation> {
        let now = self.world.now();
        match act {
            SimAction::Look => {
                self.look_at_all()?;
                self.world.net.act_at(now + LOOK_EVERY, SimAction::Look);
                return Ok(now > LAST_WORK && self.has_settled());
            }
            SimAction::ToPod(host, work) => {
                let running = self.pods[host].slot.lock().unwrap().clone();
                if let Some(running) = running.filter(|_| !self.world.net.is_blocked(CLIENTS, host)) {
                    self.world.hosts[host].spawn(now, work(running));
                    self.world.net.mark(host);
                } else {
                    // The request is lost, which wakes the client that waits for its answer.
                    self.world.net.mark(CLIENTS);
                }
            }
            SimAction::ToClients(host, arrive) => {
                self.world.hosts[CLIENTS].set_time(now);
                if !self.world.net.is_blocked(host, CLIENTS) {
                    arrive();
                }
                self.world.net.mark(CLIENTS);
            }
            SimAction::Died { host, reason } => self.died(host, &reason)?,
            SimAction::Fault(fault) => {
                if std::env::var_os("QUORATE_SIM_SHOW").is_some() {
                    eprintln!("{:>6} ms {fault:?}; {}", now / MS, self.describe());
                }
                self.world.trace.note_text(&format!("{fault:?}"));
                self.fault(fault);
            }
        }
        Ok(false)
    }

    fn fault(&mut self, fault: PlannedFault) {
        let now = self.world.now();
        let net = self.world.net.clone();
        match fault {
            PlannedFault::Crash { pod, power, down } => {
                if self.crash(pod, power) {
                    net.act_at(now + down, SimAction::Fault(PlannedFault::Start(pod)));
                }
            }
            PlannedFault::PowerOffIn { pod, calls } => self.arm(pod, calls),
            PlannedFault::Start(pod) => self.start(pod),
            PlannedFault::Wipe(pod) => self.wipe(pod),
            PlannedFault::Block(pairs) => pairs.into_iter().for_each(|(from, to)| net.block(from, to)),
            PlannedFault::Unblock => net.heal(),
            PlannedFault::Pause { pod, time } => self.world.pause(pod, now + time),
            PlannedFault::Cut(one, other) => net.cut_connections(one, other),
            PlannedFault::StepClock { pod, ms } => self.world.hosts[pod].clock.ahead_ms += ms,
            PlannedFault::Weather(weather) => net.set_weather(weather),
            PlannedFault::SlowDisk { pod, ms } => self.pods[pod].slow(ms),
            PlannedFault::Transfer => {
                self.client_task(workload::transfer_leadership(self.clients.clone(), None).map(drop))
            }
            PlannedFault::Swap(out) => self.replace(out, SPARE),
            PlannedFault::Upgrade(pod) => self.upgrade(pod),
            PlannedFault::Snapshot(pod) => {
                self.client_task(workload::request_snapshot(self.clients.clone(), pod).map(drop))
            }
            PlannedFault::Heal => self.heal(),
        }
    }

    fn client_task(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let now = self.world.now();
        self.world.hosts[CLIENTS].spawn(now, task);
        self.world.net.mark(CLIENTS);
    }
}
