//! Order of a run: the systems of each workload are measured side by side, ours and theirs in turn, so that both have
//! the same neighbours.

use crate::load::burner::CpuBurner;
use crate::load::clock::LoadTiming;
use crate::load::members::DeliveryBoard;
use crate::load::post::{self, PostMode};
use crate::load::room::RoomUnderLoad;
use crate::measure;
use crate::places::BenchPaths;
use crate::results::{MetricSample, RunSettings};
use crate::stage::{LONG, PREPARE, run_stage};
use crate::system::{BenchSystem, RunningSystem};
use crate::workload::{BenchMetric, Workload};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Number of members of the rooms of B4, B5 and B10.
const MEMBERS: usize = 100;
/// Messages per second in B4 and B10.
const MESSAGES: f64 = 50.0;

/// Plan of a run: what to measure, and how.
#[derive(Clone, Debug)]
pub(crate) struct BenchPlan {
    pub(crate) workloads: BTreeSet<Workload>,
    pub(crate) systems: BTreeSet<BenchSystem>,
    pub(crate) settings: RunSettings,
    /// `true` to also run what takes long: 10⁷ messages, 10⁵ rooms, ten minutes under load.
    pub(crate) long: bool,
    /// Number of polls of the crowd.
    pub(crate) crowd: usize,
}

/// Samples of a run, and notes on what could not be measured.
#[derive(Debug, Default)]
pub(crate) struct RunFindings {
    pub(crate) samples: Vec<MetricSample>,
    pub(crate) notes: Vec<String>,
}

/// Figures of one measurement.
pub(crate) type MetricValues = Vec<(BenchMetric, f64)>;

/// A run under way.
pub(crate) struct BenchRun<'a> {
    pub(crate) plan: &'a BenchPlan,
    pub(crate) places: &'a BenchPaths,
    pub(crate) running: BTreeMap<BenchSystem, RunningSystem>,
    pub(crate) findings: RunFindings,
}

impl<'a> BenchRun<'a> {
    pub(crate) fn new(plan: &'a BenchPlan, places: &'a BenchPaths) -> Self {
        Self { plan, places, running: BTreeMap::new(), findings: RunFindings::default() }
    }

    /// Runs all workloads of the plan. A failure is noted, and the rest goes on.
    pub(crate) async fn all(mut self) -> RunFindings {
        for workload in self.plan.workloads.clone() {
            eprintln!("{}: {}", workload.name(), workload.title());
            match workload {
                Workload::B1 => self.posts(workload, PostMode::Stream { in_flight: 256 }).await,
                Workload::B2 => self.posts(workload, PostMode::Unary { callers: 64 }).await,
                Workload::B3 => self.posts(workload, PostMode::Unary { callers: 1 }).await,
                // Measured with B1.
                Workload::B7 => {}
                Workload::B4 | Workload::B5 => self.rooms(workload).await,
                Workload::B6 => self.matrix().await,
                Workload::B8 => self.idle().await,
                Workload::B9 => self.outages().await,
                Workload::B10 => self.busy().await,
                Workload::Crowd => self.crowd().await,
                Workload::Growth => self.growth().await,
            }
        }
        self.findings
    }

    pub(crate) fn timing(&self) -> LoadTiming {
        let RunSettings { warm_seconds, steady_seconds, .. } = self.plan.settings;
        LoadTiming { warm: Duration::from_secs_f64(warm_seconds), steady: Duration::from_secs_f64(steady_seconds) }
    }

    pub(crate) fn repeats(&self) -> std::ops::Range<u32> {
        0..self.plan.settings.repeats
    }

    /// Returns the longest time for one measurement of the usual length.
    fn limit(&self) -> Duration {
        let LoadTiming { warm, steady } = self.timing();
        warm + steady + PREPARE
    }

    /// Returns the systems of a workload that are part of the plan.
    pub(crate) fn systems(&self, workload: Workload) -> Vec<BenchSystem> {
        workload.systems().iter().copied().filter(|system| self.plan.systems.contains(system)).collect()
    }

    /// Starts what a workload needs and stops the rest. Returns the systems that run.
    pub(crate) async fn bring_up(&mut self, workload: Workload) -> Vec<BenchSystem> {
        let wanted = self.systems(workload);
        self.running.retain(|system, _| wanted.contains(system));
        for system in wanted {
            if self.running.contains_key(&system) {
                continue;
            }
            match RunningSystem::start(system, self.places).await {
                Ok(running) => drop(self.running.insert(system, running)),
                Err(error) => self.note(workload, system, &error),
            }
        }
        self.running.keys().copied().collect()
    }

    pub(crate) fn note(&mut self, workload: Workload, system: BenchSystem, error: &anyhow::Error) {
        let note = format!("{}, {}: {error:#}", workload.name(), system.title());
        eprintln!("  not measured: {note}");
        self.findings.notes.push(note);
    }

