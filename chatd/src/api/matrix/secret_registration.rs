//! Registration with a shared secret, at the path and in the form that tools for Synapse use
//! (<https://element-hq.github.io/synapse/latest/admin_api/register_api.html>).

use super::account::{register_account, registration_answer};
use super::admission::Anyone;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::own_request::{OwnEndpoint, OwnRequest};
use crate::service::{NewLogin, SecretRegistration};
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use ruma::api::error::DeserializationError;
use serde::Deserialize;
use serde_json::json;

const PATH: &str = "/_synapse/admin/v1/register";

pub(super) fn secret_registration_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes.answering("secret_nonce", Anyone, give_nonce).answering("secret_register", Anyone, register_with_secret)
}

/// Request for a nonce.
struct NonceRequest;

impl OwnEndpoint for NonceRequest {
    const METHOD: http::Method = http::Method::GET;
    const PATH: &'static str = PATH;

    fn read(_: &http::Request<&[u8]>, _: &[&str]) -> Result<Self, DeserializationError> {
        Ok(Self)
    }
}

/// Account to register.
#[derive(Deserialize)]
struct SecretRegisterRequest {
    nonce: String,
    username: String,
    password: String,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    user_type: Option<String>,
    mac: String,
    #[serde(default)]
    inhibit_login: bool,
}

impl OwnEndpoint for SecretRegisterRequest {
    const METHOD: http::Method = http::Method::POST;
    const PATH: &'static str = PATH;

    fn read(request: &http::Request<&[u8]>, _: &[&str]) -> Result<Self, DeserializationError> {
        Ok(serde_json::from_slice(request.body())?)
    }
}

async fn give_nonce(
    context: MatrixContext,
    (): (),
    _request: OwnRequest<NonceRequest>,
) -> Result<Response, MatrixError> {
    context.service.admit_stranger(context.caller)?;
    let nonce = context.service.registration_nonce().await?;
    Ok(Json(json!({"nonce": nonce})).into_response())
}

async fn register_with_secret(
    context: MatrixContext,
    (): (),
    OwnRequest(request): OwnRequest<SecretRegisterRequest>,
) -> Result<Response, MatrixError> {
    context.service.admit_stranger(context.caller)?;
    let SecretRegisterRequest { nonce, username, password, admin, user_type, mac, inhibit_login } = request;
    let registration = SecretRegistration {
        nonce: &nonce,
        username: &username,
        password: &password,
        administrator: admin,
        user_type: user_type.as_deref(),
        mac: &mac,
    };
    let approval = context.service.check_secret_registration(&registration).await?;
    let login = NewLogin {
        username,
        password,
        device_id: String::new(),
        device_display_name: String::new(),
        wants_refresh: false,
        registration_token: String::new(),
        dialogue: None,
    };
    register_account(&context, login, approval, inhibit_login).await.map(registration_answer)
}
