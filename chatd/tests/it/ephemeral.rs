//! Typing and presence over three pods.

use crate::support::cluster::Cluster;
use crate::support::process::Node;
use crate::support::{PATIENCE, eventually};
use serde_json::{Value, json};

const V3: &str = "/_matrix/client/v3";

/// User of the Matrix API, who can call any pod.
struct Person {
    token: String,
    id: String,
}

impl Person {
    fn register(node: &Node, name: &str) -> Self {
        let body = json!({"username": name, "password": "a password", "auth": {"type": "m.login.dummy"}});
        let answer = node.ask("POST", &format!("{V3}/register"), "", "", &body.to_string());
        let text = |key: &str| answer[key].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        Self { token: text("access_token"), id: text("user_id") }
    }

    /// Makes a request that a pod without a leader may refuse, until it succeeds.
    async fn does(&self, node: &Node, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("{V3}{path}");
        eventually(&format!("{method} {path} succeeds"), || async {
            let (status, answer) = node.matrix(method, &path, &self.token, &body.to_string())?;
            (status == 200).then(|| serde_json::from_str(&answer).expect("JSON"))
        })
        .await
    }

    /// Returns status and error code of a request.
    fn tries(&self, node: &Node, method: &str, path: &str, body: &Value) -> (u16, String) {
        let (status, answer) =
            node.matrix(method, &format!("{V3}{path}"), &self.token, &body.to_string()).expect("an answer");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        (status, answer["errcode"].as_str().unwrap_or_default().to_owned())
    }

    async fn types(&self, node: &Node, room: &str, body: Value) {
        self.does(node, "PUT", &format!("/rooms/{room}/typing/{}", self.id), &body).await;
    }

    async fn sync(&self, node: &Node, since: &str, timeout_ms: u32) -> Value {
        let since = if since.is_empty() { String::new() } else { format!("&since={since}") };
        self.does(node, "GET", &format!("/sync?timeout={timeout_ms}{since}"), &json!({})).await
    }

    /// Syncs until `is_there` has found something in each of its calls' answers; returns that and the last token.
    async fn sync_until<T>(
        &self,
        node: &Node,
        since: &str,
        what: &str,
        mut find: impl FnMut(&Value) -> Option<T>,
    ) -> (T, String) {
        let deadline = std::time::Instant::now() + PATIENCE;
        let mut since = since.to_owned();
        loop {
            let answer = self.sync(node, &since, 1000).await;
            since = answer["next_batch"].as_str().expect("a token").to_owned();
            if let Some(found) = find(&answer) {
                return (found, since);
            }
            assert!(std::time::Instant::now() < deadline, "not in a sync: {what}; the last one: {answer}");
        }
    }
}

/// Returns the user ids of the `m.typing` event of a room, if the answer has one.
fn typing(answer: &Value, room: &str) -> Option<Vec<String>> {
    let events = answer["rooms"]["join"][room]["ephemeral"]["events"].as_array()?;
    let event = events.iter().find(|event| event["type"] == "m.typing")?;
    assert!(event.get("room_id").is_none(), "{event}");
    let users = event["content"]["user_ids"].as_array().expect("a list");
    Some(users.iter().map(|user| user.as_str().expect("a user id").to_owned()).collect())
}

/// Returns the content of the newest presence of a user in an answer.
fn presence(answer: &Value, user: &str) -> Option<Value> {
    let events = answer["presence"]["events"].as_array()?;
    let event = events.iter().rfind(|event| event["sender"] == user)?;
    assert_eq!(event["type"], "m.presence");
    Some(event["content"].clone())
}

