//! What the commands of one log entry do to the state.
//!
//! For each command, in order: is the caller's session alive → was this transaction id applied before → the command's
//! own checks and rows, on an overlay → the overlay is written, or dropped when the command is refused.
//!
//! - The session is checked before the transaction id: what a session may no longer read, its retries may not either.
//!   A retried logout is therefore answered with `SESSION_ENDED`, which is what the caller wanted.
//! - A refusal changes no row and is not remembered, or a message refused once could never be sent again.
//! - An accepted command with a transaction id is remembered under (user, device, scope, transaction id) with its
//!   outcome. The scope is the command's name, and for events their room and type, as the HTTP path would have it
//!   (Matrix specification, "Transaction identifiers").
//! - Commands before there is a session (`Bootstrap`, `Register`, `OpenSession`) carry a random value of their own
//!   (hash of a token, salt of a password), by which a repetition is known: they need no transaction id.

mod account;
mod account_data;
mod append;
mod bootstrap;
mod context;
mod create_room;
mod dedup;
mod filter;
mod member;
mod profile;
mod redact;
mod relation;
mod send;
mod session;

use crate::id::{ORDINALS_PER_COMMAND, Position, RoomNumber};
use crate::proto::log::command::Kind;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ReadError, Table, Write, key};
use context::{Answer, Applies, Context, Refusal, refuse};

/// What a command came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The answer to the caller.
    pub outcome: log::Outcome,
    /// Whom to wake.
    pub touched: Touched,
}

/// Whose view a command changed: hints for the feed, without the changes themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Rooms with new events.
    pub rooms: Vec<RoomNumber>,
    /// Localparts whose memberships, account data or sessions changed.
    pub users: Vec<String>,
}

impl Touched {
    fn room(&mut self, room: RoomNumber) {
        if !self.rooms.contains(&room) {
            self.rooms.push(room);
        }
    }

    fn user(&mut self, localpart: &str) {
        if !self.users.iter().any(|user| user == localpart) {
            self.users.push(localpart.to_owned());
        }
    }
}

/// Applies one entry's commands in order; one [`Applied`] for each. Time is the greater of the entry's stamp and the
/// greatest seen before.
///
/// # Errors
/// When a row cannot be read, or the entry was applied before. `tx` then holds a part of the entry: drop it.
pub fn batch(tx: &mut dyn Write, index: u64, batch: &log::Batch) -> Result<Vec<Applied>, ReadError> {
    let mut cluster = rows::cluster(tx)?.unwrap_or_default();
    if is_bootstrapped(&cluster) && index <= cluster.index {
        let what = format!("entry {index} was applied already, as far as entry {}", cluster.index);
        return Err(ReadError::Damaged { table: Table::Meta, what });
    }
    cluster.time_ms = cluster.time_ms.max(batch.time_ms);
    cluster.index = index;
    let mut all = Vec::with_capacity(batch.envelopes.len());
    for (place, envelope) in batch.envelopes.iter().enumerate() {
        all.push(command(tx, &mut cluster, place, envelope)?);
    }
    if is_bootstrapped(&cluster) {
        tx.put(Table::Meta, key::CLUSTER.to_vec(), table::encode(&cluster));
    }
    Ok(all)
}

fn is_bootstrapped(cluster: &store::Cluster) -> bool {
    !cluster.cluster_id.is_empty()
}

fn command(
    tx: &mut dyn Write,
    cluster: &mut store::Cluster,
    place: usize,
    envelope: &log::Envelope,
) -> Result<Applied, ReadError> {
    let ordinal = u32::try_from(place).ok().and_then(|place| place.checked_mul(ORDINALS_PER_COMMAND));
    let first = Position { incarnation: cluster.incarnation, index: cluster.index, ordinal: ordinal.unwrap_or_default() };
    let mut context = Context::new(&*tx, cluster, first, envelope);
    let answer = match ordinal {
        Some(_) => turn(&mut context, envelope),
        None => refuse(Reason::TooLarge, "too many commands in one entry: send it again"),
    };
    match answer {
        Ok(answer) => {
            let (changes, touched, new_cluster) = context.finish();
            changes.write_to(tx);
            if let Some(new) = new_cluster {
                *cluster = new;
            }
            let outcome = answer.into_outcome(first);
            Ok(Applied { outcome, touched })
        }
        Err(Refusal::Rejected(rejected)) => {
            let kind = Some(outcome::Kind::Rejected(rejected));
            let outcome = log::Outcome { position: Some(context::wire(first)), duplicate: false, kind };
            Ok(Applied { outcome, touched: Touched::default() })
        }
        Err(Refusal::Read(error)) => Err(error),
    }
}

fn turn(context: &mut Context<'_>, envelope: &log::Envelope) -> Applies<Answer> {
    let Some(kind) = envelope.command.as_ref().and_then(|command| command.kind.as_ref()) else {
        return refuse(Reason::Invalid, "the command is missing or newer than this version: upgrade all pods first");
    };
    if let Kind::Bootstrap(command) = kind {
        return bootstrap::apply(context, command);
    }
    if context.server_name.is_empty() {
        return refuse(Reason::NotBootstrapped, "the cluster is not initialised yet");
    }
    match kind {
        Kind::Register(command) => return account::apply(context, command),
        Kind::OpenSession(command) => return session::open(context, command),
        _ => {}
    }
    let device = context.session()?;
    let memory = dedup::Memory::of(envelope, kind, &device);
    if let Some(outcome) = memory.recall(&context.rows)? {
        return Ok(Answer::Again(outcome));
    }
    let answer = for_session(context, kind)?;
    memory.keep(context, &answer)?;
    Ok(answer)
}

fn for_session(context: &mut Context<'_>, kind: &Kind) -> Applies<Answer> {
    match kind {
        Kind::Bootstrap(_) | Kind::Register(_) | Kind::OpenSession(_) => {
            refuse(Reason::Invalid, "this command has no caller")
        }
        Kind::CloseSession(command) => session::close(context, command),
        Kind::ExtendSession(command) => session::extend(context, command),
        Kind::CreateRoom(command) => create_room::apply(context, command),
        Kind::SetMembership(command) => member::apply(context, command),
        Kind::SendEvent(command) => send::apply(context, command),
        Kind::SetProfile(command) => profile::apply(context, command),
        Kind::PutFilter(command) => filter::apply(context, command),
        Kind::PutAccountData(command) => account_data::apply(context, command),
        Kind::Redact(command) => redact::apply(context, command),
    }
}
