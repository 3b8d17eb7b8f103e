//! What goes wrong, when and for how long: all of it from the seed.

use crate::act::{PODS, SPARE};
use crate::rng::Rng;
use crate::world::Time;
use crate::world::net::{HostId, Weather};

/// A millisecond.
pub const MS: Time = 1_000_000;
/// By now the cluster has been made, if nothing is wrong with it.
pub const BEGIN: Time = 2_000 * MS;
/// From now on nothing goes wrong any more, and everything that is down starts.
pub const HEAL: Time = 7_000 * MS;
/// Clients begin nothing new.
pub const LAST_WORK: Time = 8_500 * MS;

/// One of them.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A process is killed; with `power` its machine goes too, and what was not synced is lost.
    Crash {
        /// Which.
        pod: HostId,
        /// Also the machine.
        power: bool,
        /// Until it starts again.
        down: Time,
    },
    /// The machine's power fails in the middle of a write or a sync, so many calls from now.
    PowerOffIn {
        /// Which.
        pod: HostId,
        /// Calls that change the disk.
        calls: u64,
    },
    /// A pod that is down starts.
    Start(HostId),
    /// It loses its volume, and comes back as a node with a fresh id, which takes its place.
    Wipe(HostId),
    /// Nothing gets through, each from the first to the second.
    Block(Vec<(HostId, HostId)>),
    /// All is open again.
    Unblock,
    /// The process stands still.
    Pause {
        /// Which.
        pod: HostId,
        /// How long.
        time: Time,
    },
    /// All connections between two are reset.
    Cut(HostId, HostId),
    /// The wall clock jumps.
    StepClock {
        /// Which.
        pod: HostId,
        /// By how much.
        ms: i64,
    },
    /// The network changes.
    Weather(Weather),
    /// Each batch of its log takes so long.
    SlowDisk {
        /// Which.
        pod: HostId,
        /// Milliseconds.
        ms: u64,
    },
    /// The leader hands over.
    Transfer,
    /// The spare takes the place of this one.
    Swap(HostId),
    /// It takes a snapshot and purges its log.
    Snapshot(HostId),
    /// The end of all faults.
    Heal,
}

/// What an ordinary network is like.
pub const CALM: Weather = Weather { delay: MS / 5, jitter: MS, loss: 0 };

/// The faults of a seed, in order of time, without those that follow from others.
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
        // One at a time, and one in all: a second would have to wait for the first.
        _ if *replaced => plan.push((at, Fault::Snapshot(pod))),
        wish => {
            *replaced = true;
            plan.push((at, if wish < 97 { Fault::Swap(pod) } else { Fault::Wipe(pod) }));
        }
    }
}

fn partition(rng: &mut Rng, at: Time, pod: HostId, other: HostId, plan: &mut Vec<(Time, Fault)>) {
    let pairs = match rng.below(4) {
        // One is alone.
        0 => (0..=SPARE).filter(|to| *to != pod).flat_map(|to| [(pod, to), (to, pod)]).collect(),
        // It hears all, and nobody hears it; or the other way round.
        1 => (0..=SPARE).filter(|to| *to != pod).map(|to| (pod, to)).collect(),
        2 => (0..=SPARE).filter(|to| *to != pod).map(|to| (to, pod)).collect(),
        // One link.
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
