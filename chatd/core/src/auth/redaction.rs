//! Rules for redactions: who may redact, and the part of an event's content that survives.
//! Source: Matrix specification, "Room Version 11", "Redactions".

use super::{AuthDenial, forbidden_change};
use crate::json::{self, JsonObject};
use crate::proto::store::Levels;
use crate::room_version::RoomVersion;
use bytes::Bytes;

/// Checks that a member of the room may redact an event that is the member's own or somebody else's.
///
/// # Errors
/// Fails if the event is somebody else's and the member's power level is below the one needed.
pub(crate) fn check_power(levels: &Levels, localpart: &str, is_own: bool) -> Result<(), AuthDenial> {
    let needed = levels.redact;
    let power = levels.of(localpart);
    if is_own || power >= needed {
        Ok(())
    } else {
        Err(forbidden_change(format!("you need power {needed} to redact events of others, but have {power}")))
    }
}

/// Returns the content that remains when an event of this type is redacted in a room of this version.
pub(crate) fn redacted_content(version: RoomVersion, event_type: &str, content: &[u8]) -> Bytes {
    let kept: &[&str] = match event_type {
        // Later versions keep more of these types.
        "m.room.member" if version < RoomVersion::V9 => &["membership"],
        "m.room.join_rules" if version < RoomVersion::V8 => &["join_rule"],
        "m.room.create" if version < RoomVersion::V11 => &["creator"],
        "m.room.member" if version < RoomVersion::V11 => &["membership", "join_authorised_via_users_server"],
        "m.room.power_levels" if version < RoomVersion::V11 => {
            &["ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"]
        }
        "m.room.redaction" if version < RoomVersion::V11 => &[],
        "m.room.create" => return Bytes::copy_from_slice(content),
        "m.room.member" => &["membership", "join_authorised_via_users_server", "third_party_invite"],
        "m.room.join_rules" => &["join_rule", "allow"],
        "m.room.power_levels" => {
            &["ban", "events", "events_default", "invite", "kick", "redact", "state_default", "users", "users_default"]
        }
        "m.room.history_visibility" => &["history_visibility"],
        "m.room.redaction" => &["redacts"],
        _ => return Bytes::from_static(b"{}"),
    };
    let mut object = json::stored_object(content);
    object.retain(|key, _| kept.contains(&key.as_str()));
    if let Some(invite) = object.get_mut("third_party_invite") {
        keep_signed(invite);
    }
    json::canonical_json(&object)
}

/// Removes everything but `signed` from a third-party invite.
fn keep_signed(invite: &mut serde_json::Value) {
    let signed = invite.get("signed").cloned();
    *invite = signed
        .map_or_else(|| JsonObject::new().into(), |signed| JsonObject::from_iter([("signed".into(), signed)]).into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_versions_keep_less_of_the_state_that_lets_members_of_other_rooms_in() {
        let member = br#"{"join_authorised_via_users_server":"@a:x","membership":"join"}"#;
        let rules = br#"{"allow":[],"join_rule":"restricted"}"#;
        let kept = |version| {
            let kept = [("m.room.member", &member[..]), ("m.room.join_rules", &rules[..])];
            kept.map(|(event_type, content)| redacted_content(version, event_type, content).len() == content.len())
        };
        assert_eq!(kept(RoomVersion::V7), [false, false]);
        assert_eq!(kept(RoomVersion::V8), [false, true]);
        assert_eq!(kept(RoomVersion::V9), [true, true]);
        assert_eq!(redacted_content(RoomVersion::V6, "m.room.member", member), r#"{"membership":"join"}"#);
        assert_eq!(
            redacted_content(RoomVersion::V6, "m.room.create", br#"{"creator":"@a:x","x":1}"#),
            r#"{"creator":"@a:x"}"#
        );
    }

    #[test]
    fn a_message_loses_everything_and_state_keeps_what_rules_need() {
        assert_eq!(redacted_content(RoomVersion::V11, "m.room.message", br#"{"body":"x"}"#), "{}");
        assert_eq!(
            redacted_content(RoomVersion::V11, "m.room.member", br#"{"membership":"join","displayname":"x"}"#),
            r#"{"membership":"join"}"#
        );
        assert_eq!(redacted_content(RoomVersion::V11, "m.room.create", br#"{"a": 1}"#), r#"{"a": 1}"#);
        assert_eq!(
            redacted_content(
                RoomVersion::V11,
                "m.room.power_levels",
                br#"{"notifications":{"room":1},"invite":3,"users":{"@a:x":1}}"#
            ),
            r#"{"invite":3,"users":{"@a:x":1}}"#
        );
        assert_eq!(
            redacted_content(
                RoomVersion::V11,
                "m.room.member",
                br#"{"membership":"invite","third_party_invite":{"display_name":"x","signed":{"a":1}}}"#
            ),
            r#"{"membership":"invite","third_party_invite":{"signed":{"a":1}}}"#
        );
    }
}
