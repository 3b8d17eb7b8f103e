//! Endpoints for logging in and out.

use super::admission::EvenLocked;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::interactive::authenticate_afresh;
use super::with_identifier::WithIdentifier;
use crate::service::{CallerSession, LOGIN_TOKEN_LIFETIME, LoggedIn, NewLogin};
use axum::http::StatusCode;
use ruma::api::client::account::whoami;
use ruma::api::client::session::{get_login_token, get_login_types, login, logout, logout_all};
use ruma::api::client::uiaa::UserIdentifier;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Type of logins with a JSON Web Token, as Synapse names it.
const JWT: &str = "org.matrix.login.jwt";

pub(super) fn session_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .open("login_types", show_login_types)
        .open_checked("login", names_its_type, log_in)
        .admitting(
            "logout",
            EvenLocked,
            |context: MatrixContext, session: CallerSession, _request: logout::v3::Request| async move {
                context.service.logout(&session, false).await?;
                Ok(logout::v3::Response::new())
            },
        )
        .admitting(
            "logout_all",
            EvenLocked,
            |context: MatrixContext, session: CallerSession, _request: logout_all::v3::Request| async move {
                context.service.logout(&session, true).await?;
                Ok(logout_all::v3::Response::new())
            },
        )
        .with_session("whoami", who_am_i)
        .with_session("login_token", give_login_token)
}

/// Checks that a login has a `type`: ruma's type for a login panics without one.
fn names_its_type(body: &[u8]) -> Result<(), MatrixError> {
    #[derive(Deserialize)]
    struct Login {
        #[serde(rename = "type")]
        _login_type: IgnoredAny,
    }
    let named = serde_json::from_slice::<Login>(body).map(drop);
    named.map_err(|error| MatrixError::bad_json(format!("The body is not valid for this endpoint: {error}.")))
}

async fn log_in(context: MatrixContext, request: login::v3::Request) -> Result<login::v3::Response, MatrixError> {
    let mut new_login = NewLogin {
        username: String::new(),
        password: String::new(),
        device_id: request.device_id.map(String::from).unwrap_or_default(),
        device_display_name: request.initial_device_display_name.unwrap_or_default(),
        wants_refresh: request.refresh_token,
        registration_token: String::new(),
        dialogue: None,
    };
    let service = &context.service;
    let logged_in = match request.login_info {
        login::v3::LoginInfo::Password(given) => {
            #[allow(deprecated)] // Old clients send it.
            let user = given.user;
            new_login.username = named_account(given.identifier, user)?;
            new_login.password = given.password;
            service.login(new_login, context.caller).await?
        }
        login::v3::LoginInfo::Token(given) => service.login_with_token(&given.token, new_login, context.caller).await?,
        other if other.login_type() == JWT && service.account_policy().jwt.is_some() => {
            let data = other.data();
            let jwt = data.get("token").and_then(|token| token.as_str());
            let jwt = jwt.ok_or_else(|| MatrixError::bad_json("Send the JSON Web Token as `token`."))?;
            service.login_with_jwt(jwt, new_login, context.caller).await?
        }
        _ => {
            // As the specification has it for `/login`.
            let message = "This server does not support this type of login.";
            return Err(MatrixError::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", message));
        }
    };
    let LoggedIn { user_id, device_id, access_token, refresh_token, expires_in } = logged_in;
    let mut response = login::v3::Response::new(super::account::user_id(user_id)?, access_token, device_id.into());
    // The specification ties the lifetime to refresh tokens: a session that is extended by use needs none.
    response.expires_in = expires_in.filter(|_| refresh_token.is_some());
    response.refresh_token = refresh_token;
    let homeserver = context.service.account_policy().base_url.clone().map(login::v3::HomeserverInfo::new);
    response.well_known = homeserver.map(login::v3::DiscoveryInfo::new);
    Ok(response)
}

/// Returns the account that a login names. Old clients send `user` beside or instead of `identifier`.
fn named_account(identifier: Option<UserIdentifier>, user: Option<String>) -> Result<String, MatrixError> {
    match (identifier, user) {
        (Some(UserIdentifier::Matrix(matrix)), _) => Ok(matrix.user),
        (None, Some(user)) => Ok(user),
        _ => Err(MatrixError::bad_json("Identify the account with an identifier of type m.id.user.")),
    }
}

async fn show_login_types(
    context: MatrixContext,
    _request: get_login_types::v3::Request,
) -> Result<get_login_types::v3::Response, MatrixError> {
    let mut token = get_login_types::v3::TokenLoginType::new();
    token.get_login_token = true;
    let password = get_login_types::v3::LoginType::Password(Default::default());
    let mut flows = vec![password, get_login_types::v3::LoginType::Token(token)];
    if context.service.account_policy().jwt.is_some() {
        let jwt = get_login_types::v3::LoginType::new(JWT, Default::default());
        flows.push(jwt.map_err(|error| MatrixError::bad_json(format!("The type cannot be shown: {error}.")))?);
    }
    Ok(get_login_types::v3::Response::new(flows))
}

async fn give_login_token(
    context: MatrixContext,
    session: CallerSession,
    WithIdentifier(request): WithIdentifier<get_login_token::v1::Request>,
) -> Result<get_login_token::v1::Response, MatrixError> {
    authenticate_afresh(&context, &session, "POST login/get_token", request.auth).await?;
    let token = context.service.issue_login_token(&session).await?;
    Ok(get_login_token::v1::Response::new(LOGIN_TOKEN_LIFETIME, token))
}

async fn who_am_i(
    _context: MatrixContext,
    session: CallerSession,
    _request: whoami::v3::Request,
) -> Result<whoami::v3::Response, MatrixError> {
    // Never a guest: this server has none.
    let mut response = whoami::v3::Response::new(super::account::user_id(session.user_id)?, false);
    response.device_id = Some(session.device_id.into());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_without_a_type_is_refused_before_ruma_reads_it() {
        for bad in ["{}", r#"{"user":"alice","password":"x"}"#, "0", "[]"] {
            assert!(names_its_type(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(names_its_type(br#"{"type":"m.login.password","password":"x"}"#).is_ok());
    }
}
