//! Typing and presence: who may say and see what. Neither enters the log.

use super::rate_sketch::{BurstRate, RateSketch};
use super::{CallerSession, ChatService, ReadConsistency, RefusalCode, RequestRefusal};
use crate::ephemeral::{EphemeralHub, PresenceLevel, PresenceNews, PresenceStatus};
use quorate_core::proto::log::{Envelope, command::Kind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Maximum length of a status message, in bytes: each pod keeps it in memory, and sends it to all who share a room.
const MAX_STATUS: usize = 512;
/// Rate at which one user may say something of this kind. A client says every few seconds that its user types, and a
/// person types in one room at a time.
const RATE: BurstRate = BurstRate { burst: 20, every: Duration::from_millis(500) };

/// Limit on what users say about typing and presence, on this pod.
pub(super) struct EphemeralLimit(Option<Mutex<RateSketch>>);

impl EphemeralLimit {
    pub(super) fn new(is_limited: bool) -> Self {
        Self(is_limited.then(|| Mutex::new(RateSketch::new(RATE))))
    }

    fn take(&self, user: &str) -> Result<(), RequestRefusal> {
        let Some(sketch) = &self.0 else { return Ok(()) };
        // A panic inside leaves at worst one count out.
        let mut sketch = sketch.lock().unwrap_or_else(PoisonError::into_inner);
        sketch.take(&user, Instant::now()).map_err(|wait| {
            let message = "you tell about typing and presence too often; try again later";
            RequestRefusal::new(RefusalCode::LimitExceeded, message).after(wait)
        })
    }
}

impl ChatService {
    /// Returns typing and presence of all pods.
    #[must_use]
    pub fn ephemeral(&self) -> &EphemeralHub {
        &self.inner.parts.ephemeral
    }

    /// Notes that the caller types in a room for a time, or has stopped.
    ///
    /// # Errors
    /// [`RefusalCode::NotMember`], [`RefusalCode::LimitExceeded`].
    pub async fn set_typing(
        &self,
        s: &CallerSession,
        room_id: &str,
        typing: Option<Duration>,
    ) -> Result<(), RequestRefusal> {
        self.inner.notices.take(&s.localpart)?;
        let localpart = s.localpart.clone();
        let named = room_id.to_owned();
        let question = move |view: &quorate_core::query::StateView<'_>| view.room_to_type_in(&localpart, &named);
        let (room, _) = self.read(ReadConsistency::default(), question).await?;
        match typing {
            Some(timeout) => self.ephemeral().start_typing(room, room_id, &s.localpart, timeout),
            None => self.ephemeral().stop_typing(room, &s.localpart),
        }
        Ok(())
    }

    /// Sets the caller's presence; without a `status`, the message that was set before is removed. Has no effect where
    /// presence is turned off.
    ///
    /// # Errors
    /// [`RefusalCode::TooLarge`], [`RefusalCode::LimitExceeded`].
    pub fn set_presence(
        &self,
        s: &CallerSession,
        level: PresenceLevel,
        status: Option<&str>,
    ) -> Result<(), RequestRefusal> {
        if status.is_some_and(|status| status.len() > MAX_STATUS) {
            let message = format!("the status message has more than {MAX_STATUS} bytes; shorten it");
            return Err(RequestRefusal::new(RefusalCode::TooLarge, message));
        }
        self.inner.notices.take(&s.localpart)?;
        if self.ephemeral().settings().presence {
            self.ephemeral().set_presence(&s.localpart, &s.device_id, level, status);
        }
        Ok(())
    }

    /// Returns the presence of a user.
    ///
    /// # Errors
    /// [`RefusalCode::Forbidden`] unless the caller shares a room with the user; also if there is no such user.
    pub async fn presence_for(&self, s: &CallerSession, user: &str) -> Result<PresenceStatus, RequestRefusal> {
        let forbidden = || {
            let message = "you may see the presence only of users with whom you share a room";
            RequestRefusal::new(RefusalCode::Forbidden, message)
        };
        let other = self.parse_user(user).map_err(|_| forbidden())?;
        let own = s.localpart.clone();
        let named = other.clone();
        let question = move |view: &quorate_core::query::StateView<'_>| view.shares_room(&own, &named);
        let (shares_room, _) = self.read(ReadConsistency::default(), question).await?;
        if !shares_room {
            return Err(forbidden());
        }
        let known = self.ephemeral().presence_of(&other).filter(|_| self.ephemeral().settings().presence);
        Ok(known.map(|PresenceNews { status, .. }| status).unwrap_or_default())
    }

    /// Notes what a command that was applied says about its sender: that the user is there, and no longer types.
    pub(super) fn note_applied(&self, action: Option<SenderAction>) {
        if let Some(SenderAction { user, room_id }) = action {
            self.ephemeral().note_sent(&user, room_id.as_deref());
        }
    }
}

/// Action of a user, as far as typing and presence are concerned.
pub(super) struct SenderAction {
    user: String,
    /// Room to which a message was sent.
    room_id: Option<String>,
}

impl SenderAction {
    /// Returns the action behind a command; `None` for commands that programs send by themselves.
    pub(super) fn of(envelope: &Envelope) -> Option<Self> {
        let kind = envelope.command.as_ref().and_then(|command| command.kind.as_ref())?;
        let room_id = match kind {
            Kind::SendEvent(event) if event.state_key.is_none() => Some(event.room_id.clone()),
            Kind::SendEvent(_) | Kind::Redact(_) | Kind::CreateRoom(_) | Kind::SetMembership(_) => None,
            _ => return None,
        };
        let user = envelope.user.clone();
        (!user.is_empty()).then_some(Self { user, room_id })
    }
}
