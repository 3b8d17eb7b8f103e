//! Messages at a fixed rate, however the receiver fares: each has its time, and latency counts from that time, so that
//! a stall is not hidden by the messages that it kept from being sent (coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Schedule that says when each message is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageSchedule {
    /// Number of the first message.
    pub(crate) base: u64,
    /// Number of messages, warm-up included.
    pub(crate) count: u64,
    /// Number of leading messages that do not count.
    pub(crate) warm: u64,
    /// Time at which the first message is due.
    pub(crate) start: Instant,
    /// Interval between two messages.
    pub(crate) every: Duration,
}

impl MessageSchedule {
    /// Creates a schedule of `rate` messages per second, whose numbers belong to no other schedule.
    pub(crate) fn at(rate: f64, timing: super::clock::LoadTiming) -> Self {
        let warm = (timing.warm.as_secs_f64() * rate) as u64;
        let count = warm + ((timing.steady.as_secs_f64() * rate) as u64).max(1);
        // Leaves the pacer's thread time to start, so that the first message is not late.
        let start = Instant::now() + Duration::from_millis(20);
        let every = Duration::from_secs_f64(1.0 / rate);
        Self { base: crate::payload::reserve_numbers(count), count, warm, start, every }
    }

    /// Returns the place and the due time of a message, or `None` if it is not of this schedule.
    pub(crate) fn find(&self, number: u64) -> Option<(u64, Instant)> {
        let place = number.checked_sub(self.base).filter(|place| *place < self.count)?;
        Some((place, self.due(place)))
    }

    fn due(&self, place: u64) -> Instant {
        self.start + Duration::from_secs_f64(self.every.as_secs_f64() * place as f64)
    }

    pub(crate) fn end(&self) -> Instant {
        self.due(self.count)
    }
}

/// Thread that sends each number when it is due; stops when dropped.
#[derive(Debug)]
pub(crate) struct MessagePacer {
    stop: Arc<AtomicBool>,
}

impl MessagePacer {
    /// Starts a pacer on a thread of its own: tokio's timer has a resolution of milliseconds, which is what is
    /// measured.
    ///
    /// # Errors
    /// Fails if no thread can be created.
    pub(crate) fn start(schedule: MessageSchedule, to: mpsc::Sender<u64>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        thread::Builder::new().name("pacer".to_owned()).spawn(move || {
            for place in 0..schedule.count {
                wait_until(schedule.due(place));
                // Late messages are sent at once; their latency counts from when they were due all the same.
                if stopped.load(Relaxed) || to.blocking_send(schedule.base + place).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { stop })
    }
}

impl Drop for MessagePacer {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

fn wait_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        // Nobody unparks this thread, but it may wake early.
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::clock::LoadTiming;

    fn timing(warm: u64, steady: u64) -> LoadTiming {
        LoadTiming { warm: Duration::from_millis(warm), steady: Duration::from_millis(steady) }
    }

    #[test]
    fn every_message_has_its_time_and_others_have_none() {
        let schedule = MessageSchedule::at(100.0, timing(100, 900));
        assert_eq!((schedule.count, schedule.warm), (100, 10));
        assert_eq!(schedule.find(schedule.base), Some((0, schedule.start)));
        let (place, due) = schedule.find(schedule.base + 50).unwrap();
        assert_eq!(place, 50);
        assert!((due - schedule.start).abs_diff(Duration::from_millis(500)) < Duration::from_micros(1));
        assert_eq!(schedule.find(schedule.base + 100), None);
        assert_eq!(schedule.find(schedule.base.wrapping_sub(1)), None);
    }

    #[test]
    fn an_odd_rate_does_not_drift() {
        let schedule = MessageSchedule::at(3_000.0, timing(0, 60_000));
        assert!((schedule.end() - schedule.start).abs_diff(Duration::from_secs(60)) < Duration::from_millis(1));
    }

    #[test]
    fn nothing_is_given_before_it_is_due_and_all_is_given_in_order() {
        let schedule = MessageSchedule::at(500.0, timing(0, 100));
        let (to, mut from) = mpsc::channel(1);
        let _pacer = MessagePacer::start(schedule, to).unwrap();
        let mut seen = 0;
        while let Some(number) = from.blocking_recv() {
            let (place, due) = schedule.find(number).unwrap();
            assert_eq!(place, seen);
            assert!(Instant::now() >= due);
            seen += 1;
        }
        assert_eq!(seen, schedule.count);
    }
}
