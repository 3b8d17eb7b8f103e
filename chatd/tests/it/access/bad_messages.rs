//! Bytes that are no messages, and methods that do not exist, over gRPC.

use super::grpc::{PACKAGE, methods};
use super::raw_call::{NO_MESSAGE, UNREADABLE, call};
use crate::support::cluster::Cluster;
use bytes::Bytes;
use tonic::{Code, Status};

/// More than the listener takes.
const TOO_LONG: usize = 3 << 20;

/// Returns bytes that no type of message can be read from, with what is wrong with them.
fn no_messages() -> [(&'static str, Bytes); 4] {
    [
        ("no varint", Bytes::from_static(NO_MESSAGE)),
        // A field with a number that no message uses, in five bytes of which one came.
        ("cut off", Bytes::from_static(&[0xa2, 0x7d, 0x05, b'x'])),
        // Each pair of bytes begins a group with that number within the one before. No longer than strangers may send.
        ("deep", Bytes::from([0xa3_u8, 0x7d].repeat(5_000))),
        ("no end of a group", Bytes::from_static(&[0xa3, 0x7d])),
    ]
}

/// Makes bad calls of every method, with and without the token, and returns what was not refused as it should be.
pub(super) async fn findings(cluster: &Cluster, token: &str) -> Vec<String> {
    let channel = cluster.channel(0).await;
    let mut findings = Vec::new();
    for method in methods(PACKAGE) {
        let path = format!("/{PACKAGE}.{method}");
        let needs_session = !matches!(method.as_str(), "Chat/Register" | "Chat/Login");
        for (what, message) in no_messages() {
            let unreadable = |status: &Status| status.message().contains(UNREADABLE);
            let answer = call(&channel, &path, token, message.clone()).await;
            findings.extend(finding(&method, what, answer, unreadable));
            let answer = call(&channel, &path, "", message).await;
            let refused = |status: &Status| {
                if needs_session { status.code() == Code::Unauthenticated } else { unreadable(status) }
            };
            findings.extend(finding(&method, &format!("{what}, without a token"), answer, refused));
        }
        let too_long = |status: &Status| matches!(status.code(), Code::OutOfRange | Code::InvalidArgument);
        let answer = call(&channel, &path, token, Bytes::from(vec![0_u8; TOO_LONG])).await;
        findings.extend(finding(&method, "too long", answer, too_long));
    }
    for path in ["/quorate.chat.v1.Chat/Nothing", "/quorate.chat.v1.Nothing/Send", "/quorate.admin.v1.Admin/Status"] {
        for token in ["", token] {
            let answer = call(&channel, path, token, Bytes::new()).await;
            let unknown = |status: &Status| status.code() == Code::Unimplemented;
            findings.extend(finding(path, "unknown", answer, unknown));
        }
    }
    findings
}

fn finding(
    method: &str,
    what: &str,
    answer: Result<Bytes, Status>,
    is_right: impl Fn(&Status) -> bool,
) -> Option<String> {
    let is_refused_rightly = answer.as_ref().is_err_and(is_right);
    (!is_refused_rightly).then(|| format!("gRPC {method}, {what}: {answer:?}"))
}