/// Returns alice and bob, who share a room; alice registered on the first pod, and bob on the second.
async fn two_in_a_room(cluster: &Cluster) -> (Person, Person, String) {
    let alice = Person::register(&cluster.nodes[0], "alice");
    let bob = Person::register(&cluster.nodes[1], "bob");
    let made = alice.does(&cluster.nodes[0], "POST", "/createRoom", &json!({"preset": "public_chat"})).await;
    let room = made["room_id"].as_str().expect("a room").to_owned();
    bob.does(&cluster.nodes[1], "POST", &format!("/join/{room}"), &json!({})).await;
    (alice, bob, room)
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_and_presence_on_one_pod_are_told_on_another_until_they_end_or_the_pod_does() {
    let mut cluster = Cluster::start("rateLimit: {enabled: false}\npresence: {podTimeout: 5s}").await;
    let (alice, bob, room) = two_in_a_room(&cluster).await;
    let nodes = cluster.nodes.clone();
    let first = bob.sync(&nodes[1], "", 0).await;
    let since = first["next_batch"].as_str().expect("a token");

    alice.types(&nodes[0], &room, json!({"typing": true, "timeout": 100_000})).await;
    let status = format!("/presence/{}/status", alice.id);
    alice.does(&nodes[0], "PUT", &status, &json!({"presence": "online", "status_msg": "here"})).await;
    let (mut types, mut is_here) = (false, false);
    let (_, since) = bob
        .sync_until(&nodes[1], since, "alice types and is online", |answer| {
            types |= typing(answer, &room).is_some_and(|users| users == [alice.id.clone()]);
            let content = presence(answer, &alice.id);
            is_here |= content.is_some_and(|content| {
                content["presence"] == "online"
                    && content["status_msg"] == "here"
                    && content["currently_active"] == true
            });
            (types && is_here).then_some(())
        })
        .await;
    eventually("another pod knows it", || async {
        let (status, answer) = nodes[2].matrix("GET", &format!("{V3}{status}"), &bob.token, "")?;
        let answer: Value = serde_json::from_str(&answer).ok()?;
        (status == 200 && answer["status_msg"] == "here").then_some(())
    })
    .await;
    // The token is as good there, and nothing is told twice.
    let elsewhere = bob.sync(&nodes[2], &since, 0).await;
    assert_eq!((typing(&elsewhere, &room), presence(&elsewhere, &alice.id)), (None, None));

    cluster.kill(0);
    let (mut quiet, mut gone) = (false, false);
    let (_, since) = bob
        .sync_until(&nodes[1], &since, "alice is gone", |answer| {
            quiet |= typing(answer, &room).is_some_and(|users| users.is_empty());
            gone |= presence(answer, &alice.id).is_some_and(|content| content["presence"] == "offline");
            (quiet && gone).then_some(())
        })
        .await;

    alice.types(&nodes[2], &room, json!({"typing": true, "timeout": 4000})).await;
    let (_, since) = bob
        .sync_until(&nodes[1], &since, "alice types", |answer| typing(answer, &room).filter(|users| !users.is_empty()))
        .await;
    let (users, _) = bob.sync_until(&nodes[1], &since, "alice stops", |answer| typing(answer, &room)).await;
    assert!(users.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_ends_typing_and_so_does_leaving_and_whoever_comes_is_told_who_is_there() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let (alice, bob, room) = two_in_a_room(&cluster).await;
    let nodes = &cluster.nodes;
    let begin = bob.sync(&nodes[1], "", 0).await;
    let mut since = begin["next_batch"].as_str().expect("a token").to_owned();
    let message = json!({"msgtype": "m.text", "body": "x"});
    let leave = json!({});
    let ends = [
        ("PUT", format!("/rooms/{room}/send/m.room.message/1"), &message),
        ("POST", format!("/rooms/{room}/leave"), &leave),
    ];
    for (method, path, body) in ends {
        // Without a timeout, which the specification does not require.
        alice.types(&nodes[0], &room, json!({"typing": true})).await;
        let told = bob.sync_until(&nodes[1], &since, "alice types", |answer| {
            typing(answer, &room).filter(|users| !users.is_empty())
        });
        since = told.await.1;
        alice.does(&nodes[2], method, &path, body).await;
        let told = bob
            .sync_until(&nodes[1], &since, "alice has stopped", |answer| typing(answer, &room).filter(Vec::is_empty));
        since = told.await.1;
    }

    bob.sync(&nodes[1], &since, 0).await;
    eventually("the first pod knows bob", || async {
        let answer = nodes[0].ask("GET", &format!("{V3}/presence/{}/status", bob.id), &bob.token, "", "");
        (answer["presence"] == "online").then_some(())
    })
    .await;
    let before = alice.sync(&nodes[0], "", 0).await;
    assert_eq!(presence(&before, &bob.id), None, "they share no room any more");
    alice.does(&nodes[0], "POST", &format!("/join/{room}"), &json!({})).await;
    let before = before["next_batch"].as_str().expect("a token");
    let (content, after) =
        alice.sync_until(&nodes[0], before, "bob is there", |answer| presence(answer, &bob.id)).await;
    assert_eq!(content["presence"], "online");
    let again = alice.sync(&nodes[0], &after, 0).await;
    assert_eq!(presence(&again, &bob.id), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_members_type_as_themselves_and_strangers_see_no_presence() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let (alice, bob, room) = two_in_a_room(&cluster).await;
    let eve = Person::register(&cluster.nodes[2], "eve");
    let node = &cluster.nodes[2];
    let on = json!({"typing": true, "timeout": 1000});
    let forbidden = (403, "M_FORBIDDEN".to_owned());
    for (who, room, user, body, expected) in [
        (&eve, room.as_str(), &eve, &on, &forbidden),
        (&eve, "!nowhere:test", &eve, &on, &forbidden),
        (&bob, room.as_str(), &alice, &on, &forbidden),
        (&bob, room.as_str(), &bob, &json!({"typing": true, "timeout": "x"}), &(400, "M_BAD_JSON".to_owned())),
        (&bob, room.as_str(), &bob, &json!({"timeout": 5}), &(400, "M_BAD_JSON".to_owned())),
    ] {
        assert_eq!(&who.tries(node, "PUT", &format!("/rooms/{room}/typing/{}", user.id), body), expected, "{body}");
    }
    let of = |person: &Person| format!("/presence/{}/status", person.id);
    let online = json!({"presence": "online"});
    assert_eq!(eve.tries(node, "GET", &of(&alice), &json!({})), forbidden);
    assert_eq!(eve.tries(node, "GET", "/presence/@nobody:test/status", &json!({})), forbidden);
    assert_eq!(bob.tries(node, "GET", &of(&alice), &json!({})).0, 200);
    assert_eq!(bob.tries(node, "PUT", &of(&alice), &online), forbidden);
    assert_eq!(bob.tries(node, "PUT", &of(&bob), &json!({"presence": "x"})), (400, "M_INVALID_PARAM".to_owned()));
    let long = json!({"presence": "online", "status_msg": "x".repeat(513)});
    assert_eq!(bob.tries(node, "PUT", &of(&bob), &long).1, "M_TOO_LARGE");

    // What eve syncs has nothing of the others, and what bob says while he syncs is told to alice.
    let filter = "filter=%7B%22presence%22%3A%7B%22types%22%3A%5B%5D%7D%7D";
    let since = alice.sync(&cluster.nodes[0], "", 0).await;
    let since = since["next_batch"].as_str().expect("a token");
    bob.does(node, "GET", "/sync?timeout=0&set_presence=unavailable", &json!({})).await;
    let (content, after) =
        alice.sync_until(&cluster.nodes[0], since, "bob is away", |answer| presence(answer, &bob.id)).await;
    assert_eq!(content["presence"], "unavailable");
    let filtered = alice.does(&cluster.nodes[0], "GET", &format!("/sync?{filter}"), &json!({})).await;
    assert_eq!(filtered["presence"]["events"].as_array().map_or(0, Vec::len), 0, "{filtered}");
    let first = eve.sync(node, "", 0).await;
    assert_eq!((presence(&first, &alice.id), presence(&first, &bob.id)), (None, None));
    let nothing = alice.sync(&cluster.nodes[1], &after, 0).await;
    assert_eq!(presence(&nothing, &bob.id), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ignores_a_user_is_not_told_of_their_presence_and_others_are() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let (alice, bob, room) = two_in_a_room(&cluster).await;
    let node = &cluster.nodes[0];
    let carol = Person::register(node, "carol");
    carol.does(node, "POST", &format!("/join/{room}"), &json!({})).await;
    let ignore = |ignored: Value| {
        let (bob, path) = (&bob, format!("/user/{}/account_data/m.ignored_user_list", bob.id));
        async move { bob.does(node, "PUT", &path, &json!({"ignored_users": ignored})).await }
    };
    ignore(json!({&alice.id: {}})).await;
    let status = format!("/presence/{}/status", alice.id);
    let mut carols = String::new();
    let mut bobs = String::new();
    // Ignored, and then no more. The other direction is open: whoever is ignored must not learn it.
    for (message, is_ignored) in [("one", true), ("two", false)] {
        if !is_ignored {
            ignore(json!({})).await;
        }
        alice.does(node, "PUT", &status, &json!({"presence": "online", "status_msg": message})).await;
        let says = |answer: &Value| presence(answer, &alice.id).filter(|content| content["status_msg"] == message);
        carols = carol.sync_until(node, &carols, "alice says it to carol", says).await.1;
        if is_ignored {
            // On the same pod, so that it would be here, too.
            let answer = bob.sync(node, &bobs, 0).await;
            assert_eq!(presence(&answer, &alice.id), None, "{answer}");
            bobs = answer["next_batch"].as_str().expect("a token").to_owned();
        } else {
            bobs = bob.sync_until(node, &bobs, "alice says it to bob", says).await.1;
        }
    }
    let seen = alice.sync_until(node, "", "bob is there", |answer| presence(answer, &bob.id)).await;
    assert_eq!(seen.0["presence"], "online");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_presence_everybody_is_offline() {
    let cluster = Cluster::start("rateLimit: {enabled: false}\npresence: {enabled: false}").await;
    let (alice, bob, _) = two_in_a_room(&cluster).await;
    let status = format!("/presence/{}/status", alice.id);
    alice.does(&cluster.nodes[0], "PUT", &status, &json!({"presence": "online"})).await;
    let answer = bob.does(&cluster.nodes[0], "GET", &status, &json!({})).await;
    assert_eq!(answer, json!({"presence": "offline"}));
    assert_eq!(presence(&bob.sync(&cluster.nodes[0], "", 0).await, &alice.id), None);
}
