//! Accounts over the Matrix API: stages that continue on any pod, devices, passwords, refresh tokens, closing an account,
//! registration by administrators.

use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::matrix::{MatrixUser, call_as, single_node};
use crate::support::process::{Node, SERVER_NAME};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};
use std::fmt::Write as _;

const QUIET: &str = "rateLimit: {enabled: false}";
const OLD: &str = "an old password";
const NEW: &str = "a new password";

/// Makes a request and returns the status and the JSON of the answer.
fn ask(node: &Node, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
    call_as(node, token, method, &format!("/_matrix/client/v3/{path}"), body)
}

fn text(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap_or_else(|| panic!("no {field} in {answer}")).to_owned()
}

/// Registers an account without any stage but the dummy one; returns its token and device.
fn register(node: &Node, name: &str, device: &str) -> String {
    let body = json!({"username": name, "password": OLD, "device_id": device, "auth": {"type": "m.login.dummy"}});
    let (status, answer) = ask(node, "POST", "register", "", &body);
    assert_eq!(status, 200, "{answer}");
    text(&answer, "access_token")
}

fn login(node: &Node, name: &str, password: &str, device: &str) -> (u16, Value) {
    let user = json!({"type": "m.id.user", "user": name});
    let body = json!({
        "type": "m.login.password",
        "identifier": user,
        "password": password,
        "device_id": device,
        "initial_device_display_name": "a tablet",
    });
    ask(node, "POST", "login", "", &body)
}

fn password(name: &str, password: &str, session: Option<&str>) -> Value {
    let user = json!({"type": "m.id.user", "user": name});
    let mut auth = json!({"type": "m.login.password", "identifier": user, "password": password});
    if let Some(session) = session {
        auth["session"] = session.into();
    }
    auth
}

