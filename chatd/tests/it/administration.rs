//! Administration on any of three pods: by certificate through `quorate.admin.v1`, and by an administrator's account
//! through the Matrix API.

use crate::support::administrator::{root, shared_secret};
use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::matrix::{MatrixUser, call_as, escape};
use crate::support::process::Node;
use quorate_wire::admin::v1 as admin;
use quorate_wire::admin::v1::moderation_client::ModerationClient;
use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Channel;

const PASSWORD: &str = "a password";

/// Returns a client of the administrative API of node `n`.
async fn moderation(cluster: &Cluster, n: usize) -> ModerationClient<Channel> {
    ModerationClient::new(eventually("the admin API answers", || cluster.try_peer(n)).await)
}

/// Starts three pods without rate limits that know the secret of [`root`]; the directory keeps its file.
async fn cluster_with_secret(settings: &str) -> (Cluster, tempfile::TempDir) {
    let (secret, dir) = shared_secret();
    (Cluster::start(&format!("rateLimit: {{enabled: false}}\n{secret}\n{settings}")).await, dir)
}

fn log_in(node: &Node, name: &str, password: &str) -> (u16, Value) {
    let identifier = json!({"type": "m.id.user", "user": name});
    let body = json!({"type": "m.login.password", "identifier": identifier, "password": password});
    call_as(node, "", "POST", "/_matrix/client/v3/login", &body)
}

