//! Golden data directories: one of each version is kept for ever. Every kind of row is read, and a pod serves from it.
//!
//! `QUORATE_WRITE=1 cargo test --release --workspace --test it golden` creates the directory of this version again. Do
//! that before a version is released, never after it.

use crate::support::client::{PASSWORD, User, message, with_token};
use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::signing::Identity;
use quorate_chatd::raft::snapshot::SnapshotShelf;
use quorate_chatd::store::{FatalSignal, RocksSettings, RocksStore, StateStore as _};
use quorate_core::invariant::{check_all, state_digest};
use quorate_core::table::{ScanControl, ScanRange, Table, TableRead as _};
use quorate_wire::admin::v1 as admin;
use quorate_wire::chat::v1::create_room_request::Preset;
use quorate_wire::chat::v1::*;
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Versions with a directory; the newest is that of this build.
const VERSIONS: [u32; 1] = [1];
const SETTINGS: &str = "rateLimit: {enabled: false}\nraft: {keepLogEntries: 5}";

/// Returns the path of a kept file; tests run in the directory of their package.
fn kept(version: u32, ending: &str) -> PathBuf {
    PathBuf::from(format!("tests/golden/version-{version}.{ending}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_any_version_is_read_row_by_row_and_served() {
    if std::env::var_os("QUORATE_WRITE").is_some() {
        make(VERSIONS[VERSIONS.len() - 1]).await;
    }
    for version in VERSIONS {
        let told = fs::read_to_string(kept(version, "txt")).expect("what is in it");
        let dir = tempfile::tempdir().expect("a directory");
        unpack(version, dir.path());
        let (rows, _) = told.split_once("said ").expect("rows, then what was said");
        assert_eq!(rows_of(dir.path()), rows, "version {version}");
        serve(version, &told).await;
    }
}

fn unpack(version: u32, into: &Path) {
    fs::create_dir_all(into).expect("a directory");
    let archive = kept(version, "tar.gz");
    let done = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(into).status().expect("tar");
    assert!(done.success());
}

/// Reads every row, and returns the number of rows of each table and a checksum of all.
fn rows_of(data: &Path) -> String {
    let store = RocksStore::open(&data.join("state"), RocksSettings::default(), FatalSignal::default()).expect("opens");
    let snapshot = SnapshotShelf::open(&data.join("state")).expect("opens").newest().expect("a snapshot");
    let contents = store.inspect(&snapshot.data_dir()).expect("the snapshot opens");
    assert!(contents.applied.index() < store.applied().index(), "the log goes on after it");
    let view = store.view();
    check_all(&view).expect("the invariants hold");
    let mut out = String::new();
    for table in Table::ALL {
        let mut rows = 0;
        view.scan(&ScanRange::all(table), &mut |_| {
            rows += 1;
            Ok(ScanControl::More)
        })
        .expect("reads");
        assert!(rows > 0, "{table:?} has no row that a later version must read");
        writeln!(out, "rows {table:?} {rows}").expect("text");
    }
    writeln!(out, "digest {:08x}", state_digest(&view).expect("reads")).expect("text");
    out
}

async fn serve(version: u32, told: &str) {
    let cluster = Cluster::prepared(1, SETTINGS, |node| unpack(version, &node.data()));
    cluster.all_ready().await;
    let request = LoginRequest { username: "alice".into(), password: PASSWORD.into(), ..LoginRequest::default() };
    let session = cluster.chat(0).await.login(request).await.expect("the password is known").into_inner();
    let alice = User { session, clients: vec![cluster.chat(0).await] };
    let request = ListRoomsRequest::default();
    let rooms = alice.client(0).list_rooms(alice.asks(request)).await.expect("rooms").into_inner().rooms;
    for room in &rooms {
        let before = alice.read_all(0, &room.room_id).await;
        for (sender, body) in &before {
            assert!(told.contains(&format!("said {} {sender} {body}\n", room.name)), "{sender}: {body}");
        }
        let said = told.lines().filter(|line| line.starts_with(&format!("said {} ", room.name))).count();
        assert_eq!(before.len(), said, "in {}", room.name);
        alice.say(0, &room.room_id, "still here", "new").await.expect("sent");
        assert_eq!(alice.read_all(0, &room.room_id).await.len(), said + 1);
    }
    assert_eq!(rooms.len(), 2);
}

/// Creates the files of a version from a cluster of one node in which everything has happened once.
async fn make(version: u32) {
    let mut cluster = Cluster::uninitialised(1, SETTINGS);
    cluster.initialise().await;
    cluster.all_ready().await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(0, "bob").await);
    let rooms = [talk(&cluster, &alice, &bob).await, forgetful(&alice).await];
    read_and_report(&cluster, &alice, &bob, &rooms[0]).await;
    encrypt(&cluster, &alice, &bob).await;
    let mut client = cluster.admin(0).await;
    let purge = admin::PurgeHistoryRequest { room_id: rooms[1].clone(), before_ms: u64::MAX };
    assert!(client.purge_history(purge).await.expect("removed").into_inner().events > 0);
    client.take_snapshot(admin::TakeSnapshotRequest { purge_log: true }).await.expect("a snapshot");
    for n in 0..10 {
        alice.say(0, &rooms[n % 2], &format!("after the snapshot {n}"), &format!("after-{n}")).await.expect("sent");
    }
    let mut told = String::new();
    for (name, room) in ["talk", "forgetful"].into_iter().zip(&rooms) {
        for (sender, body) in alice.read_all(0, room).await {
            writeln!(told, "said {name} {sender} {body}").expect("text");
        }
    }
    eventually("a notification waits for its gateway", || async {
        let (_, page) = cluster.nodes[0].page("/metrics")?;
        page.lines().any(|line| line.starts_with("quorate_push_waiting ") && !line.ends_with(" 0")).then_some(())
    })
    .await;
    let process = cluster.processes[0].take().expect("it runs");
    process.terminate();
    assert_eq!(process.ended().await, Some(0));
    let data = cluster.nodes[0].data();
    cut_zeros(&data.join("log"));
    pack(&data, &kept(version, "tar.gz"));
    fs::write(kept(version, "txt"), rows_of(&data) + &told).expect("written");
}

/// Creates messages, a reaction, a redaction, state, members and account data.
async fn talk(cluster: &Cluster, alice: &User, bob: &User) -> String {
    let request = CreateRoomRequest {
        preset: Preset::Public.into(),
        name: "talk".into(),
        alias: "talk".into(),
        ..CreateRoomRequest::default()
    };
    let room = alice.client(0).create_room(alice.asks(request)).await.expect("a room").into_inner().room_id;
    bob.join(0, &room).await.expect("joined");
    let first = alice.say(0, &room, "hello", "first").await.expect("sent").event_id;
    for n in 0..20 {
        let user = [alice, bob][n % 2];
        user.say(0, &room, &format!("message {n}"), &format!("m{n}")).await.expect("sent");
    }
    post(alice, &room).await;
    let relation = serde_json::json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": first, "key": "+"}});
    let reaction = SendRequest {
        room_id: room.clone(),
        r#type: "m.reaction".into(),
        content: relation.to_string().into(),
        transaction_id: "reaction".into(),
    };
    bob.client(0).send(bob.asks(reaction)).await.expect("sent");
    let address = cluster.nodes[0].http;
    let (user, token) = (&alice.session.user_id, &alice.session.access_token);
    let wrong = alice.say(0, &room, "a mistake", "wrong").await.expect("sent").event_id;
    for (method, path, body) in [
        ("PUT", format!("rooms/{room}/redact/{wrong}/r1"), "{\"reason\":\"wrong\"}"),
        ("PUT", format!("user/{user}/account_data/org.example.all"), "{\"a\":1}"),
        ("PUT", format!("user/{user}/rooms/{room}/account_data/org.example.room"), "{\"b\":2}"),
        ("POST", format!("user/{user}/filter"), "{\"room\":{\"timeline\":{\"limit\":5}}}"),
        ("PUT", format!("profile/{user}/displayname"), "{\"displayname\":\"Alice\"}"),
        ("PUT", format!("rooms/{room}/state/m.room.topic/"), "{\"topic\":\"all of it\"}"),
    ] {
        matrix(address, method, &path, token, body).await;
    }
    room
}

/// Pusher of a gateway that nobody has.
const PUSHER: &str = r#"{"app_id":"org.example.app","pushkey":"key","kind":"http","app_display_name":"App",
    "device_display_name":"Phone","lang":"en","data":{"url":"https://push.invalid/_matrix/push/v1/notify"}}"#;

