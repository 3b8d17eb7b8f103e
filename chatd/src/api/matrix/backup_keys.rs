//! Endpoints for the keys in a backup.

mod answer;

use super::admission::WithSession;
use super::backup_versions::{find_version, version_number};
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use crate::service::{BackupScope, CallerSession, RefusalCode, RequestRefusal};
use answer::stream_backup;
use axum::response::Response;
use bytes::Bytes;
use quorate_core::proto::log::{BackupChanged, BackupKeyInput};
use ruma::UInt;
use ruma::api::client::backup::{
    KeyBackupData, add_backup_keys, add_backup_keys_for_room, add_backup_keys_for_session, delete_backup_keys,
    delete_backup_keys_for_room, delete_backup_keys_for_session, get_backup_keys, get_backup_keys_for_room,
    get_backup_keys_for_session,
};
use ruma::serde::Raw;
use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) fn backup_key_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("backup_keys_put", put_all)
        .with_session("backup_keys_room_put", put_for_room)
        .with_session("backup_keys_session_put", put_for_session)
        .answering("backup_keys_get", WithSession, get_all)
        .answering("backup_keys_room_get", WithSession, get_for_room)
        .with_session("backup_keys_session_get", get_for_session)
        .with_session("backup_keys_session_delete", delete_for_session)
        .with_session("backup_keys_room_delete", delete_for_room)
        .with_session("backup_keys_delete", delete_all)
}

/// Reads the fields of a key; other fields are dropped.
fn key_input(
    room_id: &ruma::RoomId,
    session_id: String,
    data: &Raw<KeyBackupData>,
) -> Result<BackupKeyInput, MatrixError> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        first_message_index: UInt,
        forwarded_count: UInt,
        is_verified: bool,
        #[serde(borrow)]
        session_data: &'a RawValue,
    }
    let fields: Fields<'_> = serde_json::from_str(data.json().get())
        .map_err(|error| MatrixError::bad_json(format!("The key of session {session_id} is not valid: {error}.")))?;
    Ok(BackupKeyInput {
        room_id: room_id.to_string(),
        session_id,
        first_message_index: fields.first_message_index.into(),
        forwarded_count: fields.forwarded_count.into(),
        is_verified: fields.is_verified,
        session_data: Bytes::copy_from_slice(fields.session_data.get().as_bytes()),
    })
}

