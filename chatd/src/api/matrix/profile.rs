//! Endpoints for profiles: display names and avatars.

use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use crate::service::{CallerSession, ReadConsistency};
use quorate_core::proto::log::SetProfile;
use quorate_core::query::UserAccount;
use ruma::api::client::profile::{get_profile, get_profile_field, set_profile_field};
use ruma::profile::{ProfileFieldName, ProfileFieldValue};
use ruma::{OwnedMxcUri, UserId};

pub(super) fn profile_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .open_read("profile_get", |context: MatrixContext, consistency, request: get_profile::v3::Request| async move {
            let account = find_account(&context, consistency, &request.user_id).await?;
            Ok(profile_fields(&account).collect())
        })
        .open_read("profile_field_get", get_field)
        .with_session("profile_field_set", set_field)
}

fn profile_fields(account: &UserAccount) -> impl Iterator<Item = ProfileFieldValue> {
    let name = Some(&account.display_name).filter(|name| !name.is_empty());
    let avatar = Some(&account.avatar_url).filter(|url| !url.is_empty());
    name.map(|name| ProfileFieldValue::DisplayName(name.clone()))
        .into_iter()
        .chain(avatar.map(|url| ProfileFieldValue::AvatarUrl(OwnedMxcUri::from(url.as_str()))))
}

async fn find_account(
    context: &MatrixContext,
    consistency: ReadConsistency,
    user: &UserId,
) -> Result<UserAccount, MatrixError> {
    let localpart = context.service.parse_user(user.as_str())?;
    let account = context.read_with(consistency, move |view| view.account(&localpart)).await?;
    account.ok_or_else(|| MatrixError::not_found(format!("There is no user {user}.")))
}

async fn get_field(
    context: MatrixContext,
    consistency: ReadConsistency,
    request: get_profile_field::v3::Request,
) -> Result<get_profile_field::v3::Response, MatrixError> {
    let account = find_account(&context, consistency, &request.user_id).await?;
    let value = profile_fields(&account).find(|value| value.field_name() == request.field);
    let value = value.ok_or_else(|| MatrixError::not_found(format!("The user has set no {}.", request.field)))?;
    Ok(get_profile_field::v3::Response::new(value))
}

async fn set_field(
    context: MatrixContext,
    session: CallerSession,
    request: set_profile_field::v3::Request,
) -> Result<set_profile_field::v3::Response, MatrixError> {
    super::account::check_own_account(&session, &request.user_id)?;
    // In parts: a user may be in thousands of rooms, and one command must not renew all of their member events.
    let change = match request.value {
        ProfileFieldValue::DisplayName(name) => {
            SetProfile { display_name: Some(name), avatar_url: None, in_parts: true }
        }
        ProfileFieldValue::AvatarUrl(url) => {
            SetProfile { display_name: None, avatar_url: Some(url.to_string()), in_parts: true }
        }
        other => {
            let name: ProfileFieldName = other.field_name();
            return Err(MatrixError::invalid_param(format!(
                "This server supports only displayname and avatar_url, not {name}."
            )));
        }
    };
    context.service.set_profile(&session, change).await?;
    Ok(set_profile_field::v3::Response::new())
}
