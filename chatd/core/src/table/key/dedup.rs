//! Keys of `Table::Dedup`: the outcomes of transactions, and what finds the oldest ones.

use super::dedup_of;
use sha2::{Digest as _, Sha256};

/// Returns the key of a row of `Table::Dedup` for a transaction id that a client chose. The scope and the id are hashed:
/// keys stay short, and a client that finds a collision only repeats an answer of its own.
#[must_use]
pub fn dedup_key(localpart: &str, device_id: &str, scope: &[&str], transaction_id: &str) -> Vec<u8> {
    let mut out = dedup_of(localpart, device_id);
    out.push(CHOSEN_BY_CLIENT);
    out.extend_from_slice(&transaction_hash(scope, transaction_id));
    out
}

/// Returns the key of a row of `Table::Dedup` for a transaction id that a pod made at this time, in milliseconds since
/// the Unix epoch. Such rows of a device are in the order of their times.
#[must_use]
pub fn pod_dedup_key(
    localpart: &str,
    device_id: &str,
    scope: &[&str],
    transaction_id: &str,
    made_at_ms: u64,
) -> Vec<u8> {
    let mut out = pod_dedup_of(localpart, device_id);
    out.extend_from_slice(&made_at_ms.to_be_bytes());
    out.extend_from_slice(&transaction_hash(scope, transaction_id));
    out
}

/// Returns the prefix of one device's rows in `Table::Dedup` whose transaction ids were made by pods.
#[must_use]
pub fn pod_dedup_of(localpart: &str, device_id: &str) -> Vec<u8> {
    let mut out = dedup_of(localpart, device_id);
    out.push(MADE_BY_POD);
    out
}

/// Returns the key of the second row of `Table::Dedup` of an outcome that is removed by its age: the first one has a key
/// made by [`dedup_key`], and was written at this time. Such rows of a device are in the order of their times.
#[must_use]
pub fn dedup_by_age(localpart: &str, device_id: &str, written_ms: u64, dedup_key: &[u8]) -> Vec<u8> {
    let mut out = dedup_by_age_of(localpart, device_id);
    out.extend_from_slice(&written_ms.to_be_bytes());
    out.extend_from_slice(hash_at_end(dedup_key));
    out
}

/// Returns the prefix of one device's second rows of outcomes that are removed by their age.
#[must_use]
pub fn dedup_by_age_of(localpart: &str, device_id: &str) -> Vec<u8> {
    let mut out = dedup_of(localpart, device_id);
    out.push(BY_AGE);
    out
}

/// Returns the key of the first row of the outcome whose second row has a key made by [`dedup_by_age`].
#[must_use]
pub fn dedup_of_aged(localpart: &str, device_id: &str, second: &[u8]) -> Vec<u8> {
    let mut out = dedup_of(localpart, device_id);
    out.push(CHOSEN_BY_CLIENT);
    out.extend_from_slice(hash_at_end(second));
    out
}

fn hash_at_end(key: &[u8]) -> &[u8] {
    key.len().checked_sub(HASH_LEN).and_then(|from| key.get(from..)).unwrap_or_default()
}

const MADE_BY_POD: u8 = 0;
const CHOSEN_BY_CLIENT: u8 = 1;
const BY_AGE: u8 = 2;

/// Number of bytes of a hash at the end of a key of `Table::Dedup`.
const HASH_LEN: usize = 16;

/// Returns the first half of the SHA-256 of a scope and a transaction id, each part after its length.
fn transaction_hash(scope: &[&str], transaction_id: &str) -> [u8; HASH_LEN] {
    let mut hash = Sha256::new();
    for part in scope.iter().chain([&transaction_id]) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut out = [0; HASH_LEN];
    for (byte, hashed) in out.iter_mut().zip(hash.finalize()) {
        *byte = hashed;
    }
    out
}
