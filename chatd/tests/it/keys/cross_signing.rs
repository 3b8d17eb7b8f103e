//! Cross-signing keys and signatures.

use super::{Device, PASSWORD};
use crate::support::cluster::Cluster;
use crate::support::signing::{Identity, SigningKey};
use serde_json::{Value, json};

const UPLOAD: &str = "/keys/device_signing/upload";

/// Adds a password to a body, in the session that an answer of the server began.
fn with_password(body: &Value, asked: &Value, user: &str, password: &str) -> Value {
    let identifier = json!({"type": "m.id.user", "user": user});
    let session = asked["session"].as_str().unwrap_or_else(|| panic!("no session: {asked}"));
    let mut body = body.clone();
    body["auth"] =
        json!({"type": "m.login.password", "identifier": identifier, "password": password, "session": session});
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn cross_signing_keys_are_set_once_without_a_password_and_replaced_with_it() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let [one, two, three] = [0, 1, 2].map(|n| &cluster.nodes[n]);
    let alice = Device::register(one, "alice");
    let bob = Device::register(two, "bob");
    let (old, new) = (Identity::new(10), Identity::new(20));
    let alone = json!({"self_signing_key": old.upload(&alice.user)["self_signing_key"]});
    let (status, answer) = alice.call(one, "POST", UPLOAD, &alone);
    assert_eq!((status, answer["errcode"].as_str()), (400, Some("M_MISSING_PARAM")));
    let mut forged = old.upload(&alice.user);
    forged["self_signing_key"] = new.0[0].sign(old.0[1].to_json(&alice.user, "self_signing"), &alice.user);
    let (status, answer) = alice.call(one, "POST", UPLOAD, &forged);
    assert_eq!((status, answer["errcode"].as_str()), (400, Some("M_INVALID_SIGNATURE")));

    for node in [one, two] {
        alice.done(node, "POST", UPLOAD, &old.upload(&alice.user));
    }
    let other = new.upload(&alice.user);
    let (status, asked) = alice.call(three, "POST", UPLOAD, &other);
    assert_eq!((status, &asked["flows"]), (401, &json!([{"stages": ["m.login.password"]}])), "{asked}");
    assert!(asked["params"].is_object() && asked.get("errcode").is_none(), "{asked}");
    let wrong = with_password(&other, &asked, &alice.user, "wrong");
    let (status, answer) = alice.call(two, "POST", UPLOAD, &wrong);
    assert_eq!((status, answer["errcode"].as_str()), (401, Some("M_FORBIDDEN")), "{answer}");
    assert!(answer["flows"].is_array() && answer["session"].is_string(), "{answer}");
    let as_bob = with_password(&other, &asked, &bob.user, PASSWORD);
    assert_eq!(alice.call(two, "POST", UPLOAD, &as_bob).0, 403);
    let (_, deletion) = alice.call(two, "POST", "/delete_devices", &json!({"devices": ["D"]}));
    let of_deletion = with_password(&other, &deletion, &alice.user, PASSWORD);
    assert_eq!(alice.call(one, "POST", UPLOAD, &of_deletion).0, 403, "a session that was begun for something else");
    let master = |caller: &Device| {
        let found = caller.done(three, "POST", "/keys/query", &json!({"device_keys": {&alice.user: []}}));
        found["master_keys"][&alice.user]["keys"].clone()
    };
    assert_eq!(master(&bob), json!({old.0[0].id(): old.0[0].public()}));
    alice.done(one, "POST", UPLOAD, &with_password(&other, &asked, &alice.user, PASSWORD));
    assert_eq!(master(&bob), json!({new.0[0].id(): new.0[0].public()}));
    let found = bob.done(three, "POST", "/keys/query", &json!({"device_keys": {&alice.user: []}}));
    assert!(found["self_signing_keys"][&alice.user].is_object() && found.get("user_signing_keys").is_none());
    let found = alice.done(three, "POST", "/keys/query", &json!({"device_keys": {&alice.user: []}}));
    assert!(found["user_signing_keys"][&alice.user].is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_verified_and_shown_to_those_whom_they_concern() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let [one, two, three] = [0, 1, 2].map(|n| &cluster.nodes[n]);
    let (alice, bob, carol) =
        (Device::register(one, "alice"), Device::register(two, "bob"), Device::register(three, "carol"));
    let (of_alice, of_bob) = (Identity::new(10), Identity::new(20));
    let device_key = SigningKey::new(30);
    let identity = alice.identity(&device_key.public());
    alice.upload(one, &json!({"device_keys": identity}));
    alice.done(one, "POST", UPLOAD, &of_alice.upload(&alice.user));
    bob.done(two, "POST", UPLOAD, &of_bob.upload(&bob.user));

    let [master, own, users] = &of_alice.0;
    let device = own.sign(identity.clone(), &alice.user);
    let own_master = device_key.sign_as(master.to_json(&alice.user, "master"), &alice.user, "ed25519:D");
    let bobs_master = of_bob.0[0].to_json(&bob.user, "master");
    let signed_bob = users.sign(bobs_master.clone(), &alice.user);
    let body = json!({
        &alice.user: {"D": device, master.public(): own_master},
        &bob.user: {of_bob.0[0].public(): signed_bob},
    });
    assert_eq!(alice.done(three, "POST", "/keys/signatures/upload", &body), json!({}));
    let query = json!({"device_keys": {&alice.user: [], &bob.user: []}});
    let seen = |caller: &Device| {
        let found = caller.done(two, "POST", "/keys/query", &query);
        let by_alice = |key: &Value| key["signatures"][&alice.user].as_object().map_or(0, serde_json::Map::len);
        let of_device = by_alice(&found["device_keys"][&alice.user]["D"]);
        [of_device, by_alice(&found["master_keys"][&alice.user]), by_alice(&found["master_keys"][&bob.user])]
    };
    assert_eq!(seen(&alice), [1, 1, 1]);
    assert_eq!((seen(&bob), seen(&carol)), ([1, 1, 0], [1, 1, 0]), "whom alice has verified is not told");

    let body = json!({
        &alice.user: {
            "D": master.sign(identity.clone(), &alice.user),
            "X": own.sign(identity, &alice.user),
        },
        &bob.user: {of_bob.0[0].public(): users.sign(of_alice.0[0].to_json(&bob.user, "master"), &alice.user)},
        "@nobody:chat.test": {"key": {}},
    });
    let failures = alice.done(one, "POST", "/keys/signatures/upload", &body);
    let code = |user: &str, target: &str| failures["failures"][user][target]["errcode"].as_str();
    assert_eq!(code(&alice.user, "D"), Some("M_INVALID_SIGNATURE"), "{failures}");
    assert_eq!(code(&alice.user, "X"), Some("M_NOT_FOUND"));
    assert_eq!(code(&bob.user, &of_bob.0[0].public()), Some("M_UNKNOWN"));
    assert_eq!(code("@nobody:chat.test", "key"), Some("M_NOT_FOUND"));
}
