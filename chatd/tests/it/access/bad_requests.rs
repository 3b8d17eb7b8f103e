//! Requests that no client sends, to every endpoint: bodies, paths, queries and methods that the specification does not
//! know. No answer may be a fault of the server, tell something to somebody who may not know it, or be unreadable for a
//! client; and what is bad about every endpoint in the same way is refused by every endpoint in the same way.
//!
//! The endpoints come from the router, their arguments and good bodies are those of the access table.

use super::bad_bodies::{BadBody, distorted, refused_everywhere, too_large_for_strangers};
use super::bad_paths::{BadArgument, bad_arguments, bad_queries};
use super::places::{Places, Room};
use super::raw_http::{BadRequest, RawBody, SECRET};
use super::{Caller, bad_messages, http};
use crate::support::administrator::{root, shared_secret};
use crate::support::matrix::single_node_with;
use crate::support::process::Node;
use quorate_chatd::api::matrix::{MatrixEndpoint, matrix_endpoints};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Endpoint that reads no body, whatever is sent to it.
const READS_NO_BODY: &str = "quorateStatus";
/// Endpoints that end the session: each attack on them gets one of its own.
const END_SESSIONS: [&str; 3] = ["logout", "logout_all", "deactivate"];
/// Endpoints for administrators: others are refused before it is seen what is wrong with a request.
const FOR_ADMINISTRATORS: [&str; 6] = [
    "admin_lock_get",
    "admin_lock_set",
    "admin_suspend_get",
    "admin_suspend_set",
    "server_notice",
    "server_notice_named",
];
/// Number of requests that are under way at once.
const AT_ONCE: usize = 8;
/// Number of findings that are shown.
const SHOWN: usize = 40;
/// Answers without an error.
const FINE: &[(u16, &str)] = &[(200, "")];
const NO_METHOD: &[(u16, &str)] = &[(405, "M_UNRECOGNIZED")];
const NO_ENDPOINT: &[(u16, &str)] = &[(404, "M_UNRECOGNIZED")];
const NO_RIGHT: &[(u16, &str)] = &[(403, "M_FORBIDDEN")];
/// Any answer that is no fault.
const ANY: &[(u16, &str)] = &[];

/// Caller who sends bad requests, and the room that they are about.
struct Attacker<'p> {
    places: &'p Places,
    /// Name of the user.
    name: &'static str,
    /// Access token; empty for none.
    token: String,
    room: Room,
}

impl<'p> Attacker<'p> {
    /// Returns a user in a room of its own, or an administrator where only those have a right: the requests reach
    /// everything that a right leads to.
    fn at_home(places: &'p Places, endpoint: &MatrixEndpoint) -> Self {
        if is_for_administrators(endpoint) {
            // About somebody who makes no requests: the account is locked by some of these.
            return Self { places, name: "victim", token: places.administrator.clone(), room: places.nowhere() };
        }
        let token = if END_SESSIONS.contains(&endpoint.name) {
            http::register(&places.node, &format!("leaver-{}", places.number()))
        } else {
            places.token(Caller::User("guest")).to_owned()
        };
        let room = if is_about_a_room(endpoint) { places.lonely_room("guest") } else { places.nowhere() };
        Self { places, name: "guest", token, room }
    }

    /// Returns a user who asks about a room of others.
    fn outside(places: &'p Places) -> Self {
        let token = places.token(Caller::User("stranger")).to_owned();
        Self { places, name: "stranger", token, room: places.shared.clone() }
    }

    /// Returns a caller without a session, who asks about a room of others.
    fn nobody(places: &'p Places) -> Self {
        Self { token: String::new(), ..Self::outside(places) }
    }

    /// Returns the segments of a path that is good, in percent-encoding.
    fn segments(&self, endpoint: &MatrixEndpoint) -> Vec<String> {
        let argument = |part| http::escaped(&http::argument(part, endpoint, self.places, &self.room, self.name));
        endpoint.path.split('/').map(argument).collect()
    }

    fn path(&self, endpoint: &MatrixEndpoint) -> String {
        self.segments(endpoint).join("/")
    }

    fn good_body(&self, endpoint: &MatrixEndpoint) -> String {
        if endpoint.method == "GET" { String::new() } else { http::body(endpoint.name, self.places, &self.room) }
    }

