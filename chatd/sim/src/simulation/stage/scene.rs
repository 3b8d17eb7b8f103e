//! Execution of a story's steps.

use super::{BEAT, StoryPlayer};
use crate::faults::MS;
use crate::invariants::{CheckResult, fail_check};
use crate::layout::SPARE;
use crate::story::step::{StoryMessage, StoryStep};
use crate::story::tell;
use crate::world::net::HostId;

impl StoryPlayer {
    pub(super) fn step(&mut self, step: StoryStep) -> CheckResult {
        match step {
            StoryStep::Wait(ms) => return self.until_time(self.simulation.world.now() + ms * MS),
            StoryStep::WaitUntil(ms) => return self.wait_until(ms),
            StoryStep::Look => {
                self.look();
                return Ok(());
            }
            StoryStep::End => return self.end(),
            StoryStep::WaitForLeader { after } => self.until(|stage| stage.leads_after(after))?,
            StoryStep::WaitForAnswers => self.until(|stage| stage.simulation.history.lock().working == 0)?,
            StoryStep::Replace { out, with } => self.replace(out, with)?,
            other => self.begin(other),
        }
        self.until(|stage| stage.cast.is_answered())?;
        self.rest()
    }

    fn begin(&mut self, step: StoryStep) {
        let cast = self.cast.clone();
        let net = self.simulation.world.net.clone();
        match step {
            StoryStep::Start(pods) => pods.into_iter().for_each(|pod| self.start(pod)),
            StoryStep::Found(pods) => self.task(false, cast.found(pods)),
            StoryStep::Register(users) => self.task(false, cast.register(users)),
            StoryStep::Open { user, room, pod, visibility } => self.task(false, cast.open(user, room, pod, visibility)),
            StoryStep::Join { user, room, pod } => self.task(false, cast.join(user, room, pod)),
            StoryStep::Say(sayings) => sayings.into_iter().for_each(|saying| self.say(saying)),
            StoryStep::Follow { user, pod } => self.task(false, cast.follow(user, pod)),
            StoryStep::Read { user, room, pod, goes_on } => self.task(goes_on, cast.read(user, room, pod)),
            StoryStep::Kill(pod) => self.stop(pod, false),
            StoryStep::PowerOff(pod) => self.stop(pod, true),
            StoryStep::CutOff(pod) => {
                for other in (0..=SPARE).filter(|other| *other != pod) {
                    net.block(pod, other);
                    net.block(other, pod);
                }
            }
            StoryStep::Heal => net.heal(),
            StoryStep::HandOver(pod) => self.task(false, cast.hand_over(pod)),
            StoryStep::Snapshot(pod) => self.task(false, cast.snapshot(pod)),
            // Carried out in `step`.
            StoryStep::Replace { .. }
            | StoryStep::Wait(_)
            | StoryStep::WaitUntil(_)
            | StoryStep::WaitForLeader { .. }
            | StoryStep::WaitForAnswers
            | StoryStep::Look
            | StoryStep::End => {}
        }
    }

    fn task(&mut self, goes_on: bool, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.cast.task(goes_on, task);
        self.simulation.client_task(task);
    }

    fn say(&mut self, saying: StoryMessage) {
        let goes_on = saying.goes_on;
        let cast = self.cast.clone();
        self.task(goes_on, cast.say(saying));
    }

    fn start(&mut self, pod: HostId) {
        if self.simulation.pods[pod].node_id.is_none() {
            self.seen.is_new(pod);
        }
        self.simulation.start(pod);
    }

    fn stop(&mut self, pod: HostId, power: bool) {
        self.seen.forget(pod);
        self.simulation.crash(pod, power);
    }

    /// Replaces a node as the operator does: the node that takes the place of another is new, with an empty volume.
    fn replace(&mut self, out: HostId, with: HostId) -> CheckResult {
        let Some(id) = self.simulation.pods[out].node_id else {
            return fail_check("stories_are_understood", format!("no node has run on pod-{out} yet"));
        };
        let before = self.seen.name(id);
        if out == with {
            self.simulation.lose_volume(out);
            self.seen.is_new(out);
        }
        self.start(with);
        let after = super::watching::node_name(with, self.simulation.pods[with].volume);
        let cast = self.cast.clone();
        self.task(false, cast.replace(id, with, (before, after)));
        Ok(())
    }

    fn wait_until(&mut self, ms: u64) -> CheckResult {
        let now = self.simulation.world.now();
        if now > ms * MS {
            return fail_check("stories_go_on", format!("the time is already {} ms", now / MS));
        }
        // Rounded up to a beat, as every other step begins at one.
        self.until_time((ms * MS).next_multiple_of(BEAT))
    }

    fn end(&mut self) -> CheckResult {
        self.until(|stage| stage.simulation.has_settled())?;
        self.simulation.verdict()?;
        let entry = self.applied();
        let record = self.simulation.history.lock();
        let acknowledged = record.sends.values().filter(|send| send.acknowledged.is_some()).count();
        let text = format!(
            "every voter has applied the same log up to entry {entry}; {acknowledged} of {} messages were acknowledged, \
             and all guarantees hold",
            record.sends.len()
        );
        self.cast.told.tell(self.simulation.world.now(), text);
        Ok(())
    }

    pub(super) fn happened(&mut self) -> Vec<String> {
        for turn in std::mem::take(&mut self.simulation.history.lock().turns) {
            let pod = tell::format_pod(turn.host);
            let what = match turn.term {
                Some(term) => format!("{pod} leads term {term}"),
                None => format!("{pod} no longer leads"),
            };
            self.cast.told.tell(turn.at, what);
        }
        let mut happened = self.cast.told.take();
        happened.append(&mut self.seen.looked);
        happened
    }
}
