//! Writes: a decided envelope goes into the log, and its outcome comes back as a plain answer.

use super::ephemeral::SenderAction;
use super::{CallerSession, ChatService, RefusalCode, RequestRefusal, ServiceSettings, decide, token};
use crate::config::AccountQuotas;
use crate::raft::propose::{OrderedProposer, ProposeError};
use bytes::Bytes;
use quorate_core::id::Position;
use quorate_core::proto::log::{
    self, Command, CreateRoom, Envelope, Outcome, PutFilter, Redact, RoomRef, SendEvent, SetMembership, SetProfile,
    command, outcome::Kind, room_ref::By, set_membership::Change,
};

/// A room that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomMade {
    /// Id of the room.
    pub room_id: String,
    /// Position of the room's create event.
    pub position: Position,
}

/// An event that was appended to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentEvent {
    /// Room that the event belongs to.
    pub room_id: String,
    /// Id of the event.
    pub event_id: String,
    /// Position of the event in the log.
    pub position: Position,
    /// Time of the event in milliseconds since the Unix epoch, stamped by the leader.
    pub origin_server_ts: u64,
    /// `true` if this transaction id had been applied before.
    pub duplicate: bool,
}

/// A write that was validated, but is not yet proposed: a stream decides in order and then waits for many at once.
pub struct WriteProposal {
    envelope: Envelope,
}

impl WriteProposal {
    /// Builds an envelope without a user, for commands that name their own account.
    pub(super) fn envelope(kind: command::Kind) -> Envelope {
        Envelope { command: Some(Command { kind: Some(kind) }), ..Envelope::default() }
    }

    /// Builds an envelope of the caller's session, for commands to which clients give no transaction id.
    pub(super) fn of_session(session: &CallerSession, kind: command::Kind) -> Envelope {
        let user = session.localpart.clone();
        Envelope { user, device_id: session.device_id.clone(), ..Self::envelope(kind) }
    }

    /// Validates a message for a room.
    ///
    /// # Errors
    /// [`RefusalCode::Invalid`], [`RefusalCode::TooLarge`], [`RefusalCode::BadJson`].
    pub fn message(
        s: &CallerSession,
        room_id: &str,
        event_type: &str,
        content: Bytes,
        txn: &str,
    ) -> Result<Self, RequestRefusal> {
        let event = SendEvent { room_id: room_id.into(), r#type: event_type.into(), state_key: None, content };
        Ok(Self { envelope: decide::send_event(s, event, txn)? })
    }
}

/// Messages of one stream, applied in order: see [`ChatService::ordered`].
pub struct OrderedPosts {
    service: ChatService,
    ordered: OrderedProposer,
}

impl OrderedPosts {
    /// Sends a message that was validated before. The message is queued when this returns.
    ///
    /// # Errors
    /// The refusals of the proposer or of the log.
    pub fn post(
        &self,
        proposal: WriteProposal,
    ) -> impl Future<Output = Result<SentEvent, RequestRefusal>> + Send + 'static + use<> {
        let service = self.service.clone();
        let counted = service.inner.parts.metrics.proposal();
        let action = SenderAction::of(&proposal.envelope);
        // Outside of the future: messages are queued in the order of these calls, whenever each is polled.
        let settled = with_transaction_id(proposal.envelope, service.now_ms())
            .map(|envelope| self.ordered.propose(service.with_quotas(envelope)));
        async move {
            let _counted = counted;
            let outcome = service.answer(settled?.await)?;
            service.note_applied(action);
            sent_event(outcome)
        }
    }
}

impl ChatService {
    /// Creates a room and returns its id.
    ///
    /// # Errors
    /// The refusals of [`decide`], the proposer or the log.
    pub async fn create_room(
        &self,
        s: &CallerSession,
        room: CreateRoom,
        txn: &str,
    ) -> Result<RoomMade, RequestRefusal> {
        let outcome = self.propose(decide::create_room(s, room, txn)?).await?;
        let position = outcome_position(&outcome);
        match outcome.kind {
            Some(Kind::RoomCreated(made)) => Ok(RoomMade { room_id: made.room_id, position }),
            other => Err(unexpected_outcome(other.as_ref())),
        }
    }

