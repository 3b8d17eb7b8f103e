//! Endpoints for logging in and out.

use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use crate::service::{CallerSession, LoggedIn, NewLogin};
use ruma::api::client::account::whoami;
use ruma::api::client::session::{get_login_types, login, logout, logout_all};
use ruma::api::client::uiaa::UserIdentifier;
use serde::Deserialize;
use serde::de::IgnoredAny;

pub(super) fn session_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .open("login_types", |_context, _request: get_login_types::v3::Request| async {
            let password = get_login_types::v3::LoginType::Password(Default::default());
            Ok(get_login_types::v3::Response::new(vec![password]))
        })
        .open_checked("login", names_its_type, log_in)
        .with_session(
            "logout",
            |context: MatrixContext, session: CallerSession, _request: logout::v3::Request| async move {
                context.service.logout(&session, false).await?;
                Ok(logout::v3::Response::new())
            },
        )
        .with_session(
            "logout_all",
            |context: MatrixContext, session: CallerSession, _request: logout_all::v3::Request| async move {
                context.service.logout(&session, true).await?;
                Ok(logout_all::v3::Response::new())
            },
        )
        .with_session("whoami", who_am_i)
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
    let login::v3::LoginInfo::Password(password) = request.login_info else {
        return Err(MatrixError::forbidden("This server supports only logins of type m.login.password."));
    };
    #[allow(deprecated)] // Old clients send `user` beside or instead of `identifier`.
    let username = match (password.identifier, password.user) {
        (Some(UserIdentifier::Matrix(matrix)), _) => matrix.user,
        (None, Some(user)) => user,
        _ => return Err(MatrixError::bad_json("Identify the account with an identifier of type m.id.user.")),
    };
    let new_login = NewLogin {
        username,
        password: password.password,
        device_id: request.device_id.map(String::from).unwrap_or_default(),
        device_display_name: request.initial_device_display_name.unwrap_or_default(),
    };
    let logged_in = context.service.login(new_login, context.caller).await?;
    let LoggedIn { user_id, device_id, access_token, expires_in: _ } = logged_in;
    // No `expires_in`: the spec ties it to refresh tokens, and a session that is extended by use needs none.
    Ok(login::v3::Response::new(super::account::user_id(user_id)?, access_token, device_id.into()))
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
