//! One-time keys of devices: handed out once each, oldest first.
//!
//! Each key is a row, and the end of its key orders it by upload. The device's stock counts what is left of each
//! algorithm and remembers up to where keys were claimed, so that a claim reads one row however many there are. A key
//! that was claimed leaves its id behind for a while: a client that repeats an upload whose answer it did not get must
//! not bring back a key that somebody already has.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::{append, device};
use crate::json;
use crate::key_json;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead, key};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Maximum number of one-time keys of a device. Clients keep 50 to 100 there; each is a row to be removed with the
/// device.
pub(super) const MAX_KEYS: usize = 500;
/// Maximum number of algorithms of a device's keys. Two have been specified.
const MAX_ALGORITHMS: usize = 8;
/// Maximum size of a key in bytes: a signed one has some 200.
const MAX_KEY_BYTES: usize = 4096;
/// Maximum length of the name of an algorithm or key, in bytes; both are parts of identifiers in the specification.
const MAX_NAME_BYTES: usize = 255;
/// Number of claimed keys of an algorithm that are remembered: as many as clients upload at once, twice over.
const REMEMBERED: u32 = 100;
/// Maximum number of keys that one command claims: their answer is kept for its retries, and sent between pods.
pub const MAX_CLAIMS: usize = 64;

/// Key of a client that has been checked.
struct CheckedKey<'k> {
    algorithm: &'k str,
    key_id: &'k str,
    /// Canonical JSON of the key.
    json: Bytes,
    /// The same without signatures, which may differ from upload to upload.
    signed: Bytes,
}

impl<'k> CheckedKey<'k> {
    fn of(input: &'k log::KeyInput) -> ApplyResult<Self> {
        let log::KeyInput { algorithm, key_id, key } = input;
        for name in [algorithm, key_id] {
            if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains('\0') {
                let message =
                    format!("the names of algorithms and keys have 1 to {MAX_NAME_BYTES} bytes, none of them zero");
                return refuse(Reason::Invalid, message);
            }
        }
        if key.len() > MAX_KEY_BYTES {
            return refuse(Reason::TooLarge, format!("a key must have at most {MAX_KEY_BYTES} bytes"));
        }
        let (json, signed) = match serde_json::from_slice::<String>(key) {
            Ok(text) => {
                let json = Bytes::from(serde_json::Value::from(text).to_string());
                (json.clone(), json)
            }
            Err(_) => {
                append::check_content(key)?;
                let object = json::stored_object(key);
                (json::canonical_json(&object), key_json::signed_part(&object))
            }
        };
        Ok(Self { algorithm, key_id, json, signed })
    }

    fn mark(&self) -> u32 {
        crc32fast::hash(&self.signed)
    }

    /// Refuses the key because another one has its id.
    fn refuse_twin<T>(&self) -> ApplyResult<T> {
        let message = format!("one time key {}:{} already exists with other content", self.algorithm, self.key_id);
        refuse(Reason::KeyExists, message)
    }
}

/// Returns the stock of the caller's device, or a new one.
pub(super) fn own_stock(context: &ApplyContext<'_>) -> ApplyResult<store::KeyStock> {
    let key = key::device_key(context.user, context.device_id);
    let stock = table::fetch_row::<store::KeyStock>(&context.rows, Table::KeyStock, &key)?;
    let opened_at = table::position_field(context.first);
    Ok(stock.unwrap_or(store::KeyStock { opened_at, parts: Vec::new() }))
}

fn stock_part<'s>(stock: &'s mut store::KeyStock, algorithm: &str) -> ApplyResult<&'s mut store::AlgorithmStock> {
    let place = stock.parts.binary_search_by(|part| part.algorithm.as_str().cmp(algorithm));
    if let Err(place) = place {
        if stock.parts.len() >= MAX_ALGORITHMS {
            return refuse(Reason::TooLarge, format!("a device can have keys of at most {MAX_ALGORITHMS} algorithms"));
        }
        let part = store::AlgorithmStock { algorithm: algorithm.to_owned(), ..store::AlgorithmStock::default() };
        stock.parts.insert(place, part);
    }
    let (Ok(place) | Err(place)) = place;
    match stock.parts.get_mut(place) {
        Some(part) => Ok(part),
        None => refuse(Reason::Invalid, "there are no keys of this algorithm"),
    }
}

