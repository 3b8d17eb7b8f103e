//! Writes: a decided envelope goes into the log, and its outcome comes back as a plain answer.

use super::{Code, Refusal, Service, Session, Settings, decide, token};
use crate::config::Quotas;
use crate::raft::propose::{Ordered, ProposeError};
use bytes::Bytes;
use quorate_core::id::Position;
use quorate_core::proto::log::{
    self, Command, CreateRoom, Envelope, Outcome, PutAccountData, PutFilter, Redact, RoomRef, SendEvent, SetMembership,
    SetProfile, command, outcome::Kind, room_ref::By, set_membership::Change,
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
pub struct Sent {
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
pub struct Proposal {
    envelope: Envelope,
}

impl Proposal {
    /// Builds an envelope without a user, for commands that name their own account.
    pub(super) fn envelope(kind: command::Kind) -> Envelope {
        Envelope { command: Some(Command { kind: Some(kind) }), ..Envelope::default() }
    }

    /// Validates a message for a room.
    ///
    /// # Errors
    /// [`Code::Invalid`], [`Code::TooLarge`], [`Code::BadJson`].
    pub fn message(s: &Session, room_id: &str, event_type: &str, content: Bytes, txn: &str) -> Result<Self, Refusal> {
        let event = SendEvent { room_id: room_id.into(), r#type: event_type.into(), state_key: None, content };
        Ok(Self { envelope: decide::send_event(s, event, txn)? })
    }
}

/// Messages of one stream, applied in order: see [`Service::ordered`].
pub struct OrderedPosts {
    service: Service,
    ordered: Ordered,
}

impl OrderedPosts {
    /// Sends a message that was validated before. The message is queued when this returns.
    ///
    /// # Errors
    /// The refusals of the proposer or of the log.
    pub fn post(&self, proposal: Proposal) -> impl Future<Output = Result<Sent, Refusal>> + Send + 'static + use<> {
        let service = self.service.clone();
        let counted = service.inner.parts.metrics.proposal();
        let settled = with_transaction_id(proposal.envelope, service.now_ms())
            .map(|envelope| self.ordered.propose(service.with_quotas(envelope)));
        async move {
            let _counted = counted;
            sent(service.answer(settled?.await)?)
        }
    }
}

impl Service {
    /// Creates a room and returns its id.
    ///
    /// # Errors
    /// The refusals of [`decide`], the proposer or the log.
    pub async fn create_room(&self, s: &Session, room: CreateRoom, txn: &str) -> Result<RoomMade, Refusal> {
        let outcome = self.propose(decide::create_room(s, room, txn)?).await?;
        let position = position(&outcome);
        match outcome.kind {
            Some(Kind::RoomCreated(made)) => Ok(RoomMade { room_id: made.room_id, position }),
            other => Err(unexpected(other.as_ref())),
        }
    }

    /// Joins, leaves, invites, kicks, bans, unbans or knocks, as `change` says.
    pub async fn set_membership(&self, s: &Session, change: SetMembership, txn: &str) -> Result<Sent, Refusal> {
        sent(self.propose(decide::set_membership(s, change, txn)?).await?)
    }

    /// Drops a room that the caller has left from the caller's lists.
    pub async fn forget(&self, s: &Session, room_id: &str) -> Result<(), Refusal> {
        let room = RoomRef { by: Some(By::RoomId(room_id.to_owned())) };
        let mut change = SetMembership { room: Some(room), ..SetMembership::default() };
        change.set_change(Change::Forget);
        done(self.propose(decide::set_membership(s, change, "")?).await?)
    }

    /// Sends a message event.
    pub async fn send(
        &self,
        s: &Session,
        room_id: &str,
        event_type: &str,
        content: Bytes,
        txn: &str,
    ) -> Result<Sent, Refusal> {
        self.post(Proposal::message(s, room_id, event_type, content, txn)?).await
    }

    /// Sends a message that was validated before.
    ///
    /// # Errors
    /// The refusals of the proposer or of the log.
    pub async fn post(&self, proposal: Proposal) -> Result<Sent, Refusal> {
        sent(self.propose(proposal.envelope).await?)
    }

    /// Sends a state event.
    pub async fn set_state(
        &self,
        s: &Session,
        room_id: &str,
        event_type: &str,
        state_key: &str,
        content: Bytes,
        txn: &str,
    ) -> Result<Sent, Refusal> {
        let state_key = Some(state_key.to_owned());
        let event = SendEvent { room_id: room_id.into(), r#type: event_type.into(), state_key, content };
        sent(self.propose(decide::send_event(s, event, txn)?).await?)
    }

    /// Redacts an event; an empty `reason` means none.
    pub async fn redact(
        &self,
        s: &Session,
        room_id: &str,
        event_id: &str,
        reason: &str,
        txn: &str,
    ) -> Result<Sent, Refusal> {
        let redaction = Redact { room_id: room_id.into(), event_id: event_id.into(), reason: reason.into() };
        sent(self.propose(decide::redact(s, redaction, txn)?).await?)
    }

    /// Changes the caller's display name or avatar.
    pub async fn set_profile(&self, s: &Session, change: SetProfile) -> Result<(), Refusal> {
        done(self.propose(decide::set_profile(s, change)?).await?)
    }

    /// Stores a filter and returns its number.
    pub async fn put_filter(&self, s: &Session, filter: Bytes) -> Result<u64, Refusal> {
        let put = PutFilter { filter, max_filters: self.quotas().filters };
        match self.propose(decide::put_filter(s, put)?).await?.kind {
            Some(Kind::FilterPut(put)) => Ok(put.filter_id),
            other => Err(unexpected(other.as_ref())),
        }
    }

    /// Stores account data; an empty `room_id` means global account data.
    pub async fn put_account_data(
        &self,
        s: &Session,
        room_id: &str,
        event_type: &str,
        content: Bytes,
    ) -> Result<(), Refusal> {
        let quotas = self.quotas();
        let data = PutAccountData {
            room_id: room_id.into(),
            r#type: event_type.into(),
            content,
            max_entries: quotas.account_data_entries,
            max_bytes: u64::from(quotas.account_data_mebibytes) << 20,
        };
        done(self.propose(decide::put_account_data(s, data)?).await?)
    }

    /// Returns a handle for the messages of one stream, which are applied in the order in which they are given; at most
    /// `in_flight` of them are on their way at once.
    #[must_use]
    pub fn ordered(&self, in_flight: usize) -> OrderedPosts {
        OrderedPosts { service: self.clone(), ordered: self.inner.parts.proposer.ordered(in_flight) }
    }

    /// Puts an envelope into the log and waits for its outcome; a command that the log rejected becomes a refusal.
    pub(super) async fn propose(&self, envelope: Envelope) -> Result<Outcome, Refusal> {
        let envelope = self.with_quotas(with_transaction_id(envelope, self.now_ms())?);
        let _counted = self.inner.parts.metrics.proposal();
        self.answer(self.inner.parts.proposer.propose(envelope).await)
    }

    /// Adds the account's quotas to commands that change memberships.
    fn with_quotas(&self, envelope: Envelope) -> Envelope {
        let changes_memberships = match envelope.command.as_ref().and_then(|command| command.kind.as_ref()) {
            Some(command::Kind::CreateRoom(_) | command::Kind::SetMembership(_)) => true,
            Some(command::Kind::SendEvent(event)) => event.state_key.is_some() && event.r#type == "m.room.member",
            _ => false,
        };
        let Quotas { joined_rooms, pending_invites, .. } = *self.quotas();
        let quotas = log::Quotas { joined_rooms: joined_rooms.into(), pending_invites: pending_invites.into() };
        Envelope { quotas: changes_memberships.then_some(quotas).or(envelope.quotas), ..envelope }
    }

    fn answer(&self, settled: Result<Outcome, ProposeError>) -> Result<Outcome, Refusal> {
        let outcome = settled.map_err(|error| self.with_leader(Refusal::from(error)))?;
        match outcome.kind {
            Some(Kind::Rejected(rejected)) => Err(Refusal::from(rejected)),
            _ => Ok(outcome),
        }
    }

    /// Returns the contact for full volumes, as a URI: the first administrator, or whoever answers under the server's
    /// name.
    fn admin_contact(&self) -> String {
        let Settings { administrators, server_name, .. } = &self.inner.parts.settings;
        match administrators.first() {
            // The `matrix:` URI scheme of the specification.
            Some(name) => format!("matrix:u/{name}:{server_name}"),
            None => format!("https://{server_name}"),
        }
    }

    /// Adds the leader's address for callers who may have to go elsewhere, and a contact for callers who meet full
    /// volumes.
    fn with_leader(&self, mut refusal: Refusal) -> Refusal {
        if matches!(refusal.code, Code::Unavailable | Code::Overloaded) {
            refusal.leader = self.leader_address();
        }
        if refusal.code == Code::StorageFull {
            refusal.contact = Some(self.admin_contact());
        }
        refusal
    }
}

/// Adds a transaction id where there is none: the proposer repeats attempts whose fate is unknown, and without an id
/// they would be applied twice.
fn with_transaction_id(mut envelope: Envelope, now_ms: u64) -> Result<Envelope, Refusal> {
    if envelope.transaction_id.is_empty() && !envelope.user.is_empty() {
        envelope.transaction_id = token::transaction_id(now_ms).map_err(no_randomness)?;
    }
    Ok(envelope)
}

pub(super) fn no_randomness(error: token::NoRandomness) -> Refusal {
    tracing::error!(error = &error as &dyn std::error::Error, "cannot generate an identifier");
    Refusal::internal()
}

pub(super) fn position(outcome: &Outcome) -> Position {
    let log::Position { incarnation, index, ordinal } = outcome.position.unwrap_or_default();
    Position { incarnation, index, ordinal }
}

fn sent(outcome: Outcome) -> Result<Sent, Refusal> {
    let (position, duplicate) = (position(&outcome), outcome.duplicate);
    match outcome.kind {
        Some(Kind::EventSent(event)) => Ok(Sent {
            room_id: event.room_id,
            event_id: event.event_id,
            position,
            origin_server_ts: event.origin_server_ts,
            duplicate,
        }),
        other => Err(unexpected(other.as_ref())),
    }
}

pub(super) fn done(outcome: Outcome) -> Result<(), Refusal> {
    match outcome.kind {
        Some(Kind::Done(log::Done {})) => Ok(()),
        other => Err(unexpected(other.as_ref())),
    }
}

/// Refuses an outcome of another kind than the command's: a newer version in the cluster, or a bug in this one.
pub(super) fn unexpected(kind: Option<&Kind>) -> Refusal {
    tracing::error!(?kind, "the log returned an outcome of another kind");
    Refusal::internal()
}
