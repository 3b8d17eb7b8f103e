//! Key backups.

use crate::support::client::User;
use crate::support::cluster::Cluster;
use crate::support::matrix::call_as;
use serde_json::{Value, json};

/// Calls an endpoint below `room_keys`, and returns status and answer.
fn call(cluster: &Cluster, n: usize, user: &User, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let path = format!("/_matrix/client/v3/room_keys/{path}");
    call_as(&cluster.nodes[n], &user.session.access_token, method, &path, body)
}

fn good(cluster: &Cluster, n: usize, user: &User, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = call(cluster, n, user, method, path, body);
    assert_eq!(status, 200, "{method} {path}: {answer}");
    answer
}

fn refused(cluster: &Cluster, user: &User, method: &str, path: &str, body: &Value) -> (u16, String, Value) {
    let (status, answer) = call(cluster, 0, user, method, path, body);
    (status, answer["errcode"].as_str().unwrap_or_default().to_owned(), answer)
}

fn info(data: &str) -> Value {
    json!({"algorithm": "m.megolm_backup.v1", "auth_data": {"foo": data}})
}

fn key(first_message_index: u64, is_verified: bool) -> Value {
    json!({
        "first_message_index": first_message_index,
        "forwarded_count": 5,
        "is_verified": is_verified,
        "session_data": {"a": "b"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_has_versions_and_only_the_current_one_takes_keys() {
    let cluster = Cluster::start("").await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let not_found = |path: &str| {
        let (status, code, answer) = refused(&cluster, &alice, "GET", path, &Value::Null);
        assert_eq!((status, code.as_str()), (404, "M_NOT_FOUND"), "{path}: {answer}");
    };
    not_found("version");
    not_found("version/1");
    not_found("keys?version=1");
    assert_eq!(good(&cluster, 0, &alice, "POST", "version", &info("bar"))["version"], "1");
    let shown = good(&cluster, 1, &alice, "GET", "version", &Value::Null);
    let expected = json!({
        "algorithm": "m.megolm_backup.v1", "auth_data": {"foo": "bar"}, "count": 0, "etag": "0", "version": "1",
    });
    assert_eq!(shown, expected);
    good(&cluster, 2, &alice, "PUT", "version/1", &info("baz"));
    assert_eq!(good(&cluster, 0, &alice, "GET", "version/1", &Value::Null)["auth_data"]["foo"], "baz");
    let mut other = info("x");
    other["version"] = "2".into();
    assert_eq!(refused(&cluster, &alice, "PUT", "version/1", &other).1, "M_INVALID_PARAM");

    assert_eq!(good(&cluster, 1, &alice, "POST", "version", &info("2"))["version"], "2");
    let (status, code, answer) = refused(&cluster, &alice, "PUT", "keys/!r:x/s?version=1", &key(0, true));
    assert_eq!((status, code.as_str(), &answer["current_version"]), (403, "M_WRONG_ROOM_KEYS_VERSION", &json!("2")));
    assert_eq!(refused(&cluster, &alice, "PUT", "keys/!r:x/s?version=3", &key(0, true)).0, 404);
    let put = good(&cluster, 2, &alice, "PUT", "keys/!r:x/s?version=2", &key(0, true));
    assert_eq!(put["count"], 1);
    assert_eq!(good(&cluster, 0, &alice, "GET", "keys?version=1", &Value::Null), json!({"rooms": {}}));
    not_found("keys/!r:x/other?version=2");
    // Another user's backups are not there.
    assert_eq!(refused(&cluster, &bob, "GET", "keys/!r:x/s?version=2", &Value::Null).0, 404);
    assert_eq!(refused(&cluster, &bob, "DELETE", "version/2", &Value::Null).0, 404);

    good(&cluster, 1, &alice, "DELETE", "version/2", &Value::Null);
    not_found("keys?version=2");
    assert_eq!(refused(&cluster, &alice, "DELETE", "version/2", &Value::Null).0, 404);
    assert_eq!(good(&cluster, 2, &alice, "GET", "version", &Value::Null)["version"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worse_key_does_not_replace_a_better_one() {
    let cluster = Cluster::start("").await;
    let alice = cluster.user(0, "alice").await;
    good(&cluster, 0, &alice, "POST", "version", &info("bar"));
    let path = "keys/!foo:hs1/a?version=1";
    let first = good(&cluster, 0, &alice, "PUT", path, &key(10, true));
    for worse in [key(11, true), key(1, false)] {
        assert_eq!(good(&cluster, 1, &alice, "PUT", path, &worse), first);
        assert_eq!(good(&cluster, 2, &alice, "GET", path, &Value::Null), key(10, true));
    }
    let second = good(&cluster, 1, &alice, "PUT", path, &key(9, true));
    assert!(second["count"] == 1 && second["etag"] != first["etag"], "{second}");
    assert_eq!(good(&cluster, 2, &alice, "GET", path, &Value::Null), key(9, true));
    let mut text = key(8, true);
    text["session_data"] = json!("text");
    good(&cluster, 2, &alice, "PUT", path, &text);
    assert_eq!(good(&cluster, 0, &alice, "GET", path, &Value::Null), text);
    let mut bad = key(1, true);
    bad["session_data"] = json!([1]);
    assert_eq!(refused(&cluster, &alice, "PUT", path, &bad).1, "M_BAD_JSON");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_backup_is_read_whole_and_removed() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let alice = cluster.user(0, "alice").await;
    good(&cluster, 0, &alice, "POST", "version", &info("bar"));
    for part in 0..3 {
        let sessions = |room: usize| {
            (0..400).map(|n| (format!("{part}-{room}-{n}"), key(1, true))).collect::<serde_json::Map<_, _>>()
        };
        let rooms = json!({"rooms": {"!a:x": {"sessions": sessions(0)}, "!b:x": {"sessions": sessions(1)}}});
        let answer = good(&cluster, part, &alice, "PUT", "keys?version=1", &rooms);
        assert_eq!(answer["count"], 800 * (part + 1));
    }
    let all = good(&cluster, 1, &alice, "GET", "keys?version=1", &Value::Null);
    let sessions = |answer: &Value| answer["sessions"].as_object().map(serde_json::Map::len);
    assert_eq!(["!a:x", "!b:x"].map(|room| sessions(&all["rooms"][room])), [Some(1200); 2]);
    let room = good(&cluster, 2, &alice, "GET", "keys/!b:x?version=1", &Value::Null);
    assert_eq!(room, all["rooms"]["!b:x"]);

    assert_eq!(good(&cluster, 0, &alice, "DELETE", "keys/!a:x/0-0-0?version=1", &Value::Null)["count"], 2399);
    assert_eq!(good(&cluster, 1, &alice, "DELETE", "keys/!a:x?version=1", &Value::Null)["count"], 1200);
    let empty = good(&cluster, 2, &alice, "GET", "keys/!a:x?version=1", &Value::Null);
    assert_eq!(empty, json!({"sessions": {}}));
    assert_eq!(good(&cluster, 0, &alice, "DELETE", "keys?version=1", &Value::Null)["count"], 0);
    let again = json!({"sessions": {"s": key(1, true)}});
    assert_eq!(good(&cluster, 1, &alice, "PUT", "keys/!a:x?version=1", &again)["count"], 1);
    good(&cluster, 2, &alice, "DELETE", "version/1", &Value::Null);
    assert_eq!(refused(&cluster, &alice, "GET", "keys?version=1", &Value::Null).0, 404);
}
