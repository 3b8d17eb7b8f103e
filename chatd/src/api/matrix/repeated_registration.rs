//! Registrations that a client repeats because the answer was lost. The session of user-interactive authentication tells
//! that it is the same registration: the account is not registered again, and nobody is told that its name is taken.
//!
//! Access tokens are kept as hashes alone, so the answer cannot have the first one again. It has a new token of the same
//! device, as if the client had logged in.

use super::account::{render_registration, user_id};
use super::context::MatrixContext;
use super::error::MatrixError;
use crate::service::{NewLogin, ReadConsistency, RegistrationDialogue};
use quorate_core::id;
use ruma::OwnedDeviceId;
use ruma::api::client::account::register::v3 as register;
use ruma::api::client::uiaa::AuthData;

/// Name of the operation of user-interactive authentication.
pub(super) const REGISTER: &str = "POST register";

/// Returns the dialogue that a request continues, if its session is valid.
pub(super) async fn dialogue_of(
    context: &MatrixContext,
    request: &register::Request,
) -> Result<Option<RegistrationDialogue>, MatrixError> {
    match request.auth.as_ref().and_then(AuthData::session) {
        Some(session) => Ok(context.service.registration_dialogue(session, REGISTER).await?),
        None => Ok(None),
    }
}

/// Returns the device that a request names, or the one that its dialogue does; empty if there is neither.
pub(super) fn device_of(named: Option<OwnedDeviceId>, dialogue: Option<&RegistrationDialogue>) -> String {
    match (named, dialogue) {
        (Some(named), _) => named.into(),
        (None, Some(dialogue)) => dialogue.device_id(),
        (None, None) => String::new(),
    }
}

/// Answers a request again whose dialogue has registered an account; `None` if it has not. Whoever repeats it gives the
/// same password as well.
pub(super) async fn answer_again(
    context: &MatrixContext,
    dialogue: RegistrationDialogue,
    request: &register::Request,
    consistency: ReadConsistency,
) -> Result<Option<register::Response>, MatrixError> {
    let Some(localpart) = context.service.registered_in(dialogue, consistency).await? else { return Ok(None) };
    let named = request.username.as_deref().map(|name| context.service.parse_typed_user(name));
    if named.is_some_and(|named| named.ok().as_ref() != Some(&localpart)) {
        let message = "This session has registered another account: begin without a session.";
        return Err(MatrixError::forbidden(message));
    }
    if request.inhibit_login {
        let user = user_id(id::user_id(&localpart, context.service.server_name()))?;
        return Ok(Some(register::Response::new(user)));
    }
    let password = request.password.clone();
    let login = NewLogin {
        username: localpart,
        password: password.ok_or_else(|| MatrixError::bad_json("A password is required to register an account."))?,
        device_id: device_of(request.device_id.clone(), Some(&dialogue)),
        device_display_name: request.initial_device_display_name.clone().unwrap_or_default(),
        wants_refresh: request.refresh_token,
        registration_token: String::new(),
        dialogue: None,
    };
    render_registration(context.service.login(login, context.caller).await?).map(Some)
}
