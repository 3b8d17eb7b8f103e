//! Rooms through the Matrix API of any pod: creation, names, entering, upgrades, previews, other people.

use crate::access::http::{escaped, register};
use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::matrix::call_as;
use serde_json::{Value, json};

/// Settings under which no rate limit applies.
const QUIET: &str = "rateLimit: {enabled: false}";

/// Cluster with users, each of whom calls another pod each time.
struct RoomTest {
    cluster: Cluster,
    tokens: Vec<String>,
    calls: std::cell::Cell<usize>,
}

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

impl RoomTest {
    async fn start() -> Self {
        let cluster = Cluster::start(QUIET).await;
        let tokens = ["alice", "bob", "carol"].iter().map(|name| register(&cluster.nodes[0], name)).collect();
        Self { cluster, tokens, calls: std::cell::Cell::new(0) }
    }

    /// Calls an endpoint on the next pod, and returns the status and the body.
    fn call(&self, user: usize, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let number = self.calls.get();
        self.calls.set(number + 1);
        let node = &self.cluster.nodes[number % 3];
        let path = escaped(&format!("/_matrix/client/{path}"));
        call_as(node, &self.tokens[user], method, &path, body)
    }

    fn done(&self, user: usize, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(user, method, path, &body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    fn get(&self, user: usize, path: &str) -> Value {
        self.done(user, "GET", path, Value::Null)
    }

    /// Expects a refusal, and returns its status and code.
    fn refused(&self, user: usize, method: &str, path: &str, body: Value) -> (u16, String) {
        let (status, answer) = self.call(user, method, path, &body);
        assert_ne!(status, 200, "{method} {path}: {answer}");
        (status, answer["errcode"].as_str().unwrap_or_default().to_owned())
    }

    fn room(&self, user: usize, wish: Value) -> String {
        self.done(user, "POST", "v3/createRoom", wish)["room_id"].as_str().expect("a room").to_owned()
    }

    fn state(&self, user: usize, room: &str, event_type: &str) -> Value {
        self.get(user, &format!("v3/rooms/{room}/state/{event_type}/"))
    }
}

fn error(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_created_as_wished_in_every_version() {
    let test = RoomTest::start().await;
    for version in ["6", "7", "8", "9", "10", "11", "12"] {
        let room = test.room(
            ALICE,
            json!({"room_version": version, "topic": "Talk", "name": "N", "preset": "public_chat",
                   "initial_state": [{"type": "m.room.topic", "content": {"topic": "Other"}}]}),
        );
        assert_eq!(test.state(ALICE, &room, "m.room.create")["room_version"], version);
        let topic = json!({"topic": "Talk", "m.topic": {"m.text": [{"body": "Talk"}]}});
        assert_eq!(test.state(ALICE, &room, "m.room.topic"), topic);
        test.done(BOB, "POST", &format!("v3/join/{room}"), json!({"foo": "bar"}));
        assert_eq!(test.get(BOB, &format!("v3/rooms/{room}/state/m.room.member/@bob:chat.test"))["foo"], "bar");
    }
    let bad = |wish| test.refused(ALICE, "POST", "v3/createRoom", wish);
    assert_eq!(bad(json!({"room_version": "ahfg"})), error(400, "M_UNSUPPORTED_ROOM_VERSION"));
    assert_eq!(bad(json!({"room_version": 1})), error(400, "M_BAD_JSON"));
    let capabilities = &test.get(ALICE, "v3/capabilities")["capabilities"];
    assert_eq!(capabilities["m.change_password"]["enabled"], true);
    let versions = &capabilities["m.room_versions"];
    assert_eq!((&versions["default"], &versions["available"]["12"]), (&json!("11"), &json!("stable")));
    assert_eq!(versions["available"].as_object().map(serde_json::Map::len), Some(7), "{versions}");
    assert_eq!(bad(json!({"room_version": "5"})), error(400, "M_UNSUPPORTED_ROOM_VERSION"));
    let room = test.room(ALICE, json!({}));
    let path = format!("v3/rooms/{room}/state/a.type/");
    let first = test.done(ALICE, "PUT", &path, json!({"k": "v"}));
    assert_eq!(test.done(ALICE, "PUT", &path, json!({"k": "v"})), first, "set twice is set once");
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_lead_to_rooms_until_they_are_removed() {
    let test = RoomTest::start().await;
    let room = test.room(ALICE, json!({"preset": "public_chat"}));
    let path = "v3/directory/room/#Ünï:chat.test".replace('Ü', "%C3%9C").replace('ï', "%C3%AF");
    test.done(ALICE, "PUT", &path, json!({"room_id": room}));
    assert_eq!(test.get(BOB, &path)["room_id"], room);
    assert_eq!(test.refused(ALICE, "PUT", &path, json!({"room_id": room})), error(409, "M_UNKNOWN"));
    let foreign = "v3/directory/room/#x:else.where";
    assert_eq!(test.refused(ALICE, "PUT", foreign, json!({"room_id": room})), error(400, "M_INVALID_PARAM"));
    let of_bob = "v3/directory/room/#bob:chat.test";
    assert_eq!(test.refused(BOB, "PUT", of_bob, json!({"room_id": room})), error(403, "M_FORBIDDEN"));
    assert_eq!(test.get(ALICE, &format!("v3/rooms/{room}/aliases")), json!({"aliases": ["#Ünï:chat.test"]}));
    let (status, _) = test.call(BOB, "GET", &format!("v3/rooms/{room}/aliases"), &Value::Null);
    assert_eq!(status, 403);
    let canonical = format!("v3/rooms/{room}/state/m.room.canonical_alias/");
    let set = |content| test.refused(ALICE, "PUT", &canonical, content);
    assert_eq!(set(json!({"alias": "#none:chat.test"})), error(400, "M_BAD_ALIAS"));
    assert_eq!(set(json!({"alias": "#Ünï:chat.test", "alt_aliases": ["%x:chat.test"]})), error(400, "M_INVALID_PARAM"));
    test.done(ALICE, "PUT", &canonical, json!({"alias": "#Ünï:chat.test"}));
    assert_eq!(test.refused(BOB, "DELETE", &path, json!({})), error(403, "M_FORBIDDEN"));
    test.done(ALICE, "DELETE", &path, json!({}));
    assert_eq!(test.refused(ALICE, "DELETE", &path, json!({})), error(404, "M_NOT_FOUND"));
    assert_eq!(test.state(ALICE, &room, "m.room.canonical_alias"), json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_list_is_sorted_searched_and_paged() {
    let test = RoomTest::start().await;
    let rooms = ["small", "large"].map(|name| test.room(ALICE, json!({"visibility": "public", "name": name})));
    test.done(BOB, "POST", &format!("v3/join/{}", rooms[1]), json!({}));
    let page = test.get(CAROL, "v3/publicRooms?limit=1");
    let first = &page["chunk"][0];
    assert_eq!((&first["name"], &first["num_joined_members"]), (&json!("large"), &json!(2)));
    assert_eq!((&first["world_readable"], &page["total_room_count_estimate"]), (&json!(false), &json!(2)));
    let next = page["next_batch"].as_str().expect("another page");
    let second = test.get(CAROL, &format!("v3/publicRooms?limit=1&since={next}"));
    assert_eq!(second["chunk"][0]["name"], "small");
    assert!(second.get("next_batch").is_none());
    let back = test.get(CAROL, &format!("v3/publicRooms?since={}", second["prev_batch"].as_str().expect("a page")));
    assert_eq!(back["chunk"][0]["name"], "large");
    let search = json!({"filter": {"generic_search_term": "SMA"}});
    assert_eq!(test.done(CAROL, "POST", "v3/publicRooms", search)["chunk"].as_array().map(Vec::len), Some(1));
    assert_eq!(test.refused(CAROL, "POST", "v3/publicRooms", json!({"since": "x"})), error(400, "M_INVALID_PARAM"));
    let listed = format!("v3/directory/list/room/{}", rooms[0]);
    assert_eq!(test.get(BOB, &listed), json!({"visibility": "public"}));
    assert_eq!(test.refused(BOB, "PUT", &listed, json!({"visibility": "private"})), error(403, "M_FORBIDDEN"));
    test.done(ALICE, "PUT", &listed, json!({"visibility": "private"}));
    assert_eq!(test.get(BOB, &listed), json!({"visibility": "private"}));
    assert_eq!(test.get(CAROL, "v3/publicRooms")["chunk"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_list_says_who_can_join_a_room_and_of_what_type_it_is() {
    let test = RoomTest::start().await;
    let knock = json!({"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}});
    test.room(ALICE, json!({"visibility": "public", "name": "closed", "initial_state": [knock]}));
    test.room(ALICE, json!({"visibility": "public", "name": "open"}));
    test.room(ALICE, json!({"visibility": "public", "name": "space", "creation_content": {"type": "m.space"}}));
    for (method, body) in [("GET", Value::Null), ("POST", json!({}))] {
        let page = test.done(CAROL, method, "v3/publicRooms", body);
        let rooms = page["chunk"].as_array().expect("rooms").iter();
        let mut rooms: Vec<_> =
            rooms.map(|room| [&room["name"], &room["join_rule"], &room["room_type"]].map(Value::clone)).collect();
        rooms.sort_by_key(|[name, ..]| name.to_string());
        let expected = json!([["closed", "knock", null], ["open", "public", null], ["space", "public", "m.space"]]);
        assert_eq!(json!(rooms), expected, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_list_is_for_users_unless_it_is_opened() {
    const PATH: &str = "/_matrix/client/v3/publicRooms";
    for is_open in [false, true] {
        let cluster = Cluster::start(&format!("{QUIET}\ndirectory: {{withoutToken: {is_open}}}")).await;
        let node = &cluster.nodes[0];
        let token = register(node, "alice");
        let create = json!({"visibility": "public", "name": "Lobby"});
        assert_eq!(call_as(node, &token, "POST", "/_matrix/client/v3/createRoom", &create).0, 200);
        let (status, list) = call_as(node, &token, "GET", PATH, &Value::Null);
        assert_eq!((status, &list["chunk"][0]["name"]), (200, &json!("Lobby")));
        let (status, list) = call_as(node, "", "GET", PATH, &Value::Null);
        if is_open {
            // The pod has applied what it has just shown.
            assert_eq!((status, &list["chunk"][0]["name"]), (200, &json!("Lobby")));
        } else {
            assert_eq!((status, &list["errcode"]), (401, &json!("M_MISSING_TOKEN")));
            let (status, list) = call_as(node, "qat_unknown", "GET", PATH, &Value::Null);
            assert_eq!((status, &list["errcode"]), (401, &json!("M_UNKNOWN_TOKEN")));
        }
        assert_eq!(call_as(node, "", "POST", PATH, &json!({})).0, 401, "a search is for users alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_knocked_at_and_entered_from_others() {
    let test = RoomTest::start().await;
    let knock = json!({"type": "m.room.join_rules", "content": {"join_rule": "knock"}});
    let room = test.room(ALICE, json!({"initial_state": [knock]}));
    let path = format!("v3/knock/{room}");
    assert_eq!(test.done(BOB, "POST", &path, json!({"reason": "please"}))["room_id"], room);
    let own = test.get(ALICE, &format!("v3/rooms/{room}/state/m.room.member/@bob:chat.test"));
    assert_eq!((&own["membership"], &own["reason"]), (&json!("knock"), &json!("please")));
    assert_eq!(test.refused(ALICE, "POST", &path, json!({})), error(403, "M_FORBIDDEN"), "she is in");
    test.done(ALICE, "POST", &format!("v3/rooms/{room}/ban"), json!({"user_id": "@bob:chat.test"}));
    assert_eq!(test.refused(BOB, "POST", &path, json!({})), error(403, "M_FORBIDDEN"));
    let lobby = test.room(ALICE, json!({"preset": "public_chat"}));
    let rule = json!({"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": lobby}]});
    let inner = test.room(ALICE, json!({"initial_state": [{"type": "m.room.join_rules", "content": rule}]}));
    assert_eq!(test.refused(CAROL, "POST", &format!("v3/join/{inner}"), json!({})), error(403, "M_FORBIDDEN"));
    test.done(CAROL, "POST", &format!("v3/join/{lobby}"), json!({}));
    test.done(CAROL, "POST", &format!("v3/join/{inner}"), json!({}));
    let own = test.get(CAROL, &format!("v3/rooms/{inner}/state/m.room.member/@carol:chat.test"));
    assert_eq!(own["join_authorised_via_users_server"], "@alice:chat.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_leads_from_the_old_room_to_the_new_one() {
    let test = RoomTest::start().await;
    let old = test.room(ALICE, json!({"preset": "public_chat", "name": "Ops", "room_alias_name": "ops"}));
    let path = format!("v3/rooms/{old}/upgrade");
    assert_eq!(test.refused(BOB, "POST", &path, json!({"new_version": "12"})), error(403, "M_FORBIDDEN"));
    let unknown = json!({"new_version": "99"});
    assert_eq!(test.refused(ALICE, "POST", &path, unknown), error(400, "M_UNSUPPORTED_ROOM_VERSION"));
    let new = test.done(ALICE, "POST", &path, json!({"new_version": "12"}))["replacement_room"].clone();
    let new = new.as_str().expect("a room");
    assert_eq!(test.state(ALICE, &old, "m.room.tombstone")["replacement_room"], new);
    assert_eq!(test.state(ALICE, new, "m.room.create")["predecessor"]["room_id"], old);
    assert_eq!(test.state(ALICE, new, "m.room.name")["name"], "Ops");
    assert_eq!(test.get(BOB, "v3/directory/room/#ops:chat.test")["room_id"], new);
    test.done(BOB, "POST", &format!("v3/join/{new}"), json!({}));
    let sent = test.done(BOB, "PUT", &format!("v3/rooms/{new}/send/m.room.message/1"), json!({"body": "hi"}));
    let event = sent["event_id"].as_str().expect("an event");
    assert_eq!(test.get(ALICE, &format!("v3/rooms/{new}/event/{event}"))["room_id"], new);
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces_summaries_people_and_reports_are_shown_to_whom_they_concern() {
    let test = RoomTest::start().await;
    let space =
        test.room(ALICE, json!({"preset": "public_chat", "name": "S", "creation_content": {"type": "m.space"}}));
    let child = test.room(ALICE, json!({"preset": "public_chat", "name": "C"}));
    test.done(ALICE, "PUT", &format!("v3/rooms/{space}/state/m.space.child/{child}"), json!({"via": ["chat.test"]}));
    let tree = test.get(BOB, &format!("v1/rooms/{space}/hierarchy"));
    let names: Vec<_> = tree["rooms"].as_array().expect("rooms").iter().map(|room| room["name"].clone()).collect();
    assert_eq!(names, ["S", "C"]);
    assert_eq!(tree["rooms"][0]["children_state"][0]["state_key"], child);
    let page = test.get(BOB, &format!("v1/rooms/{space}/hierarchy?limit=1"));
    let next = page["next_batch"].as_str().expect("another page");
    assert_eq!(test.get(BOB, &format!("v1/rooms/{space}/hierarchy?from={next}"))["rooms"][0]["name"], "C");
    let summary = test.get(BOB, &format!("v1/room_summary/{space}"));
    let shown = (&summary["room_type"], &summary["num_joined_members"], &summary["room_version"]);
    assert_eq!(shown, (&json!("m.space"), &json!(1), &json!("11")));
    let closed = test.room(ALICE, json!({}));
    let (status, body) = test.call(BOB, "GET", &format!("v1/room_summary/{closed}"), &Value::Null);
    assert_eq!((status, &body["errcode"]), (404, &json!("M_NOT_FOUND")));
    assert_eq!(test.get(ALICE, &format!("v1/room_summary/{closed}"))["membership"], "join");
    let found = test.done(BOB, "POST", "v3/user_directory/search", json!({"search_term": "ALI"}));
    assert_eq!(found, json!({"limited": false, "results": [{"user_id": "@alice:chat.test"}]}));
    test.done(BOB, "POST", &format!("v3/join/{child}"), json!({}));
    let mutual = test.get(BOB, "v1/mutual_rooms?user_id=@alice:chat.test");
    assert_eq!(mutual, json!({"count": 1, "joined": [child]}));
    let sent = test.done(ALICE, "PUT", &format!("v3/rooms/{closed}/send/m.room.message/1"), json!({"body": "hi"}));
    let path = format!("v3/rooms/{closed}/report/{}", sent["event_id"].as_str().expect("an event"));
    test.done(ALICE, "POST", &path, json!({"reason": "spam"}));
    assert_eq!(test.refused(BOB, "POST", &path, json!({})), error(404, "M_NOT_FOUND"));
    test.done(BOB, "POST", &format!("v3/rooms/{closed}/report"), json!({"reason": "spam"}));
    test.done(BOB, "POST", "v3/users/@alice:chat.test/report", json!({"reason": "spam"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn invitations_of_ignored_users_and_forgotten_rooms_are_hidden() {
    let test = RoomTest::start().await;
    let path = "v3/user/@bob:chat.test/account_data/m.ignored_user_list";
    test.done(BOB, "PUT", path, json!({"ignored_users": {"@alice:chat.test": {}}}));
    test.room(ALICE, json!({"invite": ["@bob:chat.test"]}));
    let wanted = test.room(CAROL, json!({"invite": ["@bob:chat.test"]}));
    let invites = eventually("the invitation is told", || async {
        let invites = test.get(BOB, "v3/sync")["rooms"]["invite"].clone();
        invites.get(&wanted).is_some().then_some(invites)
    })
    .await;
    assert_eq!(invites.as_object().map(|rooms| rooms.keys().cloned().collect::<Vec<_>>()), Some(vec![wanted.clone()]));
    test.done(BOB, "POST", &format!("v3/join/{wanted}"), json!({}));
    let forget = format!("v3/rooms/{wanted}/forget");
    assert_eq!(test.refused(BOB, "POST", &forget, json!({})), error(400, "M_UNKNOWN"));
    test.done(BOB, "POST", &format!("v3/rooms/{wanted}/leave"), json!({}));
    test.get(BOB, &format!("v3/rooms/{wanted}/messages?dir=b"));
    test.done(BOB, "POST", &forget, json!({}));
    // Before anything that may be missing in the query.
    for path in ["messages?dir=b", "messages"] {
        let (status, _) = test.call(BOB, "GET", &format!("v3/rooms/{wanted}/{path}"), &Value::Null);
        assert_eq!(status, 403, "{path}");
    }
}
