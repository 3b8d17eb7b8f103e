//! Stage on which a story is played: its steps one after the other, with what happened below each.

mod scene;
mod watching;

use super::{PANIC, Simulation};
use crate::act::SimAction;
use crate::faults::MS;
use crate::invariants::{CheckResult, PropertyViolation, fail_check};
use crate::layout::{CLIENTS, SPARE};
use crate::mutation::Mutation;
use crate::rng::Rng;
use crate::story::cast::StoryCast;
use crate::story::page::{self, StoryLine, StoryWriter};
use crate::story::step::StoryStep;
use crate::workload::ClientContext;
use crate::world::host::HostClock;
use crate::world::net::NetworkConditions;
use crate::world::{SimTime, SimWorld};
use quorate_chatd::raft::membership::CompactionOptions;
use std::path::Path;
use std::time::Duration;
use watching::WatchedPods;

/// Seed of all stories: it decides the lengths of elections, and nothing else that is told.
const SEED: u64 = 1;
/// A network without surprises.
const STEADY: NetworkConditions = NetworkConditions { delay: MS, jitter: 0, loss: 0 };
/// Time for which clients wait: longer than anything that is waited for inside of a pod, so that the pod's own answer
/// is told.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest time of a step; one that takes longer waits for what does not come.
const STEP: SimTime = 30_000 * MS;
/// Grid on which steps begin: full tenths of a second.
const BEAT: SimTime = 100 * MS;
/// Least time between two steps: none begins before what the last one caused has come about.
const REST: SimTime = 50 * MS;

/// Result of playing a story.
#[derive(Debug)]
pub struct PlayedStory {
    /// Text of the file, written anew as far as the story was played.
    pub text: String,
    /// Property that was broken, if any.
    pub violation: Option<PropertyViolation>,
}

/// A story that is being played.
struct StoryPlayer {
    simulation: Simulation,
    cast: StoryCast,
    seen: WatchedPods,
}

/// Plays a story on this thread, which is steered from then on. Snapshots go into `dir`, which must be empty.
#[must_use]
pub fn play_story(text: &str, mutation: Option<Mutation>, dir: &Path) -> PlayedStory {
    quorate_steer::steer_thread(SEED);
    let mut page = StoryWriter::default();
    let violation = play_on(text, mutation, dir, &mut page).err();
    PlayedStory { text: page.into_text(), violation }
}

fn play_on(text: &str, mutation: Option<Mutation>, dir: &Path, page: &mut StoryWriter) -> CheckResult {
    let lines = page::parse_lines(text);
    let steps = lines.iter().filter_map(|line| match line {
        StoryLine::Step(step) => Some(step.parse::<StoryStep>()),
        StoryLine::Prose(_) => None,
    });
    let steps: Result<Vec<_>, _> = steps.collect();
    let steps = steps.or_else(|error| fail_check("stories_are_understood", error))?;
    // Everything that must hold at the end is checked in the step `the end`, and nowhere else.
    if steps.iter().position(|step| *step == StoryStep::End).is_none_or(|end| end + 1 != steps.len()) {
        return fail_check(
            "stories_are_understood",
            "a story must contain `the end` exactly once, as its last step".to_owned(),
        );
    }
    let mut stage = StoryPlayer::new(mutation, dir);
    let mut steps = steps.into_iter();
    for line in &lines {
        match line {
            StoryLine::Prose(line) => page.prose(line),
            StoryLine::Step(text) => {
                let played = steps.next().map_or(Ok(()), |step| stage.step(step));
                page.step(text, &stage.happened());
                played.map_err(|violation| PropertyViolation {
                    what: format!("{} (in: {text})", violation.what),
                    ..violation
                })?;
            }
        }
    }
    Ok(())
}

impl StoryPlayer {
    fn new(mutation: Option<Mutation>, dir: &Path) -> Self {
        let mut world = SimWorld::new(SEED);
        for _ in 0..=CLIENTS {
            world.add_host(HostClock::default());
        }
        world.net.set_weather(STEADY);
        // Snapshots are taken by the story alone, and everything that one covers is purged.
        let compaction = CompactionOptions { entries: u64::MAX, keep_entries: 0, ..CompactionOptions::default() };
        let mut simulation = Simulation::of(world, Rng::new(SEED), &compaction, mutation, dir);
        simulation.again = 0;
        for pod in 0..=SPARE {
            simulation.pods[pod].slow(1);
        }
        let net = simulation.world.net.clone();
        simulation.world.hosts[CLIENTS].boot(0, std::future::ready(()));
        net.mark(CLIENTS);
        net.act_at(BEAT, SimAction::Look);
        let clients = ClientContext { patience: PATIENCE, until: SimTime::MAX, ..simulation.clients.clone() };
        Self { simulation, cast: StoryCast::new(clients), seen: WatchedPods::default() }
    }

    /// Lets time pass until `over` holds, at most for [`STEP`].
    fn until(&mut self, over: impl Fn(&Self) -> bool) -> CheckResult {
        let end = self.simulation.world.now() + STEP;
        while !over(self) {
            match self.simulation.world.next_act(end) {
                Some(act) => self.act(act)?,
                None => {
                    return fail_check(
                        "stories_go_on",
                        format!("the step did not finish: {}", self.simulation.describe()),
                    );
                }
            }
        }
        Ok(())
    }

    /// Lets time pass until `end`.
    fn until_time(&mut self, end: SimTime) -> CheckResult {
        while let Some(act) = self.simulation.world.next_act(end) {
            self.act(act)?;
        }
        Ok(())
    }

    /// Lets time pass, so that what the step caused is told below it.
    fn rest(&mut self) -> CheckResult {
        let end = (self.simulation.world.now() + REST).next_multiple_of(BEAT);
        self.until_time(end)
    }

    fn act(&mut self, act: SimAction) -> CheckResult {
        let looks = matches!(act, SimAction::Look);
        self.simulation.act(act)?;
        if let Some(panic) = PANIC.get() {
            return fail_check("nobody_panics", panic.clone());
        }
        if looks {
            self.watch();
        }
        Ok(())
    }
}