    /// Returns a request with a good body; `target` is path and query.
    fn request(&self, endpoint: &MatrixEndpoint, what: &str, target: String) -> BadRequest {
        BadRequest {
            what: what.to_owned(),
            method: endpoint.method.to_string(),
            target,
            token: self.token.clone(),
            body: RawBody::Sent(self.good_body(endpoint).into_bytes()),
            answers: ANY,
        }
    }

    /// Returns a request in which only the body is bad.
    fn with_body(&self, endpoint: &MatrixEndpoint, bad: BadBody) -> BadRequest {
        let target = self.path(endpoint) + &http::query(endpoint.name);
        let answers = if endpoint.name == READS_NO_BODY { ANY } else { bad.answers };
        BadRequest { body: bad.body, answers, ..self.request(endpoint, &bad.what, target) }
    }

    /// Returns requests in which one argument of the path is bad.
    fn with_bad_arguments(&self, endpoint: &MatrixEndpoint) -> Vec<BadRequest> {
        let good = self.segments(endpoint);
        let mut requests = Vec::new();
        for place in (0..good.len()).filter(|place| endpoint.path.split('/').nth(*place).is_some_and(is_argument)) {
            for BadArgument { what, value, answers } in bad_arguments() {
                let mut segments = good.clone();
                segments[place] = value;
                let target = segments.join("/") + &http::query(endpoint.name);
                requests.push(BadRequest { answers, ..self.request(endpoint, what, target) });
            }
        }
        requests
    }

    /// Returns requests with a bad query.
    fn with_bad_queries(&self, endpoint: &MatrixEndpoint) -> Vec<BadRequest> {
        let path = self.path(endpoint);
        let good = http::query(endpoint.name);
        let begun = if good.is_empty() { "?".to_owned() } else { good + "&" };
        let queries = bad_queries().into_iter();
        queries.map(|query| self.request(endpoint, "query", format!("{path}{begun}{query}"))).collect()
    }

    /// Returns requests to an address at which other methods are served, or none.
    fn with_bad_addresses(&self, endpoint: &MatrixEndpoint, all: &[MatrixEndpoint]) -> Vec<BadRequest> {
        let path = self.path(endpoint);
        let served: Vec<_> = all.iter().filter(|other| is_at(other.path, &path)).map(|other| &other.method).collect();
        let mut requests = Vec::new();
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "BREW"] {
            if served.iter().all(|other| *other != method) {
                let bad = self.request(endpoint, "method", path.clone());
                requests.push(BadRequest { method: method.to_owned(), answers: NO_METHOD, ..bad });
            }
        }
        let preflight = self.request(endpoint, "preflight", path.clone());
        requests.push(BadRequest { method: "OPTIONS".into(), answers: FINE, ..preflight });
        let doubled = self.request(endpoint, "two slashes", format!("/{path}"));
        requests.push(BadRequest { answers: NO_ENDPOINT, ..doubled });
        requests.push(self.request(endpoint, "a slash at the end", format!("{path}/")));
        requests
    }
}

fn is_about_a_room(endpoint: &MatrixEndpoint) -> bool {
    endpoint.path.contains("{room_id")
}

fn is_for_administrators(endpoint: &MatrixEndpoint) -> bool {
    FOR_ADMINISTRATORS.contains(&endpoint.name)
}

fn is_argument(segment: &str) -> bool {
    segment.starts_with('{')
}

/// Returns `true` if the path of an endpoint, with its arguments in braces, fits to a path.
fn is_at(template: &str, path: &str) -> bool {
    let fits = |(template, segment): (&str, &str)| is_argument(template) || template == segment;
    template.split('/').count() == path.split('/').count() && template.split('/').zip(path.split('/')).all(fits)
}

