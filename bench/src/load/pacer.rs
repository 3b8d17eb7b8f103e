//! Messages at a fixed rate, however the receiver fares: each has its time, and latency counts from that time, so that
//! a stall is not hidden by the messages that it kept from being sent (coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// When each message is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Number of the first message.
    pub(crate) base: u64,
    /// How many.
    pub(crate) count: u64,
    /// Leading ones that do not count.
    pub(crate) warm: u64,
    /// When the first is due.
    pub(crate) start: Instant,
    /// Between two.
    pub(crate) every: Duration,
}

impl Schedule {
    /// At a rate per second; numbers are its own.
    pub(crate) fn at(rate: f64, timing: super::clock::Timing) -> Self {
        let warm = (timing.warm.as_secs_f64() * rate) as u64;
        let count = warm + ((timing.steady.as_secs_f64() * rate) as u64).max(1);
        // Time for the pacer's thread to start: the first message is not late.
        let start = Instant::now() + Duration::from_millis(20);
        let every = Duration::from_secs_f64(1.0 / rate);
        Self { base: crate::payload::reserve(count), count, warm, start, every }
    }

    /// Place and due time of a message of this schedule.
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

/// Gives each number when it is due; stops when dropped.
#[derive(Debug)]
pub(crate) struct Pacer {
    stop: Arc<AtomicBool>,
}

impl Pacer {
    /// On a thread of its own: tokio's timer counts in milliseconds, which is what is measured.
    ///
    /// # Errors
    /// No thread can be made.
    pub(crate) fn start(schedule: Schedule, to: mpsc::Sender<u64>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        thread::Builder::new().name("pacer".to_owned()).spawn(move || {
            for place in 0..schedule.count {
                wait_until(schedule.due(place));
                // Late ones are sent at once; their latency counts from when they were due all the same.
                if stopped.load(Relaxed) || to.blocking_send(schedule.base + place).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { stop })
    }
}

impl Drop for Pacer {
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
        // May wake early; nobody unparks it.
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::clock::Timing;

    fn timing(warm: u64, steady: u64) -> Timing {
        Timing { warm: Duration::from_millis(warm), steady: Duration::from_millis(steady) }
    }

    #[test]
    fn every_message_has_its_time_and_others_have_none() {
        let schedule = Schedule::at(100.0, timing(100, 900));
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
        let schedule = Schedule::at(3_000.0, timing(0, 60_000));
        assert!((schedule.end() - schedule.start).abs_diff(Duration::from_secs(60)) < Duration::from_millis(1));
    }

    #[test]
    fn nothing_is_given_before_it_is_due_and_all_is_given_in_order() {
        let schedule = Schedule::at(500.0, timing(0, 100));
        let (to, mut from) = mpsc::channel(1);
        let _pacer = Pacer::start(schedule, to).unwrap();
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
