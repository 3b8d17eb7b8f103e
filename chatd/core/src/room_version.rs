//! Room versions: the rules by which a room's events are judged, named and redacted.
//! Source: Matrix specification, "Room Versions".

use crate::proto::store;

/// Version of a room. Ordered: a later version has all that an earlier one introduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoomVersion {
    /// Version 10: integer power levels; the create event names its creator in its content.
    V10,
    /// Version 11: clarified redactions; the creator is the sender of the create event.
    #[default]
    V11,
    /// Version 12: creators have unlimited power, and the id of a room is that of its create event.
    V12,
}

impl RoomVersion {
    /// All versions, oldest first.
    pub const ALL: [Self; 3] = [Self::V10, Self::V11, Self::V12];

    /// Returns the version with this name; `None` if it is not supported.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.name() == name)
    }

    /// Returns the name of the version, as create events contain it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V10 => "10",
            Self::V11 => "11",
            Self::V12 => "12",
        }
    }

    /// Returns the version of a room by its row.
    pub(crate) fn of_row(row: &store::Room) -> Self {
        match row.version {
            10 => Self::V10,
            12 => Self::V12,
            // Rows from before there was a choice have no number.
            _ => Self::V11,
        }
    }

    /// Returns the number that a room's row keeps.
    pub(crate) fn to_row(self) -> u32 {
        match self {
            Self::V10 => 10,
            Self::V11 => 0,
            Self::V12 => 12,
        }
    }

    /// Returns `true` if the create event contains the field `creator`.
    pub(crate) fn names_creator(self) -> bool {
        self < Self::V11
    }

    /// Returns `true` if creators have unlimited power, and the room's id is that of its create event.
    pub(crate) fn has_powerful_creators(self) -> bool {
        self >= Self::V12
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_by_its_name_and_by_its_row() {
        for version in RoomVersion::ALL {
            assert_eq!(RoomVersion::parse(version.name()), Some(version));
            let row = store::Room { version: version.to_row(), ..store::Room::default() };
            assert_eq!(RoomVersion::of_row(&row), version);
        }
        assert_eq!(RoomVersion::parse("1"), None);
    }
}