/// Makes a request with a user's token to another pod.
fn through(node: &Node, user: &MatrixUser, method: &str, path: &str, body: &Value) -> (u16, Value) {
    call_as(node, &user.token, method, path, body)
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["errcode"].as_str().unwrap_or_default())
}

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_or_suspended_account_is_so_on_every_pod_until_it_is_freed() {
    let (cluster, _dir) = cluster_with_secret("").await;
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    let root = root(one);
    let alice = MatrixUser::register(two, "alice");
    let bob = MatrixUser::register(three, "bob");
    let room = bob.public_room();
    alice.join(&room);
    let lock = "/_matrix/client/v1/admin/lock/@alice:chat.test";
    let suspend = "/_matrix/client/v1/admin/suspend/@alice:chat.test";

    // Who is no administrator learns nothing, not even who exists.
    for path in [lock, "/_matrix/client/v1/admin/lock/@nobody:chat.test"] {
        assert_eq!(code(&through(three, &bob, "GET", path, &Value::Null)), (403, "M_FORBIDDEN"), "{path}");
        for body in [json!({"locked": true}), json!({})] {
            assert_eq!(code(&through(three, &bob, "PUT", path, &body)), (403, "M_FORBIDDEN"), "{path}");
        }
    }
    for (user, expected) in [
        ("@nobody:chat.test", (404, "M_NOT_FOUND")),
        ("@alice:elsewhere.org", (400, "M_INVALID_PARAM")),
        ("@root:chat.test", (403, "M_FORBIDDEN")),
    ] {
        let path = format!("/_matrix/client/v1/admin/lock/{user}");
        assert_eq!(code(&through(two, &root, "PUT", &path, &json!({"locked": true}))), expected, "{user}");
    }
    let capabilities = |user: &MatrixUser| user.get("v3/capabilities")["capabilities"].clone();
    assert_eq!(capabilities(&root)["m.account_moderation"], json!({"lock": true, "suspend": true}));
    assert!(capabilities(&bob).get("m.account_moderation").is_none());

    assert_eq!(through(two, &root, "PUT", lock, &json!({"locked": true})), (200, json!({"locked": true})));
    for node in [one, two, three] {
        eventually("the account is locked here", || async {
            let (status, answer) = through(node, &alice, "GET", WHOAMI, &Value::Null);
            (status == 401 && answer["errcode"] == "M_USER_LOCKED" && answer["soft_logout"] == true).then_some(())
        })
        .await;
    }
    let refused = log_in(one, "alice", PASSWORD);
    assert_eq!(code(&refused), (401, "M_USER_LOCKED"));
    assert_eq!(code(&log_in(one, "alice", "wrong")), (403, "M_FORBIDDEN"), "who guesses is not told");
    assert_eq!(through(three, &root, "GET", lock, &Value::Null), (200, json!({"locked": true})));

    assert_eq!(through(one, &root, "PUT", lock, &json!({"locked": false})), (200, json!({"locked": false})));
    assert_eq!(through(three, &alice, "GET", WHOAMI, &Value::Null).0, 200, "the session was kept");
    assert_eq!(through(one, &root, "PUT", suspend, &json!({"suspended": true})), (200, json!({"suspended": true})));
    let said = alice.call(
        "PUT",
        &format!("v3/rooms/{}/send/m.room.message/1", escape(&room)),
        &json!({"msgtype": "m.text", "body": "x"}),
    );
    assert_eq!(code(&said), (403, "M_USER_SUSPENDED"));
    let other = bob.public_room();
    let joined = alice.call("POST", &format!("v3/rooms/{}/join", escape(&other)), &json!({}));
    assert_eq!(code(&joined), (403, "M_USER_SUSPENDED"));
    alice.token();
    alice.leave(&room);

    assert_eq!(through(two, &root, "PUT", lock, &json!({"locked": true})).0, 200);
    eventually("a locked account logs out", || async {
        (alice.call("POST", "v3/logout", &json!({})).0 == 200).then_some(())
    })
    .await;
    assert_eq!(through(two, &root, "PUT", lock, &json!({"locked": false})).0, 200);
    assert_eq!(
        code(&through(&alice.node, &alice, "GET", WHOAMI, &Value::Null)),
        (401, "M_UNKNOWN_TOKEN"),
        "the session has ended"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_listed_reset_and_closed_by_certificate_on_any_pod() {
    let (mut cluster, _dir) = cluster_with_secret("").await;
    let root = root(&cluster.nodes[0]);
    let alice = MatrixUser::register(&cluster.nodes[1], "alice");
    let bob = MatrixUser::register(&cluster.nodes[2], "bob");
    let room = bob.public_room();
    alice.join(&room);
    let mut api = moderation(&cluster, 1).await;
    let listed = api.list_users(admin::ListUsersRequest { limit: 2, ..Default::default() }).await.expect("listed");
    let first = listed.into_inner();
    let names: Vec<_> = first.users.iter().map(|user| user.user_id.as_str()).collect();
    assert_eq!((names, first.next.as_str()), (vec!["@alice:chat.test", "@bob:chat.test"], "bob"));
    let rest = admin::ListUsersRequest { from: first.next, ..Default::default() };
    let rest = api.list_users(rest).await.expect("listed").into_inner();
    assert!(rest.next.is_empty() && rest.users.iter().any(|user| user.user_id == root.id && user.administrator));

    let reset = |password: &str| admin::ResetPasswordRequest {
        user: "alice".into(),
        new_password: password.into(),
        ..Default::default()
    };
    api.reset_password(reset("another password")).await.expect("reset");
    api.reset_password(reset("another password")).await.expect("reset again");
    for node in &cluster.nodes {
        eventually("her session has ended", || async {
            (through(node, &alice, "GET", WHOAMI, &Value::Null).0 == 401).then_some(())
        })
        .await;
    }
    assert_eq!(code(&log_in(&cluster.nodes[2], "alice", PASSWORD)), (403, "M_FORBIDDEN"));
    assert_eq!(log_in(&cluster.nodes[2], "alice", "another password").0, 200);

    let (leader, term) = cluster.leader(0).await;
    cluster.kill(leader);
    cluster.leader(term + 1).await;
    let left = (leader + 1) % 3;
    let mut api = moderation(&cluster, left).await;
    let close = admin::DeactivateUserRequest { user: "@alice:chat.test".into(), erase: true };
    eventually("the account is closed", || {
        let mut api = api.clone();
        let close = close.clone();
        async move { api.deactivate_user(close).await.ok().filter(|answer| !answer.get_ref().more).map(drop) }
    })
    .await;
    let shown = api.get_user(admin::GetUserRequest { user: "alice".into() }).await.expect("shown").into_inner();
    assert!(shown.user.is_some_and(|user| user.deactivated) && shown.devices.is_empty() && shown.joined_rooms == 0);
    let missing = api.get_user(admin::GetUserRequest { user: "nobody".into() }).await.expect_err("there is none");
    assert_eq!(missing.code(), Code::NotFound);
    assert_eq!(log_in(&cluster.nodes[left], "alice", "another password").0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_token_works_on_any_pod_as_often_as_it_may() {
    let (cluster, _dir) = cluster_with_secret("registration: token").await;
    let mut api = moderation(&cluster, 2).await;
    let put = admin::PutRegistrationTokenRequest { uses_allowed: Some(1), ..Default::default() };
    let made = api.put_registration_token(put).await.expect("made").into_inner().token.expect("a token");
    let validity = format!("/_matrix/client/v1/register/m.login.registration_token/validity?token={}", made.token);
    for node in &cluster.nodes {
        eventually("the token is known here", || async {
            (call_as(node, "", "GET", &validity, &Value::Null).1["valid"] == true).then_some(())
        })
        .await;
    }
    let register = |node: &Node, name: &str, auth: Value| {
        let body = json!({"username": name, "password": PASSWORD, "auth": auth});
        call_as(node, "", "POST", "/_matrix/client/v3/register", &body)
    };
    let by_token = |token: &str| json!({"type": "m.login.registration_token", "token": token});
    let (status, wrong) = register(&cluster.nodes[0], "alice", by_token("made-up"));
    assert_eq!((status, wrong["errcode"].as_str()), (401, Some("M_UNAUTHORIZED")), "{wrong}");
    let (status, first) = register(&cluster.nodes[0], "alice", by_token(&made.token));
    assert_eq!(status, 200, "{first}");
    eventually("the token is used up", || async {
        (call_as(&cluster.nodes[1], "", "GET", &validity, &Value::Null).1["valid"] == false).then_some(())
    })
    .await;
    assert_eq!(register(&cluster.nodes[1], "bob", by_token(&made.token)).0, 401);

    let again = admin::PutRegistrationTokenRequest { token: made.token.clone(), ..Default::default() };
    let again = api.put_registration_token(again).await.expect("changed").into_inner().token.expect("a token");
    assert_eq!((again.uses_allowed, again.used), (None, 1));
    assert_eq!(register(&cluster.nodes[2], "bob", by_token(&made.token)).0, 200);
    let listed = api.list_registration_tokens(admin::ListRegistrationTokensRequest::default()).await.expect("listed");
    assert_eq!(listed.into_inner().tokens.iter().map(|token| token.used).collect::<Vec<_>>(), [2]);
    let delete = admin::DeleteRegistrationTokenRequest { token: made.token.clone() };
    api.delete_registration_token(delete).await.expect("deleted");
    assert_eq!(register(&cluster.nodes[2], "carol", by_token(&made.token)).0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_read_and_dismissed_on_any_pod() {
    let (cluster, _dir) = cluster_with_secret("").await;
    let alice = MatrixUser::register(&cluster.nodes[0], "alice");
    let bob = MatrixUser::register(&cluster.nodes[1], "bob");
    let room = alice.public_room();
    bob.join(&room);
    let event = alice.say(&room, "buy");
    for reason in ["spam", "spam again"] {
        let path = format!("v3/rooms/{}/report/{}", escape(&room), escape(&event));
        bob.must("POST", &path, &json!({"reason": reason}));
    }
    alice.must("POST", "v3/users/@bob:chat.test/report", &json!({"reason": "rude"}));
    let mut api = moderation(&cluster, 2).await;
    let first = api.list_reports(admin::ListReportsRequest { limit: 2, ..Default::default() }).await.expect("listed");
    let first = first.into_inner();
    let seen: Vec<_> = first.reports.iter().map(|report| (report.reporter.as_str(), report.reason.as_str())).collect();
    assert_eq!(seen, [("@alice:chat.test", "rude"), ("@bob:chat.test", "spam")]);
    assert_eq!(
        (first.reports[1].event_id.as_str(), first.reports[1].room_id.as_str()),
        (event.as_str(), room.as_str())
    );
    let dismiss = admin::DismissReportRequest { id: first.reports[1].id.clone() };
    api.dismiss_report(dismiss).await.expect("dismissed");
    let rest = api.list_reports(admin::ListReportsRequest { from: first.next, limit: 0 }).await.expect("listed");
    let rest: Vec<_> = rest.into_inner().reports.into_iter().map(|report| report.reason).collect();
    assert_eq!(rest, ["spam again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_administrator_looks_at_others_and_does_nothing_to_them() {
    let (cluster, _dir) = cluster_with_secret("").await;
    let [one, two, _] = &cluster.nodes[..] else { panic!("three nodes") };
    let root = root(one);
    MatrixUser::register(two, "alice");
    let mut api = moderation(&cluster, 1).await;
    let suspend = admin::SetUserStandingRequest { user: "root".into(), locked: None, suspended: Some(true) };
    api.set_user_standing(suspend).await.expect("suspended");
    for (path, body) in [("lock", json!({"locked": true})), ("suspend", json!({"suspended": true}))] {
        let path = format!("v1/admin/{path}/@alice:chat.test");
        assert_eq!(root.refused("PUT", &path, &body), (403, "M_USER_SUSPENDED".into()), "{path}");
        assert!(root.get(&path).as_object().is_some_and(|shown| shown.values().all(|value| *value == false)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_room_is_gone_on_every_pod_even_if_the_leader_is_lost() {
    let (mut cluster, _dir) = cluster_with_secret("").await;
    let alice = MatrixUser::register(&cluster.nodes[0], "alice");
    let bob = MatrixUser::register(&cluster.nodes[1], "bob");
    let room = alice.create_room(&json!({"preset": "public_chat", "room_alias_name": "den", "visibility": "public"}));
    bob.join(&room);
    alice.say(&room, "hidden");
    let since = bob.token();
    let mut api = moderation(&cluster, 1).await;
    let block = |blocked| admin::BlockRoomRequest { room_id: room.clone(), blocked };
    api.block_room(block(true)).await.expect("blocked");
    let carol = MatrixUser::register(&cluster.nodes[2], "carol");
    let join = format!("v3/join/{}", escape(&room));
    assert_eq!(carol.refused("POST", &join, &json!({})), (403, "M_FORBIDDEN".into()));
    api.block_room(block(false)).await.expect("unblocked");
    carol.join(&room);
    let listed = api.list_rooms(admin::ListRoomsRequest { search: "den".into(), ..Default::default() }).await;
    let listed = listed.expect("listed").into_inner().rooms;
    assert_eq!((listed.len(), listed[0].joined_members, listed[0].blocked), (1, 3, false));

    let delete = || admin::DeleteRoomRequest { room_id: room.clone(), reason: "against the rules".into() };
    api.delete_room(delete()).await.expect("deleted");
    let (leader, term) = cluster.leader(0).await;
    cluster.kill(leader);
    cluster.leader(term + 1).await;
    cluster.restart(leader);
    cluster.all_ready().await;
    let api = moderation(&cluster, (leader + 1) % 3).await;
    let done = eventually("the deletion is complete", || {
        let mut api = api.clone();
        async move { api.delete_room(delete()).await.ok().map(tonic::Response::into_inner).filter(|done| !done.more) }
    })
    .await;
    let gone = done.room.expect("a room");
    assert!(gone.deleted && gone.blocked && !gone.clearing && gone.joined_members == 0, "{gone:?}");
    let left = bob.sync(Some(&since), &Value::Null);
    let events = left["rooms"]["leave"][&room]["timeline"]["events"].as_array().expect("she learns that it is over");
    assert!(
        events.iter().any(|event| {
            event["state_key"] == "@bob:chat.test" && event["content"]["reason"] == "against the rules"
        })
    );
    for user in [&alice, &bob, &carol] {
        assert_eq!(user.refused("POST", &join, &json!({})).0, 403);
        let (status, page) = user.call("GET", &format!("v3/rooms/{}/messages?dir=b", escape(&room)), &Value::Null);
        assert!(status != 200 || !page.to_string().contains("hidden"), "{page}");
    }
    assert_eq!(alice.call("GET", "v3/directory/room/%23den:chat.test", &Value::Null).0, 404);
}

/// Sends notices as tools for Synapse do; those of one transaction id come once, into the room of earlier notices.
fn notice_by_path_of_synapse(cluster: &Cluster, alice: &MatrixUser, room: &str) {
    const PATH: &str = "/_synapse/admin/v1/send_server_notice";
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    let root = root(one);
    let notice = json!({"user_id": alice.id, "content": {"msgtype": "m.text", "body": "by path"}});
    for body in [&notice, &json!({})] {
        assert_eq!(code(&through(two, alice, "POST", PATH, body)), (403, "M_FORBIDDEN"), "whatever the body is");
    }
    assert_eq!(code(&through(two, &root, "POST", PATH, &json!({}))), (400, "M_BAD_JSON"));
    let named = format!("{PATH}/t1");
    let (status, first) = through(two, &root, "PUT", &named, &notice);
    assert_eq!(status, 200, "{first}");
    assert_eq!(through(three, &root, "PUT", &named, &notice), (200, first.clone()));
    let (status, other) = through(three, &root, "POST", PATH, &notice);
    assert_eq!(status, 200, "{other}");
    assert_ne!(other["event_id"], first["event_id"]);
    alice.join(room);
    let page = alice.get(&format!("v3/rooms/{}/messages?dir=b", escape(room)));
    let said = page["chunk"].as_array().expect("events").iter().filter(|event| event["content"]["body"] == "by path");
    assert_eq!(said.count(), 2);
    let state = json!({"user_id": alice.id, "content": {"name": "x"}, "type": "m.room.name", "state_key": ""});
    assert_eq!(code(&through(one, &root, "POST", PATH, &state)), (400, "M_INVALID_PARAM"));
    let nobody = json!({"user_id": "@nobody:chat.test", "content": {"msgtype": "m.text", "body": "x"}});
    assert_eq!(code(&through(one, &root, "POST", PATH, &nobody)), (404, "M_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_arrives_once_in_a_room_that_cannot_be_rejected() {
    let (cluster, _dir) = cluster_with_secret("").await;
    let alice = MatrixUser::register(&cluster.nodes[0], "alice");
    let since = alice.token();
    let notice =
        || admin::SendNoticeRequest { user: "alice".into(), body: "Maintenance".into(), notice_id: "sunday".into() };
    let first = moderation(&cluster, 1).await.send_notice(notice()).await.expect("sent").into_inner();
    let again = moderation(&cluster, 2).await.send_notice(notice()).await.expect("sent").into_inner();
    assert_eq!(first, again);
    let invited = eventually("she is invited", || async {
        let sync = alice.sync(Some(&since), &Value::Null);
        sync["rooms"]["invite"].get(&first.room_id).cloned()
    })
    .await;
    assert!(invited.to_string().contains("@notices:chat.test"), "{invited}");
    let path = format!("v3/rooms/{}/leave", escape(&first.room_id));
    let refused = alice.refused("POST", &path, &json!({}));
    assert_eq!(refused, (403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM".into()));
    notice_by_path_of_synapse(&cluster, &alice, &first.room_id);
    alice.join(&first.room_id);
    let tags = alice.get(&format!("v3/user/{}/rooms/{}/tags", alice.id, escape(&first.room_id)));
    assert!(tags["tags"]["m.server_notice"].is_object(), "{tags}");
    let page = alice.get(&format!("v3/rooms/{}/messages?dir=b", escape(&first.room_id)));
    let said =
        page["chunk"].as_array().expect("events").iter().filter(|event| event["content"]["body"] == "Maintenance");
    assert_eq!(said.count(), 1);
    let (status, taken) = call_as(
        &cluster.nodes[0],
        "",
        "POST",
        "/_matrix/client/v3/register",
        &json!({"username": "notices", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}),
    );
    assert_eq!((status, taken["errcode"].as_str()), (400, Some("M_USER_IN_USE")), "{taken}");
}
