//! Fault plan: what goes wrong, when and for how long, all of it drawn from the seed.

use crate::act::{PODS, SPARE};
use crate::rng::Rng;
use crate::world::Time;
use crate::world::net::{HostId, Weather};

/// One millisecond of simulated time.
pub const MS: Time = 1_000_000;
/// Earliest time of a fault, apart from the initial state of network and disks. By then the cluster has been formed, if
/// nothing is wrong with it.
pub const BEGIN: Time = 2_000 * MS;
/// Time from which nothing goes wrong any more; everything that is down is started.
pub const HEAL: Time = 7_000 * MS;
/// Time from which clients begin nothing new.
pub const LAST_WORK: Time = 8_500 * MS;

/// A fault, or the end of one.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A process is killed. With `power` its machine loses power too, and what was not synced is lost.
    Crash {
        pod: HostId,
        /// `true` if the machine loses power as well.
        power: bool,
        /// Time until the process is started again.
        down: Time,
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
        time: Time,
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
    Weather(Weather),
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
    /// A pod takes a snapshot and purges its log.
    Snapshot(HostId),
    /// All faults end, and every pod that is down is started.
    Heal,
}

/// Delay, jitter and loss of an ordinary network.
pub const CALM: Weather = Weather { delay: MS / 5, jitter: MS, loss: 0 };

/// Plans the faults of a seed, in order of time. Faults that follow from others, such as the start after a crash, are
/// not among them.
#[must_use]
pub fn plan(rng: &mut Rng) -> Vec<(Time, Fault)> {
    let mut plan = vec![(0, Fault::Weather(weather(rng))), (HEAL, Fault::Heal)];
    for pod in 0..=SPARE {
        let ms = *rng.pick(&[0, 0, 1, 3, 10, 25]);
        plan.push((0, Fault::SlowDisk { pod, ms }));
    }
    let mut replaced = false;
    for _ in 0..3 + rng.below(6) {
        let at = BEGIN + between(rng, 0, HEAL - BEGIN - 300 * MS);
        faults(rng, at, &mut replaced, &mut plan);
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

fn between(rng: &mut Rng, from: Time, to: Time) -> Time {
    from + rng.below(usize::try_from((to - from) / MS).unwrap().max(1)) as u64 * MS
}

fn weather(rng: &mut Rng) -> Weather {
    match rng.below(4) {
        0 | 1 => CALM,
        2 => Weather { delay: MS, jitter: 15 * MS, loss: 2 },
        _ => Weather { delay: MS / 10, jitter: 5 * MS, loss: 10 },
    }
}

fn faults(rng: &mut Rng, at: Time, replaced: &mut bool, plan: &mut Vec<(Time, Fault)>) {
    let pod = rng.below(PODS);
    let other = (pod + 1 + rng.below(PODS - 1)) % PODS;
    match rng.below(100) {
        0..18 => plan.push((at, Fault::Crash { pod, power: rng.percent(60), down: between(rng, 50 * MS, 2_000 * MS) })),
        18..32 => plan.push((at, Fault::PowerOffIn { pod, calls: 1 + rng.below(12) as u64 })),
        32..52 => partition(rng, at, pod, other, plan),
        52..60 => plan.push((at, Fault::Pause { pod, time: between(rng, 30 * MS, 1_500 * MS) })),
        60..66 => plan.push((at, Fault::Cut(pod, other))),
        66..71 => plan.push((at, Fault::StepClock { pod, ms: rng.below(120_000) as i64 - 60_000 })),
        71..76 => plan.push((at, Fault::Weather(weather(rng)))),
        76..81 => plan.push((at, Fault::SlowDisk { pod, ms: rng.below(60) as u64 })),
        81..87 => plan.push((at, Fault::Transfer)),
        87..94 => plan.push((at, Fault::Snapshot(pod))),
        // At most one member is replaced: a second replacement would have to wait for the first.
        _ if *replaced => plan.push((at, Fault::Snapshot(pod))),
        wish => {
            *replaced = true;
            plan.push((at, if wish < 97 { Fault::Swap(pod) } else { Fault::Wipe(pod) }));
        }
    }
}

fn partition(rng: &mut Rng, at: Time, pod: HostId, other: HostId, plan: &mut Vec<(Time, Fault)>) {
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
        let closed = if times == 1 { between(rng, 100 * MS, 2_500 * MS) } else { between(rng, 50 * MS, 500 * MS) };
        plan.push((at, Fault::Block(pairs.clone())));
        plan.push((at + closed, Fault::Unblock));
        at += closed + open;
    }
}
