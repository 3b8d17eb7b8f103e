//! The session of a stream. A stream outlives the request that opened it, but not the session: that may be closed from
//! anywhere (a logout, a new login of the device, a closed account) or run out.
//!
//! Looking a session up costs a read, which a stream cannot pay for each message. So the stream listens to what is applied
//! to its account on this pod, which is a mark in memory, and looks the session up when there is a mark, before its time
//! runs out, and now and then.

use super::session::Session;
use super::{Refusal, Service};
use crate::feed::Interest;
use std::time::Duration;
use tokio::time::Instant;

/// A session that is used is looked up so often: that is what extends it.
const EVERY: Duration = Duration::from_secs(10);

/// Not more often than this when it is about to run out: a stream ends within a second of its session.
const AT_LEAST: Duration = Duration::from_millis(500);

/// See the [module](self).
pub struct Standing {
    service: Service,
    session: Session,
    /// Marked by whatever is applied to the account: memberships and account data too, which are rare enough.
    touched: Interest,
    /// When to look it up, whether it is marked or not.
    due: Instant,
}

impl Standing {
    /// Of a session that was recognised just now.
    #[must_use]
    pub fn new(service: &Service, session: &Session) -> Self {
        let touched = service.feed().watch_account(&session.localpart);
        // Due at once: it may have been closed between being recognised and this.
        Self { service: service.clone(), session: session.clone(), touched, due: Instant::now() }
    }

    /// Refuses once the session has ended. To be asked after events were taken from memory and before they go out: what
    /// was applied after the end is then never shown. Costs no read unless something happened to the account.
    ///
    /// # Errors
    /// As [`Service::still_valid`].
    pub fn check(&mut self) -> Result<(), Refusal> {
        let marked = self.touched.take();
        match marked || Instant::now() >= self.due {
            true => self.look_up(),
            false => Ok(()),
        }
    }

    /// Waits for the session's end, and says why it ended. May be dropped while it waits.
    pub async fn ended(&mut self) -> Refusal {
        loop {
            tokio::select! {
                () = self.touched.changed() => {}
                () = tokio::time::sleep_until(self.due) => {}
            }
            if let Err(refusal) = self.look_up() {
                return refusal;
            }
        }
    }

    /// The same by a read, after events were read from rows: those are there a moment before the mark is.
    ///
    /// # Errors
    /// As [`Service::still_valid`].
    pub fn look_up(&mut self) -> Result<(), Refusal> {
        let session = self.service.still_valid(&self.session)?;
        self.due = Instant::now() + wait_of(session.ends_in(self.service.now_ms()));
        Ok(())
    }
}

impl Session {
    /// Returns how long it lasts from `now_ms` on if it is not used; `None`: for ever.
    #[must_use]
    pub fn ends_in(&self, now_ms: u64) -> Option<Duration> {
        match self.expires_ms {
            0 => None,
            at => Some(Duration::from_millis(at.saturating_sub(now_ms))),
        }
    }
}

/// When half of what is left is gone it is late enough to extend the session, and early enough to do so.
fn wait_of(left: Option<Duration>) -> Duration {
    left.map_or(EVERY, |left| (left / 2).clamp(AT_LEAST, EVERY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_looked_up_now_and_then_and_more_often_towards_its_end() {
        let seconds = |left| wait_of(Some(Duration::from_secs(left)));
        assert_eq!([wait_of(None), seconds(86_400), seconds(20)], [EVERY; 3]);
        assert_eq!(seconds(4), Duration::from_secs(2));
        assert_eq!([seconds(1), seconds(0)], [AT_LEAST; 2]);
    }
}