/// Makes a receipt and a report about a new message, and a pusher.
async fn read_and_report(cluster: &Cluster, alice: &User, bob: &User, room: &str) {
    let address = cluster.nodes[0].http;
    let token = &bob.session.access_token;
    let event = alice.say(0, room, "to be read", "read").await.expect("sent").event_id;
    for (path, body) in [
        (format!("rooms/{room}/receipt/m.read/{event}"), "{}"),
        (format!("rooms/{room}/report/{event}"), r#"{"reason":"to be kept"}"#),
        ("pushers/set".to_owned(), PUSHER),
    ] {
        matrix(address, "POST", &path, token, body).await;
    }
}

/// Makes keys and signatures of two users, a message to a device, and a key backup.
async fn encrypt(cluster: &Cluster, alice: &User, bob: &User) {
    let address = cluster.nodes[0].http;
    let [of_alice, of_bob] = [Identity::new(10), Identity::new(20)];
    let call = async |user: &User, method: &str, path: &str, body: serde_json::Value| {
        matrix(address, method, path, &user.session.access_token, &body.to_string()).await;
    };
    for (user, identity) in [(alice, &of_alice), (bob, &of_bob)] {
        let SessionResponse { user_id, device_id, .. } = &user.session;
        let device = json!({
            "user_id": user_id, "device_id": device_id, "algorithms": ["m.megolm.v1.aes-sha2"],
            "keys": {format!("ed25519:{device_id}"): identity.0[1].public()}, "signatures": {},
        });
        let one_time = json!({"key": identity.0[2].public(), "signatures": {}});
        let upload = json!({"device_keys": device, "one_time_keys": {"signed_curve25519:AAAA": one_time}});
        call(user, "POST", "keys/upload", upload).await;
        call(user, "POST", "keys/device_signing/upload", identity.upload(user_id)).await;
    }
    let master = of_bob.0[0].to_json(&bob.session.user_id, "master");
    let signed = of_alice.0[2].sign(master, &alice.session.user_id);
    let signatures = json!({&bob.session.user_id: {of_bob.0[0].public(): signed}});
    call(alice, "POST", "keys/signatures/upload", signatures).await;
    let messages = json!({"messages": {&alice.session.user_id: {&alice.session.device_id: {"waits": true}}}});
    call(bob, "PUT", "sendToDevice/org.example.message/t1", messages).await;
    let asleep = json!({
        "device_id": "ASLEEP", "device_data": {"algorithm": "org.matrix.msc3814.v2", "device_pickle": "kept here"},
        "device_keys": {
            "user_id": alice.session.user_id, "device_id": "ASLEEP", "algorithms": ["m.megolm.v1.aes-sha2"],
            "keys": {"ed25519:ASLEEP": of_alice.0[1].public()}, "signatures": {},
        },
    });
    call(alice, "PUT", "unstable/org.matrix.msc3814.v1/dehydrated_device", asleep).await;
    let backup = json!({"algorithm": "m.megolm_backup.v1", "auth_data": {"kept": "here"}});
    call(alice, "POST", "room_keys/version", backup).await;
    let key = json!({
        "first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": {"of": "a session"},
    });
    call(alice, "PUT", "room_keys/keys/!room:example.org/session?version=1", key).await;
}

/// Posts over one stream, as bots do, so that a row for the stream's order exists.
async fn post(user: &User, room: &str) {
    let events = (0..3).map(|n| message(room, &format!("posted {n}"), &format!("p{n}"))).collect();
    let request = user.asks(futures::stream::iter([PostRequest { events }]));
    let mut answers = user.client(0).post(request).await.expect("open").into_inner();
    let mut accepted = 0;
    while let Some(answer) = answers.message().await.expect("no error") {
        accepted +=
            answer.results.iter().filter(|r| matches!(r.result, Some(post_result::Result::Accepted(_)))).count();
    }
    assert_eq!(accepted, 3);
}

/// Creates a room with a retention policy.
async fn forgetful(alice: &User) -> String {
    let rule = InitialState {
        r#type: "m.room.retention".into(),
        state_key: String::new(),
        // A hundred years: the policy must exist, but must not remove anything by itself while tests run.
        content: r#"{"max_lifetime":3155692600000}"#.into(),
    };
    let request =
        CreateRoomRequest { name: "forgetful".into(), initial_state: vec![rule], ..CreateRoomRequest::default() };
    let created = alice.client(0).create_room(with_token(request, &alice.session.access_token)).await;
    let room = created.expect("a room").into_inner().room_id;
    alice.say(0, &room, "to be removed", "gone").await.expect("sent");
    room
}

async fn matrix(address: std::net::SocketAddr, method: &str, path: &str, token: &str, body: &str) {
    let version = if path.starts_with("unstable/") { "" } else { "v3/" };
    let request = format!(
        "{method} /_matrix/client/{version}{path} HTTP/1.0\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = eventually("the Matrix API answers", || async {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    })
    .await;
    assert_eq!(answer.split_whitespace().nth(1), Some("200"), "{method} {path}: {answer}");
}

/// Cuts the zeros behind the last record, which are only preallocated for the sake of fdatasync.
fn cut_zeros(log: &Path) {
    for entry in fs::read_dir(log).expect("a directory").map(|entry| entry.expect("an entry")) {
        let bytes = fs::read(entry.path()).expect("reads");
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let file = fs::File::options().write(true).open(entry.path()).expect("opens");
        file.set_len(end.next_multiple_of(4096) as u64).expect("cuts");
    }
}

/// Packs a directory reproducibly: the same files yield the same bytes.
fn pack(data: &Path, archive: &Path) {
    let fixed = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
    let mut tar = Command::new("tar");
    let done = tar.args(fixed).arg("-czf").arg(archive).arg("-C").arg(data).args(["log", "state"]);
    assert!(done.status().expect("tar").success());
}
