//! Endpoints for the versions of key backups.

use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use crate::service::CallerSession;
use bytes::Bytes;
use quorate_core::query::BackupVersion;
use ruma::UInt;
use ruma::api::client::backup::{
    BackupAlgorithm, create_backup_version, delete_backup_version, get_backup_info, get_latest_backup_info,
    update_backup_version,
};
use ruma::serde::Raw;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

pub(super) fn backup_version_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("backup_create", create_version)
        .with_session("backup_latest", get_latest)
        .with_session("backup_get", get_version)
        .with_session("backup_update", update_version)
        .with_session("backup_delete", delete_version)
}

/// Body that names an algorithm and its data.
#[derive(Deserialize)]
struct BackupBody<'a> {
    algorithm: String,
    #[serde(borrow)]
    auth_data: &'a RawValue,
    /// Only where a version is updated; it must then be the version in the path.
    version: Option<String>,
}

impl<'a> BackupBody<'a> {
    fn parse(body: &'a Raw<BackupAlgorithm>) -> Result<Self, MatrixError> {
        serde_json::from_str(body.json().get())
            .map_err(|error| MatrixError::bad_json(format!("The body is not valid for this endpoint: {error}.")))
    }

    fn auth_data(&self) -> Bytes {
        Bytes::copy_from_slice(self.auth_data.get().as_bytes())
    }
}

/// Parses the version that a client names. The server counts versions, so other text names none.
pub(super) fn version_number(version: &str) -> Result<u64, MatrixError> {
    let number = version.parse().ok().filter(|number: &u64| number.to_string() == version);
    number.ok_or_else(no_such_backup)
}

pub(super) fn no_such_backup() -> MatrixError {
    MatrixError::not_found("There is no such key backup.")
}

async fn create_version(
    context: MatrixContext,
    session: CallerSession,
    request: create_backup_version::v3::Request,
) -> Result<create_backup_version::v3::Response, MatrixError> {
    let body = BackupBody::parse(&request.algorithm)?;
    let auth_data = body.auth_data();
    let version = context.service.create_backup(&session, body.algorithm, auth_data).await?;
    Ok(create_backup_version::v3::Response::new(version.to_string()))
}

async fn update_version(
    context: MatrixContext,
    session: CallerSession,
    request: update_backup_version::v3::Request,
) -> Result<update_backup_version::v3::Response, MatrixError> {
    let body = BackupBody::parse(&request.algorithm)?;
    if body.version.as_ref().is_some_and(|version| *version != request.version) {
        return Err(MatrixError::invalid_param("The version in the body is not the one in the path."));
    }
    let auth_data = body.auth_data();
    let version = version_number(&request.version)?;
    context.service.update_backup(&session, version, body.algorithm, auth_data).await?;
    Ok(update_backup_version::v3::Response::new())
}

async fn delete_version(
    context: MatrixContext,
    session: CallerSession,
    request: delete_backup_version::v3::Request,
) -> Result<delete_backup_version::v3::Response, MatrixError> {
    context.service.delete_backup(&session, version_number(&request.version)?).await?;
    Ok(delete_backup_version::v3::Response::new())
}

async fn get_latest(
    context: MatrixContext,
    session: CallerSession,
    _request: get_latest_backup_info::v3::Request,
) -> Result<get_latest_backup_info::v3::Response, MatrixError> {
    let found = find_version(&context, &session, None).await?;
    let count = UInt::new_saturating(found.keys);
    let etag = found.etag.to_string();
    let version = found.version.to_string();
    Ok(get_latest_backup_info::v3::Response::new(render_algorithm(&found)?, count, etag, version))
}

async fn get_version(
    context: MatrixContext,
    session: CallerSession,
    request: get_backup_info::v3::Request,
) -> Result<get_backup_info::v3::Response, MatrixError> {
    let found = find_version(&context, &session, Some(version_number(&request.version)?)).await?;
    let count = UInt::new_saturating(found.keys);
    let etag = found.etag.to_string();
    Ok(get_backup_info::v3::Response::new(render_algorithm(&found)?, count, etag, request.version))
}

/// Returns a version of the caller's backup, the current one if `version` is `None`.
pub(super) async fn find_version(
    context: &MatrixContext,
    session: &CallerSession,
    version: Option<u64>,
) -> Result<BackupVersion, MatrixError> {
    let localpart = session.localpart.clone();
    let found = context.read(move |view| view.key_backup(&localpart, version)).await?;
    found.ok_or_else(no_such_backup)
}

fn render_algorithm(found: &BackupVersion) -> Result<Raw<BackupAlgorithm>, MatrixError> {
    #[derive(Serialize)]
    struct Shown<'a> {
        algorithm: &'a str,
        auth_data: &'a RawValue,
    }
    serde_json::from_slice(&found.auth_data)
        .and_then(|auth_data| to_raw_value(&Shown { algorithm: &found.algorithm, auth_data }))
        .map(Raw::from_json)
        .map_err(|error| MatrixError::damaged("backup", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_in_one_way_only() {
        assert_eq!(version_number("12").unwrap(), 12);
        for other in ["", "012", "+1", "-1", "x", "1 ", "99999999999999999999"] {
            assert!(version_number(other).is_err(), "{other}");
        }
    }
}