/// Returns all bad requests to an endpoint. Those that every endpoint refuses come first: others may end the session.
fn requests_to(places: &Places, endpoint: &MatrixEndpoint, all: &[MatrixEndpoint]) -> Vec<BadRequest> {
    let guest = Attacker::at_home(places, endpoint);
    let stranger = Attacker::outside(places);
    let nobody = Attacker::nobody(places);
    let mut requests: Vec<_> = refused_everywhere().into_iter().map(|bad| guest.with_body(endpoint, bad)).collect();
    requests.push(nobody.with_body(endpoint, too_large_for_strangers()));
    if is_for_administrators(endpoint) {
        let bad = refused_everywhere().into_iter().chain(distorted(&stranger.good_body(endpoint)));
        requests.extend(bad.map(|bad| stranger.with_body(endpoint, BadBody { answers: NO_RIGHT, ..bad })));
    }
    for attacker in [&guest, &nobody] {
        requests.extend(attacker.with_bad_addresses(endpoint, all));
    }
    for attacker in [&guest, &stranger] {
        requests.extend(attacker.with_bad_arguments(endpoint));
    }
    // Of the others, an endpoint for users sees nothing before the session.
    let without_session = nobody.with_bad_arguments(endpoint).into_iter();
    requests.extend(without_session.filter(|bad| !bad.answers.is_empty()));
    if endpoint.method == "GET" {
        requests.extend(guest.with_bad_queries(endpoint));
        if is_about_a_room(endpoint) {
            requests.extend(stranger.with_bad_queries(endpoint));
        }
    } else {
        requests.extend(distorted(&guest.good_body(endpoint)).into_iter().map(|bad| guest.with_body(endpoint, bad)));
    }
    requests
}

/// Returns requests by which those who sent bad ones read what became of them.
fn readings_of(places: &Places, endpoint: &MatrixEndpoint) -> Vec<BadRequest> {
    if endpoint.method != "GET" {
        return Vec::new();
    }
    let attackers = [Attacker::at_home(places, endpoint), Attacker::outside(places)];
    let target = |attacker: &Attacker<'_>| attacker.path(endpoint) + &http::query(endpoint.name);
    attackers.iter().map(|attacker| attacker.request(endpoint, "read back", target(attacker))).collect()
}

/// Sends requests for all endpoints, and returns what is wrong with their answers.
fn findings(
    node: &Node,
    endpoints: &[MatrixEndpoint],
    requests: impl Fn(&MatrixEndpoint) -> Vec<BadRequest> + Sync,
) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let send_all = || {
        let mut findings = Vec::new();
        while let Some(endpoint) = endpoints.get(next.fetch_add(1, Ordering::Relaxed)) {
            findings.extend(requests(endpoint).iter().filter_map(|request| request.finding(node.http)));
        }
        findings
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(send_all)).collect();
        senders.into_iter().flat_map(|sender| sender.join().expect("no panic")).collect()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bad_request_to_any_endpoint_causes_a_fault_or_a_leak() {
    let (secret, _dir) = shared_secret();
    let cluster = single_node_with(&secret).await;
    let node = &cluster.nodes[0];
    let mut places = Places::new(node, String::new());
    places.administrator = root(node).token;
    places.hide(SECRET);
    let endpoints = matrix_endpoints();
    assert!(endpoints.len() > 100, "{endpoints:?}");
    let mut wrong = findings(node, &endpoints, |endpoint| requests_to(&places, endpoint, &endpoints));
    wrong.extend(bad_messages::findings(&cluster, places.token(Caller::User("guest"))).await);
    wrong.extend(findings(node, &endpoints, |endpoint| readings_of(&places, endpoint)));
    wrong.extend(node.log().lines().filter(|line| line.contains("panicked")).map(str::to_owned));
    let shown: Vec<_> = wrong.iter().take(SHOWN).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), shown.join("\n"));
    let topic = format!("/_matrix/client/v3/rooms/{}/state/m.room.topic", places.shared.id);
    assert_eq!(places.ask("owner", "GET", &topic, "", "topic"), SECRET, "nobody else has changed the room");
}

#[test]
fn an_address_is_that_of_all_endpoints_whose_paths_fit() {
    assert!(is_at("/room_keys/{version}", "/room_keys/version") && is_at("/room_keys/version", "/room_keys/version"));
    assert!(is_at("/state/{event_type}/{state_key}", "/state/m.room.name/"));
    assert!(!is_at("/state/{event_type}", "/state/m.room.name/") && !is_at("/state/{event_type}", "/rooms/x"));
}
