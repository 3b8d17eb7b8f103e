//! Access control of the Matrix API.

use super::places::{self, Places, Room, user_id};
use super::{ABOUT_A_ROOM, ABOUT_A_USER, ABOUT_BOTH, ABOUT_NOTHING, Answers, Caller};
use crate::support::process::{Node, SERVER_NAME};
use quorate_chatd::api::matrix::{MatrixEndpoint, matrix_endpoints};
use quorate_core::id::{Position, encode_cursor};

/// Escapes room ids and aliases for a path.
pub(crate) fn escaped(path: &str) -> String {
    path.replace('#', "%23").replace('$', "%24")
}

/// Registers an account and returns its token.
pub(crate) fn register(node: &Node, name: &str) -> String {
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
            answers.add(caller.label(), answer(places, &endpoint, *caller));
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
    // A key backup only names rooms, and changes none.
    let in_a_room = endpoint.path.contains("{room_id") && !endpoint.name.starts_with("backup_");
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
    let path = escaped(&path.collect::<Vec<_>>().join("/")) + &query(endpoint.name);
    let token = match (caller, endpoint.name) {
        // These calls end the session.
        (Caller::User(_), "logout" | "logout_all" | "deactivate") => {
            register(&places.node, &format!("leaver-{}", places.number()))
        }
        _ => places.token(caller).to_owned(),
    };
    let body = if endpoint.method == "GET" { String::new() } else { body(endpoint.name, places, &room) };
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
pub(super) fn argument(part: &str, endpoint: &MatrixEndpoint, places: &Places, room: &Room, name: &str) -> String {
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
        "{room_alias}" if endpoint.name == "alias_put" => format!("#new-{}:{SERVER_NAME}", places.number()),
        "{room_alias}" => format!("#shared:{SERVER_NAME}"),
        "{field}" => "displayname".into(),
        "{kind}" => "override".into(),
        // A rule that exists, and one that can be added and removed.
        "{rule_id}" if endpoint.name == "pushrule_set" => "x.rule".into(),
        "{rule_id}" => ".m.rule.master".into(),
        "{device_id}" => "NONE".into(),
        "{rel_type}" => "m.thread".into(),
        "{version}" => "1".into(),
        "{session_id}" => "session".into(),
        "{receipt_type}" => "m.read".into(),
        "{tag}" => "u.work".into(),
        part => {
            assert!(!part.contains('{'), "say what stands for {part} of {endpoint:?}");
            part.to_owned()
        }
    }
}

pub(super) fn query(name: &str) -> String {
    match name {
        "messages" => "?dir=b".into(),
        "timestamp_to_event" => "?dir=f&ts=0".into(),
        "register_available" => "?username=free".into(),
        "keys_changes" => {
            let token = encode_cursor(Position::ZERO);
            format!("?from={token}&to={token}")
        }
        "registration_token_validity" => "?token=x".into(),
        name if name.starts_with("backup_keys") => "?version=1".into(),
        "mutual_rooms" | "mutual_rooms_unstable" => "?user_id=@owner:chat.test".into(),
        _ => String::new(),
    }
}

pub(super) fn body(name: &str, places: &Places, room: &Room) -> String {
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
        "alias_put" => format!(r#"{{"room_id":"{}"}}"#, places.shared.id),
        "visibility_set" => r#"{"visibility":"private"}"#.into(),
        "upgrade_room" => r#"{"new_version":"11"}"#.into(),
        "user_search" => r#"{"search_term":"owner"}"#.into(),
        "report_user" => r#"{"reason":"x"}"#.into(),
        "state_set" => r#"{"name":"x"}"#.into(),
        "send" => r#"{"body":"x","msgtype":"m.text"}"#.into(),
        "pushrule_enabled_set" => r#"{"enabled":false}"#.into(),
        "pushrule_actions_set" => r#"{"actions":[]}"#.into(),
        "devices_delete" => r#"{"devices":["NONE"]}"#.into(),
        "login_token" => "{}".into(),
        "device_set" => r#"{"display_name":"x"}"#.into(),
        "password_change" => r#"{"new_password":"x"}"#.into(),
        "pushers_set" => {
            let data = r#""data":{"url":"https://push.invalid/_matrix/push/v1/notify"}"#;
            let texts = r#""app_display_name":"App","device_display_name":"Phone","lang":"en""#;
            format!(r#"{{"app_id":"app","pushkey":"key","kind":"http",{texts},{data}}}"#)
        }
        "refresh" => r#"{"refresh_token":"qrt_0123456789"}"#.into(),
        "secret_register" => r#"{"nonce":"x","username":"x","password":"x","mac":"00"}"#.into(),
        "read_markers" => format!(r#"{{"m.fully_read":"{0}","m.read":"{0}"}}"#, room.event_id),
        "typing" => r#"{"typing":true,"timeout":1000}"#.into(),
        "presence_set" => r#"{"presence":"online"}"#.into(),
        "profile_field_set" => r#"{"displayname":"x"}"#.into(),
        "to_device_send" => format!(r#"{{"messages":{{"{}":{{"*":{{"a":1}}}}}}}}"#, user_id("guest")),
        "backup_create" | "backup_update" => places::BACKUP.into(),
        "backup_keys_put" => r#"{"rooms":{}}"#.into(),
        "backup_keys_room_put" => r#"{"sessions":{}}"#.into(),
        "backup_keys_session_put" => {
            r#"{"first_message_index":0,"forwarded_count":0,"is_verified":true,"session_data":{}}"#.into()
        }
        // Refused to everybody in the same way, because the keys name nobody.
        "dehydrated_put" => r#"{"device_id":"ASLEEP","device_data":{"algorithm":"x"},"device_keys":{}}"#.into(),
        "server_notice" | "server_notice_named" => {
            format!(r#"{{"user_id":"{}","content":{{"msgtype":"m.text","body":"x"}}}}"#, user_id("guest"))
        }
        "admin_lock_set" => r#"{"locked":true}"#.into(),
        "admin_suspend_set" => r#"{"suspended":true}"#.into(),
        "keys_upload" => r#"{"one_time_keys":{"signed_curve25519:a":{"key":"x"}}}"#.into(),
        "keys_query" => format!(r#"{{"device_keys":{{"{}":[]}}}}"#, user_id("guest")),
        "keys_claim" => format!(r#"{{"one_time_keys":{{"{}":{{"D":"signed_curve25519"}}}}}}"#, user_id("guest")),
        name => optional_body(name).into(),
    }
}

/// Returns a body of fields most of which may be left out.
fn optional_body(name: &str) -> &'static str {
    match name {
        "create_room" => {
            r#"{"name":"x","topic":"x","preset":"private_chat","creation_content":{"type":"m.space"},
                "initial_state":[{"type":"x","state_key":"","content":{"a":1}}],"power_level_content_override":{"ban":60}}"#
        }
        "join" | "knock" | "leave" => r#"{"reason":"x"}"#,
        "filter_create" => r#"{"room":{"timeline":{"limit":5,"types":["x"]}}}"#,
        "public_rooms_search" => r#"{"limit":1,"filter":{"generic_search_term":"x","room_types":[null]}}"#,
        "pushrule_set" => {
            r#"{"conditions":[{"kind":"event_match","key":"content.body","pattern":"x"}],
                "actions":["notify",{"set_tweak":"sound","value":"x"}]}"#
        }
        "tag_set" => r#"{"order":0.5}"#,
        _ => "{}",
    }
}