/// Adds one-time keys of the caller's device to its stock, which the caller of this function writes.
pub(super) fn put_one_time_keys(
    context: &mut ApplyContext<'_>,
    stock: &mut store::KeyStock,
    inputs: &[log::KeyInput],
) -> ApplyResult<()> {
    let mut by_algorithm = BTreeMap::<&str, Vec<(u32, CheckedKey<'_>)>>::new();
    for (place, input) in (0..).zip(inputs) {
        let key = CheckedKey::of(input)?;
        by_algorithm.entry(key.algorithm).or_default().push((place, key));
    }
    for (algorithm, keys) in by_algorithm {
        let mut known = known_keys(context, stock, algorithm)?;
        let prefix = key::one_time_keys_of(context.user, context.device_id, algorithm);
        let part = stock_part(stock, algorithm)?;
        for (place, key) in keys {
            match known.get(key.key_id) {
                Some(KnownKey { signed: Some(signed), .. }) if *signed == key.signed => continue,
                Some(KnownKey { signed: Some(_), .. }) => return key.refuse_twin(),
                Some(KnownKey { signed: None, mark }) if *mark == key.mark() => continue,
                // A claimed key's id was used again, for a key that nobody has.
                _ => {}
            }
            let mark = key.mark();
            let row = store::OneTimeKey { key_id: key.key_id.to_owned(), key: key.json, mark };
            let row_key = [prefix.clone(), key::one_time_key_place(context.first, place)].concat();
            context.rows.put(Table::OneTimeKey, row_key, table::encode_value(&row));
            part.count += 1;
            known.insert(key.key_id.to_owned(), KnownKey { signed: Some(key.signed), mark });
        }
    }
    let total = stock.parts.iter().map(|part| u64::from(part.count)).sum::<u64>();
    if usize::try_from(total).is_ok_and(|total| total <= MAX_KEYS) {
        return Ok(());
    }
    refuse(Reason::TooLarge, format!("a device can have at most {MAX_KEYS} one-time keys: wait until some are claimed"))
}

/// One-time key that a device has or had.
struct KnownKey {
    /// Key without its signatures; `None` if it was claimed.
    signed: Option<Bytes>,
    mark: u32,
}

/// Returns the keys of an algorithm by id, and removes what an earlier device of the same id left behind.
fn known_keys(
    context: &mut ApplyContext<'_>,
    stock: &store::KeyStock,
    algorithm: &str,
) -> ApplyResult<BTreeMap<String, KnownKey>> {
    let prefix = key::one_time_keys_of(context.user, context.device_id, algorithm);
    let begin = [&prefix[..], &stock.opened_at].concat();
    let mut old = Vec::new();
    context.rows.scan(&ScanRange::between(Table::OneTimeKey, &prefix, &begin), &mut |(key, _)| {
        old.push(key.to_vec());
        Ok(if old.len() < MAX_KEYS { ScanControl::More } else { ScanControl::Stop })
    })?;
    // A scan of its own: however many old ones there are, no key of this device goes unnoticed.
    let mut known = BTreeMap::new();
    let end = key::after_prefix(&prefix);
    context.rows.scan(&ScanRange::between(Table::OneTimeKey, &begin, &end), &mut |(_, value)| {
        let row: store::OneTimeKey = table::decode_value(Table::OneTimeKey, value)?;
        let signed = (!row.key.is_empty()).then(|| signed_part_of(&row.key));
        known.insert(row.key_id, KnownKey { signed, mark: row.mark });
        Ok(ScanControl::More)
    })?;
    for key in old {
        context.rows.delete(Table::OneTimeKey, key);
    }
    Ok(known)
}

fn signed_part_of(key: &Bytes) -> Bytes {
    if key.starts_with(b"{") { key_json::signed_part(&json::stored_object(key)) } else { key.clone() }
}

/// Sets fallback keys in the stock, which the caller of this function writes. A key that is uploaded again stays used.
pub(super) fn put_fallback_keys(stock: &mut store::KeyStock, inputs: &[log::KeyInput]) -> ApplyResult<()> {
    for input in inputs {
        let key = CheckedKey::of(input)?;
        let part = stock_part(stock, key.algorithm)?;
        let same = part.fallback_id == key.key_id && signed_part_of(&part.fallback) == key.signed;
        if !same {
            part.fallback_id = key.key_id.to_owned();
            part.fallback = key.json;
            part.fallback_used = false;
        }
    }
    Ok(())
}

pub(super) fn apply_claim_keys(context: &mut ApplyContext<'_>, command: &log::ClaimKeys) -> ApplyResult<CommandAnswer> {
    if command.claims.len() > MAX_CLAIMS {
        return refuse(Reason::TooLarge, format!("at most {MAX_CLAIMS} keys can be claimed at once"));
    }
    let mut keys = Vec::new();
    for claim in &command.claims {
        keys.extend(claim_key(context, claim)?);
    }
    Ok(CommandAnswer::New(outcome::Kind::KeysClaimed(log::KeysClaimed { keys }), None))
}

fn claim_key(context: &mut ApplyContext<'_>, claim: &log::KeyClaim) -> ApplyResult<Option<log::ClaimedKey>> {
    let log::KeyClaim { localpart, device_id, algorithm } = claim;
    let stock_key = key::device_key(localpart, device_id);
    let Some(mut stock) = table::fetch_row::<store::KeyStock>(&context.rows, Table::KeyStock, &stock_key)? else {
        return Ok(None);
    };
    let opened_at = stock.opened_at.clone();
    let Some(part) = stock.parts.iter_mut().find(|part| part.algorithm == *algorithm) else { return Ok(None) };
    let prefix = key::one_time_keys_of(localpart, device_id, algorithm);
    let taken = match take_oldest(context, &prefix, &opened_at, part)? {
        Some(taken) => taken,
        None if part.fallback_id.is_empty() => return Ok(None),
        None => {
            // No change, and nothing to be told: the device knows that the key is in use.
            let known = part.fallback_used;
            part.fallback_used = true;
            let taken = (part.fallback_id.clone(), part.fallback.clone());
            if known {
                return Ok(Some(claimed_key(claim, taken)));
            }
            taken
        }
    };
    context.rows.put(Table::KeyStock, stock_key, table::encode_value(&stock));
    // The device's next sync tells it what is left.
    context.touched.user(localpart);
    Ok(Some(claimed_key(claim, taken)))
}

fn claimed_key(claim: &log::KeyClaim, (key_id, key): (String, Bytes)) -> log::ClaimedKey {
    let log::KeyClaim { localpart, device_id, algorithm } = claim.clone();
    log::ClaimedKey { localpart, device_id, algorithm, key_id, key }
}

/// Takes the oldest key that was not claimed yet, and returns its id and JSON.
fn take_oldest(
    context: &mut ApplyContext<'_>,
    prefix: &[u8],
    opened_at: &[u8],
    part: &mut store::AlgorithmStock,
) -> ApplyResult<Option<(String, Bytes)>> {
    if part.count == 0 {
        return Ok(None);
    }
    let from = match &part.claimed_to[..] {
        [] => [prefix, opened_at].concat(),
        // The smallest key after the newest claimed one: all have the same length.
        claimed_to => [prefix, claimed_to, &[0]].concat(),
    };
    let Some((row_key, value)) = first_row(context, prefix, &from)? else { return Ok(None) };
    let row: store::OneTimeKey = table::decode_value(Table::OneTimeKey, value)?;
    let memory = store::OneTimeKey { key_id: row.key_id.clone(), key: Bytes::new(), mark: row.mark };
    part.claimed_to = Bytes::copy_from_slice(row_key.get(prefix.len()..).unwrap_or_default());
    part.count -= 1;
    part.remembered += 1;
    context.rows.put(Table::OneTimeKey, row_key, table::encode_value(&memory));
    if part.remembered > REMEMBERED
        && let Some((oldest, _)) = first_row(context, prefix, &[prefix, opened_at].concat())?
    {
        context.rows.delete(Table::OneTimeKey, oldest);
        part.remembered -= 1;
    }
    Ok(Some((row.key_id, row.key)))
}

fn first_row(context: &ApplyContext<'_>, prefix: &[u8], from: &[u8]) -> ApplyResult<Option<(Vec<u8>, Bytes)>> {
    let end = key::after_prefix(prefix);
    let mut found = None;
    context.rows.scan(&ScanRange::between(Table::OneTimeKey, from, &end), &mut |(key, value)| {
        found = Some((key.to_vec(), Bytes::copy_from_slice(value)));
        Ok(ScanControl::Stop)
    })?;
    Ok(found)
}

/// Removes a device's stock, and as many of its one-time keys as `forgettable` allows, which are subtracted from it. What
/// is left is never read: a later stock under the same device id begins after it.
pub(super) fn forget_one_time_keys(
    context: &mut ApplyContext<'_>,
    localpart: &str,
    device_id: &str,
    forgettable: &mut usize,
) -> ApplyResult<()> {
    let stock_key = key::device_key(localpart, device_id);
    if context.rows.get(Table::KeyStock, &stock_key)?.is_some() {
        context.rows.delete(Table::KeyStock, stock_key);
    }
    device::forget_rows(context, Table::OneTimeKey, &key::dedup_of(localpart, device_id), forgettable)
}

#[cfg(test)]
mod tests;
