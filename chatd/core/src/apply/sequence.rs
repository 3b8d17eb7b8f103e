//! Order of commands: what one pod sends as a sequence is applied in that order, or not at all.
//!
//! A pod has many commands in flight at once. When the leader is lost, or its lease runs out for a moment, some of them
//! may be lost while later ones are not; applied as they arrive, a person's second message would come before the first.
//! Each command therefore carries its number, and a gap refuses everything that follows it, until the pod sends all
//! unanswered commands again under a new id. The transaction ids keep commands that were already applied from being
//! applied twice.

use super::context::{ApplyContext, ApplyResult, SequenceTurn, refuse};
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::table::{self, ReadError, ScanControl, ScanRange, Table, TableRead, TableWrite, key};

/// Maximum number of sequences of one device: its open streams, with room for those that broke. The oldest is removed
/// for a new one, and begins again if it was still in use.
pub(super) const MAX_PER_DEVICE: usize = 64;

/// Checks that it is this command's turn.
pub(super) fn check_turn(context: &ApplyContext<'_>, sequence: &log::Sequence) -> ApplyResult<SequenceTurn> {
    let key = key::sequence_key(context.user, context.device_id, sequence.id);
    if sequence.number == 0 {
        let row = store::Sequence { next: 1, begun_at: table::position_field(context.first) };
        let replaces = oldest_of_too_many(context, &key)?;
        return Ok(SequenceTurn { row: (key, row), replaces });
    }
    match table::fetch_row::<store::Sequence>(&context.rows, Table::Sequence, &key)? {
        Some(row) if row.next == sequence.number => Ok(SequenceTurn {
            row: (key, store::Sequence { next: sequence.number.saturating_add(1), ..row }),
            replaces: None,
        }),
        _ => refuse(Reason::OutOfSequence, "a command before this one is missing: resend all unanswered ones"),
    }
}

/// Writes the changes that [`check_turn`] found.
pub(super) fn pass_turn(tx: &mut dyn TableWrite, turn: Option<SequenceTurn>) {
    let Some(SequenceTurn { row: (key, row), replaces }) = turn else { return };
    if let Some(old) = replaces {
        tx.delete(Table::Sequence, old);
    }
    tx.put(Table::Sequence, key, table::encode_value(&row));
}

/// Removes all sequences of a device.
pub(super) fn forget_sequences(context: &mut ApplyContext<'_>, localpart: &str, device_id: &str) -> ApplyResult<()> {
    let mut keys = Vec::new();
    each_sequence(&context.rows, localpart, device_id, |key, _| keys.push(key.to_vec()))?;
    for key in keys {
        context.rows.delete(Table::Sequence, key);
    }
    Ok(())
}

fn oldest_of_too_many(context: &ApplyContext<'_>, new: &[u8]) -> ApplyResult<Option<Vec<u8>>> {
    let mut count = 0;
    let mut oldest = None::<(bytes::Bytes, Vec<u8>)>;
    each_sequence(&context.rows, context.user, context.device_id, |key, row| {
        if key != new {
            count += 1;
            // Encoded positions compare as positions do.
            if oldest.as_ref().is_none_or(|(begun_at, _)| row.begun_at < *begun_at) {
                oldest = Some((row.begun_at, key.to_vec()));
            }
        }
    })?;
    Ok(oldest.filter(|_| count >= MAX_PER_DEVICE).map(|(_, key)| key))
}

fn each_sequence(
    rows: &dyn TableRead,
    localpart: &str,
    device_id: &str,
    mut visit: impl FnMut(&[u8], store::Sequence),
) -> Result<(), ReadError> {
    let from = key::dedup_of(localpart, device_id);
    rows.scan(&ScanRange::with_prefix(Table::Sequence, &from), &mut |(key, value)| {
        visit(key, table::decode_value(Table::Sequence, value)?);
        Ok(ScanControl::More)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::command::Kind;
    use crate::proto::log::outcome;
    use crate::testing::{World, world};

    fn numbered(world: &mut World, room: &str, id: u64, number: u64) -> log::Envelope {
        let mut envelope = world.event("alice", room, "t", None, "{}");
        envelope.transaction_id = format!("{id}-{number}-{}", world.index);
        envelope.sequence = Some(log::Sequence { id, number });
        envelope
    }

    fn rejection(outcome: &log::Outcome) -> Option<Reason> {
        match &outcome.kind {
            Some(outcome::Kind::Rejected(rejected)) => Some(rejected.reason()),
            _ => None,
        }
    }

    fn sequences(world: &World) -> usize {
        world.rows.rows().filter(|(table, ..)| *table == Table::Sequence).count()
    }

    #[test]
    fn after_a_gap_nothing_is_applied_until_a_new_sequence_begins() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let numbers = [(7, 0), (7, 1), (7, 3), (7, 4), (8, 1), (8, 0), (8, 1), (7, 2)];
        let all = numbers.map(|(id, number)| numbered(&mut world, &room, id, number)).to_vec();
        let applied: Vec<_> = world.apply(all).iter().map(|applied| rejection(&applied.outcome)).collect();
        let out = Some(Reason::OutOfSequence);
        assert_eq!(applied, [None, None, out, out, out, None, None, None]);
    }

    #[test]
    fn a_refused_command_and_a_repeated_one_have_had_their_turn() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let first = numbered(&mut world, &room, 7, 0);
        world.accepted(first.clone());
        let mut nowhere = numbered(&mut world, "!nowhere:a.org", 7, 1);
        assert_ne!(rejection(&world.one(nowhere.clone())), Some(Reason::OutOfSequence));
        assert!(world.one(log::Envelope { sequence: Some(log::Sequence { id: 7, number: 2 }), ..first }).duplicate);
        let next = numbered(&mut world, &room, 7, 3);
        world.accepted(next);
        nowhere.sequence = Some(log::Sequence { id: 7, number: 5 });
        assert_eq!(rejection(&world.one(nowhere)), Some(Reason::OutOfSequence));
    }

    #[test]
    fn a_device_has_a_bounded_number_and_none_after_its_end() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        for id in 0..MAX_PER_DEVICE as u64 + 3 {
            let begins = numbered(&mut world, &room, id, 0);
            world.accepted(begins);
        }
        assert_eq!(sequences(&world), MAX_PER_DEVICE);
        let oldest = numbered(&mut world, &room, 2, 1);
        assert_eq!(rejection(&world.one(oldest)), Some(Reason::OutOfSequence));
        let kept = numbered(&mut world, &room, 3, 1);
        world.accepted(kept);
        let mut close = world.by("alice", Kind::CloseSession(log::CloseSession::default()));
        close.sequence = Some(log::Sequence { id: 3, number: 2 });
        world.accepted(close);
        assert_eq!(sequences(&world), 0);
    }
}
