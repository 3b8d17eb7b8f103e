//! Endpoints for keys of devices: upload, query, claim, changes.

use super::account::user_id;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::raw_request::raw_json;
use crate::service::{CallerSession, MAX_CLAIMED, limits};
use axum::http::StatusCode;
use bytes::Bytes;
use quorate_core::id;
use quorate_core::proto::log::{KeyClaim, KeyCount, KeyInput, PutDeviceKeys};
use quorate_core::query::{DeviceListChanges, DeviceStock, QueryError, StateView, UserKeys};
use ruma::api::client::keys::{
    claim_keys::v3 as claim, get_key_changes::v3 as changes, get_keys::v3 as query, upload_keys::v3 as upload,
};
use ruma::api::client::sync::sync_events::DeviceLists;
use ruma::api::client::sync::sync_events::v3 as sync;
use ruma::encryption::OneTimeKey;
use ruma::serde::Raw;
use ruma::{OneTimeKeyAlgorithm, OneTimeKeyId, OwnedDeviceId, OwnedOneTimeKeyId, OwnedUserId, UInt};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of bytes of keys in one answer: some ten thousand devices. A client that asks for more asks for fewer
/// users at once.
const MAX_ANSWER: usize = 16 << 20;

pub(super) fn key_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("keys_upload", upload_keys)
        .with_session("keys_query", query_keys)
        .with_session("keys_claim", claim_keys)
        .with_session("keys_changes", list_changes)
}

/// Converts JSON that core made to a raw value.
pub(super) fn to_raw<T>(json: &Bytes) -> Result<Raw<T>, MatrixError> {
    let raw = serde_json::from_slice(json).map(Raw::from_json);
    raw.map_err(|error| MatrixError::damaged("key", error))
}

/// Converts keys to those of a command.
pub(super) fn key_inputs(keys: &BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>) -> Vec<KeyInput> {
    let input = |(id, key): (&OwnedOneTimeKeyId, &Raw<OneTimeKey>)| {
        // Up to the first colon: the name of a key may contain others.
        let (algorithm, key_id) = id.as_str().split_once(':').unwrap_or((id.as_str(), ""));
        KeyInput { algorithm: algorithm.to_owned(), key_id: key_id.to_owned(), key: raw_json(key) }
    };
    keys.iter().map(input).collect()
}

async fn upload_keys(
    context: MatrixContext,
    session: CallerSession,
    request: upload::Request,
) -> Result<upload::Response, MatrixError> {
    let put = PutDeviceKeys {
        device_keys: request.device_keys.as_ref().map(raw_json).unwrap_or_default(),
        one_time_keys: key_inputs(&request.one_time_keys),
        fallback_keys: key_inputs(&request.fallback_keys),
    };
    let counts = if put == PutDeviceKeys::default() {
        // Clients ask in this way how many keys are left.
        let CallerSession { localpart, device_id, .. } = session;
        let stock = context.read(move |view| view.device_stock(&localpart, &device_id)).await?;
        stock.unwrap_or_default().one_time_keys
    } else {
        let counts = context.service.put_device_keys(&session, put).await?.into_iter();
        counts.map(|KeyCount { algorithm, count }| (algorithm, count)).collect()
    };
    Ok(upload::Response::new(render_counts(&counts)))
}

/// Renders numbers of one-time keys. The algorithm that all clients use is named even if there are none: a client that
/// finds no number does not upload any.
fn render_counts(counts: &[(String, u32)]) -> BTreeMap<OneTimeKeyAlgorithm, UInt> {
    let none = (OneTimeKeyAlgorithm::SignedCurve25519, UInt::from(0_u32));
    let counts = counts.iter().map(|(name, count)| (OneTimeKeyAlgorithm::from(name.as_str()), UInt::from(*count)));
    std::iter::once(none).chain(counts).collect()
}

/// Adds what a device has left to an answer of `/sync`.
pub(super) fn add_device_stock(response: &mut sync::Response, stock: &DeviceStock) {
    response.device_one_time_keys_count = render_counts(&stock.one_time_keys);
    let unused = stock.unused_fallback_keys.iter().map(|name| OneTimeKeyAlgorithm::from(name.as_str()));
    response.device_unused_fallback_key_types = Some(unused.collect());
}

/// Renders changes of device lists.
pub(super) fn render_device_lists(found: DeviceListChanges) -> Result<DeviceLists, MatrixError> {
    let mut lists = DeviceLists::new();
    lists.changed = found.changed.into_iter().map(user_id).collect::<Result<_, _>>()?;
    lists.left = found.left.into_iter().map(user_id).collect::<Result<_, _>>()?;
    Ok(lists)
}

