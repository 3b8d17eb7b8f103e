//! The session of a stream. A stream outlives the request that opened it, but not the session, which may be closed from
//! anywhere (a logout, a new login of the device, a closed account) or expire.
//!
//! A lookup of the session costs a read, which a stream cannot pay for each message. So the stream watches what is
//! applied to its account on this pod, which sets a mark in memory, and looks the session up when the mark is set,
//! before the session expires, and from time to time.

use super::session::CallerSession;
use super::{ChatService, RequestRefusal};
use crate::feed::FeedSubscription;
use std::time::Duration;
use tokio::time::Instant;

/// Interval between lookups of a session that is used: the lookup is what extends the session.
const EVERY: Duration = Duration::from_secs(10);

/// Minimum interval between lookups of a session that is about to expire: a stream ends within a second of its session.
const AT_LEAST: Duration = Duration::from_millis(500);

/// The session of an open stream; see the [module](self).
pub struct SessionWatch {
    service: ChatService,
    session: CallerSession,
    /// Mark set by whatever is applied to the account: by memberships and account data too, which are rare enough.
    touched: FeedSubscription,
    /// Time of the next lookup, even if no mark is set.
    due: Instant,
}

impl SessionWatch {
    /// Starts to watch a session that was recognised just before.
    #[must_use]
    pub fn new(service: &ChatService, session: &CallerSession) -> Self {
        let touched = service.feed().watch_account(&session.localpart);
        // Due at once: the session may have been closed since it was recognised.
        Self { service: service.clone(), session: session.clone(), touched, due: Instant::now() }
    }

    /// Refuses once the session has ended. Call it after events were taken from memory and before they are sent: then
    /// nothing that was applied after the session's end is shown. Costs no read unless something happened to the
    /// account.
    pub fn check(&mut self) -> Result<(), RequestRefusal> {
        // Taken in either case: the lookup below answers for everything up to now.
        let marked = self.touched.take();
        if marked || Instant::now() >= self.due { self.look_up() } else { Ok(()) }
    }

    /// Waits until the session ends and returns the refusal that says why. The future may be dropped while it waits.
    pub async fn ended(&mut self) -> RequestRefusal {
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

    /// Refuses once the session has ended, always by a read. Call it after events were read from rows: rows are visible
    /// a moment before the mark is set.
    pub fn look_up(&mut self) -> Result<(), RequestRefusal> {
        let session = self.service.still_valid(&self.session)?;
        self.due = Instant::now() + wait_of(session.ends_in(self.service.now_ms()));
        Ok(())
    }
}

impl CallerSession {
    /// Returns how long the session lasts from `now_ms` on if it is not used; `None` means for ever.
    #[must_use]
    pub fn ends_in(&self, now_ms: u64) -> Option<Duration> {
        match self.expires_ms {
            0 => None,
            at => Some(Duration::from_millis(at.saturating_sub(now_ms))),
        }
    }
}

/// Returns the time until the next lookup. Half of what is left is late enough to extend the session, and early enough
/// to do so.
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
