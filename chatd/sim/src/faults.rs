//! Fault plan: what goes wrong, when and for how long, all of it drawn from the seed.

use crate::layout::{PODS, SPARE};
use crate::rng::Rng;
use crate::world::SimTime;
use crate::world::net::{HostId, NetworkConditions};

/// One millisecond of simulated time.
pub const MS: SimTime = 1_000_000;
/// Earliest time of a fault, apart from the initial state of network and disks. By then the cluster has been formed, if
/// nothing is wrong with it.
pub const BEGIN: SimTime = 2_000 * MS;
/// Time from which nothing goes wrong any more; everything that is down is started.
pub const HEAL: SimTime = 7_000 * MS;
/// Time from which clients begin nothing new.
pub const LAST_WORK: SimTime = 8_500 * MS;

/// A fault, or the end of one.
#[derive(Clone, Debug)]
pub enum PlannedFault {
    /// A process is killed. With `power` its machine loses power too, and what was not synced is lost.
    Crash {
        pod: HostId,
        /// `true` if the machine loses power as well.
        power: bool,
        /// Time until the process is started again.
        down: SimTime,
    },
    /// A machine loses power in the middle of a write or a sync.
    PowerOffIn {
        pod: HostId,
        /// Number of calls that still change the disk; the last of them is cut short.
        calls: u64,
    },
    /// A pod that is down is started.
    Start(HostId),
    /// A pod loses its volume and comes back as a node with a fresh id, which takes the place of the old node.
    Wipe(HostId),
    /// Nothing gets through from the first to the second machine of each pair.
    Block(Vec<(HostId, HostId)>),
    /// All blocked directions are open again.
    Unblock,
    /// A process stands still for a while.
    Pause {
        pod: HostId,
        /// Length of the pause.
        time: SimTime,
    },
    /// All connections between the two machines are reset.
    Cut(HostId, HostId),
    /// The wall clock of a machine jumps.
    StepClock {
        pod: HostId,
        /// Milliseconds by which it jumps forward, or backward if negative.
        ms: i64,
    },
    /// Delay, jitter and loss of the network change.
    Weather(NetworkConditions),
    /// The latency of a log's disk changes.
    SlowDisk {
        pod: HostId,
        /// Milliseconds that each batch of the log takes.
        ms: u64,
    },
    /// The leader transfers leadership to any node that qualifies.
    Transfer,
    /// The spare pod takes the place of this one.
    Swap(HostId),
    /// A pod is stopped, and started again as the newer version.
    Upgrade(HostId),
    /// A pod takes a snapshot and purges its log.
    Snapshot(HostId),
    /// All faults end, and every pod that is down is started.
    Heal,
}

/// Delay, jitter and loss of an ordinary network.
pub const CALM: NetworkConditions = NetworkConditions { delay: MS / 5, jitter: MS, loss: 0 };

/// Plans the faults of a seed, in order of time. Faults that follow from others, such as the start after a crash, are
/// not among them.
#[must_use]
pub fn plan_faults(rng: &mut Rng) -> Vec<(SimTime, PlannedFault)> {
    let mut plan = vec![(0, PlannedFault::Weather(random_conditions(rng))), (HEAL, PlannedFault::Heal)];
    for pod in 0..=SPARE {
        let ms = *rng.pick(&[0, 0, 1, 3, 10, 25]);
        plan.push((0, PlannedFault::SlowDisk { pod, ms }));
    }
    let mut replaced = false;
    for _ in 0..3 + rng.below(6) {
        let at = BEGIN + random_time(rng, 0, HEAL - BEGIN - 300 * MS);
        add_random_fault(rng, at, &mut replaced, &mut plan);
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

fn random_time(rng: &mut Rng, from: SimTime, to: SimTime) -> SimTime {
    from + rng.below(usize::try_from((to - from) / MS).unwrap().max(1)) as u64 * MS
}

fn random_conditions(rng: &mut Rng) -> NetworkConditions {
    match rng.below(4) {
        0 | 1 => CALM,
        2 => NetworkConditions { delay: MS, jitter: 15 * MS, loss: 2 },
        _ => NetworkConditions { delay: MS / 10, jitter: 5 * MS, loss: 10 },
    }
}

fn add_random_fault(rng: &mut Rng, at: SimTime, replaced: &mut bool, plan: &mut Vec<(SimTime, PlannedFault)>) {
    let pod = rng.below(PODS);
    let other = (pod + 1 + rng.below(PODS - 1)) % PODS;
    match rng.below(100) {
        0..18 => plan.push((
            at,
            PlannedFault::Crash { pod, power: rng.percent(60), down: random_time(rng, 50 * MS, 2_000 * MS) },
        )),
        18..32 => plan.push((at, PlannedFault::PowerOffIn { pod, calls: 1 + rng.below(12) as u64 })),
        32..52 => add_partition(rng, at, pod, other, plan),
        52..60 => plan.push((at, PlannedFault::Pause { pod, time: random_time(rng, 30 * MS, 1_500 * MS) })),
        60..66 => plan.push((at, PlannedFault::Cut(pod, other))),
        66..71 => plan.push((at, PlannedFault::StepClock { pod, ms: rng.below(120_000) as i64 - 60_000 })),
        71..76 => plan.push((at, PlannedFault::Weather(random_conditions(rng)))),
        76..81 => plan.push((at, PlannedFault::SlowDisk { pod, ms: rng.below(60) as u64 })),
        81..87 => plan.push((at, PlannedFault::Transfer)),
        87..94 => plan.push((at, PlannedFault::Snapshot(pod))),
        // At most one member is replaced: a second replacement would have to wait for the first.
        _ if *replaced => plan.push((at, PlannedFault::Snapshot(pod))),
        wish => {
            *replaced = true;
            plan.push((at, if wish < 97 { PlannedFault::Swap(pod) } else { PlannedFault::Wipe(pod) }));
        }
    }
}

fn add_partition(rng: &mut Rng, at: SimTime, pod: HostId, other: HostId, plan: &mut Vec<(SimTime, PlannedFault)>) {
    let pairs = match rng.below(4) {
        // One pod is isolated.
        0 => (0..=SPARE).filter(|to| *to != pod).flat_map(|to| [(pod, to), (to, pod)]).collect(),
        // One pod hears all others and none hears it, or the other way round.
        1 => (0..=SPARE).filter(|to| *to != pod).map(|to| (pod, to)).collect(),
        2 => (0..=SPARE).filter(|to| *to != pod).map(|to| (to, pod)).collect(),
        // One link is cut.
        _ => vec![(pod, other), (other, pod)],
    };
    let (times, open) = if rng.percent(30) { (1 + rng.below(6), 250 * MS) } else { (1, 0) };
    let mut at = at;
    for _ in 0..times {
        let closed =
            if times == 1 { random_time(rng, 100 * MS, 2_500 * MS) } else { random_time(rng, 50 * MS, 500 * MS) };
        plan.push((at, PlannedFault::Block(pairs.clone())));
        plan.push((at + closed, PlannedFault::Unblock));
        at += closed + open;
    }
}
