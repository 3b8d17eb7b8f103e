//! Room versions: the rules by which a room's events are judged, named and redacted.
//! Source: Matrix specification, "Room Versions".
//!
//! Versions before 6 are not supported: their events may contain numbers that are no integers, which the log does not take,
//! and clients know those of 1 and 2 by ids of another form. Power levels are integers in every version: versions before 10
//! allow text in its place for the sake of old events, of which there are none here, and other servers do not take it from
//! clients either.

use crate::proto::store;

/// Version of a room. Ordered: a later version has all that an earlier one introduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoomVersion {
    /// Version 6: content is canonical JSON; the create event names its creator in its content.
    V6,
    /// Version 7: knocks.
    V7,
    /// Version 8: restricted rooms.
    V8,
    /// Version 9: a redacted join still says in whose name a restricted room was joined.
    V9,
    /// Version 10: restricted rooms at which others may knock.
    V10,
    /// Version 11: clarified redactions; the creator is the sender of the create event.
    #[default]
    V11,
    /// Version 12: creators have unlimited power, and the id of a room is that of its create event.
    V12,
}

impl RoomVersion {
    /// All versions, oldest first.
    pub const ALL: [Self; 7] = [Self::V6, Self::V7, Self::V8, Self::V9, Self::V10, Self::V11, Self::V12];

    /// Returns the version with this name; `None` if it is not supported.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.name() == name)
    }

    /// Returns the name of the version, as create events contain it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V6 => "6",
            Self::V7 => "7",
            Self::V8 => "8",
            Self::V9 => "9",
            Self::V10 => "10",
            Self::V11 => "11",
            Self::V12 => "12",
        }
    }

    /// Returns the version of a room by its row.
    pub(crate) fn of_row(row: &store::Room) -> Self {
        match row.version {
            6 => Self::V6,
            7 => Self::V7,
            8 => Self::V8,
            9 => Self::V9,
            10 => Self::V10,
            12 => Self::V12,
            // Rows from before there was a choice have no number.
            _ => Self::V11,
        }
    }

    /// Returns the number that a room's row keeps.
    pub(crate) fn to_row(self) -> u32 {
        match self {
            Self::V6 => 6,
            Self::V7 => 7,
            Self::V8 => 8,
            Self::V9 => 9,
            Self::V10 => 10,
            Self::V11 => 0,
            Self::V12 => 12,
        }
    }

    /// Returns `true` if the create event contains the field `creator`.
    pub(crate) fn names_creator(self) -> bool {
        self < Self::V11
    }

    /// Returns `true` if users may knock at a room with this join rule.
    pub(crate) fn takes_knocks(self, join_rule: &str) -> bool {
        match join_rule {
            "knock" => self >= Self::V7,
            "knock_restricted" => self >= Self::V10,
            _ => false,
        }
    }

    /// Returns `true` if members of the rooms that this join rule names may join.
    pub(crate) fn is_restricted(self, join_rule: &str) -> bool {
        match join_rule {
            "restricted" => self >= Self::V8,
            "knock_restricted" => self >= Self::V10,
            _ => false,
        }
    }

    /// Returns `true` if this join rule means something in rooms of this version. Any other one lets nobody in.
    pub(crate) fn has_join_rule(self, join_rule: &str) -> bool {
        matches!(join_rule, "public" | "invite") || self.takes_knocks(join_rule) || self.is_restricted(join_rule)
    }

    /// Returns `true` if creators have unlimited power, and the room's id is that of its create event.
    pub(crate) fn has_powerful_creators(self) -> bool {
        self >= Self::V12
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::proto::log::set_membership::Change;
    use crate::proto::log::{self, Reason};
    use crate::testing::world;

    #[test]
    fn a_version_is_found_by_its_name_and_by_its_row() {
        for version in RoomVersion::ALL {
            assert_eq!(RoomVersion::parse(version.name()), Some(version));
            let row = store::Room { version: version.to_row(), ..store::Room::default() };
            assert_eq!(RoomVersion::of_row(&row), version);
        }
        assert_eq!((RoomVersion::parse("1"), RoomVersion::parse("5")), (None, None));
    }

    #[test]
    fn a_version_has_the_join_rules_that_were_known_when_it_was_made() {
        let names = |has: fn(RoomVersion, &str) -> bool, rule: &str| {
            let with = RoomVersion::ALL.into_iter().filter(|version| has(*version, rule));
            with.map(RoomVersion::name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(RoomVersion::takes_knocks, "knock"), "7 8 9 10 11 12");
        assert_eq!(names(RoomVersion::takes_knocks, "knock_restricted"), "10 11 12");
        assert_eq!(names(RoomVersion::is_restricted, "restricted"), "8 9 10 11 12");
        assert_eq!(names(RoomVersion::is_restricted, "knock_restricted"), "10 11 12");
        assert_eq!(names(RoomVersion::takes_knocks, "public") + &names(RoomVersion::is_restricted, "knock"), "");
        assert_eq!(names(RoomVersion::has_join_rule, "invite"), "6 7 8 9 10 11 12");
        assert_eq!(names(RoomVersion::has_join_rule, "restricted"), "8 9 10 11 12");
        assert_eq!(names(RoomVersion::has_join_rule, "private") + &names(RoomVersion::has_join_rule, ""), "");
    }

    #[test]
    fn join_rules_that_a_version_does_not_have_let_nobody_in() {
        let mut world = world(&["alice", "bob"]);
        let (_, club) = world.public_room("alice");
        world.moved("bob", &club, Change::Join, "");
        let allow = format!(r#""allow":[{{"type":"m.room_membership","room_id":"{club}"}}]"#);
        for (version, rule, change, is_taken) in [
            ("6", "knock", Change::Knock, false),
            ("7", "knock", Change::Knock, true),
            ("7", "restricted", Change::Join, false),
            ("8", "restricted", Change::Join, true),
            ("9", "knock_restricted", Change::Join, false),
            ("9", "knock_restricted", Change::Knock, false),
            ("10", "knock_restricted", Change::Knock, true),
        ] {
            let create = log::CreateRoom { room_version: version.into(), ..log::CreateRoom::default() };
            let (room, id) = world.create("alice", create);
            world.set("alice", &id, "m.room.join_rules", &format!(r#"{{"join_rule":"{rule}",{allow}}}"#));
            let envelope = world.membership("bob", &id, change, "");
            if is_taken {
                world.accepted(envelope);
            } else {
                assert_eq!(world.rejected(envelope), Reason::Forbidden, "{rule} in version {version}");
            }
            let preview = world.view().room_preview(Some("bob"), room);
            assert_eq!(preview.is_ok(), is_taken, "{rule} in version {version}");
            let created = world.view().state_event(room, "m.room.create", "", None).unwrap().unwrap();
            assert!(json::stored_object(&created.content).contains_key("creator"), "version {version}");
        }
    }
}
