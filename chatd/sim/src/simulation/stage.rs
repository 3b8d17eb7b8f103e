//! Stage on which a story is played: its steps one after the other, with what happened below each.

mod scene;
mod watching;

use super::{PANIC, Simulation};
use crate::act::{Act, CLIENTS, SPARE};
use crate::faults::MS;
use crate::invariants::{Checked, Violation, broken};
use crate::mutation::Mutation;
use crate::rng::Rng;
use crate::story::cast::Cast;
use crate::story::page::{self, Line, Page};
use crate::story::step::Step;
use crate::workload::Clients;
use crate::world::host::Clock;
use crate::world::net::Weather;
use crate::world::{Time, World};
use quorate_chatd::raft::membership::Compaction;
use std::path::Path;
use std::time::Duration;
use watching::Seen;

/// Seed of all stories: it decides the lengths of elections, and nothing else that is told.
const SEED: u64 = 1;
/// A network without surprises.
const STEADY: Weather = Weather { delay: MS, jitter: 0, loss: 0 };
/// Time for which clients wait: longer than anything that is waited for inside of a pod, so that the pod's own answer
/// is told.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest time of a step; one that takes longer waits for what does not come.
const STEP: Time = 30_000 * MS;
/// Grid on which steps begin: full tenths of a second.
const BEAT: Time = 100 * MS;
/// Least time between two steps: none begins before what the last one caused has come about.
const REST: Time = 50 * MS;

/// Result of playing a story.
#[derive(Debug)]
pub struct Played {
    /// Text of the file, written anew as far as the story was played.
    pub text: String,
    /// Property that was broken, if any.
    pub violation: Option<Violation>,
}

/// A story that is being played.
struct Stage {
    simulation: Simulation,
    cast: Cast,
    seen: Seen,
}

/// Plays a story on this thread, which is steered from then on. Snapshots go into `dir`, which must be empty.
#[must_use]
pub fn play(text: &str, mutation: Option<Mutation>, dir: &Path) -> Played {
    quorate_steer::steer(SEED);
    let mut page = Page::default();
    let violation = play_on(text, mutation, dir, &mut page).err();
    Played { text: page.into_text(), violation }
}

fn play_on(text: &str, mutation: Option<Mutation>, dir: &Path, page: &mut Page) -> Checked {
    let lines = page::read(text);
    let steps = lines.iter().filter_map(|line| match line {
        Line::Step(step) => Some(step.parse::<Step>()),
        Line::Prose(_) => None,
    });
    let steps: Result<Vec<_>, _> = steps.collect();
    let steps = steps.or_else(|error| broken("stories_are_understood", error))?;
    // Everything that must hold at the end is checked in the step `the end`, and nowhere else.
    if steps.iter().position(|step| *step == Step::End).is_none_or(|end| end + 1 != steps.len()) {
        return broken(
            "stories_are_understood",
            "a story must contain `the end` exactly once, as its last step".to_owned(),
        );
    }
    let (mut stage, mut steps) = (Stage::new(mutation, dir), steps.into_iter());
    for line in &lines {
        match line {
            Line::Prose(line) => page.prose(line),
            Line::Step(text) => {
                let played = steps.next().map_or(Ok(()), |step| stage.step(step));
                page.step(text, &stage.happened());
                played
                    .map_err(|violation| Violation { what: format!("{} (in: {text})", violation.what), ..violation })?;
            }
        }
    }
    Ok(())
}

impl Stage {
    fn new(mutation: Option<Mutation>, dir: &Path) -> Self {
        let mut world = World::new(SEED);
        for _ in 0..=CLIENTS {
            world.add_host(Clock::default());
        }
        world.net.set_weather(STEADY);
        // Snapshots are taken by the story alone, and everything that one covers is purged.
        let compaction = Compaction { entries: u64::MAX, keep_entries: 0, ..Compaction::default() };
        let mut simulation = Simulation::of(world, Rng::new(SEED), &compaction, mutation, dir);
        simulation.again = 0;
        for pod in 0..=SPARE {
            simulation.pods[pod].slow(1);
        }
        let net = simulation.world.net.clone();
        simulation.world.hosts[CLIENTS].boot(0, std::future::ready(()));
        net.mark(CLIENTS);
        net.act_at(BEAT, Act::Look);
        let clients = Clients { patience: PATIENCE, until: Time::MAX, ..simulation.clients.clone() };
        Self { simulation, cast: Cast::new(clients), seen: Seen::default() }
    }

    /// Lets time pass until `over` holds, at most for [`STEP`].
    fn until(&mut self, over: impl Fn(&Self) -> bool) -> Checked {
        let end = self.simulation.world.now() + STEP;
        while !over(self) {
            match self.simulation.world.next_act(end) {
                Some(act) => self.act(act)?,
                None => {
                    return broken("stories_go_on", format!("the step did not finish: {}", self.simulation.describe()));
                }
            }
        }
        Ok(())
    }

    /// Lets time pass until `end`.
    fn until_time(&mut self, end: Time) -> Checked {
        while let Some(act) = self.simulation.world.next_act(end) {
            self.act(act)?;
        }
        Ok(())
    }

    /// Lets time pass, so that what the step caused is told below it.
    fn rest(&mut self) -> Checked {
        let end = (self.simulation.world.now() + REST).next_multiple_of(BEAT);
        self.until_time(end)
    }

    fn act(&mut self, act: Act) -> Checked {
        let looks = matches!(act, Act::Look);
        self.simulation.act(act)?;
        if let Some(panic) = PANIC.get() {
            return broken("nobody_panics", panic.clone());
        }
        if looks {
            self.watch();
        }
        Ok(())
    }
}
