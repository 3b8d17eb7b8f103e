//! Dialogues of user-interactive authentication by which accounts were registered. A row remembers each until it expires:
//! whoever lost the answer asks again, and no dialogue registers two accounts.

use super::context::{ApplyContext, ApplyResult, refuse};
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead as _, key};

/// Length of the digest that names a dialogue, in bytes; it is part of keys.
const DIGEST_BYTES: usize = 16;
/// Number of expired rows that one registration removes: more than it adds, so that they do not pile up.
const REMOVED_AT_ONCE: usize = 4;

/// Notes that an account was registered in the command's dialogue, if it names one; refuses the command if another account
/// was.
pub(super) fn note_dialogue(context: &mut ApplyContext<'_>, command: &log::Register) -> ApplyResult<()> {
    if command.dialogue_digest.is_empty() {
        return Ok(());
    }
    if command.dialogue_digest.len() != DIGEST_BYTES {
        return refuse(Reason::Invalid, format!("the digest of a dialogue has {DIGEST_BYTES} bytes"));
    }
    let digest = &command.dialogue_digest;
    if rows::registered_dialogue_row(&context.rows, command.dialogue_expires_ms, digest)?.is_some() {
        let message = "this session has registered another account: begin without a session";
        return refuse(Reason::Forbidden, message);
    }
    remove_expired(context)?;
    // Nobody can come back with a dialogue that has expired meanwhile.
    if command.dialogue_expires_ms > context.time_ms {
        let row = store::RegisteredDialogue { localpart: command.localpart.clone() };
        let key = key::registered_dialogue(command.dialogue_expires_ms, digest);
        context.rows.put(Table::Meta, key, table::encode_value(&row));
    }
    Ok(())
}

fn remove_expired(context: &mut ApplyContext<'_>) -> ApplyResult<()> {
    let end = key::registered_dialogue(context.time_ms, &[]);
    let mut expired = Vec::new();
    context.rows.scan(&ScanRange::between(Table::Meta, key::REGISTERED_DIALOGUES, &end), &mut |(key, _)| {
        expired.push(key.to_vec());
        Ok(if expired.len() < REMOVED_AT_ONCE { ScanControl::More } else { ScanControl::Stop })
    })?;
    for key in expired {
        context.rows.delete(Table::Meta, key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::testing::{World, register, world};
    use bytes::Bytes;

    fn in_dialogue(world: &World, user: &str, number: u8, expires_in_ms: u64) -> Envelope {
        let mut envelope = register(user, "D");
        if let Some(log::Command { kind: Some(Kind::Register(register)) }) = &mut envelope.command {
            register.dialogue_digest = Bytes::copy_from_slice(&[number; DIGEST_BYTES]);
            register.dialogue_expires_ms = world.time_ms + expires_in_ms;
        }
        envelope
    }

    fn known(world: &World, number: u8, expires_ms: u64) -> Option<String> {
        world.view().registered_in(expires_ms, &[number; DIGEST_BYTES]).unwrap()
    }

    fn remembered(world: &World) -> usize {
        let mut count = 0;
        let all = ScanRange::with_prefix(Table::Meta, key::REGISTERED_DIALOGUES);
        world
            .rows
            .scan(&all, &mut |_| {
                count += 1;
                Ok(ScanControl::More)
            })
            .unwrap();
        count
    }

    #[test]
    fn a_dialogue_registers_one_account_and_is_known_by_it() {
        let mut world = world(&[]);
        let first = in_dialogue(&world, "alice", 1, 1_000_000);
        let expires_ms = world.time_ms + 1_000_000;
        let opened = world.accepted(first.clone());
        assert_eq!(known(&world, 1, expires_ms).as_deref(), Some("alice"));
        // The command itself, repeated by a pod.
        assert_eq!(world.accepted(first), log::Outcome { duplicate: true, ..opened });
        let mut other = in_dialogue(&world, "bob", 1, 0);
        if let Some(log::Command { kind: Some(Kind::Register(register)) }) = &mut other.command {
            register.dialogue_expires_ms = expires_ms;
        }
        assert_eq!(world.rejected(other), Reason::Forbidden);
        assert!(world.view().account("bob").unwrap().is_none());
        assert_eq!(known(&world, 2, expires_ms), None);
    }

    #[test]
    fn expired_dialogues_are_forgotten() {
        let mut world = world(&[]);
        for number in 0..REMOVED_AT_ONCE + 1 {
            let number = u8::try_from(number).unwrap();
            let envelope = in_dialogue(&world, &format!("user{number}"), number, 100_000);
            world.accepted(envelope);
        }
        assert_eq!(remembered(&world), REMOVED_AT_ONCE + 1);
        world.time_ms += 200_000;
        for (number, left) in [(100, 2), (101, 2)] {
            let envelope = in_dialogue(&world, &format!("user{number}"), number, 100_000);
            world.accepted(envelope);
            assert_eq!(remembered(&world), left);
        }
        let late = in_dialogue(&world, "late", 102, 0);
        world.accepted(late);
        assert_eq!(remembered(&world), 2, "one that has expired is not remembered");
        let mut short = in_dialogue(&world, "short", 103, 1000);
        if let Some(log::Command { kind: Some(Kind::Register(register)) }) = &mut short.command {
            register.dialogue_digest = Bytes::from_static(b"short");
        }
        assert_eq!(world.rejected(short), Reason::Invalid);
    }
}