/// Adds keys, and returns etag and count of the backup.
async fn put_keys(
    context: &MatrixContext,
    session: &CallerSession,
    version: &str,
    keys: Result<Vec<BackupKeyInput>, MatrixError>,
) -> Result<(String, UInt), MatrixError> {
    match context.service.put_backup_keys(session, version_number(version)?, keys?).await {
        Ok(changed) => Ok(etag_and_count(&changed)),
        Err(refusal) if refusal.code == RefusalCode::WrongBackupVersion => {
            Err(wrong_version(context, session, refusal).await)
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Adds the current version to the refusal, so that the client knows where to continue.
async fn wrong_version(context: &MatrixContext, session: &CallerSession, refusal: RequestRefusal) -> MatrixError {
    match find_version(context, session, None).await {
        Ok(current) => MatrixError::from(refusal).with_field("current_version", current.version.to_string()),
        // The backup is gone by now, or cannot be read.
        Err(error) => error,
    }
}

fn etag_and_count(changed: &BackupChanged) -> (String, UInt) {
    (changed.etag.to_string(), UInt::new_saturating(changed.keys))
}

async fn put_all(
    context: MatrixContext,
    session: CallerSession,
    request: add_backup_keys::v3::Request,
) -> Result<add_backup_keys::v3::Response, MatrixError> {
    let rooms = request.rooms.into_iter();
    let keys = rooms.flat_map(|(room_id, room)| {
        room.sessions.into_iter().map(move |(session_id, data)| key_input(&room_id, session_id, &data))
    });
    let (etag, count) = put_keys(&context, &session, &request.version, keys.collect()).await?;
    Ok(add_backup_keys::v3::Response::new(etag, count))
}

async fn put_for_room(
    context: MatrixContext,
    session: CallerSession,
    request: add_backup_keys_for_room::v3::Request,
) -> Result<add_backup_keys_for_room::v3::Response, MatrixError> {
    let sessions = request.sessions.into_iter();
    let keys = sessions.map(|(session_id, data)| key_input(&request.room_id, session_id, &data)).collect();
    let (etag, count) = put_keys(&context, &session, &request.version, keys).await?;
    Ok(add_backup_keys_for_room::v3::Response::new(etag, count))
}

async fn put_for_session(
    context: MatrixContext,
    session: CallerSession,
    request: add_backup_keys_for_session::v3::Request,
) -> Result<add_backup_keys_for_session::v3::Response, MatrixError> {
    let key = key_input(&request.room_id, request.session_id, &request.session_data);
    let (etag, count) = put_keys(&context, &session, &request.version, key.map(|key| vec![key])).await?;
    Ok(add_backup_keys_for_session::v3::Response::new(etag, count))
}

async fn get_all(
    context: MatrixContext,
    session: CallerSession,
    request: get_backup_keys::v3::Request,
) -> Result<Response, MatrixError> {
    stream_backup(&context, &session, version_number(&request.version)?, None).await
}

async fn get_for_room(
    context: MatrixContext,
    session: CallerSession,
    request: get_backup_keys_for_room::v3::Request,
) -> Result<Response, MatrixError> {
    let room_id = Some(request.room_id.to_string());
    stream_backup(&context, &session, version_number(&request.version)?, room_id).await
}

async fn get_for_session(
    context: MatrixContext,
    session: CallerSession,
    request: get_backup_keys_for_session::v3::Request,
) -> Result<get_backup_keys_for_session::v3::Response, MatrixError> {
    let version = version_number(&request.version)?;
    let localpart = session.localpart.clone();
    let found = context.read(move |view| {
        let Some(_) = view.key_backup(&localpart, Some(version))? else { return Ok(None) };
        view.backup_key(&localpart, version, request.room_id.as_str(), &request.session_id)
    });
    let key = found.await?.ok_or_else(|| MatrixError::not_found("The backup has no key for this session."))?;
    Ok(get_backup_keys_for_session::v3::Response::new(Raw::from_json(answer::render_key(&key)?)))
}

async fn delete_for_session(
    context: MatrixContext,
    session: CallerSession,
    request: delete_backup_keys_for_session::v3::Request,
) -> Result<delete_backup_keys_for_session::v3::Response, MatrixError> {
    let scope = BackupScope::Session(request.room_id.as_str(), &request.session_id);
    let (etag, count) = delete_keys(&context, &session, &request.version, scope).await?;
    Ok(delete_backup_keys_for_session::v3::Response::new(etag, count))
}

async fn delete_for_room(
    context: MatrixContext,
    session: CallerSession,
    request: delete_backup_keys_for_room::v3::Request,
) -> Result<delete_backup_keys_for_room::v3::Response, MatrixError> {
    let scope = BackupScope::Room(request.room_id.as_str());
    let (etag, count) = delete_keys(&context, &session, &request.version, scope).await?;
    Ok(delete_backup_keys_for_room::v3::Response::new(etag, count))
}

async fn delete_all(
    context: MatrixContext,
    session: CallerSession,
    request: delete_backup_keys::v3::Request,
) -> Result<delete_backup_keys::v3::Response, MatrixError> {
    let (etag, count) = delete_keys(&context, &session, &request.version, BackupScope::All).await?;
    Ok(delete_backup_keys::v3::Response::new(etag, count))
}

/// Removes keys, and returns etag and count of the backup.
async fn delete_keys(
    context: &MatrixContext,
    session: &CallerSession,
    version: &str,
    scope: BackupScope<'_>,
) -> Result<(String, UInt), MatrixError> {
    let changed = context.service.delete_backup_keys(session, version_number(version)?, scope).await?;
    Ok(etag_and_count(&changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_its_four_fields() {
        let room = ruma::OwnedRoomId::try_from("!r:x").unwrap();
        let read = |json: &str| key_input(&room, "s".into(), &Raw::from_json_string(json.to_owned()).unwrap());
        let json = r#"{"first_message_index":1,"forwarded_count":2,"is_verified":true,"session_data":{"a":"b"},"x":1}"#;
        let key = read(json).unwrap();
        assert_eq!((key.first_message_index, key.forwarded_count, key.is_verified), (1, 2, true));
        assert_eq!((key.room_id.as_str(), &*key.session_data), ("!r:x", br#"{"a":"b"}"#.as_slice()));
        for bad in ["{}", "1", &json.replace(":1,", ":-1,"), &json.replace("true", "1")] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
