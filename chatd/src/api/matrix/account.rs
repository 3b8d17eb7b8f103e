//! Endpoints for accounts, filters and account data.

use super::admission::{AnyReader, Anyone};
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::interactive::{InteractiveFlow, complete_stages};
use super::push_rules::default_content;
use super::raw_request::raw_json;
use super::repeated_registration::{REGISTER, answer_again, device_of, dialogue_of};
use super::with_body::WithBody;
use crate::push::PUSH_RULES;
use crate::service::{
    AccountPolicy, AuthStage, CallerSession, GivenToken, LoggedIn, NewLogin, ReadConsistency, RefusalCode,
    RegistrationApproval, RegistrationDialogue, TermsOfService,
};
use crate::trace::CallError as _;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use quorate_core::query::QueryError;
use quorate_wire::whole_millis;
use ruma::api::client::account::check_registration_token_validity::v1 as token_validity;
use ruma::api::client::account::get_username_availability::v3 as available;
use ruma::api::client::account::register::{self, RegistrationKind};
use ruma::api::client::config::{
    get_global_account_data, get_room_account_data, set_global_account_data, set_room_account_data,
};
use ruma::api::client::filter::{create_filter, get_filter};
use ruma::api::client::uiaa::AuthData;
use ruma::serde::Raw;
use ruma::{OwnedDeviceId, OwnedUserId};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(super) fn account_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .answering("register", Anyone, sign_up)
        .admitting("registration_token_validity", AnyReader, check_token)
        .admitting(
            "register_available",
            AnyReader,
            |context: MatrixContext, _, request: available::Request| async move {
                context.service.user_available(&request.username).await?;
                Ok(available::Response::new(true))
            },
        )
        .with_session("filter_create", put_filter)
        .with_session("filter_get", read_filter)
        .with_session("account_data_set", set_global)
        .with_session("account_data_get", get_global)
        .with_session("room_account_data_set", set_in_room)
        .with_session("room_account_data_get", get_in_room)
}

/// Converts a user id that core made to ruma's type.
pub(super) fn user_id(user: String) -> Result<OwnedUserId, MatrixError> {
    OwnedUserId::try_from(user.as_str())
        .map_err(|error| MatrixError::invalid_param(format!("{user} is not a user id: {error}.")))
}

/// Checks that the user is the caller: only one's own account can be asked about.
pub(super) fn check_own_account(session: &CallerSession, user: &ruma::UserId) -> Result<(), MatrixError> {
    if user.as_str() == session.user_id {
        return Ok(());
    }
    Err(MatrixError::forbidden("This belongs to another user; you can read and change only your own."))
}

