//! Listeners: checks before a body is read, limits on silent connections, and orderly shutdown.

use crate::support::client::User;
use crate::support::cluster::Cluster;
use crate::support::process::Node;
use crate::support::{PATIENCE, eventually};
use quorate_wire::chat::v1::PostRequest;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;
use tonic::{Code, Request};

/// Number of silent connections: more than port 7401 holds for one address before their handshakes.
const SILENT: usize = 300;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("open");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// Reads an answer with a length; `None` if the connection ends first.
fn answer(stream: &mut TcpStream) -> Option<String> {
    let mut heard = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_lowercase();
            let length =
                lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Some(text);
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(bytes) => heard.extend_from_slice(&piece[..bytes]),
        }
    }
}

/// Returns the answer to a request whose body never comes.
fn answer_to_head(node: &Node, head: &str) -> String {
    let mut stream = connect(node.http);
    write!(stream, "{head}\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n").expect("written");
    answer(&mut stream).expect("an answer without the body")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_known_before_a_byte_of_the_body_is_read_and_silence_locks_nobody_out() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let node = &cluster.nodes[0];
    let send = "PUT /_matrix/client/v3/rooms/!a:chat.test/send/m.room.message/1 HTTP/1.1";
    assert!(answer_to_head(node, send).contains("M_MISSING_TOKEN"));
    for scheme in ["Bearer", "bearer"] {
        let unknown = answer_to_head(node, &format!("{send}\r\nAuthorization: {scheme} qat_nobodys"));
        assert!(unknown.starts_with("HTTP/1.1 401") && unknown.contains("M_UNKNOWN_TOKEN"), "{scheme}: {unknown}");
    }
    for open in ["login", "register"] {
        let large = answer_to_head(node, &format!("POST /_matrix/client/v3/{open} HTTP/1.1"));
        assert!(large.starts_with("HTTP/1.1 413") && large.contains("16384"), "{large}");
    }

    let alice = cluster.user(0, "alice").await;
    // The session is checked even though the first message of the stream never comes.
    let refused = alice.client(0).post(Request::new(tokio_stream::pending::<PostRequest>())).await;
    assert_eq!(refused.expect_err("no token").code(), Code::Unauthenticated);
    silent_handshakes(&cluster, node).await;
    still_serves(&alice).await;
}

async fn silent_handshakes(cluster: &Cluster, node: &Node) {
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(connect(node.peer));
    }
    for _ in 0..3 {
        silent.push(connect(node.peer));
        cluster.status(0).await.expect("an administrator gets in at the first attempt");
    }
    // The oldest connections were closed, either for newer ones or because they sent nothing.
    let mut first = silent.swap_remove(0);
    assert!(matches!(first.read(&mut [0]), Ok(0) | Err(_)));
}

async fn still_serves(alice: &User) {
    let room = alice.create_room(0, Default::default(), "").await;
    alice.say(0, &room, "still here", "end").await.expect("sent");
}

/// Returns a long poll for what comes after now, as it is sent.
fn poll_for_news(node: &Node, token: &str) -> String {
    let first = node.ask("GET", "/_matrix/client/v3/sync?timeout=0", token, "", "");
    let since = first["next_batch"].as_str().expect("a token");
    format!(
        "GET /_matrix/client/v3/sync?timeout=30000&since={since} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
}

/// Waits until a node's metrics have this line.
async fn shows(node: &Node, line: &str) {
    eventually(line, || async { node.page("/metrics").filter(|(_, page)| page.contains(line)) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_sync_is_answered_before_the_next_request_and_ends_with_its_client() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let alice = cluster.user(0, "alice").await;
    let (node, token) = (&cluster.nodes[0], &alice.session.access_token);
    let room = alice.create_room(0, Default::default(), "").await;
    let poll = poll_for_news(node, token);
    let mut parked = connect(node.http);
    parked.write_all(poll.as_bytes()).expect("written");
    shows(node, "quorate_sync_parked 1\n").await;
    let next = "GET /_matrix/client/versions HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    parked.write_all(next.as_bytes()).expect("written");
    alice.say(0, &room, "some news", "news").await.expect("sent");
    let mut heard = String::new();
    parked.read_to_string(&mut heard).expect("two answers");
    let (told, versions) = (heard.find("some news"), heard.find("\"versions\""));
    assert!(told.is_some() && told < versions, "{heard}");

    let poll = poll_for_news(node, token);
    let mut vanishes = connect(node.http);
    vanishes.write_all(poll.as_bytes()).expect("written");
    shows(node, "quorate_sync_parked 1\n").await;
    drop(vanishes);
    shows(node, "quorate_sync_parked 0\n").await;
    shows(node, "quorate_api_connections{api=\"matrix\"} 0\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_pod_answers_a_parked_sync_once_and_closes_the_connection() {
    let mut cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let alice = cluster.user(0, "alice").await;
    let token = alice.session.access_token.clone();
    let node = cluster.nodes[0].clone();
    let poll = poll_for_news(&node, &token);
    let mut parked = connect(node.http);
    parked.write_all(poll.as_bytes()).expect("written");
    let process = cluster.processes[0].take().expect("it runs");
    shows(&node, "quorate_sync_parked 1\n").await;
    process.terminate();

    let told = answer(&mut parked).expect("an answer");
    assert!(told.starts_with("HTTP/1.1 200") && told.to_lowercase().contains("connection: close"), "{told}");
    assert!(answer(&mut parked).is_none(), "the connection ends with it");
    let (mut answers, began) = (0, Instant::now());
    // Polls again and again, for as long as the listener accepts connections.
    while let Ok(mut stream) = TcpStream::connect(node.http) {
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        if stream.write_all(poll.as_bytes()).is_err() || answer(&mut stream).is_none() {
            break;
        }
        answers += 1;
    }
    // At most about one answer per second, not thousands.
    let seconds = began.elapsed().as_secs();
    assert!(answers <= seconds + 2, "{answers} answers in {seconds} s");
    assert_eq!(process.ended().await, Some(0));
}
