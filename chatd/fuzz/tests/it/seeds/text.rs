//! Text that people and clients write.

use bytes::Bytes;
use quorate_chatd::api::matrix::matrix_endpoints;
use quorate_core::id::{self, Position, RoomNumber};
use quorate_core::query::sync::{LifeMarks, SyncRest, SyncToken};

const AT: Position = Position { incarnation: 1, index: 7_000_000_000, ordinal: 65_537 };
const SERVER: &str = "a.org";

fn all(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Two sets of parts, of one length each.
pub(super) fn keys() -> Vec<Vec<u8>> {
    let parts = |room: u64, text: &str| {
        [&room.to_be_bytes()[..], &AT.to_bytes(), &Position::MAX.to_bytes(), text.as_bytes()].concat()
    };
    let pair = |a, b| [parts(1, a), parts(2, b)].concat();
    vec![pair("m.room.member\n@a:x", "m.room.member\n@b:x"), pair("a\nb", "b\na"), pair("a\0\n", "a\n\0")]
}

pub(super) fn contents(golden: &[Bytes]) -> Vec<Vec<u8>> {
    let mut out = all(&[
        r#"{"body":"a \"quoted\" \u00e9 \ud83d\ude00","msgtype":"m.text"}"#,
        r#"{"n":[1,-2,3.25,1e10,null,true,{"deep":[[[[]]]]}],"":{}}"#,
        r#"{"membership":"join","third_party_invite":{"signed":{"token":"x"},"display_name":"y"}}"#,
        r#"{"m.relates_to":{"rel_type":"m.annotation","event_id":"$x","key":"+"},"redacts":"$y"}"#,
        r#"{"join_rule":"restricted","allow":[{"type":"m.room_membership","room_id":"!r:a.org"}]}"#,
        r#"{"history_visibility":"shared","max_lifetime":86400000}"#,
    ]);
    out.extend(golden.iter().take(4).map(|content| content.to_vec()));
    out
}

pub(super) fn levels() -> Vec<Vec<u8>> {
    let old = r#"{"users":{"@alice:a.org":100,"@bob:a.org":50},"events":{"m.room.name":50,"t":100},"ban":60}"#;
    let lower = r#"{"users":{"@alice:a.org":100,"@bob:a.org":0},"notifications":{"room":20},"users_default":-5}"#;
    let weak = r#"{"users":{"@alice:a.org":50,"@bob:a.org":100},"invite":50,"kick":10}"#;
    let higher = r#"{"users":{"@alice:a.org":50,"@bob:a.org":100,"@carol:b.org":51}}"#;
    all(&[&format!("{old}\n{lower}"), &format!("{weak}\n{higher}"), "{}\n{}"])
}

pub(super) fn filters() -> Vec<Vec<u8>> {
    all(&[
        r#"{"room":{"not_rooms":["!a:x"],"state":{"lazy_load_members":true},"timeline":{"limit":20,"types":["m.*"]}}}"#,
        r#"{"room":{"rooms":["!a:x"],"include_leave":true,"timeline":{"not_types":["m.room.*","*","a*b"],"senders":["@a:x"],"not_senders":[]}}}"#,
        r#"{"room":{"timeline":{"contains_url":true,"rooms":["!a:x"],"not_rooms":["!b:x"],"related_by_senders":["@a:x"],"related_by_rel_types":["m.thread"]}}}"#,
        r#"{"room":{"timeline":{"org.matrix.msc3874.rel_types":["m.thread"],"org.matrix.msc3874.not_rel_types":["m.reference"]}}}"#,
        r#"{"room":{"ephemeral":{"types":["m.receipt"],"limit":0,"rooms":["!a:x"],"not_rooms":["!b:x"]}}}"#,
        "{}",
    ])
}

pub(super) fn names() -> Vec<Vec<u8>> {
    let named = [id::event_id(AT), id::room_id(AT, SERVER), id::encode_cursor(AT)];
    let mut out: Vec<Vec<u8>> = named.into_iter().map(String::into_bytes).collect();
    let rests = [(None, false), (Some(AT), false), (Some(AT), true)];
    let rests = rests.map(|(since, full_state)| SyncRest { after: RoomNumber(7), since, full_state });
    let marks = LifeMarks::of([(7, 300), (9, 1)]);
    out.extend(rests.map(|rest| SyncToken { at: AT, rest: Some(rest), to_device: None, marks }.to_text().into_bytes()));
    out.push(SyncToken { at: AT, rest: None, to_device: Some(AT), marks }.to_text().into_bytes());
    out.extend(all(&["@al.ice:a.org", "alice", "#the-room:a.org", "#é:a.org", "3~7"]));
    out
}

pub(super) fn configurations() -> Vec<Vec<u8>> {
    all(&[
        "serverName: a.org",
        "serverName: a.org\nnodeName: chat-0\nlisten: {http: '0.0.0.0:8008', grpc: '[::1]:7400'}\nrateLimit: {enabled: false}\n",
        "serverName: \"a.org:8448\"\nraft:\n  heartbeatInterval: 50ms\n  electionTimeoutMin: 500ms\n  electionTimeoutMax: 1s\n  snapshotEntries: 10000\n  keepLogEntries: 5\nsessionLifetime: 30d\nregistration: closed\nlog: {format: text, level: 'info,quorate_chatd::raft=debug'}\nshutdownGrace: 20s\n",
        "serverName: &name a.org\nnodeName: *name\n",
    ])
}

pub(super) fn durations() -> Vec<Vec<u8>> {
    all(&["0", "50ms", "1h30m", "30d", "1s500ms", "213503982334d"])
}

pub(super) fn pages() -> Vec<Vec<u8>> {
    all(&["", "m", "m12", "p", "p18446744073709551615"])
}

pub(super) fn forwarded() -> Vec<Vec<u8>> {
    all(&[
        "10.0.0.0/8\n198.51.100.1, 203.0.113.9",
        "10.0.0.0/8,192.0.2.1\n198.51.100.1\n[2001:db8::5]:4711, 10.9.9.9",
        "10.1.2.3\n203.0.113.9:80, 10.1.2.3",
        "::ffff:10.0.0.0/104,10.0.0.0/8\nunknown, 2001:db8::7",
    ])
}

pub(super) fn roles() -> Vec<Vec<u8>> {
    all(&["quorate://cluster/chat.team/peer/team-0", "https://a.org\nquorate://cluster/chat.team/admin/operator"])
}

/// For each endpoint every combination; those that it takes are kept.
pub(super) fn requests() -> Vec<Vec<u8>> {
    const PATHS: [&str; 11] = [
        "",
        "!r:a.org",
        "@alice:a.org",
        "#x:a.org",
        "!r:a.org m.room.message t1",
        "!r:a.org $e:a.org t1",
        "@alice:a.org !r:a.org m.tag",
        "@alice:a.org 7",
        "!r:a.org @alice:a.org",
        "!r:a.org $e:a.org m.thread m.room.message",
        "override x.rule",
    ];
    const QUERY: &str =
        "dir=b&limit=5&since=q1&timeout=0&username=alice&version=1&from=q1&to=q1&token=x&ts=0&user_id=@bob:a.org";
    const BODIES: [&str; 16] = [
        "{}",
        r#"{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"x","username":"alice"}"#,
        r#"{"preset":"public_chat","name":"x","invite":["@bob:a.org"],"initial_state":[{"type":"t","state_key":"","content":{}}]}"#,
        r#"{"user_id":"@bob:a.org","reason":"x","displayname":"Alice","avatar_url":"mxc://a.org/x"}"#,
        r#"{"messages":{"@bob:a.org":{"*":{"n":1}}},"algorithm":"a","auth_data":{"k":"v"}}"#,
        r#"{"first_message_index":1,"forwarded_count":0,"is_verified":true,"session_data":{"a":"b"}}"#,
        r#"{"rooms":{"!r:a.org":{"sessions":{"s":{"is_verified":1}}}},"sessions":{"s":{"is_verified":1}}}"#,
        r#"{"device_keys":{"@alice:a.org":["D"]},"one_time_keys":{"@alice:a.org":{"D":"signed_curve25519"}}}"#,
        r#"{"device_keys":{},"one_time_keys":{"signed_curve25519:a":{"key":"x","signatures":{}}},"fallback_keys":{}}"#,
        r#"{"@alice:a.org":{"D":{"user_id":"@alice:a.org","keys":{},"signatures":{}}}}"#,
        r#"{"locked":true,"suspended":false}"#,
        r#"{"device_id":"D","device_data":{"algorithm":"a","device_pickle":"x"},"device_keys":{"keys":{},"signatures":{}}}"#,
        r#"{"app_id":"a","pushkey":"k","kind":"http","app_display_name":"x","device_display_name":"y","lang":"en","data":{"url":"https://a.org/_matrix/push/v1/notify"}}"#,
        r#"{"refresh_token":"qrt_x","nonce":"n","username":"a","password":"p","mac":"00","new_password":"x","devices":["D"],"presence":"online"}"#,
        r#"{"room_id":"!r:a.org","new_version":"11","visibility":"private","search_term":"x","typing":true,"timeout":1000,"enabled":true,"actions":["notify"],"conditions":[]}"#,
        r#"{"user_id":"@bob:a.org","content":{"msgtype":"m.text","body":"x"},"type":"m.room.message"}"#,
    ];
    let endpoints = matrix_endpoints();
    // The last one is the server's own, and reads nothing of a request.
    let decoded = &endpoints[..endpoints.len() - 1];
    assert!(decoded.len() <= usize::from(u8::MAX) + 1, "an input names its endpoint by one byte");
    let mut out = Vec::new();
    for (number, endpoint) in (0..=u8::MAX).zip(decoded) {
        let before = out.len();
        for (path, body) in PATHS.iter().flat_map(|path| BODIES.map(|body| (path, body))) {
            let request = [&[number], format!("{path}\n{QUERY}\n{body}").as_bytes()].concat();
            // One that is taken is enough: the others are for the fuzzer to find.
            if out.len() < before + 2 && quorate_fuzz::check(quorate_fuzz::FuzzDecoder::Matrix, &request) {
                out.push(request);
            }
        }
        assert!(out.len() > before, "{} takes none of these: add a path or a body that it takes", endpoint.name);
    }
    out
}
