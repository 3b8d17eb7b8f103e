//! Workload B6: the same Matrix client against Quorate and Synapse.

use super::{measure_delivery, post_figures};
use crate::goal::{FEW_ROOMS, FIRST_SYNC, MANY_ROOMS, SENDERS, TO_SYNC};
use crate::load::clock::LoadTiming;
use crate::load::latency;
use crate::load::post::{measure_load, run_callers};
use crate::matrix::owner::{RoomOwner, TimedSync};
use crate::matrix::room::MatrixRoom;
use crate::plan::{BenchRun, MetricValues};
use crate::process;
use crate::stage::{LONG, PREPARE, run_stage};
use crate::system::BenchSystem;
use crate::workload::{BenchMetric, Workload};
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Number of members of the room.
const MEMBERS: usize = 10;
/// Number of callers that send to it at the same time, each over a connection of its own.
const CALLERS: usize = 16;
/// Messages per second of which the deliveries are timed: far from what fills a core on either side.
const MESSAGES: f64 = 2.0;
/// Timing of the deliveries: at this rate, the usual seconds have too few of them.
const DELIVERIES: LoadTiming = LoadTiming { warm: Duration::from_secs(1), steady: Duration::from_secs(10) };
/// Numbers of rooms of the two users who sync.
const FEW: usize = 10;
const MANY: usize = 500;
/// Least number of syncs that are timed, however long they take.
const LEAST: u64 = 3;

/// Measurements on each homeserver.
#[derive(Clone, Copy, Debug)]
enum MatrixCase {
    Senders,
    Delivery,
    FirstSync,
    FewRooms,
    ManyRooms,
}

impl MatrixCase {
    const fn name(self) -> &'static str {
        match self {
            Self::Senders => SENDERS,
            Self::Delivery => TO_SYNC,
            Self::FirstSync => FIRST_SYNC,
            Self::FewRooms => FEW_ROOMS,
            Self::ManyRooms => MANY_ROOMS,
        }
    }
}

/// Cases in the order in which they run. Those of one group are compared with each other, and run in turn.
const GROUPS: [&[MatrixCase]; 4] = [
    &[MatrixCase::Senders],
    &[MatrixCase::Delivery],
    &[MatrixCase::FirstSync],
    &[MatrixCase::FewRooms, MatrixCase::ManyRooms],
];

impl BenchRun<'_> {
    pub(crate) async fn matrix(&mut self) {
        let mut worlds = BTreeMap::new();
        for system in self.bring_up(Workload::B6).await {
            match self.populate(system).await {
                Ok(world) => drop(worlds.insert(system, world)),
                Err(error) => self.note(Workload::B6, system, &error),
            }
        }
        for group in GROUPS {
            for repeat in self.repeats() {
                for (system, world) in &worlds {
                    for case in group {
                        let what = format!("{} on {}", case.name(), system.title());
                        let figures = run_stage(&what, LONG, world.measure(*case, self.timing())).await;
                        self.keep(Workload::B6, case.name(), *system, repeat, figures);
                    }
                }
            }
        }
    }

    /// Creates the users and rooms of a homeserver.
    async fn populate(&self, system: BenchSystem) -> anyhow::Result<MatrixWorld> {
        let running = self.running.get(&system).context("the system is not running")?;
        let servers = running.homeserver()?;
        let first = *servers.first().context("the homeserver has no address")?;
        let name = system.title();
        let what = format!("joining {MEMBERS} members to a room on {name}");
        let room = run_stage(&what, PREPARE, MatrixRoom::open(&servers, MEMBERS)).await?;
        let what = |rooms| format!("creating {rooms} rooms of one user on {name}");
        let few = run_stage(&what(FEW), LONG, RoomOwner::create(first, FEW)).await?;
        let many = run_stage(&what(MANY), LONG, RoomOwner::create(first, MANY)).await?;
        Ok(MatrixWorld { pids: running.pids(), room, few, many })
    }
}

/// Users and rooms of a homeserver.
struct MatrixWorld {
    pids: Vec<u32>,
    room: MatrixRoom,
    few: RoomOwner,
    many: RoomOwner,
}

impl MatrixWorld {
    async fn measure(&self, case: MatrixCase, timing: LoadTiming) -> anyhow::Result<MetricValues> {
        match case {
            MatrixCase::Senders => self.sends(timing).await,
            // Followed anew each time, so that nobody polls while the other homeserver is measured.
            MatrixCase::Delivery => measure_delivery(&self.room.follow().await?, MESSAGES, DELIVERIES).await,
            MatrixCase::FirstSync => self.syncs(&self.many, TimedSync::First, timing).await,
            MatrixCase::FewRooms => self.syncs(&self.few, TimedSync::AfterMessage, timing).await,
            MatrixCase::ManyRooms => self.syncs(&self.many, TimedSync::AfterMessage, timing).await,
        }
    }

    async fn sends(&self, timing: LoadTiming) -> anyhow::Result<MetricValues> {
        let callers = self.room.senders(CALLERS).await?;
        let posted = measure_load(self.pids.clone(), timing, |clock| run_callers(callers, clock)).await?;
        Ok(post_figures(posted, true))
    }

    async fn syncs(&self, owner: &RoomOwner, sync: TimedSync, timing: LoadTiming) -> anyhow::Result<MetricValues> {
        let mut syncing = owner.sync().await?;
        let mut took = latency::new_histogram()?;
        let mut used = None;
        let clock = timing.start();
        while took.len() < LEAST || !clock.ended() {
            let counts = Instant::now() >= clock.steady;
            if counts && used.is_none() {
                used = Some(process::cpu_micros(&self.pids)?);
            }
            let lasted = syncing.timed(sync).await?;
            if counts {
                latency::record_latency(&mut took, lasted);
            }
        }
        let used = process::cpu_micros(&self.pids)? - used.unwrap_or_default();
        let mut figures = vec![
            (BenchMetric::P50, latency::quantile_millis(&took, 0.5)),
            (BenchMetric::P99, latency::quantile_millis(&took, 0.99)),
        ];
        // The other syncs share the time with the messages before them.
        figures.extend((sync == TimedSync::First).then_some((BenchMetric::Cpu, used / took.len() as f64)));
        Ok(figures)
    }
}
