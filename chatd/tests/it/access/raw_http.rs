//! Bad requests over HTTP as bytes, and what must hold of each answer.

use crate::support::PATIENCE;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// Text in what only members of a room may see; in small letters, as heads are compared in them.
pub(super) const SECRET: &str = "known-to-members-only";

/// Body of a request.
pub(super) enum RawBody {
    Sent(Vec<u8>),
    /// A length without the body itself.
    Announced(usize),
}

/// Request with something bad in it.
pub(super) struct BadRequest {
    /// Fault of the request.
    pub(super) what: String,
    pub(super) method: String,
    pub(super) target: String,
    /// Access token; empty for none.
    pub(super) token: String,
    pub(super) body: RawBody,
    /// Statuses and error codes of which the answer must have one; none if the caller may get anything that holds of all
    /// answers.
    pub(super) answers: &'static [(u16, &'static str)],
}

impl BadRequest {
    /// Sends the request, and returns what is wrong with the answer.
    pub(super) fn finding(&self, to: SocketAddr) -> Option<String> {
        let fault = match self.answer(to) {
            None => Some("no answer".to_owned()),
            Some(answer) => answer.fault(self.answers),
        };
        let target: String = self.target.chars().take(200).collect();
        let caller = if self.token.is_empty() { "without a token" } else { "with a session" };
        fault.map(|fault| format!("{} {target}, {}, {caller}: {fault}", self.method, self.what))
    }

    fn answer(&self, to: SocketAddr) -> Option<RawAnswer> {
        let mut stream = TcpStream::connect(to).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        // An answer may come before the body was taken; the connection is closed then, and either call may fail.
        let _ = stream.write_all(&self.bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        RawAnswer::parse(&answer)
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { method, target, token, .. } = self;
        let token = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let (length, body) = match &self.body {
            RawBody::Sent(body) => (body.len(), body.as_slice()),
            RawBody::Announced(length) => (*length, b"".as_slice()),
        };
        let head = format!("{method} {target} HTTP/1.0\r\nHost: test\r\n{token}Content-Length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    }
}

/// Answer to a request.
struct RawAnswer {
    status: u16,
    /// Status line and headers, in small letters.
    head: String,
    body: String,
}

impl RawAnswer {
    fn parse(answer: &[u8]) -> Option<Self> {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let status = head.split_whitespace().nth(1)?.parse().ok()?;
        Some(Self { status, head, body: String::from_utf8_lossy(&answer[end + 4..]).into_owned() })
    }

    /// Returns what is wrong with this answer.
    fn fault(&self, expected: &[(u16, &str)]) -> Option<String> {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let errcode = body["errcode"].as_str().unwrap_or_default();
        // User-interactive authentication asks for more without being an error.
        let is_error = errcode.starts_with("M_") && body["error"].is_string();
        let asks_for_more = self.status == 401 && body["flows"].is_array();
        let broken = if self.status >= 500 {
            "a fault of the server"
        } else if self.head.contains(SECRET) || self.body.contains(SECRET) {
            "a leak"
        } else if !self.head.contains("access-control-allow-origin: *") {
            "unreadable for a browser"
        } else if self.status >= 400 && !is_error && !asks_for_more {
            "no error of the specification"
        } else if !expected.is_empty() && !expected.contains(&(self.status, errcode)) {
            "another answer than the one for all endpoints"
        } else {
            return None;
        };
        let shown: String = self.body.chars().take(200).collect();
        Some(format!("{broken}: {} {shown}", self.status))
    }
}

#[test]
fn an_answer_that_tells_or_breaks_too_much_is_found() {
    let answer = |status: u16, body: &str| {
        let head = format!("HTTP/1.0 {status} x\r\nAccess-Control-Allow-Origin: *");
        RawAnswer::parse(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap()
    };
    let refused = answer(400, r#"{"errcode":"M_BAD_JSON","error":"x"}"#);
    assert_eq!(refused.fault(&[]), None);
    assert_eq!(refused.fault(&[(413, "M_TOO_LARGE"), (400, "M_BAD_JSON")]), None);
    assert!(refused.fault(&[(400, "M_NOT_JSON")]).is_some());
    assert_eq!(answer(401, r#"{"flows":[]}"#).fault(&[]), None);
    assert_eq!(answer(200, "[]").fault(&[]), None);
    assert!(answer(400, "Invalid URL").fault(&[]).unwrap().starts_with("no error"));
    assert!(answer(500, r#"{"errcode":"M_UNKNOWN","error":"x"}"#).fault(&[]).unwrap().starts_with("a fault"));
    assert!(answer(200, &format!("{{\"name\":\"{SECRET}\"}}")).fault(&[]).unwrap().starts_with("a leak"));
    let plain = RawAnswer::parse(b"HTTP/1.0 200 OK\r\n\r\n{}").unwrap();
    assert!(plain.fault(&[]).unwrap().starts_with("unreadable"));
    assert!(RawAnswer::parse(b"").is_none());
}
