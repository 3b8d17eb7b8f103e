//! Rows of chatd itself, stored beside those of `quorate_core` and never visible in a view: the last applied entry and
//! the membership.

use super::{AppliedMembership, AppliedState, StoreError};
use bytes::Bytes;
use prost::Message;
use quorate_core::proto::log;
use quorate_core::table::{self, Table};
use std::path::Path;
use std::sync::Arc;

/// Key of the format version: four bytes, big-endian.
#[cfg(feature = "rocksdb")]
pub(super) const FORMAT: &[u8] = b"format";
/// Key of the last applied entry's `log.v1.LogId`.
pub(super) const APPLIED: &[u8] = b"applied";
/// Key of the `log.v1.Entry` that established the membership.
pub(super) const MEMBERSHIP: &[u8] = b"membership";

/// Format of the database as a whole: its column families and the layout of their keys.
#[cfg(feature = "rocksdb")]
pub(crate) const FORMAT_VERSION: u32 = 1;

pub(super) fn encode_applied(last: log::LogId) -> Bytes {
    table::encode_value(&last)
}

pub(super) fn encode_membership(membership: &AppliedMembership) -> Bytes {
    let payload = log::entry::Payload::Membership(membership.members.clone());
    table::encode_value(&log::Entry { log_id: membership.log_id, payload: Some(payload) })
}

/// Decodes both rows; `path` is only used in error messages.
pub(super) fn decode_applied(
    path: &Path,
    applied: Option<&[u8]>,
    membership: Option<&[u8]>,
) -> Result<AppliedState, StoreError> {
    let log_id = applied.map(|row| decode_row::<log::LogId>(path, row)).transpose()?;
    let membership = match membership.map(|row| decode_row::<log::Entry>(path, row)).transpose()? {
        None => AppliedMembership::default(),
        Some(log::Entry { log_id, payload: Some(log::entry::Payload::Membership(members)) }) => {
            AppliedMembership { log_id, members }
        }
        Some(_) => return Err(StoreError::damaged(path, "its membership row holds another kind of entry")),
    };
    Ok(AppliedState { log_id, membership: Arc::new(membership) })
}

fn decode_row<M: Message + Default>(path: &Path, row: &[u8]) -> Result<M, StoreError> {
    table::decode_value(Table::Meta, row).map_err(|error| StoreError::damaged(path, error))
}
