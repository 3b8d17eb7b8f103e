//! Dehydrated devices: left with one pod, and taken over through another one.

use crate::support::matrix::{MatrixUser, each, next_batch, single_node};
use serde_json::{Value, json};

const DEVICE: &str = "unstable/org.matrix.msc3814.v1/dehydrated_device";
const ALGORITHM: &str = "signed_curve25519";

fn device(user: &MatrixUser, device_id: &str) -> Value {
    let keys = json!({format!("curve25519:{device_id}"): "public", format!("ed25519:{device_id}"): "public"});
    json!({
        "device_id": device_id,
        "initial_device_display_name": "asleep",
        "device_data": {"algorithm": "org.matrix.msc3814.v2", "device_pickle": "secret", "nonce": "n"},
        "device_keys": {
            "user_id": user.id, "device_id": device_id, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": keys, "signatures": {}, "dehydrated": true,
        },
        "one_time_keys": {format!("{ALGORITHM}:1"): {"key": "one", "signatures": {}}},
        "fallback_keys": {format!("{ALGORITHM}:f"): {"key": "last", "fallback": true, "signatures": {}}},
    })
}

fn send(from: &MatrixUser, to: &MatrixUser, device_id: &str, number: usize) {
    let body = json!({"messages": {&to.id: {device_id: {"n": number}}}});
    from.must("PUT", &format!("v3/sendToDevice/m.test/{number}"), &body);
}

/// Syncs until devices are told.
fn next_device_lists(user: &MatrixUser, mut since: String) -> Value {
    loop {
        let told = user.get(&format!("v3/sync?timeout=30000&since={since}"));
        if let Some(lists) = told.get("device_lists") {
            return lists.clone();
        }
        since = next_batch(&told);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_takes_over_what_waited_for_the_dehydrated_one() {
    let cluster = single_node().await;
    let node = &cluster.nodes[0];
    let [alice, bob] = ["alice", "bob"].map(|name| MatrixUser::register(node, name));
    assert_eq!(alice.refused("GET", DEVICE, &Value::Null), (404, "M_NOT_FOUND".into()));
    assert_eq!(alice.refused("DELETE", DEVICE, &Value::Null), (404, "M_NOT_FOUND".into()));

    let room = alice.public_room();
    bob.join(&room);
    let since = bob.token();
    let put = alice.must("PUT", DEVICE, &device(&alice, "ASLEEP"));
    assert_eq!(put, json!({"device_id": "ASLEEP"}));
    assert_eq!(next_device_lists(&bob, since)["changed"], json!([alice.id]));
    let shown = alice.get(DEVICE);
    assert_eq!(shown["device_data"], device(&alice, "ASLEEP")["device_data"]);
    assert_eq!(each(&alice.get("v3/devices")["devices"], "/device_id").len(), 2);
    let sessions = &alice.get(&format!("v3/admin/whois/{}", alice.id))["devices"];
    assert_eq!((sessions.as_object().map(serde_json::Map::len), sessions.get("ASLEEP")), (Some(1), None));
    let keys = bob.must("POST", "v3/keys/query", &json!({"device_keys": {&alice.id: []}}));
    assert_eq!(keys["device_keys"][&alice.id]["ASLEEP"]["dehydrated"], true);
    assert_eq!(keys["device_keys"][&alice.id]["ASLEEP"]["unsigned"]["device_display_name"], "asleep");
    let claim = json!({"one_time_keys": {&alice.id: {"ASLEEP": ALGORITHM}}});
    let claimed = || {
        let keys = bob.must("POST", "v3/keys/claim", &claim)["one_time_keys"][&alice.id]["ASLEEP"].clone();
        keys.as_object().and_then(|keys| keys.keys().next().cloned()).expect("a key")
    };
    assert_eq!([claimed(), claimed()], [format!("{ALGORITHM}:1"), format!("{ALGORITHM}:f")]);

    for number in 0..101 {
        send(&bob, &alice, "ASLEEP", number);
    }
    let events = format!("{DEVICE}/ASLEEP/events");
    let first = alice.must("POST", &events, &json!({}));
    let numbers = |page: &Value| each(&page["events"], "/content/n");
    assert_eq!(numbers(&first), (0..100).map(|n| json!(n)).collect::<Vec<_>>());
    assert_eq!(first["events"][0]["sender"], json!(bob.id));
    let second = alice.must("POST", &events, &json!({"next_batch": next_batch(&first)}));
    assert_eq!(numbers(&second), [json!(100)]);
    let third = alice.must("POST", &events, &json!({"next_batch": next_batch(&second)}));
    assert_eq!(numbers(&third), Vec::<Value>::new());
    assert_eq!(numbers(&alice.must("POST", &events, &json!({}))).len(), 100, "it can begin again");
    let first = alice.get(&events);
    assert_eq!(numbers(&first).len(), 100);
    let last = alice.get(&format!("{events}?from={}", next_batch(&first)));
    assert_eq!((numbers(&last), last.get("next_batch")), (vec![json!(100)], None), "clients end where it is absent");
    assert_eq!(numbers(&alice.get(&format!("{events}?limit=2"))), [json!(0), json!(1)]);
    for bad in ["from=x", "limit=x"] {
        assert_eq!(alice.refused("GET", &format!("{events}?{bad}"), &Value::Null).0, 400, "{bad}");
    }
    assert_eq!(bob.refused("GET", &events, &Value::Null), (403, "M_FORBIDDEN".into()));
    for (user, path) in [(&bob, events.clone()), (&alice, format!("{DEVICE}/OTHER/events"))] {
        assert_eq!(user.refused("POST", &path, &json!({})), (403, "M_FORBIDDEN".into()));
    }

    alice.must("PUT", DEVICE, &device(&alice, "AGAIN"));
    assert_eq!(alice.refused("POST", &events, &json!({})), (403, "M_FORBIDDEN".into()));
    assert_eq!(alice.must("DELETE", DEVICE, &Value::Null), json!({"device_id": "AGAIN"}));
    assert_eq!(alice.refused("GET", DEVICE, &Value::Null).0, 404);
    assert_eq!(each(&alice.get("v3/devices")["devices"], "/device_id").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_dehydrated_device_is_refused() {
    let cluster = single_node().await;
    let node = &cluster.nodes[0];
    let alice = MatrixUser::register(node, "alice");
    let (_, logged_in) = alice.log_in(None);
    let mut without_algorithm = device(&alice, "A");
    without_algorithm["device_data"] = json!({});
    let mut without_keys = device(&alice, "A");
    without_keys.as_object_mut().expect("an object").remove("device_keys");
    for body in [without_algorithm, without_keys, device(&alice, &logged_in), device(&alice, "")] {
        assert_eq!(alice.refused("PUT", DEVICE, &body).0, 400, "{body}");
    }
    assert_eq!(alice.refused("GET", DEVICE, &Value::Null).0, 404);
}
