//! Access control of the Matrix API.

use super::places::{Places, Room, user_id};
use super::{ABOUT_A_ROOM, ABOUT_A_USER, ABOUT_BOTH, ABOUT_NOTHING, Answers, Caller};
use crate::support::process::{Node, SERVER_NAME};
use quorate_chatd::api::matrix::{MatrixEndpoint, matrix_endpoints};

/// Escapes room ids and aliases for a path.
pub(super) fn escaped(path: &str) -> String {
    path.replace('#', "%23").replace('$', "%24")
}

/// Registers an account and returns its token.
pub(super) fn register(node: &Node, name: &str) -> String {
    let answer = node.ask("POST", "/_matrix/client/v3/register", "", "", &registration(name));
    answer["access_token"].as_str().unwrap_or_else(|| panic!("{name}: {answer}")).to_owned()
}

fn registration(name: &str) -> String {
    format!(r#"{{"username":"{name}","password":"a password","auth":{{"type":"m.login.dummy"}}}}"#)
}

pub(super) fn answers(places: &Places, table: &mut String) {
    for endpoint in matrix_endpoints() {
        let mut answers = Answers::default();
        for caller in callers(&endpoint) {
            answers.add(*caller, answer(places, &endpoint, *caller));
        }
        answers.write(&format!("{} {} ({})", endpoint.method, endpoint.path, endpoint.name), table);
    }
}

fn callers(endpoint: &MatrixEndpoint) -> &'static [Caller] {
    match endpoint.path {
        path if path.contains("{room_id") && path.contains("{user_id}") => &ABOUT_BOTH,
        path if path.contains("{room_id") => ABOUT_A_ROOM,
        path if path.contains("{user_id}") => &ABOUT_A_USER,
        _ => &ABOUT_NOTHING,
    }
}

fn answer(places: &Places, endpoint: &MatrixEndpoint, caller: Caller) -> String {
    let in_a_room = endpoint.path.contains("{room_id");
    let changes = in_a_room && endpoint.method != "GET" && matches!(caller, Caller::User(_));
    let room = match caller {
        Caller::RoomGone => places.nowhere(),
        _ if changes => places.fresh(),
        _ => places.shared.clone(),
    };
    let name = match caller {
        Caller::User(name) => name,
        Caller::RoomGone => "stranger",
        _ => "owner",
    };
    let path = endpoint.path.split('/').map(|part| argument(part, endpoint, places, &room, name));
    let path = escaped(&path.collect::<Vec<_>>().join("/")) + query(endpoint.name);
    let token = match (caller, endpoint.name) {
        // These calls end the session.
        (Caller::User(_), "logout" | "logout_all") => register(&places.node, &format!("leaver-{}", places.number())),
        _ => places.token(caller).to_owned(),
    };
    let body = if endpoint.method == "GET" { String::new() } else { body(endpoint.name, places) };
    let (status, body) = places.node.matrix(endpoint.method.as_str(), &path, &token, &body).expect("an answer");
    if changes && status != 200 {
        places.unchanged(room);
    }
    let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
    let code = body["errcode"].as_str().unwrap_or_default();
    let soft = if body["soft_logout"] == true { " soft_logout" } else { "" };
    format!("{status} {code}{soft}").trim().to_owned()
}

/// Returns the value for one segment of a path.
fn argument(part: &str, endpoint: &MatrixEndpoint, places: &Places, room: &Room, name: &str) -> String {
    match part {
        "{room_id}" | "{room_id_or_alias}" => room.id.clone(),
        "{event_id}" => room.event_id.clone(),
        "{user_id}" => user_id(name),
        "{event_type}" if endpoint.name.contains("account_data") => "x.data".into(),
        "{event_type}" if endpoint.name == "send" => "m.room.message".into(),
        "{event_type}" => "m.room.name".into(),
        "{state_key}" => String::new(),
        "{txn_id}" => places.number().to_string(),
        "{filter_id}" => places.filter_id.clone(),
        "{room_alias}" => format!("#shared:{SERVER_NAME}"),
        "{field}" => "displayname".into(),
        "{kind}" => "override".into(),
        // A rule that exists, and one that can be added and removed.
        "{rule_id}" if endpoint.name == "pushrule_set" => "x.rule".into(),
        "{rule_id}" => ".m.rule.master".into(),
        part => {
            assert!(!part.contains('{'), "say what stands for {part} of {endpoint:?}");
            part.to_owned()
        }
    }
}

fn query(name: &str) -> &'static str {
    match name {
        "messages" => "?dir=b",
        "register_available" => "?username=free",
        _ => "",
    }
}

fn body(name: &str, places: &Places) -> String {
    let about = |user: &str| format!(r#"{{"user_id":"{}"}}"#, user_id(user));
    match name {
        "register" => registration(&format!("new-{}", places.number())),
        "login" => {
            let user = r#""identifier":{"type":"m.id.user","user":"guest"}"#;
            format!(r#"{{"type":"m.login.password",{user},"password":"a password"}}"#)
        }
        "invite" => about("guest"),
        "kick" | "ban" => about("victim"),
        "unban" => about("banned"),
        "state_set" => r#"{"name":"x"}"#.into(),
        "send" => r#"{"body":"x","msgtype":"m.text"}"#.into(),
        "pushrule_set" => r#"{"conditions":[],"actions":[]}"#.into(),
        "pushrule_enabled_set" => r#"{"enabled":false}"#.into(),
        "pushrule_actions_set" => r#"{"actions":[]}"#.into(),
        "profile_field_set" => r#"{"displayname":"x"}"#.into(),
        _ => "{}".into(),
    }
}