    /// Joins, leaves, invites, kicks, bans, unbans or knocks, as `change` says.
    pub async fn set_membership(
        &self,
        s: &CallerSession,
        change: SetMembership,
        txn: &str,
    ) -> Result<SentEvent, RequestRefusal> {
        sent_event(self.propose(decide::set_membership(s, change, txn)?).await?)
    }

    /// Drops a room that the caller has left from the caller's lists.
    pub async fn forget(&self, s: &CallerSession, room_id: &str) -> Result<(), RequestRefusal> {
        let room = RoomRef { by: Some(By::RoomId(room_id.to_owned())) };
        let mut change = SetMembership { room: Some(room), ..SetMembership::default() };
        change.set_change(Change::Forget);
        expect_done(self.propose(decide::set_membership(s, change, "")?).await?)
    }

    /// Sends a message event.
    pub async fn send(
        &self,
        s: &CallerSession,
        room_id: &str,
        event_type: &str,
        content: Bytes,
        txn: &str,
    ) -> Result<SentEvent, RequestRefusal> {
        self.post(WriteProposal::message(s, room_id, event_type, content, txn)?).await
    }

    /// Sends a message that was validated before.
    ///
    /// # Errors
    /// The refusals of the proposer or of the log.
    pub async fn post(&self, proposal: WriteProposal) -> Result<SentEvent, RequestRefusal> {
        sent_event(self.propose(proposal.envelope).await?)
    }

