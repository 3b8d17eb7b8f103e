//! The Matrix Client-Server API on port 8008, without federation (<https://spec.matrix.org/v1.15/client-server-api/>).
//!
//! A request goes through [`endpoint`] (route, limits, ruma's types) and [`admission`] (token) → a handler, one file per
//! subject, which calls the [`ChatService`] → ruma's response or [`error::MatrixError`]. Nothing is decided here; events
//! are rendered in [`event`].

/// Makes a wrapper of a request an endpoint like the request itself: with its method, paths and kind of authentication.
macro_rules! endpoint_of_inner {
    ($wrapper:ident) => {
        impl<T: ruma::api::Metadata> ruma::api::Metadata for $wrapper<T> {
            const METHOD: http::Method = T::METHOD;
            const RATE_LIMITED: bool = T::RATE_LIMITED;
            type Authentication = T::Authentication;
            type PathBuilder = T::PathBuilder;
            const PATH_BUILDER: T::PathBuilder = T::PATH_BUILDER;
        }
    };
}

mod account;
mod administration;
mod admission;
mod backup_keys;
mod backup_versions;
mod context;
mod credentials;
mod cross_signing;
mod dehydrated;
mod device;
mod directory;
mod discovery;
mod empty_answers;
mod endpoint;
mod error;
mod event;
mod fresh;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzzing;
mod gate;
mod interactive;
mod keys;
mod membership;
mod notice_sending;
mod own_request;
mod peeking;
mod people;
mod presence;
mod preview;
mod profile;
mod push_rules;
mod pushers;
mod raw_request;
mod receipts;
mod relations;
mod repeated_registration;
mod reports;
mod room;
mod secret_registration;
mod session;
mod shared_sync;
mod state;
mod status;
mod streamed;
mod surroundings;
mod sync;
mod tags;
mod timeline;
mod to_device;
mod typing;
mod with_body;
mod with_direction;
mod with_identifier;
mod with_query;

pub(crate) use gate::serve_matrix;

use crate::api::admin::AdminApi;
use crate::api::admin::page;
use crate::metrics::ChatMetrics;
use crate::service::ChatService;
use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use context::MatrixContext;

/// Returns the router with all endpoints of the Matrix API.
pub fn matrix_router(service: ChatService, metrics: ChatMetrics, admin: AdminApi) -> Router {
    let routes = all_routes().into_router();
    push_rules::UNKNOWN
        .into_iter()
        .fold(routes, |routes, path| routes.route(path, any(push_rules::refuse_unknown)))
        .route(page::PATH, get(status::get_cluster_status))
        .fallback(|| async { error::MatrixError::unrecognized().into_response() })
        .method_not_allowed_fallback(|| async { error::MatrixError::wrong_method().into_response() })
        // Around the fallbacks, too: a browser does not show a web client an error without these headers.
        .layer(middleware::from_fn(add_cors_headers))
        .with_state(MatrixContext::new(service, metrics, admin))
}

/// An endpoint of the Matrix API, for tables of all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixEndpoint {
    /// Name of the endpoint in the metrics.
    pub name: &'static str,
    pub method: Method,
    /// Path of the endpoint, with the names of its arguments in braces.
    pub path: &'static str,
}

/// Returns all endpoints: those of the specification, as the router has them, and the server's own.
#[must_use]
pub fn matrix_endpoints() -> Vec<MatrixEndpoint> {
    let own = MatrixEndpoint { name: status::NAME, method: Method::GET, path: page::PATH };
    let specified = all_routes().into_readers().into_iter();
    let specified =
        specified.map(|reader| MatrixEndpoint { name: reader.name, method: reader.method, path: reader.path });
    specified.chain([own]).collect()
}

fn all_routes() -> endpoint::EndpointRoutes {
    [discovery::discovery_routes, session::session_routes, account::account_routes, profile::profile_routes]
        .into_iter()
        .chain([
            room::room_routes,
            membership::membership_routes,
            state::state_routes,
            timeline::timeline_routes,
            surroundings::surroundings_routes,
            relations::relation_routes,
            sync::sync_routes,
            push_rules::push_rule_routes,
            pushers::pusher_routes,
            device::device_routes,
            dehydrated::dehydrated_routes,
            credentials::credential_routes,
            secret_registration::secret_registration_routes,
            to_device::to_device_routes,
            backup_keys::backup_key_routes,
            backup_versions::backup_version_routes,
            receipts::receipt_routes,
            tags::tag_routes,
            keys::key_routes,
            cross_signing::cross_signing_routes,
        ])
        .chain([typing::typing_routes, presence::presence_routes])
        .chain([
            directory::directory_routes,
            preview::preview_routes,
            people::people_routes,
            reports::report_routes,
            administration::administration_routes,
            notice_sending::notice_routes,
            peeking::peeking_routes,
            empty_answers::empty_answer_routes,
        ])
        .fold(endpoint::EndpointRoutes::default(), |routes, add| add(routes))
}

/// Adds CORS headers, as web clients come from other origins (spec, "Web Browser Clients").
async fn add_cors_headers(request: axum::extract::Request, next: Next) -> Response {
    // Answered here: browsers send a preflight without the token, for the lack of which it would be refused.
    let preflight = request.method() == Method::OPTIONS;
    let mut response = if preflight { ().into_response() } else { next.run(request).await };
    insert_cors_headers(response.headers_mut());
    response
}

/// Inserts the headers without which a browser shows a web client neither an answer nor an error.
fn insert_cors_headers(headers: &mut HeaderMap) {
    let allowed: [(HeaderName, &'static str); 5] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, DELETE, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "X-Requested-With, Content-Type, Authorization"),
        // Unless they are listed, the scripts of web clients cannot read them.
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Quorate-Freshness, Retry-After"),
        // Otherwise, browsers ask again after five seconds. None believes more than a day.
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    for (name, value) in allowed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