async fn sign_up(context: MatrixContext, (): (), request: register::v3::Request) -> Result<Response, MatrixError> {
    if request.kind == RegistrationKind::Guest {
        let message = "This server does not support guests: register an account.";
        return Err(MatrixError::new(StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN", message));
    }
    // Before the stages, which would be in vain.
    context.service.check_registration(RegistrationApproval::Stages)?;
    // Stages, and telling whether a name is free, are reads without a session.
    context.service.admit_stranger(context.caller)?;
    let registered = match dialogue_of(&context, &request).await? {
        None => sign_up_once(&context, None, request).await?,
        Some(dialogue) => sign_up_in(&context, dialogue, request).await?,
    };
    Ok(registration_answer(registered))
}

/// Registers an account in a dialogue, unless it has registered one already.
async fn sign_up_in(
    context: &MatrixContext,
    dialogue: RegistrationDialogue,
    request: register::v3::Request,
) -> Result<register::v3::Response, MatrixError> {
    if let Some(answer) = answer_again(context, dialogue, &request, ReadConsistency::Local).await? {
        return Ok(answer);
    }
    let outcome = sign_up_once(context, Some(dialogue), request.clone()).await;
    let is_taken = matches!(&outcome, Err(refused) if refused.label() == RefusalCode::UserExists.label());
    if is_taken {
        // Perhaps by an attempt of this client that another pod has answered meanwhile.
        if let Some(answer) = answer_again(context, dialogue, &request, ReadConsistency::Linearizable).await? {
            return Ok(answer);
        }
    }
    outcome
}

/// Registers an account once all stages are completed.
async fn sign_up_once(
    context: &MatrixContext,
    dialogue: Option<RegistrationDialogue>,
    request: register::v3::Request,
) -> Result<register::v3::Response, MatrixError> {
    // The server chooses if the client does not (specification, "Registration"); 64 random bits are not taken.
    let chosen = || match &dialogue {
        Some(dialogue) => dialogue.username(),
        None => format!("user-{:016x}", rand::random::<u64>()),
    };
    let username = request.username.unwrap_or_else(chosen);
    if !matches!(request.auth, Some(AuthData::Dummy(_))) {
        // A name that is taken is refused before people go through the stages.
        context.service.user_available(&username).await?;
    }
    let stages = registration_stages(context.service.account_policy());
    let flow = InteractiveFlow {
        operation: REGISTER,
        stages: &stages,
        params: registration_params(context.service.account_policy()),
    };
    let registration_token = complete_stages(context, &flow, request.auth).await?;
    let password =
        request.password.ok_or_else(|| MatrixError::bad_json("A password is required to register an account."))?;
    let login = NewLogin {
        username,
        password,
        device_id: device_of(request.device_id, dialogue.as_ref()),
        device_display_name: request.initial_device_display_name.unwrap_or_default(),
        wants_refresh: request.refresh_token,
        registration_token,
        dialogue,
    };
    register_account(context, login, RegistrationApproval::Stages, request.inhibit_login).await
}

/// Registers an account, and logs in to it unless the client does not want that.
pub(super) async fn register_account(
    context: &MatrixContext,
    login: NewLogin,
    approval: RegistrationApproval,
    inhibit_login: bool,
) -> Result<register::v3::Response, MatrixError> {
    if inhibit_login {
        let user = context.service.register_only(login, context.caller, approval).await?;
        return Ok(register::v3::Response::new(user_id(user)?));
    }
    render_registration(context.service.register(login, context.caller, approval).await?)
}

/// Renders the answer to a registration with its first session.
pub(super) fn render_registration(logged_in: LoggedIn) -> Result<register::v3::Response, MatrixError> {
    let LoggedIn { user_id: user, device_id, access_token, refresh_token, expires_in } = logged_in;
    let mut response = register::v3::Response::new(user_id(user)?);
    response.access_token = Some(access_token);
    response.device_id = Some(device_id.into());
    // The specification ties the lifetime to refresh tokens: a session that is extended by use needs none.
    response.expires_in = expires_in.filter(|_| refresh_token.is_some());
    response.refresh_token = refresh_token;
    Ok(response)
}

/// Renders the answer to a registration. Ruma's own rendering has a `device_id` of null where there is no session.
pub(super) fn registration_answer(registered: register::v3::Response) -> Response {
    #[derive(Serialize)]
    struct Shown {
        user_id: OwnedUserId,
        #[serde(skip_serializing_if = "Option::is_none")]
        access_token: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        device_id: Option<OwnedDeviceId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        refresh_token: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in_ms: Option<u64>,
    }
    let register::v3::Response { user_id, access_token, device_id, refresh_token, expires_in, .. } = registered;
    let expires_in_ms = expires_in.map(whole_millis);
    Json(Shown { user_id, access_token, device_id, refresh_token, expires_in_ms }).into_response()
}

/// Returns the stages of a registration.
fn registration_stages(policy: &AccountPolicy) -> Vec<AuthStage> {
    let token = policy.registration_by_token.then_some(AuthStage::RegistrationToken);
    let terms = policy.terms.is_some().then_some(AuthStage::Terms);
    let stages: Vec<_> = token.into_iter().chain(terms).collect();
    // A flow has at least one stage: this one asks for nothing.
    if stages.is_empty() { vec![AuthStage::Dummy] } else { stages }
}

fn registration_params(policy: &AccountPolicy) -> Value {
    match &policy.terms {
        None => json!({}),
        Some(TermsOfService { url, version }) => {
            let document = json!({"version": version, "en": {"name": "Terms of service", "url": url}});
            json!({"m.login.terms": {"policies": {"terms_of_service": document}}})
        }
    }
}

async fn check_token(
    context: MatrixContext,
    _consistency: ReadConsistency,
    request: token_validity::Request,
) -> Result<token_validity::Response, MatrixError> {
    context.service.check_registration(RegistrationApproval::Stages)?;
    let given = context.service.given_token(&request.token).await?;
    Ok(token_validity::Response::new(given != GivenToken::Unknown))
}

async fn put_filter(
    context: MatrixContext,
    session: CallerSession,
    call: WithBody<create_filter::v3::Request>,
) -> Result<create_filter::v3::Response, MatrixError> {
    check_own_account(&session, &call.request.user_id)?;
    // As it came: ruma's type, which has accepted it, knows only some of its fields.
    let number = context.service.put_filter(&session, call.body).await?;
    Ok(create_filter::v3::Response::new(number.to_string()))
}

async fn read_filter(
    context: MatrixContext,
    session: CallerSession,
    request: get_filter::v3::Request,
) -> Result<get_filter::v3::Response, MatrixError> {
    check_own_account(&session, &request.user_id)?;
    let stored = stored_filter(&context, &session, &request.filter_id).await?;
    let filter = serde_json::from_slice(&stored).map_err(|error| MatrixError::damaged("filter", error))?;
    Ok(get_filter::v3::Response::new(filter))
}

/// Returns the JSON of a filter that this user stored earlier.
pub(super) async fn stored_filter(
    context: &MatrixContext,
    session: &CallerSession,
    filter_id: &str,
) -> Result<Bytes, MatrixError> {
    let missing = || MatrixError::not_found(format!("There is no filter {filter_id}: upload it again."));
    let number: u64 = filter_id.parse().map_err(|_| missing())?;
    // The filter of a number never changes: only one that is not here yet has to be waited for.
    for consistency in [ReadConsistency::Local, ReadConsistency::Linearizable] {
        let localpart = session.localpart.clone();
        let filter = context.read_with(consistency, move |view| view.filter(&localpart, number)).await?;
        if let Some(filter) = filter {
            return Ok(filter);
        }
    }
    Err(missing())
}

async fn set_global(
    context: MatrixContext,
    session: CallerSession,
    request: set_global_account_data::v3::Request,
) -> Result<set_global_account_data::v3::Response, MatrixError> {
    check_own_account(&session, &request.user_id)?;
    let event_type = request.event_type.to_string();
    super::tags::check_settable(&event_type)?;
    context.service.put_account_data(&session, "", &event_type, raw_json(&request.data)).await?;
    Ok(set_global_account_data::v3::Response::new())
}

async fn set_in_room(
    context: MatrixContext,
    session: CallerSession,
    request: set_room_account_data::v3::Request,
) -> Result<set_room_account_data::v3::Response, MatrixError> {
    check_own_account(&session, &request.user_id)?;
    let event_type = request.event_type.to_string();
    super::tags::check_settable(&event_type)?;
    context.service.put_account_data(&session, request.room_id.as_str(), &event_type, raw_json(&request.data)).await?;
    Ok(set_room_account_data::v3::Response::new())
}

async fn get_global(
    context: MatrixContext,
    session: CallerSession,
    request: get_global_account_data::v3::Request,
) -> Result<get_global_account_data::v3::Response, MatrixError> {
    check_own_account(&session, &request.user_id)?;
    let event_type = request.event_type.to_string();
    let content = match account_data(&context, &session, None, &event_type).await? {
        None if event_type == PUSH_RULES => default_content(&session)?,
        content => content.ok_or_else(|| no_account_data(&event_type))?,
    };
    let content = stored_json(&content)?;
    Ok(get_global_account_data::v3::Response::new(Raw::from_json(content)))
}

async fn get_in_room(
    context: MatrixContext,
    session: CallerSession,
    request: get_room_account_data::v3::Request,
) -> Result<get_room_account_data::v3::Response, MatrixError> {
    check_own_account(&session, &request.user_id)?;
    let room = Some(request.room_id.to_string());
    let event_type = request.event_type.to_string();
    let content = account_data(&context, &session, room, &event_type).await?;
    let content = stored_json(&content.ok_or_else(|| no_account_data(&event_type))?)?;
    Ok(get_room_account_data::v3::Response::new(Raw::from_json(content)))
}

async fn account_data(
    context: &MatrixContext,
    session: &CallerSession,
    room: Option<String>,
    event_type: &str,
) -> Result<Option<Bytes>, MatrixError> {
    let localpart = session.localpart.clone();
    let wanted = event_type.to_owned();
    context
        .read(move |view| {
            let room = match room.map(|room| view.resolve_room(&room)).transpose() {
                // As in a room that exists: no account data of one's own.
                Err(QueryError::RoomNotFound) => return Ok(None),
                found => found?,
            };
            view.account_data(&localpart, room, &wanted)
        })
        .await
}

fn no_account_data(event_type: &str) -> MatrixError {
    MatrixError::not_found(format!("No account data of type {event_type} was set."))
}

fn stored_json(content: &Bytes) -> Result<Box<RawValue>, MatrixError> {
    serde_json::from_slice(content).map_err(|error| MatrixError::damaged("piece of account data", error))
}