    /// Sends a state event.
    pub async fn set_state(
        &self,
        s: &CallerSession,
        room_id: &str,
        event_type: &str,
        state_key: &str,
        content: Bytes,
        txn: &str,
    ) -> Result<SentEvent, RequestRefusal> {
        let state_key = Some(state_key.to_owned());
        let event = SendEvent { room_id: room_id.into(), r#type: event_type.into(), state_key, content };
        sent_event(self.propose(decide::send_event(s, event, txn)?).await?)
    }

    /// Redacts an event; an empty `reason` means none.
    pub async fn redact(
        &self,
        s: &CallerSession,
        room_id: &str,
        event_id: &str,
        reason: &str,
        txn: &str,
    ) -> Result<SentEvent, RequestRefusal> {
        let redaction = Redact { room_id: room_id.into(), event_id: event_id.into(), reason: reason.into() };
        sent_event(self.propose(decide::redact_event(s, redaction, txn)?).await?)
    }

    /// Changes the caller's display name or avatar.
    pub async fn set_profile(&self, s: &CallerSession, change: SetProfile) -> Result<(), RequestRefusal> {
        expect_done(self.propose(decide::set_profile(s, change)?).await?)
    }

    /// Stores a filter and returns its number.
    pub async fn put_filter(&self, s: &CallerSession, filter: Bytes) -> Result<u64, RequestRefusal> {
        // In the command: all pods must remove the same filter, whatever their configurations say.
        let put = PutFilter { filter, max_filters: self.quotas().filters };
        match self.propose(decide::put_filter(s, put)?).await?.kind {
            Some(Kind::FilterPut(put)) => Ok(put.filter_id),
            other => Err(unexpected_outcome(other.as_ref())),
        }
    }

    /// Returns a handle for the messages of one stream, which are applied in the order in which they are given; at most
    /// `in_flight` of them are on their way at once.
    #[must_use]
    pub fn ordered(&self, in_flight: usize) -> OrderedPosts {
        OrderedPosts { service: self.clone(), ordered: self.inner.parts.proposer.ordered(in_flight) }
    }

    /// Puts an envelope into the log and waits for its outcome; a command that the log rejected becomes a refusal.
    pub(super) async fn propose(&self, envelope: Envelope) -> Result<Outcome, RequestRefusal> {
        let envelope = self.with_quotas(with_transaction_id(envelope, self.now_ms())?);
        let action = SenderAction::of(&envelope);
        let _counted = self.inner.parts.metrics.proposal();
        let outcome = self.answer(self.inner.parts.proposer.propose(envelope).await)?;
        self.note_applied(action);
        Ok(outcome)
    }

    /// Puts an envelope into the log as [`Self::propose`] does, without a transaction id: for commands that have the same
    /// effect however often they are applied.
    pub(super) async fn propose_repeatable(&self, envelope: Envelope) -> Result<Outcome, RequestRefusal> {
        let _counted = self.inner.parts.metrics.proposal();
        self.answer(self.inner.parts.proposer.propose(envelope).await)
    }

    /// Adds the account's quotas to commands that change memberships.
    fn with_quotas(&self, envelope: Envelope) -> Envelope {
        let changes_memberships = match envelope.command.as_ref().and_then(|command| command.kind.as_ref()) {
            Some(command::Kind::CreateRoom(_) | command::Kind::SetMembership(_)) => true,
            // Clients may also set a membership as a plain state event.
            Some(command::Kind::SendEvent(event)) => event.state_key.is_some() && event.r#type == "m.room.member",
            _ => false,
        };
        // In the command: apply must decide alike on pods whose configurations differ.
        let AccountQuotas { joined_rooms, pending_invites, .. } = *self.quotas();
        let quotas = log::Quotas { joined_rooms: joined_rooms.into(), pending_invites: pending_invites.into() };
        Envelope { quotas: changes_memberships.then_some(quotas).or(envelope.quotas), ..envelope }
    }

    fn answer(&self, settled: Result<Outcome, ProposeError>) -> Result<Outcome, RequestRefusal> {
        let outcome = settled.map_err(|error| self.with_leader(RequestRefusal::from(error)))?;
        match outcome.kind {
            Some(Kind::Rejected(rejected)) => Err(RequestRefusal::from(rejected)),
            _ => Ok(outcome),
        }
    }

    /// Returns the contact for full volumes, as a URI: the first administrator, or whoever answers under the server's
    /// name.
    fn admin_contact(&self) -> String {
        let ServiceSettings { administrators, server_name, .. } = &self.inner.parts.settings;
        match administrators.first() {
            // The `matrix:` URI scheme of the specification.
            Some(name) => format!("matrix:u/{name}:{server_name}"),
            None => format!("https://{server_name}"),
        }
    }

    /// Adds the leader's address for callers who may have to go elsewhere, and a contact for callers who meet full
    /// volumes.
    fn with_leader(&self, mut refusal: RequestRefusal) -> RequestRefusal {
        if matches!(refusal.code, RefusalCode::Unavailable | RefusalCode::Overloaded) {
            refusal.leader = self.leader_address();
        }
        if refusal.code == RefusalCode::StorageFull {
            refusal.contact = Some(self.admin_contact());
        }
        refusal
    }
}

/// Adds a transaction id where there is none: the proposer repeats attempts whose fate is unknown, and without an id
/// they would be applied twice.
fn with_transaction_id(mut envelope: Envelope, now_ms: u64) -> Result<Envelope, RequestRefusal> {
    if envelope.transaction_id.is_empty() && !envelope.user.is_empty() {
        envelope.transaction_id = token::transaction_id(now_ms).map_err(no_randomness)?;
    }
    Ok(envelope)
}

pub(super) fn no_randomness(error: token::NoRandomness) -> RequestRefusal {
    tracing::error!(error = &error as &dyn std::error::Error, "cannot generate an identifier");
    RequestRefusal::internal()
}

pub(super) fn outcome_position(outcome: &Outcome) -> Position {
    let log::Position { incarnation, index, ordinal } = outcome.position.unwrap_or_default();
    Position { incarnation, index, ordinal }
}

fn sent_event(outcome: Outcome) -> Result<SentEvent, RequestRefusal> {
    let position = outcome_position(&outcome);
    let duplicate = outcome.duplicate;
    match outcome.kind {
        Some(Kind::EventSent(event)) => Ok(SentEvent {
            room_id: event.room_id,
            event_id: event.event_id,
            position,
            origin_server_ts: event.origin_server_ts,
            duplicate,
        }),
        other => Err(unexpected_outcome(other.as_ref())),
    }
}

pub(super) fn expect_done(outcome: Outcome) -> Result<(), RequestRefusal> {
    match outcome.kind {
        Some(Kind::Done(log::Done {})) => Ok(()),
        other => Err(unexpected_outcome(other.as_ref())),
    }
}

/// Refuses an outcome of another kind than the command's: a newer version in the cluster, or a bug in this one.
pub(super) fn unexpected_outcome(kind: Option<&Kind>) -> RequestRefusal {
    tracing::error!(?kind, "the log returned an outcome of another kind");
    RequestRefusal::internal()
}
