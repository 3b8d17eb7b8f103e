//! Client-Server API of Matrix, as much of it as the workloads speak: the same client for every homeserver.

pub(crate) mod http;
pub(crate) mod owner;
pub(crate) mod poll;
pub(crate) mod room;
pub(crate) mod user;

/// Path below which the endpoints are.
const API: &str = "/_matrix/client/v3";
