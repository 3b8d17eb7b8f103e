//! Authorisation of calls on the peer listener: members speak Raft and forward writes, administrators administer, and
//! neither may make the calls of the other.

use crate::tls::{PeerCaller, PeerRole};
use axum::{
    body::Body,
    extract::Request,
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use quorate_wire::{admin::v1::admin_server, raft::v1::raft_server};
use std::sync::Arc;
use tonic::{Status, service::Routes};

/// Right that a call requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallRight {
    /// Votes, appends, snapshots, read indexes, forwarded writes, typing and presence.
    Replicate,
    /// Calls that read the state of the cluster. Members make them to each other, and so do people from within a pod,
    /// which has no certificate other than a member's.
    ReadStatus,
    /// All other calls, including those added later.
    Administer,
}

impl CallRight {
    fn of(path: &str) -> Self {
        match path.trim_start_matches('/').split_once('/') {
            Some((raft_server::SERVICE_NAME, _)) => Self::Replicate,
            Some((admin_server::SERVICE_NAME, "Identity" | "Status" | "Watch" | "Overview")) => Self::ReadStatus,
            _ => Self::Administer,
        }
    }

    fn is_of(self, role: PeerRole) -> bool {
        match role {
            PeerRole::Peer => matches!(self, Self::Replicate | Self::ReadStatus),
            PeerRole::Administrator => matches!(self, Self::ReadStatus | Self::Administer),
        }
    }
}

/// Wraps the services so that each call is authorised first.
pub(super) fn guard_services(services: Routes) -> Routes {
    Routes::from(services.into_axum_router().layer(middleware::from_fn(authorise_call)))
}

async fn authorise_call(mut request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<PeerCaller>().cloned();
    let standing = caller.as_ref().map_or_else(|| Err(Arc::from(NO_CERTIFICATE)), |caller| caller.standing.clone());
    if let Err(reason) = check_right(standing, request.uri().path()) {
        tracing::warn!(
            from = ?caller.and_then(|caller| caller.tcp.remote_addr()),
            path = request.uri().path(),
            reason,
            "refused a call on the peer listener"
        );
        return refusal_response(&request, reason);
    }
    if let Some(caller) = caller {
        // tonic looks for the caller's address here.
        request.extensions_mut().insert(caller.tcp);
    }
    next.run(request).await
}

const NO_CERTIFICATE: &str = "no certificate was presented";

fn check_right(standing: Result<PeerRole, Arc<str>>, path: &str) -> Result<(), String> {
    let role = standing.map_err(|reason| reason.to_string())?;
    if CallRight::of(path).is_of(role) {
        return Ok(());
    }
    Err(match role {
        PeerRole::Peer => format!(
            "{path} is for administrators, but this is a peer's certificate: use one with \
             quorate://cluster/ID/admin/NAME among its names (`chatctl cluster init` puts it into the directory admin, \
             the operator into the Secret NAME-admin-tls)"
        ),
        PeerRole::Administrator => {
            format!("{path} is for members of the cluster, but this is an administrator's certificate")
        }
    })
}

fn refusal_response(request: &Request, reason: String) -> Response {
    let is_grpc =
        request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        return Status::permission_denied(reason).into_http::<Body>();
    }
    (StatusCode::FORBIDDEN, format!("{reason}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_replicate_and_administrators_administer() {
        for (path, peer, administrator) in [
            ("/quorate.raft.v1.Raft/Append", true, false),
            ("/quorate.raft.v1.Raft/Forward", true, false),
            ("/quorate.raft.v1.Raft/Vote", true, false),
            ("/quorate.raft.v1.Raft/Gossip", true, false),
            ("/quorate.admin.v1.Admin/Status", true, true),
            ("/quorate.admin.v1.Admin/TransferLeader", false, true),
            ("/quorate.admin.v1.Admin/PurgeHistory", false, true),
            ("/quorate.admin.v1.Admin/Watch", true, true),
            ("/quorate.admin.v1.Admin/Initialize", false, true),
            ("/quorate.admin.v1.Moderation/ListUsers", false, true),
            ("/quorate.admin.v1.Moderation/ResetPassword", false, true),
            ("/_quorate/status", false, true),
            ("/something.new/Call", false, true),
            ("/", false, true),
        ] {
            assert_eq!(check_right(Ok(PeerRole::Peer), path).is_ok(), peer, "{path}");
            assert_eq!(check_right(Ok(PeerRole::Administrator), path).is_ok(), administrator, "{path}");
            assert!(check_right(Err(Arc::from("no role")), path).is_err(), "{path}");
        }
    }
}