    pub(crate) fn keep(
        &mut self,
        workload: Workload,
        case: &str,
        system: BenchSystem,
        repeat: u32,
        figures: anyhow::Result<MetricValues>,
    ) {
        let figures = match figures {
            Ok(figures) => figures,
            Err(error) => return self.note(workload, system, &error),
        };
        let text: Vec<_> = figures
            .iter()
            .map(|(metric, value)| format!("{} {}", crate::stats::format_figure(*value), metric.title()))
            .collect();
        eprintln!("  {:<18} {case} {}", system.title(), text.join(" · "));
        for (metric, value) in figures {
            // CPU time per post of B1 belongs to a workload of its own.
            let own = metric == BenchMetric::Cpu && workload == Workload::B1;
            let workload = if own { Workload::B7 } else { workload };
            self.findings.samples.push(MetricSample { workload, case: case.to_owned(), system, repeat, metric, value });
        }
    }

    async fn posts(&mut self, workload: Workload, posting: PostMode) {
        let systems = self.bring_up(workload).await;
        for repeat in self.repeats() {
            for system in &systems {
                let figures = self.posted(*system, posting, workload == Workload::B1).await;
                self.keep(workload, "", *system, repeat, figures);
            }
        }
    }

    async fn posted(&self, system: BenchSystem, posting: PostMode, with_cpu: bool) -> anyhow::Result<MetricValues> {
        let Some(running) = self.running.get(&system) else { return Ok(Vec::new()) };
        let what = format!("posting to {}", system.title());
        let posted = run_stage(&what, self.limit(), post::measure_posts(running, posting, self.timing())).await?;
        Ok(measure::post_figures(posted, with_cpu))
    }

    /// Opens a room in each system that has rooms, with all members connected.
    pub(crate) async fn open_rooms(&mut self, workload: Workload) -> BTreeMap<BenchSystem, RoomUnderLoad> {
        let mut rooms = BTreeMap::new();
        for system in self.bring_up(workload).await {
            let Some(running) = self.running.get(&system) else { continue };
            let opened = async { running.room(DeliveryBoard::new(MEMBERS)?).await };
            let room =
                run_stage(&format!("joining {MEMBERS} members to a room on {}", system.title()), PREPARE, opened).await;
            match room {
                Ok(room) => drop(rooms.insert(system, room)),
                Err(error) => self.note(workload, system, &error),
            }
        }
        rooms
    }

    async fn rooms(&mut self, workload: Workload) {
        let rooms = self.open_rooms(workload).await;
        let mut found = BTreeMap::new();
        for repeat in self.repeats() {
            for (system, room) in &rooms {
                let what = format!("{}: sending messages to the room on {}", workload.name(), system.title());
                let figures = match workload {
                    Workload::B5 => run_stage(&what, LONG, measure::highest_rate(room, &mut found, *system)).await,
                    _ => run_stage(&what, self.limit(), self.delivery(room)).await,
                };
                self.keep(workload, "", *system, repeat, figures);
            }
        }
    }

    async fn delivery(&self, room: &RoomUnderLoad) -> anyhow::Result<MetricValues> {
        measure::measure_delivery(room, MESSAGES, self.timing()).await
    }

    async fn outages(&mut self) {
        let systems = self.bring_up(Workload::B9).await;
        for repeat in self.repeats() {
            for system in &systems {
                let Some(running) = self.running.get_mut(system) else { continue };
                let what = format!("killing the leader of {}", system.title());
                let figures = run_stage(&what, PREPARE, running.outage()).await.map(measure::outage_figures);
                self.keep(Workload::B9, "", *system, repeat, figures);
            }
        }
    }

    async fn busy(&mut self) {
        let rooms = self.open_rooms(Workload::B10).await;
        let before = self.term().await;
        let burner = CpuBurner::start(&self.places.work);
        if let Err(error) = &burner {
            let note = format!("B10: {error:#}");
            return self.findings.notes.push(note);
        }
        let repeats = if self.plan.long { self.repeats().start..LONG_REPEATS } else { self.repeats() };
        for repeat in repeats {
            for system in rooms.keys() {
                if *system != BenchSystem::Ejabberd {
                    let figures = self.posted(*system, PostMode::Unary { callers: 1 }, false).await;
                    self.keep(Workload::B10, crate::goal::BUSY_POSTS, *system, repeat, figures);
                }
            }
            for (system, room) in &rooms {
                let what = format!("sending messages to the room on {} while all cores are busy", system.title());
                let figures = run_stage(&what, self.limit(), self.delivery(room)).await;
                self.keep(Workload::B10, crate::goal::BUSY_ROOM, *system, repeat, figures);
            }
        }
        let after = self.term().await;
        drop(burner);
        if let (Some(before), Some(after)) = (before, after) {
            let elections = after.saturating_sub(before) as f64;
            self.keep(Workload::B10, "", BenchSystem::Quorate, 0, Ok(vec![(BenchMetric::Elections, elections)]));
        }
    }

    async fn term(&self) -> Option<u64> {
        match self.running.get(&BenchSystem::Quorate) {
            Some(RunningSystem::Quorate(quorate)) => quorate.term().await.ok(),
            _ => None,
        }
    }
}

/// Number of repeats of B10 that take ten minutes with the default lengths.
const LONG_REPEATS: u32 = 30;
