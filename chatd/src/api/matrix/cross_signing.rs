//! Endpoints for cross-signing: keys of users, and signatures.

use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::interactive::authenticate_afresh;
use super::raw_request::raw_json;
use super::with_identifier::WithIdentifier;
use crate::service::{CallerSession, SignatureFault, SignatureOffer, SigningKeys, judge_signatures, limits};
use axum::http::StatusCode;
use bytes::Bytes;
use quorate_core::id;
use quorate_core::proto::log::{PutSigningKeys, SignatureInput};
use ruma::OwnedUserId;
use ruma::api::client::keys::upload_signatures::v3 as signatures;
use ruma::api::client::keys::upload_signing_keys::v3 as signing;
use serde_json::json;
use std::collections::BTreeMap;

/// Maximum number of signatures of one request: each is verified, which takes tens of microseconds.
const MAX_SIGNATURES: usize = 512;

/// Name of the upload of keys, which the caller confirms with the password.
const UPLOAD: &str = "POST keys/device_signing/upload";

pub(super) fn cross_signing_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("device_signing_upload", upload_signing_keys)
        .with_session("signatures_upload", upload_signatures)
}

async fn upload_signing_keys(
    context: MatrixContext,
    session: CallerSession,
    WithIdentifier(request): WithIdentifier<signing::Request>,
) -> Result<signing::Response, MatrixError> {
    let keys = SigningKeys {
        master: request.master_key.as_ref().map(raw_json),
        self_signing: request.self_signing_key.as_ref().map(raw_json),
        user_signing: request.user_signing_key.as_ref().map(raw_json),
    };
    for key in [&keys.master, &keys.self_signing, &keys.user_signing].into_iter().flatten() {
        // Before anything parses it on a thread of the runtime.
        limits::check_json_object("a cross-signing key", key)?;
    }
    let localpart = session.localpart.clone();
    let known = context.read(move |view| SigningKeys::of_account(view, &localpart)).await?;
    if !keys.differ_from(&known) {
        return Ok(signing::Response::new());
    }
    // The first keys need no password (MSC3967): there is nothing yet that a stolen token could replace.
    let authenticated = known.master.is_some();
    if authenticated {
        authenticate_afresh(&context, &session, UPLOAD, request.auth).await?;
    }
    let Some(master) = keys.master.as_ref().or(known.master.as_ref()) else {
        let message = "There is no master key: upload one first.";
        return Err(MatrixError::new(StatusCode::BAD_REQUEST, "M_MISSING_PARAM", message));
    };
    if !keys.are_signed_by(master, &session.user_id) {
        let message = "The keys must be signed by the master key.";
        return Err(MatrixError::new(StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE", message));
    }
    let put = PutSigningKeys {
        master: keys.master.unwrap_or_default(),
        self_signing: keys.self_signing.unwrap_or_default(),
        user_signing: keys.user_signing.unwrap_or_default(),
        authenticated,
    };
    context.service.put_signing_keys(&session, put).await?;
    Ok(signing::Response::new())
}

/// Signed key of a request, by user and by device or public key.
type SignedName = (OwnedUserId, String);

async fn upload_signatures(
    context: MatrixContext,
    session: CallerSession,
    request: signatures::Request,
) -> Result<signatures::Response, MatrixError> {
    let mut names = Vec::new();
    let mut offers = Vec::new();
    for (user, signed) in &request.signed_keys {
        for (target, key) in signed.iter() {
            let localpart = id::user_localpart(user.as_str(), context.service.server_name()).unwrap_or_default();
            let json = Bytes::copy_from_slice(key.get().as_bytes());
            offers.push(SignatureOffer { localpart: localpart.to_owned(), target: target.to_owned(), json });
            names.push((user.clone(), target.to_owned()));
        }
    }
    if offers.len() > MAX_SIGNATURES {
        let message = format!("At most {MAX_SIGNATURES} signatures can be uploaded at once.");
        return Err(MatrixError::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", message));
    }
    let caller = session.localpart.clone();
    let judged = context.read(move |view| {
        let judge = |offer: &SignatureOffer| {
            view.is_wanted()?;
            judge_signatures(view, &caller, offer)
        };
        offers.iter().map(judge).collect::<Result<Vec<_>, _>>()
    });
    let mut failures = Vec::new();
    let mut good = Vec::<(SignedName, SignatureInput)>::new();
    for (name, verdict) in names.into_iter().zip(judged.await?) {
        match verdict {
            Ok(inputs) => good.extend(inputs.into_iter().map(|input| (name.clone(), input))),
            Err(fault) => failures.push((name, fault)),
        }
    }
    let inputs: Vec<_> = good.iter().map(|(_, input)| input.clone()).collect();
    let outdated = context.service.put_signatures(&session, &inputs).await?;
    let outdated = outdated.into_iter().filter_map(|place| good.get(place));
    failures.extend(outdated.map(|(name, _)| (name.clone(), SignatureFault::OtherKey)));
    render_failures(failures)
}

fn render_failures(failures: Vec<(SignedName, SignatureFault)>) -> Result<signatures::Response, MatrixError> {
    let mut response = signatures::Response::new();
    let of_users: &mut BTreeMap<_, BTreeMap<_, _>> = &mut response.failures;
    for ((user, target), fault) in failures {
        let errcode = match fault {
            SignatureFault::UnknownKey => "M_NOT_FOUND",
            SignatureFault::OtherKey => "M_UNKNOWN",
            SignatureFault::Invalid => "M_INVALID_SIGNATURE",
        };
        // The type has no constructor.
        let failure = serde_json::from_value(json!({"errcode": errcode, "error": fault.message()}));
        let failure = failure.map_err(|error| MatrixError::bad_json(format!("A failure cannot be told: {error}.")))?;
        of_users.entry(user).or_default().insert(target, failure);
    }
    Ok(response)
}
