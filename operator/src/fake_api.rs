//! Fake API server for tests, which accepts every write that it is not set up to refuse, and remembers the requests.

use http::{Method, Request, Response, StatusCode};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

/// Answer to a write that is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// Error with this code and message.
    Code(u16, &'static str),
    /// No answer at all.
    Never,
}

/// Writes that are refused, and the answer to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refuse {
    /// Part of the request path.
    pub(crate) path: &'static str,
    /// Answer to the matching writes.
    pub(crate) answer: Answer,
}

/// Fake API server. Clones are the same server.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeApi {
    refuse: Option<Refuse>,
    hidden: Option<(&'static str, &'static str)>,
    asked: Arc<Mutex<Vec<String>>>,
    objects: Arc<Mutex<Vec<(String, Value)>>>,
}

impl FakeApi {
    pub(crate) fn refusing(refuse: Refuse) -> Self {
        Self { refuse: Some(refuse), ..Self::default() }
    }

    /// Creates a server on which reading under this path is forbidden with this message.
    pub(crate) fn unreadable(path: &'static str, words: &'static str) -> Self {
        Self { hidden: Some((path, words)), ..Self::default() }
    }

    /// Stores an object, as if it had been there before.
    pub(crate) fn store(&self, path: &str, object: Value) {
        self.objects.lock().expect("a lock").push((path.to_owned(), object));
    }

    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        Client::new(service, "chat")
    }

    /// Returns `true` if something under this path was written, refused or not.
    pub(crate) fn was_written(&self, path: &str) -> bool {
        self.requests(path) > 0
    }

    /// Returns the number of writes under this path.
    pub(crate) fn requests(&self, path: &str) -> usize {
        self.asked.lock().expect("a lock").iter().filter(|line| line.contains(path)).count()
    }

    /// Returns the last write under this path: method, path and body.
    pub(crate) fn last(&self, path: &str) -> Option<String> {
        self.asked.lock().expect("a lock").iter().rfind(|line| line.contains(path)).cloned()
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let body = body.collect_bytes().await.expect("a body");
        if parts.method == Method::GET {
            return self.read(&path);
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        self.asked.lock().expect("a lock").push(format!("{} {path} {text}", parts.method));
        match self.refuse.filter(|refuse| path.contains(refuse.path)).map(|refuse| refuse.answer) {
            Some(Answer::Code(code, words)) => failure(code, words),
            Some(Answer::Never) => std::future::pending().await,
            None => self.write(&path, serde_json::from_slice(&body).unwrap_or(Value::Null)),
        }
    }

    fn write(&self, path: &str, mut object: Value) -> Response<Body> {
        if !object.is_object() {
            object = json!({});
        }
        object["metadata"]["resourceVersion"] = json!("7");
        object["metadata"]["generation"] = json!(1);
        if path.contains("/chatclusters/") {
            // The status is written alone, and the answer contains the whole object.
            object["spec"] = json!(crate::fixture::chat_cluster().spec);
        }
        if object["metadata"].get("name").is_none() {
            object["metadata"]["name"] = json!(path.rsplit('/').next());
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let path = if path.ends_with(&name) { path.to_owned() } else { format!("{path}/{name}") };
        self.objects.lock().expect("a lock").push((path, object.clone()));
        reply(StatusCode::OK, &object)
    }

    fn read(&self, path: &str) -> Response<Body> {
        if let Some((_, words)) = self.hidden.filter(|(hidden, _)| path.contains(hidden)) {
            return failure(403, words);
        }
        let objects = self.objects.lock().expect("a lock");
        match objects.iter().rfind(|(stored, _)| stored == path) {
            Some((_, object)) => reply(StatusCode::OK, object),
            // The path of a collection ends with the name of a kind, which is a plural.
            None if path.ends_with('s') && !path.contains("team") => reply(
                StatusCode::OK,
                &json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "7"}, "items": []}),
            ),
            None => failure(404, "not found"),
        }
    }
}

fn failure(code: u16, words: &str) -> Response<Body> {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "message": words, "reason": reason, "code": code,
    });
    reply(StatusCode::from_u16(code).expect("a code"), &status)
}

fn reply(code: StatusCode, value: &Value) -> Response<Body> {
    let body = Body::from(value.to_string().into_bytes());
    Response::builder().status(code).body(body).expect("an answer")
}