async fn query_keys(
    context: MatrixContext,
    session: CallerSession,
    request: query::Request,
) -> Result<query::Response, MatrixError> {
    // Rendered where it is read: many megabytes would hold up a thread of the runtime.
    let question = move |view: &StateView<'_>| match keys_of_users(view, &session.localpart, request.device_keys)? {
        Some(found) => Ok(render_keys(found)),
        None => {
            let message = "These users have too many devices for one response: ask for fewer users at once.";
            Ok(Err(MatrixError::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", message)))
        }
    };
    context.read(question).await?
}

/// Returns the keys of users, as far as the caller may see them; `None` if they are too many for one answer.
fn keys_of_users(
    view: &StateView<'_>,
    caller: &str,
    wanted: BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
) -> Result<Option<Vec<(OwnedUserId, UserKeys)>>, QueryError> {
    let mut found = Vec::new();
    let mut bytes = 0;
    for (user, devices) in wanted {
        view.is_wanted()?;
        // Users of other servers have no keys here, like those who do not exist.
        let Some(localpart) = id::user_localpart(user.as_str(), view.server_name()) else { continue };
        // Each once: a request may name a device with large keys a hundred thousand times.
        let devices: BTreeSet<_> = devices.into_iter().map(String::from).collect();
        let devices: Vec<_> = devices.into_iter().collect();
        let Some(keys) = view.keys_of(caller, localpart, &devices)? else { continue };
        bytes += keys.weight();
        found.push((user, keys));
        if bytes > MAX_ANSWER {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

fn render_keys(found: Vec<(OwnedUserId, UserKeys)>) -> Result<query::Response, MatrixError> {
    let mut response = query::Response::new();
    for (user, UserKeys { devices, master, self_signing, user_signing }) in found {
        let devices = devices.into_iter().map(|(device_id, keys)| Ok((device_id.into(), to_raw(&keys)?)));
        response.device_keys.insert(user.clone(), devices.collect::<Result<_, MatrixError>>()?);
        for (key, of_users) in [
            (master, &mut response.master_keys),
            (self_signing, &mut response.self_signing_keys),
            (user_signing, &mut response.user_signing_keys),
        ] {
            if let Some(key) = key {
                of_users.insert(user.clone(), to_raw(&key)?);
            }
        }
    }
    Ok(response)
}

async fn claim_keys(
    context: MatrixContext,
    session: CallerSession,
    request: claim::Request,
) -> Result<claim::Response, MatrixError> {
    let mut claims = Vec::new();
    for (user, devices) in &request.one_time_keys {
        let Some(localpart) = id::user_localpart(user.as_str(), context.service.server_name()) else { continue };
        for (device, algorithm) in devices {
            limits::optional_name("device_id", device.as_str())?;
            limits::optional_name("algorithm", algorithm.as_ref())?;
            claims.push(KeyClaim {
                localpart: localpart.to_owned(),
                device_id: device.to_string(),
                algorithm: algorithm.to_string(),
            });
        }
    }
    if claims.len() > MAX_CLAIMED {
        let message = format!("At most {MAX_CLAIMED} keys can be claimed at once.");
        return Err(MatrixError::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", message));
    }
    let mut keys = BTreeMap::<_, claim::OneTimeKeys>::new();
    for key in context.service.claim_keys(&session, &claims).await? {
        let owner = user_id(id::user_id(&key.localpart, context.service.server_name()))?;
        let name = format!("{}:{}", key.algorithm, key.key_id);
        let name = OneTimeKeyId::parse(&name).map_err(|error| MatrixError::damaged("key id", error))?;
        keys.entry(owner).or_default().entry(key.device_id.into()).or_default().insert(name, to_raw(&key.key)?);
    }
    Ok(claim::Response::new(keys))
}

async fn list_changes(
    context: MatrixContext,
    session: CallerSession,
    request: changes::Request,
) -> Result<changes::Response, MatrixError> {
    let from = limits::sync_token(&request.from)?.at;
    // Later changes are told as well, as they have to be looked at in any case; but nothing older than the token.
    let to = limits::sync_token(&request.to)?.at;
    let found = context.read_at(Some(from.max(to)), move |view| view.device_list_changes(&session.localpart, from));
    let lists = render_device_lists(found.await?)?;
    Ok(changes::Response::new(lists.changed, lists.left))
}
