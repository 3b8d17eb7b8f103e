//! Rules for sending messages and setting state: the power needed, and which state keys belong to a user.
//! Source: Matrix specification, "Room Version 11", "Authorization rules".

use super::{AuthDenial, forbidden_change, invalid_change};
use crate::proto::store::Levels;
use crate::rows::event_type;

/// User who sends an event, by both of its names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventSender<'s> {
    pub(crate) user_id: &'s str,
    pub(crate) localpart: &'s str,
}

/// Checks that events of this type may be sent without a state key.
///
/// # Errors
/// Fails for those that the authorization rules refuse without a state key, and for power levels, which they judge like a
/// change of those in force.
pub(crate) fn check_message_type(event_type: &str) -> Result<(), AuthDenial> {
    if event_type::ONLY_STATE.contains(&event_type) {
        Err(invalid_change(format!("{event_type} is a state event: send it as one, with its state key")))
    } else {
        Ok(())
    }
}

/// Checks that a member of the room has the power to send messages of this type.
///
/// # Errors
/// Fails if the member's power level is below the one needed.
pub(crate) fn check_message(levels: &Levels, localpart: &str, event_type: &str) -> Result<(), AuthDenial> {
    let needed = levels.to_send(event_type);
    let power = levels.of(localpart);
    if power >= needed {
        Ok(())
    } else {
        Err(forbidden_change(format!("you need power {needed} to send {event_type} here, but have {power}")))
    }
}

/// Checks that a member of the room may set state of this type under this key, whatever its content. Changes of
/// `m.room.power_levels` are also subject to [`check_change`](super::levels::check_change).
///
/// # Errors
/// Fails if the member's power level is below the one needed, if the key is another user's id, or if the type cannot be
/// set like other state.
pub(crate) fn check_state(
    levels: &Levels,
    sender: EventSender<'_>,
    event_type: &str,
    state_key: &str,
) -> Result<(), AuthDenial> {
    let needed = levels.to_set(event_type);
    let power = levels.of(sender.localpart);
    if power < needed {
        return Err(forbidden_change(format!("you need power {needed} to set {event_type} here, but have {power}")));
    }
    if state_key.starts_with('@') && state_key != sender.user_id {
        return Err(forbidden_change("only the user named by the state key may set this state"));
    }
    match event_type {
        // 400, not 403: no power would help.
        event_type::CREATE => Err(invalid_change("a room can be created only once")),
        event_type::MEMBER => {
            Err(invalid_change("memberships cannot be set as plain state: change the membership instead"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Reason;
    use crate::proto::store::NamedLevel;

    fn levels() -> Levels {
        let named = |name: &str, level| NamedLevel { name: name.into(), level };
        Levels {
            state_default: 50,
            users: vec![named("admin", 100), named("helper", 50)],
            events: vec![named("m.room.encryption", 100), named("quiet", 10)],
            ..Levels::default()
        }
    }

    fn state(localpart: &str, event_type: &str, state_key: &str) -> Option<Reason> {
        let user_id = format!("@{localpart}:a.org");
        let sender = EventSender { user_id: &user_id, localpart };
        check_state(&levels(), sender, event_type, state_key).err().map(|denied| denied.reason)
    }

    #[test]
    fn messages_need_the_power_of_their_type() {
        assert_eq!(check_message(&levels(), "guest", "m.room.message"), Ok(()));
        assert!(check_message(&levels(), "guest", "quiet").is_err_and(|denied| denied.message.contains("power 10")));
        assert_eq!(check_message(&levels(), "helper", "quiet"), Ok(()));
    }

    #[test]
    fn state_is_no_message() {
        assert!(check_message_type(event_type::MEMBER).is_err());
        assert_eq!(check_message_type("m.room.message"), Ok(()));
        assert_eq!(check_message_type(event_type::JOIN_RULES), Ok(()));
    }

    #[test]
    fn state_needs_the_power_of_its_type_or_that_of_state() {
        assert_eq!(state("guest", "m.room.topic", ""), Some(Reason::Forbidden));
        assert_eq!(state("helper", "m.room.topic", ""), None);
        assert_eq!(state("helper", "m.room.encryption", ""), Some(Reason::Forbidden));
        assert_eq!(state("admin", "m.room.encryption", ""), None);
    }

    #[test]
    fn a_state_key_that_is_a_user_id_belongs_to_that_user_whatever_the_power() {
        assert_eq!(state("admin", "t", "@helper:a.org"), Some(Reason::Forbidden));
        assert_eq!(state("helper", "t", "@helper:a.org"), None);
    }

    #[test]
    fn rooms_are_created_once_and_memberships_are_not_plain_state() {
        assert_eq!(state("admin", event_type::CREATE, ""), Some(Reason::Invalid));
        assert_eq!(state("admin", event_type::MEMBER, "@admin:a.org"), Some(Reason::Invalid));
    }
}
