//! Endpoints for profiles: display name, avatar, and other fields.

use super::account::check_own_account;
use super::admission::AnyReader;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::raw_request::RawRequest;
use crate::service::{CallerSession, ReadConsistency, RefusalCode, RequestRefusal, limits};
use axum::http::StatusCode;
use bytes::Bytes;
use quorate_core::proto::log::SetProfile;
use quorate_core::query::UserAccount;
use ruma::api::client::profile::{delete_profile_field, get_profile, get_profile_field, set_profile_field};
use ruma::profile::ProfileFieldValue;
use ruma::{OwnedMxcUri, UserId};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

const DISPLAY_NAME: &str = "displayname";
const AVATAR_URL: &str = "avatar_url";
/// Field that is a string like the two above, but repeated in no member event.
const TIME_ZONE: &str = "m.tz";

pub(super) fn profile_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .admitting(
            "profile_get",
            AnyReader,
            |context: MatrixContext, consistency, request: get_profile::v3::Request| async move {
                let fields = find_profile(&context, consistency, &request.user_id).await?;
                Ok(fields.into_iter().collect())
            },
        )
        .admitting("profile_field_get", AnyReader, get_field)
        .with_session("profile_field_set", set_field)
        .with_session("profile_field_delete", delete_field)
}

fn profile_fields(account: &UserAccount, others: Vec<(String, Bytes)>) -> Vec<ProfileFieldValue> {
    let name = Some(&account.display_name).filter(|name| !name.is_empty());
    let avatar = Some(&account.avatar_url).filter(|url| !url.is_empty());
    let others = others.into_iter().filter_map(|(name, value)| {
        // Values were checked before they were stored.
        serde_json::from_slice(&value).and_then(|value| ProfileFieldValue::new(&name, value)).ok()
    });
    name.map(|name| ProfileFieldValue::DisplayName(name.clone()))
        .into_iter()
        .chain(avatar.map(|url| ProfileFieldValue::AvatarUrl(OwnedMxcUri::from(url.as_str()))))
        .chain(others)
        .collect()
}

async fn find_profile(
    context: &MatrixContext,
    consistency: ReadConsistency,
    user: &UserId,
) -> Result<Vec<ProfileFieldValue>, MatrixError> {
    let missing = || MatrixError::not_found(format!("There is no user {user}."));
    // Users of other servers have no profile here, like those who do not exist.
    let localpart = context.service.parse_user(user.as_str()).map_err(|_| missing())?;
    let profile = context.read_with(consistency, move |view| match view.account(&localpart)? {
        Some(account) => Ok(Some((account, view.profile_fields(&localpart)?))),
        None => Ok(None),
    });
    let profile = profile.await?;
    let (account, others) = profile.ok_or_else(missing)?;
    Ok(profile_fields(&account, others))
}

async fn get_field(
    context: MatrixContext,
    consistency: ReadConsistency,
    request: get_profile_field::v3::Request,
) -> Result<get_profile_field::v3::Response, MatrixError> {
    let fields = find_profile(&context, consistency, &request.user_id).await?;
    let value = fields.into_iter().find(|value| value.field_name() == request.field);
    let value = value.ok_or_else(|| MatrixError::not_found(format!("The user has set no {}.", request.field)))?;
    Ok(get_profile_field::v3::Response::new(value))
}

async fn set_field(
    context: MatrixContext,
    session: CallerSession,
    request: RawRequest<set_profile_field::v3::Request>,
) -> Result<set_profile_field::v3::Response, MatrixError> {
    let Some([user_id, field]) = request.arguments() else { return Err(MatrixError::unrecognized()) };
    check_own(&session, user_id)?;
    check_field_name(field)?;
    let body: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&request.body)
        .map_err(|error| MatrixError::bad_json(format!("The body must be a JSON object: {error}.")))?;
    let Some(value) = body.get(field).map(|value| value.get()) else {
        let message = format!("The body must contain the field {field}.");
        return Err(MatrixError::new(StatusCode::BAD_REQUEST, "M_MISSING_PARAM", message));
    };
    match field {
        DISPLAY_NAME | AVATAR_URL => change_text(&context, &session, field, text_value(field, value)?).await?,
        _ => {
            if value == "null" {
                return Err(MatrixError::invalid_param("A field cannot be null: delete it instead."));
            }
            if field == TIME_ZONE {
                text_value(field, value)?;
            }
            let value = Bytes::copy_from_slice(value.as_bytes());
            let set = context.service.set_profile_field(&session, field, Some(value));
            set.await.map_err(refused_field)?;
        }
    }
    Ok(set_profile_field::v3::Response::new())
}

async fn delete_field(
    context: MatrixContext,
    session: CallerSession,
    request: delete_profile_field::v3::Request,
) -> Result<delete_profile_field::v3::Response, MatrixError> {
    check_own_account(&session, &request.user_id)?;
    let field = request.field.as_str();
    check_field_name(field)?;
    match field {
        DISPLAY_NAME | AVATAR_URL => change_text(&context, &session, field, String::new()).await?,
        _ => context.service.set_profile_field(&session, field, None).await?,
    }
    Ok(delete_profile_field::v3::Response::new())
}

fn check_own(session: &CallerSession, user_id: &str) -> Result<(), MatrixError> {
    let user = <&UserId>::try_from(user_id)
        .map_err(|error| MatrixError::invalid_param(format!("{user_id} is not a user id: {error}.")))?;
    check_own_account(session, user)
}

fn check_field_name(field: &str) -> Result<(), MatrixError> {
    if field.len() <= limits::MAX_NAME {
        return Ok(());
    }
    let message = format!("The name of a field has at most {} bytes.", limits::MAX_NAME);
    Err(MatrixError::new(StatusCode::BAD_REQUEST, "M_KEY_TOO_LARGE", message))
}

fn text_value(field: &str, value: &str) -> Result<String, MatrixError> {
    serde_json::from_str(value).map_err(|_| MatrixError::bad_json(format!("The field {field} must be a string.")))
}

/// Changes the display name or the avatar; an empty text removes it.
async fn change_text(
    context: &MatrixContext,
    session: &CallerSession,
    field: &str,
    text: String,
) -> Result<(), MatrixError> {
    // In parts: a user may be in thousands of rooms, and one command must not renew all of their member events.
    let change = match field {
        DISPLAY_NAME => SetProfile { display_name: Some(text), avatar_url: None, in_parts: true },
        _ => SetProfile { display_name: None, avatar_url: Some(text), in_parts: true },
    };
    Ok(context.service.set_profile(session, change).await?)
}

/// Returns the error for a field that was refused: a profile that is too large has a code of its own.
fn refused_field(refusal: RequestRefusal) -> MatrixError {
    if refusal.code == RefusalCode::TooLarge {
        return MatrixError::new(StatusCode::BAD_REQUEST, "M_PROFILE_TOO_LARGE", refusal.message);
    }
    refusal.into()
}