/// Waits until a pod no longer accepts a token.
async fn ended(node: &Node, token: &str) {
    eventually("the session has ended", || async {
        let (status, answer) = ask(node, "GET", "account/whoami", token, &json!({}));
        (status == 401 && answer["errcode"] == "M_UNKNOWN_TOKEN").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_of_a_registration_continue_on_any_pod_and_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("token");
    std::fs::write(&file, "Zaunkoenig\n").expect("written");
    let settings = format!(
        "{QUIET}\nregistration: token\naccounts: {{registrationTokenFile: '{}', termsUrl: 'https://a.org/terms'}}",
        file.display()
    );
    let mut cluster = Cluster::start(&settings).await;
    let body = |auth: Value| json!({"username": "alice", "password": OLD, "auth": auth});
    let (status, first) =
        ask(&cluster.nodes[0], "POST", "register", "", &json!({"username": "alice", "password": OLD}));
    assert_eq!(status, 401, "{first}");
    assert_eq!(first["flows"], json!([{"stages": ["m.login.registration_token", "m.login.terms"]}]));
    assert_eq!(first["params"]["m.login.terms"]["policies"]["terms_of_service"]["en"]["url"], "https://a.org/terms");
    assert!(first.get("completed").is_none() && first.get("errcode").is_none(), "{first}");

    let token =
        |token: &str, session: &str| json!({"type": "m.login.registration_token", "token": token, "session": session});
    let session = text(&first, "session");
    let (status, wrong) = ask(&cluster.nodes[1], "POST", "register", "", &body(token("Zaun", &session)));
    assert_eq!((status, wrong["errcode"].as_str()), (401, Some("M_UNAUTHORIZED")), "{wrong}");
    assert!(wrong["completed"] == json!([]) && wrong["flows"].is_array(), "{wrong}");
    let (status, second) =
        ask(&cluster.nodes[1], "POST", "register", "", &body(token("Zaunkoenig", &text(&wrong, "session"))));
    assert_eq!(status, 401, "{second}");
    assert_eq!(second["completed"], json!(["m.login.registration_token"]));

    for n in 0..3 {
        cluster.kill(n);
    }
    for n in 0..3 {
        cluster.restart(n);
    }
    cluster.all_ready().await;
    let terms = |session: &str| json!({"type": "m.login.terms", "session": session});
    let (status, alone) = ask(&cluster.nodes[2], "POST", "register", "", &body(terms(&session)));
    assert_eq!((status, &alone["completed"]), (401, &json!(["m.login.terms"])), "the first session knows no token");
    let (status, made) = ask(&cluster.nodes[2], "POST", "register", "", &body(terms(&text(&second, "session"))));
    assert_eq!(status, 200, "{made}");
    assert_eq!(made["user_id"], format!("@alice:{SERVER_NAME}"));
    answers_again(&cluster, &text(&second, "session"), &made);

    let validity = |token: &str| {
        let path = format!("/_matrix/client/v1/register/m.login.registration_token/validity?token={token}");
        cluster.nodes[0].ask("GET", &path, "", "", "")
    };
    assert_eq!(validity("Zaunkoenig")["valid"], true);
    assert_eq!(validity("Zaun")["valid"], false);
    let (status, guest) = ask(&cluster.nodes[0], "POST", "register?kind=guest", "", &json!({}));
    assert_eq!((status, guest["errcode"].as_str()), (403, Some("M_GUEST_ACCESS_FORBIDDEN")));
}

/// Repeats a registration whose answer may have been lost, at every pod.
fn answers_again(cluster: &Cluster, session: &str, first: &Value) {
    let auth = json!({"type": "m.login.terms", "session": session});
    for node in &cluster.nodes {
        let body = json!({"username": "alice", "password": OLD, "auth": auth});
        let (status, again) = ask(node, "POST", "register", "", &body);
        assert_eq!(status, 200, "{again}");
        assert_eq!((&again["user_id"], &again["device_id"]), (&first["user_id"], &first["device_id"]));
        let token = text(&again, "access_token");
        assert_eq!(ask(node, "GET", "account/whoami", &token, &json!({})).1["user_id"], first["user_id"]);
        let (_, devices) = ask(node, "GET", "devices", &token, &json!({}));
        assert_eq!(devices["devices"].as_array().map(Vec::len), Some(1), "{devices}");

        let quiet = json!({"username": "ALICE", "password": OLD, "auth": auth, "inhibit_login": true});
        let (status, told) = ask(node, "POST", "register", "", &quiet);
        assert_eq!((status, &told["user_id"], told.get("access_token")), (200, &first["user_id"], None), "{told}");
        let other = json!({"username": "bob", "password": OLD, "auth": auth});
        let (status, refused) = ask(node, "POST", "register", "", &other);
        assert_eq!((status, refused["errcode"].as_str()), (403, Some("M_FORBIDDEN")), "no second account: {refused}");
        let wrong = json!({"username": "alice", "password": NEW, "auth": auth});
        assert_eq!(ask(node, "POST", "register", "", &wrong).0, 403, "not whoever has the session alone");
        let (status, taken) = ask(node, "POST", "register", "", &json!({"username": "alice", "password": OLD}));
        assert_eq!((status, taken["errcode"].as_str()), (400, Some("M_USER_IN_USE")), "{taken}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_passwords_and_accounts_are_the_owners_on_every_pod() {
    let cluster = Cluster::start(QUIET).await;
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    let alice = register(one, "alice", "PHONE");
    let bob = register(two, "bob", "BOBS");
    removes_devices([one, two, three], &alice, &bob).await;
    changes_password([one, two, three], &alice).await;
    closes_account([one, two, three], &alice, &bob).await;
}

async fn removes_devices([one, two, three]: [&Node; 3], alice: &str, bob: &str) {
    let (status, tablet) = login(two, "@ALICE:chat.test", OLD, "TABLET");
    assert_eq!((status, tablet["user_id"].as_str()), (200, Some("@alice:chat.test")), "{tablet}");
    let (status, device) = ask(three, "GET", "devices/TABLET", alice, &json!({}));
    assert_eq!((status, device["display_name"].as_str()), (200, Some("a tablet")), "{device}");
    assert!(device["last_seen_ts"].as_u64().is_some_and(|ms| ms > 0) && device["last_seen_ip"] == "127.0.0.1");
    let (_, devices) = ask(three, "GET", "devices", alice, &json!({}));
    assert_eq!(devices["devices"].as_array().map(Vec::len), Some(2), "{devices}");
    assert_eq!(ask(one, "PUT", "devices/TABLET", alice, &json!({"display_name": "mine"})).0, 200);
    let (_, device) = ask(two, "GET", "devices/TABLET", alice, &json!({}));
    assert_eq!(device["display_name"], "mine");
    for (method, path) in [("GET", "devices/NONE"), ("PUT", "devices/NONE"), ("GET", "devices/BOBS")] {
        let (status, answer) = ask(one, method, path, alice, &json!({"display_name": "x"}));
        assert_eq!((status, answer["errcode"].as_str()), (404, Some("M_NOT_FOUND")), "{method} {path}");
    }

    let (status, asked) = ask(one, "DELETE", "devices/TABLET", alice, &json!({}));
    assert_eq!((status, &asked["flows"]), (401, &json!([{"stages": ["m.login.password"]}])));
    assert!(asked["params"].is_object(), "{asked}");
    let session = text(&asked, "session");
    let delete = |node: &Node, path: &str, auth: Value| ask(node, "DELETE", path, alice, &json!({"auth": auth}));
    let (status, wrong) = delete(two, "devices/TABLET", password("alice", "wrong", Some(&session)));
    assert_eq!((status, wrong["errcode"].as_str()), (401, Some("M_FORBIDDEN")), "{wrong}");
    assert!(wrong["flows"].is_array() && wrong["session"].is_string() && wrong["params"].is_object(), "{wrong}");
    let (status, other) = delete(two, "devices/PHONE", password("alice", OLD, Some(&session)));
    assert_eq!((status, other["errcode"].as_str()), (403, Some("M_FORBIDDEN")), "begun for another device");
    let (status, bobs) = delete(two, "devices/TABLET", password("bob", OLD, None));
    assert_eq!((status, bobs["errcode"].as_str()), (403, Some("M_FORBIDDEN")), "another's password");
    let (status, foreign) = ask(two, "DELETE", "devices/TABLET", bob, &json!({"auth": password("bob", OLD, None)}));
    assert_eq!((status, foreign), (200, json!({})), "bob has no such device");
    assert_eq!(ask(three, "GET", "devices/TABLET", alice, &json!({})).0, 200, "alice still has");
    assert_eq!(delete(three, "devices/TABLET", password("alice", OLD, Some(&session))).0, 200);
    for node in [one, two, three] {
        ended(node, &text(&tablet, "access_token")).await;
    }
    assert_eq!(ask(one, "GET", "devices/TABLET", alice, &json!({})).0, 404);

    let more: Vec<_> = ["A", "B"].map(|device| text(&login(one, "alice", OLD, device).1, "access_token")).into();
    assert_eq!(ask(two, "POST", "delete_devices", alice, &json!({"devices": ["A"]})).0, 401);
    let mailed = json!({"type": "m.login.password", "medium": "email", "address": "a@a.org", "password": OLD});
    let (status, refused) = ask(two, "POST", "delete_devices", alice, &json!({"devices": ["A"], "auth": mailed}));
    assert_eq!((status, refused["errcode"].as_str()), (400, Some("M_INVALID_PARAM")), "{refused}");
    // As clients name the user that are older than identifiers.
    let auth = json!({"type": "m.login.password", "user": "alice", "password": OLD});
    let list = json!({"devices": ["A", "B", "NONE"], "auth": auth});
    assert_eq!(ask(two, "POST", "delete_devices", alice, &list).0, 200);
    for token in &more {
        ended(three, token).await;
    }
}

async fn changes_password([one, two, three]: [&Node; 3], alice: &str) {
    let other = text(&login(two, "alice", OLD, "OTHER").1, "access_token");
    let change = |old: &str, new: &str, logout: Option<bool>| {
        let mut body = json!({"new_password": new, "auth": password("alice", old, None)});
        if let Some(logout) = logout {
            body["logout_devices"] = logout.into();
        }
        ask(one, "POST", "account/password", alice, &body)
    };
    assert_eq!(ask(one, "POST", "account/password", alice, &json!({"new_password": NEW})).0, 401);
    assert_eq!(change("wrong", NEW, None).0, 401);
    assert_eq!(change(OLD, NEW, Some(false)).0, 200);
    assert_eq!(ask(three, "GET", "account/whoami", &other, &json!({})).0, 200, "other sessions were kept");
    let (status, refused) = login(two, "alice", OLD, "X");
    assert_eq!((status, refused["errcode"].as_str()), (403, Some("M_FORBIDDEN")));
    assert_eq!(login(three, "alice", NEW, "X").0, 200);
    assert_eq!(change(NEW, OLD, None).0, 200);
    for node in [one, two, three] {
        ended(node, &other).await;
    }
    assert_eq!(ask(two, "GET", "account/whoami", alice, &json!({})).0, 200, "the own session stays");
    assert_eq!(change(OLD, "", None).0, 400);
}

async fn closes_account([one, two, three]: [&Node; 3], alice: &str, bob: &str) {
    let other = text(&login(two, "alice", OLD, "OTHER").1, "access_token");
    let (_, room) = ask(two, "POST", "createRoom", bob, &json!({"preset": "public_chat"}));
    let room = text(&room, "room_id");
    assert_eq!(ask(one, "POST", &format!("join/{room}"), alice, &json!({})).0, 200);
    let name = json!({"displayname": "Alice"});
    assert_eq!(ask(one, "PUT", "profile/@alice:chat.test/displayname", alice, &name).0, 200);
    let said = json!({"msgtype": "m.text", "body": "a secret"});
    let (status, sent) = ask(one, "PUT", &format!("rooms/{room}/send/m.room.message/1"), alice, &said);
    assert_eq!(status, 200, "{sent}");
    let close = |secret: &str| {
        let body = json!({"erase": true, "auth": password("alice", secret, None)});
        ask(three, "POST", "account/deactivate", alice, &body)
    };
    assert_eq!(ask(three, "POST", "account/deactivate", alice, &json!({})).0, 401);
    assert_eq!(close("wrong").1["errcode"], "M_FORBIDDEN");
    let (status, closed) = close(OLD);
    assert_eq!((status, closed), (200, json!({"id_server_unbind_result": "no-support"})));
    for node in [one, two, three] {
        for token in [alice, &other] {
            ended(node, token).await;
        }
    }
    eventually("she has left the room", || async {
        let (_, members) = ask(two, "GET", &format!("rooms/{room}/joined_members"), bob, &json!({}));
        members["joined"].get("@alice:chat.test").is_none().then_some(())
    })
    .await;
    assert_eq!(ask(two, "GET", "profile/@alice:chat.test", bob, &json!({})), (200, json!({})));
    let carol = register(three, "carol", "LATER");
    assert_eq!(ask(three, "POST", &format!("join/{room}"), &carol, &json!({})).0, 200);
    for (node, reader, content) in [(two, bob, said), (one, carol.as_str(), json!({}))] {
        let path = format!("rooms/{room}/event/{}", text(&sent, "event_id"));
        let (status, event) = ask(node, "GET", &path, reader, &json!({}));
        assert_eq!((status, &event["content"]), (200, &content), "{event}");
        let (_, page) = ask(node, "GET", &format!("rooms/{room}/messages?dir=b&limit=50"), reader, &json!({}));
        let page = page["chunk"].as_array().expect("events");
        let found = page.iter().find(|event| event["event_id"] == sent["event_id"]).expect("it is there");
        assert_eq!(found["content"], content);
    }
    let keep = json!({"auth": password("carol", OLD, None)});
    assert_eq!(ask(one, "POST", "account/deactivate", &carol, &keep).0, 200);
    // Of an erased account, nothing is left that a password could be compared with.
    let answers = [
        ("alice", OLD, "M_FORBIDDEN"),
        ("alice", "wrong", "M_FORBIDDEN"),
        ("carol", OLD, "M_USER_DEACTIVATED"),
        ("carol", "wrong", "M_FORBIDDEN"),
    ];
    for node in [one, two, three] {
        for (name, secret, expected) in answers {
            let (status, refused) = login(node, name, secret, "");
            assert_eq!((status, refused["errcode"].as_str()), (403, Some(expected)), "{name}, {secret}: {refused}");
        }
    }
    let again = json!({"username": "Alice", "password": OLD, "auth": {"type": "m.login.dummy"}});
    let (status, taken) = ask(one, "POST", "register", "", &again);
    assert_eq!((status, taken["errcode"].as_str()), (400, Some("M_USER_IN_USE")));
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_register_accounts_and_clients_refresh_their_tokens_on_any_pod() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("secret");
    std::fs::write(&file, "complement").expect("written");
    let key = dir.path().join("key");
    std::fs::write(&key, "Kleiber").expect("written");
    let jwt = format!("{{algorithm: HS256, keyFile: '{}', issuer: id, audiences: chat}}", key.display());
    let settings = format!(
        "{QUIET}\nregistration: closed\npublicBaseUrl: https://chat.example.org\n\
         accounts: {{sharedSecretFile: '{}', jwt: {jwt}}}",
        file.display()
    );
    let cluster = Cluster::start(&settings).await;
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    registers_by_secret([one, two, three]);
    refreshes([one, two, three]).await;
    logs_in_without_a_password([one, two, three]);
    let well_known = one.ask("GET", "/.well-known/matrix/client", "", "", "");
    assert_eq!(well_known, json!({"m.homeserver": {"base_url": "https://chat.example.org"}}));
    let (head, _) = two.head_and_body("/_matrix/client/versions", "");
    for line in [
        "access-control-max-age: 86400",
        "access-control-expose-headers: quorate-freshness, retry-after",
        "access-control-allow-origin: *",
    ] {
        assert!(head.contains(line), "{line} is missing in {head}");
    }
}

fn registers_by_secret([one, two, three]: [&Node; 3]) {
    const PATH: &str = "/_synapse/admin/v1/register";
    let nonce = || text(&one.ask("GET", PATH, "", "", ""), "nonce");
    let register = |node: &Node, nonce: &str, name: &str, secret: &str, admin: bool| {
        let role = if admin { "admin" } else { "notadmin" };
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        let tag = hmac::sign(&key, format!("{nonce}\0{name}\0{OLD}\0{role}").as_bytes());
        let mac = tag.as_ref().iter().fold(String::new(), |mut mac, byte| {
            write!(mac, "{byte:02x}").expect("written");
            mac
        });
        let body = json!({"nonce": nonce, "username": name, "password": OLD, "admin": admin, "mac": mac});
        let (status, answer) = node.matrix("POST", PATH, "", &body.to_string()).expect("an answer");
        (status, serde_json::from_str::<Value>(&answer).expect("JSON"))
    };
    let (status, admin) = register(two, &nonce(), "ADMIN-user", "complement", true);
    assert_eq!((status, admin["user_id"].as_str()), (200, Some("@admin-user:chat.test")), "{admin}");
    let (status, plain) = register(three, &nonce(), "plain", "complement", false);
    assert_eq!(status, 200, "{plain}");
    let page = |token: &Value| {
        three.matrix("GET", "/_quorate/status", token.as_str().expect("a token"), "").expect("an answer").0
    };
    assert_eq!((page(&admin["access_token"]), page(&plain["access_token"])), (200, 403));
    let code = |answer: (u16, Value)| (answer.0, text(&answer.1, "errcode"));
    assert_eq!(code(register(two, &nonce(), "us,er", "complement", false)), (400, "M_INVALID_USERNAME".into()));
    assert_eq!(code(register(two, &nonce(), "plain", "complement", false)), (400, "M_USER_IN_USE".into()));
    assert_eq!(code(register(two, &nonce(), "other", "wrong", false)), (403, "M_FORBIDDEN".into()));
    assert_eq!(code(register(two, "made-up", "other", "complement", false)), (400, "M_INVALID_PARAM".into()));
    let body = json!({"username": "other", "password": OLD, "auth": {"type": "m.login.dummy"}});
    assert_eq!(code(ask(one, "POST", "register", "", &body)), (403, "M_FORBIDDEN".into()));
}

async fn refreshes([one, two, three]: [&Node; 3]) {
    let user = json!({"type": "m.id.user", "user": "plain"});
    let body = json!({"type": "m.login.password", "identifier": user, "password": OLD, "device_id": "R", "refresh_token": true});
    let (status, first) = ask(one, "POST", "login", "", &body);
    assert_eq!((status, first["expires_in_ms"].as_u64()), (200, Some(300_000)), "{first}");
    assert_eq!(first["well_known"]["m.homeserver"]["base_url"], "https://chat.example.org");
    let refresh = |node: &Node, token: &str| ask(node, "POST", "refresh", "", &json!({"refresh_token": token}));
    let (old, old_refresh) = (text(&first, "access_token"), text(&first, "refresh_token"));
    let (_, room) = ask(one, "POST", "createRoom", &old, &json!({}));
    let path = format!("rooms/{}/send/m.room.message/once", text(&room, "room_id"));
    let (_, sent) = ask(one, "PUT", &path, &old, &json!({"body": "x", "msgtype": "m.text"}));
    let (status, second) = refresh(two, &old_refresh);
    assert_eq!(status, 200, "{second}");
    assert_eq!(ask(three, "GET", "account/whoami", &old, &json!({})).0, 200, "the new token was not used yet");
    let (_, again) = ask(three, "PUT", &path, &text(&second, "access_token"), &json!({"body": "x"}));
    assert_eq!(again["event_id"], sent["event_id"], "the device is the same, and its transactions are known");
    ended(one, &old).await;
    let (status, late) = refresh(one, &old_refresh);
    assert_eq!((status, late["errcode"].as_str()), (401, Some("M_UNKNOWN_TOKEN")));
    let (status, third) = refresh(three, &text(&second, "refresh_token"));
    assert_eq!(status, 200, "{third}");
    let newest = text(&third, "access_token");
    assert_eq!(ask(one, "POST", "logout", &newest, &json!({})).0, 200);
    assert_eq!(refresh(two, &text(&third, "refresh_token")).0, 401);
}

fn logs_in_without_a_password([one, two, three]: [&Node; 3]) {
    let (_, types) = ask(one, "GET", "login", "", &json!({}));
    let types = types["flows"].as_array().expect("flows").iter().map(|flow| text(flow, "type")).collect::<Vec<_>>();
    assert_eq!(types, ["m.login.password", "m.login.token", "org.matrix.login.jwt"]);

    let plain = text(&login(one, "plain", OLD, "P").1, "access_token");
    let get_token = |body: Value| {
        let path = "/_matrix/client/v1/login/get_token";
        let (status, answer) = two.matrix("POST", path, &plain, &body.to_string()).expect("an answer");
        (status, serde_json::from_str::<Value>(&answer).expect("JSON"))
    };
    assert_eq!(get_token(json!({})).0, 401);
    let (status, given) = get_token(json!({"auth": password("plain", OLD, None)}));
    assert_eq!((status, given["expires_in_ms"].as_u64()), (200, Some(120_000)), "{given}");
    let with_token = |node: &Node| {
        let body = json!({"type": "m.login.token", "token": given["login_token"], "device_id": "T"});
        ask(node, "POST", "login", "", &body)
    };
    let (status, opened) = with_token(three);
    assert_eq!((status, opened["user_id"].as_str()), (200, Some("@plain:chat.test")), "{opened}");
    assert_eq!(ask(one, "GET", "account/whoami", &text(&opened, "access_token"), &json!({})).0, 200);
    let (status, again) = with_token(one);
    assert_eq!((status, again["errcode"].as_str()), (403, Some("M_FORBIDDEN")), "a token is good once");

    let with_jwt = |node: &Node, secret: &str, subject: &str| {
        ask(node, "POST", "login", "", &json!({"type": "org.matrix.login.jwt", "token": jwt(secret, subject)}))
    };
    for node in [one, two] {
        let (status, opened) = with_jwt(node, "Kleiber", "Newcomer");
        assert_eq!((status, opened["user_id"].as_str()), (200, Some("@newcomer:chat.test")), "{opened}");
    }
    let token = text(&with_jwt(three, "Kleiber", "newcomer").1, "access_token");
    proves_to_be_the_owner_without_a_password([one, two, three], &token);
    assert_eq!(with_jwt(three, "wrong", "newcomer").0, 403);
    assert_eq!(with_jwt(three, "Kleiber", "not a name").1["errcode"], "M_INVALID_USERNAME");
    assert_eq!(login(three, "newcomer", "!", "").0, 403, "no password fits");
    let (status, unknown) = ask(one, "POST", "login", "", &json!({"type": "m.login.sso"}));
    assert_eq!((status, unknown["errcode"].as_str()), (400, Some("M_UNKNOWN")));
}

/// Returns a token of the identity provider.
fn jwt(secret: &str, subject: &str) -> String {
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let claims = json!({"sub": subject, "iss": "id", "aud": ["chat"]});
    let message = format!("{}.{}", part(json!({"alg": "HS256"})), part(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn proves_to_be_the_owner_without_a_password([one, two, three]: [&Node; 3], token: &str) {
    let get_token = |node: &Node, auth: Option<Value>| {
        let body = auth.map_or_else(|| json!({}), |auth| json!({"auth": auth}));
        call_as(node, token, "POST", "/_matrix/client/v1/login/get_token", &body)
    };
    let (status, asked) = get_token(one, None);
    assert_eq!((status, &asked["flows"]), (401, &json!([{"stages": ["org.matrix.login.jwt"]}])), "{asked}");
    let auth = |jwt: String| json!({"type": "org.matrix.login.jwt", "token": jwt, "session": asked["session"]});
    for wrong in [jwt("wrong", "newcomer"), jwt("Kleiber", "plain"), "no token".to_owned()] {
        let (status, refused) = get_token(two, Some(auth(wrong)));
        assert_eq!((status, refused["errcode"].as_str()), (401, Some("M_FORBIDDEN")), "{refused}");
    }
    let (status, refused) = get_token(two, Some(password("newcomer", "!", None)));
    assert_eq!((status, refused["errcode"].as_str()), (401, Some("M_UNRECOGNIZED")), "{refused}");
    assert_eq!(get_token(three, Some(auth(jwt("Kleiber", "newcomer")))).0, 200);

    // The login is recent, which is enough to remove devices, and for nothing else.
    assert_eq!(ask(two, "POST", "delete_devices", token, &json!({"devices": ["NONE"]})).0, 200);
    for path in ["account/password", "account/deactivate"] {
        let (status, asked) = ask(one, "POST", path, token, &json!({"new_password": NEW}));
        assert_eq!((status, &asked["flows"]), (401, &json!([{"stages": ["org.matrix.login.jwt"]}])), "{path}: {asked}");
    }
    let auth = json!({"type": "org.matrix.login.jwt", "token": jwt("Kleiber", "newcomer")});
    let (status, refused) = ask(one, "POST", "account/password", token, &json!({"new_password": NEW, "auth": auth}));
    assert_eq!((status, refused["errcode"].as_str()), (403, Some("M_FORBIDDEN")), "there is none: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_has_none_of_is_told_without_an_error() {
    let cluster = single_node().await;
    let alice = MatrixUser::register(&cluster.nodes[0], "alice");
    assert_eq!(alice.get("v3/account/3pid"), json!({"threepids": []}));
    assert_eq!(alice.get("v3/thirdparty/protocols"), json!({}));
    assert_eq!(alice.get("v3/voip/turnServer"), json!({}));
}
