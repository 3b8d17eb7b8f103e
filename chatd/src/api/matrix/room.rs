//! Endpoints that create rooms, replace them, and find them by alias.

use super::admission::AnyReader;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use crate::service::{CallerSession, ReadConsistency};
use axum::http::StatusCode;
use bytes::Bytes;
use quorate_core::proto::log::{self, StateInput};
use quorate_core::query::QueryError;
use quorate_core::room_version::RoomVersion;
use ruma::api::client::alias::get_alias::v3 as get_alias;
use ruma::api::client::room::Visibility;
use ruma::api::client::room::create_room::v3::{self as create_room, RoomPreset};
use ruma::api::client::room::upgrade_room::v3 as upgrade_room;
use ruma::serde::Raw;
use ruma::{OwnedRoomId, OwnedServerName, RoomVersionId};
use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) fn room_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("create_room", create_from_request)
        .with_session("upgrade_room", upgrade)
        // Aliases are public.
        .admitting("alias_get", AnyReader, resolve_alias)
}

/// Converts a room id that core made to ruma's type.
pub(super) fn room_id(room: String) -> Result<OwnedRoomId, MatrixError> {
    OwnedRoomId::try_from(room.as_str())
        .map_err(|error| MatrixError::invalid_param(format!("{room} is not a room id: {error}.")))
}

async fn create_from_request(
    context: MatrixContext,
    session: CallerSession,
    request: create_room::Request,
) -> Result<create_room::Response, MatrixError> {
    let version = room_version(request.room_version.as_ref())?;
    if !request.invite_3pid.is_empty() {
        return Err(MatrixError::invalid_param("This server has no identity server: invite users by their user id."));
    }
    let listed = request.visibility == Visibility::Public;
    let preset = match request.preset {
        Some(RoomPreset::PublicChat) => log::create_room::Preset::Public,
        Some(RoomPreset::TrustedPrivateChat) => log::create_room::Preset::TrustedPrivate,
        // Spec: without a preset, the visibility chooses one.
        None if listed => log::create_room::Preset::Public,
        Some(RoomPreset::PrivateChat) | None => log::create_room::Preset::Private,
        Some(unknown) => return Err(MatrixError::bad_json(format!("There is no preset {unknown}."))),
    };
    let creation_content = request.creation_content.map(|raw| json_bytes(raw.into_json())).unwrap_or_default();
    let room = log::CreateRoom {
        preset: preset.into(),
        name: request.name.unwrap_or_default(),
        topic: request.topic.unwrap_or_default(),
        is_direct: request.is_direct,
        invite: request.invite.iter().map(ToString::to_string).collect(),
        alias: request.room_alias_name.unwrap_or_default(),
        room_type: room_type(&creation_content)?,
        initial_state: request.initial_state.into_iter().map(state_input).collect::<Result<_, _>>()?,
        power_level_override: request
            .power_level_content_override
            .map(|raw| json_bytes(raw.into_json()))
            .unwrap_or_default(),
        listed,
        creation_content,
        room_version: version.name().to_owned(),
    };
    let made = context.service.create_room(&session, room, "").await?;
    Ok(create_room::Response::new(room_id(made.room_id)?))
}

/// Returns the version that a request names, or the default one.
pub(super) fn room_version(version: Option<&RoomVersionId>) -> Result<RoomVersion, MatrixError> {
    let Some(version) = version else { return Ok(RoomVersion::default()) };
    RoomVersion::parse(version.as_str()).ok_or_else(|| {
        let supported = RoomVersion::ALL.map(RoomVersion::name).join(", ");
        let message = format!("This server supports room versions {supported}, not {version}.");
        MatrixError::new(StatusCode::BAD_REQUEST, "M_UNSUPPORTED_ROOM_VERSION", message)
    })
}

fn json_bytes(json: Box<RawValue>) -> Bytes {
    Bytes::from(String::from(Box::<str>::from(json)).into_bytes())
}

/// Returns the `type` of the creation content, which makes a room a space.
fn room_type(creation_content: &[u8]) -> Result<String, MatrixError> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "type", default)]
        room_type: Option<String>,
    }
    if creation_content.is_empty() {
        return Ok(String::new());
    }
    let content: Content = serde_json::from_slice(creation_content)
        .map_err(|error| MatrixError::bad_json(format!("creation_content is not valid: {error}.")))?;
    Ok(content.room_type.unwrap_or_default())
}

fn state_input<T>(event: Raw<T>) -> Result<StateInput, MatrixError> {
    #[derive(Deserialize)]
    struct Initial {
        #[serde(rename = "type")]
        event_type: String,
        #[serde(default)]
        state_key: String,
        content: Box<RawValue>,
    }
    let initial: Initial = serde_json::from_str(event.json().get())
        .map_err(|error| MatrixError::bad_json(format!("An event of initial_state is not valid: {error}.")))?;
    Ok(StateInput { r#type: initial.event_type, state_key: initial.state_key, content: json_bytes(initial.content) })
}

async fn upgrade(
    context: MatrixContext,
    session: CallerSession,
    request: upgrade_room::Request,
) -> Result<upgrade_room::Response, MatrixError> {
    let version = room_version(Some(&request.new_version))?;
    let wish = log::UpgradeRoom {
        room_id: request.room_id.to_string(),
        new_version: version.name().to_owned(),
        additional_creators: request.additional_creators.iter().map(ToString::to_string).collect(),
    };
    let made = context.service.upgrade_room(&session, wish).await?;
    Ok(upgrade_room::Response::new(room_id(made.room_id)?))
}

async fn resolve_alias(
    context: MatrixContext,
    consistency: ReadConsistency,
    request: get_alias::Request,
) -> Result<get_alias::Response, MatrixError> {
    let alias = request.room_alias.to_string();
    let room = context
        .read_with(consistency, move |view| match view.resolve_room(&alias) {
            Ok(room) => view.room_id(room).map(Some),
            // Aliases are public: an absent one is M_NOT_FOUND, where a room id would be M_FORBIDDEN.
            Err(QueryError::RoomNotFound) => Ok(None),
            Err(other) => Err(other),
        })
        .await?;
    let room = room.ok_or_else(|| {
        MatrixError::not_found(format!("No room on this server has the alias {}.", request.room_alias))
    })?;
    let here = OwnedServerName::try_from(context.service.server_name())
        .map_err(|error| MatrixError::invalid_param(format!("The server's name is not valid: {error}.")))?;
    Ok(get_alias::Response::new(room_id(room)?, vec![here]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_in_the_creation_content_makes_the_room_a_space() {
        assert_eq!(room_type(br#"{"type":"m.space"}"#).expect("fits"), "m.space");
        assert_eq!(room_type(b"").expect("fits"), "");
        assert!(room_type(br#"{"type":1}"#).is_err());
    }

    #[test]
    fn only_supported_room_versions_can_be_asked_for() {
        assert_eq!(room_version(None).expect("the default"), RoomVersion::V11);
        assert_eq!(room_version(Some(&RoomVersionId::V12)).expect("supported"), RoomVersion::V12);
        assert!(room_version(Some(&RoomVersionId::V1)).is_err());
    }
}
