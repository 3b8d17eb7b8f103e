//! The key with which every pod signs what clients bring back.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::table::{self, Table, TableRead as _, key};

/// Length of the key in bytes: that of the output of SHA-256, as RFC 2104 recommends for HMAC.
pub const SIGNING_KEY_BYTES: usize = 32;

/// Keeps the key unless there is one already.
pub(super) fn apply_keep_signing_key(
    context: &mut ApplyContext<'_>,
    command: &log::KeepSigningKey,
) -> ApplyResult<CommandAnswer> {
    if !context.user.is_empty() {
        return refuse(Reason::Invalid, "this command has no caller");
    }
    if command.key.len() != SIGNING_KEY_BYTES {
        return refuse(Reason::Invalid, format!("a signing key has {SIGNING_KEY_BYTES} bytes"));
    }
    if context.rows.get(Table::Meta, key::SIGNING_KEY)?.is_none() {
        let row = store::SigningKey { key: command.key.clone() };
        context.rows.put(Table::Meta, key::SIGNING_KEY.to_vec(), table::encode_value(&row));
    }
    Ok(CommandAnswer::done())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::testing::{command, world};

    fn keep(byte: u8, length: usize) -> Kind {
        Kind::KeepSigningKey(log::KeepSigningKey { key: vec![byte; length].into() })
    }

    #[test]
    fn the_first_key_stays() {
        let mut world = world(&["alice"]);
        assert_eq!(world.view().signing_key().unwrap(), None);
        for byte in [1, 2] {
            world.accepted(Envelope { command: command(keep(byte, SIGNING_KEY_BYTES)), ..Envelope::default() });
            assert_eq!(world.view().signing_key().unwrap().unwrap(), vec![1; SIGNING_KEY_BYTES]);
        }
    }

    #[test]
    fn a_key_of_a_user_or_of_another_length_is_refused() {
        let mut world = world(&["alice"]);
        let by_user = world.by("alice", keep(1, SIGNING_KEY_BYTES));
        assert_eq!(world.rejected(by_user), Reason::Invalid);
        let short = Envelope { command: command(keep(1, 31)), ..Envelope::default() };
        assert_eq!(world.rejected(short), Reason::Invalid);
    }
}
