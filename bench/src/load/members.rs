//! Record of what each member of a room receives.

use super::latency;
use super::pacer::MessageSchedule;
use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

/// Board on which members record deliveries, for one round at a time; what belongs to an earlier round is not counted.
#[derive(Debug)]
pub(crate) struct DeliveryBoard {
    members: Vec<Mutex<MemberTally>>,
    round: RwLock<Option<MessageSchedule>>,
    failure: Mutex<Option<String>>,
}

#[derive(Debug)]
struct MemberTally {
    latencies: Histogram<u64>,
    seen: u64,
    /// Place after that of the newest message that came.
    next: u64,
    out_of_order: u64,
}

impl DeliveryBoard {
    pub(crate) fn new(members: usize) -> anyhow::Result<Arc<Self>> {
        let member = || {
            anyhow::Ok(Mutex::new(MemberTally {
                latencies: latency::new_histogram()?,
                seen: 0,
                next: 0,
                out_of_order: 0,
            }))
        };
        let members = (0..members).map(|_| member()).collect::<Result<_, _>>()?;
        Ok(Arc::new(Self { members, round: RwLock::new(None), failure: Mutex::new(None) }))
    }

    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    /// Begins a round: from then on only messages of this schedule count.
    pub(crate) fn begin(&self, schedule: MessageSchedule) {
        *self.round.write().unwrap_or_else(PoisonError::into_inner) = Some(schedule);
        for member in &self.members {
            let mut member = member.lock().unwrap_or_else(PoisonError::into_inner);
            member.latencies.reset();
            (member.seen, member.next, member.out_of_order) = (0, 0, 0);
        }
    }

    /// Records that a member has received these bytes.
    pub(crate) fn received(&self, member: usize, bytes: &[u8]) {
        if let Some(number) = crate::payload::find_number(bytes) {
            self.record(member, number, Instant::now());
        }
    }

    /// Records that a member has received these bytes, in which any number of messages may stand.
    pub(crate) fn received_all(&self, member: usize, bytes: &[u8]) {
        let now = Instant::now();
        crate::payload::find_numbers(bytes).for_each(|number| self.record(member, number, now));
    }

    fn record(&self, member: usize, number: u64, now: Instant) {
        let round = *self.round.read().unwrap_or_else(PoisonError::into_inner);
        let Some(schedule) = round else { return };
        let (Some((place, due)), Some(member)) = (schedule.find(number), self.members.get(member)) else { return };
        let mut member = member.lock().unwrap_or_else(PoisonError::into_inner);
        member.seen += 1;
        if place < member.next {
            member.out_of_order += 1;
        }
        member.next = place + 1;
        if place >= schedule.warm {
            latency::record_latency(&mut member.latencies, now.saturating_duration_since(due));
        }
    }

    /// Records that a member or the sender has failed; only the first failure is kept.
    pub(crate) fn fail(&self, who: &str, error: &dyn std::fmt::Display) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(format!("{who}: {error:#}"));
    }

    /// Checks that nobody has failed.
    ///
    /// # Errors
    /// Returns the first failure that was recorded.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(failure) => bail!("{failure}"),
            None => Ok(()),
        }
    }

    /// Returns the number of deliveries of this round so far.
    pub(crate) fn seen(&self) -> u64 {
        self.members.iter().map(|member| member.lock().unwrap_or_else(PoisonError::into_inner).seen).sum()
    }

    /// Returns all latencies of the round, and the number of deliveries that came twice or behind a later one.
    pub(crate) fn result(&self) -> anyhow::Result<(Histogram<u64>, u64)> {
        let mut all = latency::new_histogram()?;
        let mut out_of_order = 0;
        for member in &self.members {
            let member = member.lock().unwrap_or_else(PoisonError::into_inner);
            all.add(&member.latencies).context("histograms have different bounds")?;
            out_of_order += member.out_of_order;
        }
        Ok((all, out_of_order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::clock::LoadTiming;
    use crate::payload;
    use std::time::Duration;

    #[test]
    fn warm_up_and_other_rounds_do_not_count_and_disorder_is_seen() {
        let board = DeliveryBoard::new(2).unwrap();
        let stale = payload::message_text(payload::next_number());
        let timing = LoadTiming { warm: Duration::from_secs(1), steady: Duration::from_secs(2) };
        let schedule = MessageSchedule::at(1.0, timing);
        board.begin(schedule);
        board.received(0, stale.as_bytes());
        assert_eq!(board.seen(), 0);
        for place in [0, 2, 1] {
            board.received(0, payload::message_text(schedule.base + place).as_bytes());
        }
        board.received(1, payload::message_text(schedule.base + 1).as_bytes());
        assert_eq!(board.seen(), 4);
        let (latencies, out_of_order) = board.result().unwrap();
        assert_eq!((latencies.len(), out_of_order), (3, 1));
        let both = [1, 2].map(|place| payload::message_text(schedule.base + place)).concat();
        board.received_all(1, both.as_bytes());
        assert_eq!(board.seen(), 6);
        assert!(board.check().is_ok());
        board.fail("member 1", &"gone");
        assert!(board.check().is_err());
    }
}
