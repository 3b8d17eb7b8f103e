//! Requests of user-interactive authentication whose password stage may name the account as it was named before there
//! were identifiers.

use ruma::api::IncomingRequest;
use ruma::api::error::DeserializationError;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Stage in which the user gives the password.
const PASSWORD: &str = "m.login.password";

/// A request whose password stage has `user`, or `medium` and `address`, instead of `identifier`. The specification has
/// dropped them, for `/login` as well, but clients that are still in use send them; ruma reads them for `/login` only.
pub(super) struct WithIdentifier<T>(pub(super) T);

endpoint_of_inner!(WithIdentifier);

impl<T: IncomingRequest> IncomingRequest for WithIdentifier<T> {
    type EndpointError = T::EndpointError;
    type OutgoingResponse = T::OutgoingResponse;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let (parts, body) = request.into_parts();
        let body = with_identifier(body).map_or(Cow::Borrowed(body), Cow::Owned);
        let request = http::Request::from_parts(parts, body.as_ref());
        T::try_from_http_request_inner(request, path_args).map(Self)
    }
}

/// Returns the body with an identifier; `None` if it has one, or nothing that could be one. All but the stage stays as it
/// was sent, since parts of it may be signed.
fn with_identifier(body: &[u8]) -> Option<Vec<u8>> {
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).ok()?;
    let mut auth: Map<String, Value> = serde_json::from_str(fields.get("auth")?.get()).ok()?;
    if auth.get("type").and_then(Value::as_str) != Some(PASSWORD) || auth.contains_key("identifier") {
        return None;
    }
    let identifier = match (auth.get("user"), auth.get("medium"), auth.get("address")) {
        (Some(user), _, _) => json!({"type": "m.id.user", "user": user}),
        // Refused, since no account has any, but for what it is.
        (None, Some(medium), Some(address)) => {
            json!({"type": "m.id.thirdparty", "medium": medium, "address": address})
        }
        _ => return None,
    };
    auth.insert("identifier".to_owned(), identifier);
    fields.insert("auth".to_owned(), to_raw_value(&auth).ok()?);
    serde_json::to_vec(&fields).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_made_of_what_named_an_account_before() {
        let identifier = |auth: &Value| {
            let body = with_identifier(&serde_json::to_vec(&json!({"auth": auth})).unwrap())?;
            Some(serde_json::from_slice::<Value>(&body).unwrap()["auth"]["identifier"].clone())
        };
        let named = json!({"type": PASSWORD, "user": "alice", "password": "x"});
        assert_eq!(identifier(&named), Some(json!({"type": "m.id.user", "user": "alice"})));
        let mailed = json!({"type": PASSWORD, "medium": "email", "address": "a@a.org", "password": "x"});
        let address = json!({"type": "m.id.thirdparty", "medium": "email", "address": "a@a.org"});
        assert_eq!(identifier(&mailed), Some(address));
        let other = json!({"type": "m.login.dummy", "user": "alice"});
        let both = json!({"type": PASSWORD, "user": "alice", "identifier": {"type": "m.id.user", "user": "bob"}});
        for kept in [other, both, json!({"type": PASSWORD, "medium": "email"}), json!({}), json!(1)] {
            assert_eq!(identifier(&kept), None, "{kept}");
        }
        assert!(with_identifier(b"{}").is_none() && with_identifier(b"{").is_none());
    }

    #[test]
    fn the_rest_of_a_body_stays_as_it_was_sent() {
        let body = br#"{"key": {"b":1.50, "a":[ ]},"auth":{"type":"m.login.password","user":"alice"}}"#;
        let body = String::from_utf8(with_identifier(body).unwrap()).unwrap();
        assert!(body.ends_with(r#""key":{"b":1.50, "a":[ ]}}"#), "{body}");
    }
}
