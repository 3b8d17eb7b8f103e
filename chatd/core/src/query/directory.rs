//! The public directory, largest rooms first, and the aliases of rooms.

use super::{PAGE_BYTES, QueryError, RoomSummary, StateView};
use crate::id::{self, RoomNumber};
use crate::rows;
use crate::table::{ScanControl, ScanDirection, ScanRange, Table, key};

/// Maximum number of rooms examined for one page: a search for a rare word gives short pages instead of slow ones. Each
/// room costs some ten lookups.
const MAX_LOOKED_AT: usize = 1000;

/// Maximum number of rooms that are counted. Beyond it, a list has "many".
const MAX_COUNTED: usize = 10_000;

/// Place in the directory: a room with the number of members that it had in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryPlace {
    /// Number of joined members.
    pub members: u64,
    /// Number of the room.
    pub room: RoomNumber,
}

impl DirectoryPlace {
    /// Returns the place as clients keep it.
    #[must_use]
    pub fn to_text(self) -> String {
        format!("{}~{}", self.members, self.room)
    }

    /// Parses a place exactly as it was written, and in no other form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (members, room) = text.split_once('~')?;
        let place = Self { members: members.parse().ok()?, room: RoomNumber(room.parse().ok()?) };
        Some(place).filter(|place| place.to_text() == text)
    }
}

/// Wish for a page of the directory.
#[derive(Clone, Debug)]
pub struct DirectoryQuery {
    /// Place after which the page begins, or (backward) before which it ends; `None` for the end of the list.
    pub from: Option<DirectoryPlace>,
    /// [`ScanDirection::Forward`] for smaller rooms, [`ScanDirection::Backward`] for larger ones.
    pub direction: ScanDirection,
    /// Text that the name, the topic or the canonical alias contains, in any case; empty for all rooms.
    pub term: String,
    /// Types of the rooms, an empty one for rooms without a type; `None` for all.
    pub room_types: Option<Vec<String>>,
    /// Maximum number of rooms.
    pub limit: usize,
}

/// Page of the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryPage {
    /// Rooms, largest first.
    pub rooms: Vec<RoomSummary>,
    /// Place after which smaller rooms follow; `None` at the end. A page may be empty without being the last.
    pub next: Option<DirectoryPlace>,
    /// Place before which there are larger rooms; `None` at the beginning.
    pub previous: Option<DirectoryPlace>,
}

impl StateView<'_> {
    /// Returns a page of the public directory, largest rooms first. The page is bounded in bytes as well.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn directory_page(&self, query: &DirectoryQuery) -> Result<DirectoryPage, QueryError> {
        let backward = query.direction == ScanDirection::Backward;
        let places = self.directory_places(query.from, query.direction, MAX_LOOKED_AT + 1)?;
        let more_rooms = places.len() > MAX_LOOKED_AT;
        let term = query.term.to_lowercase();
        let mut shown = Vec::new();
        let mut bytes = 0;
        let mut first = None;
        let mut last = None;
        let mut is_cut = false;
        for place in places.into_iter().take(MAX_LOOKED_AT) {
            self.is_wanted()?;
            if shown.len() >= query.limit || bytes >= PAGE_BYTES {
                is_cut = true;
                break;
            }
            let summary = self.summary(place.room)?;
            if is_match(&summary, &term, query.room_types.as_deref()) {
                bytes += summary.weight();
                shown.push(summary);
            }
            first = first.or(Some(place));
            last = Some(place);
        }
        let goes_on = is_cut || more_rooms;
        if backward {
            shown.reverse();
        }
        // Where the reader came from, there is something, even if it is only the page before.
        let (next, previous) = if backward {
            (first.or(query.from), last.filter(|_| goes_on))
        } else {
            (last.filter(|_| goes_on), first.filter(|_| query.from.is_some()))
        };
        Ok(DirectoryPage { rooms: shown, next, previous })
    }

    fn directory_places(
        &self,
        from: Option<DirectoryPlace>,
        direction: ScanDirection,
        limit: usize,
    ) -> Result<Vec<DirectoryPlace>, QueryError> {
        let at = from.map(|place| key::room_by_size(place.members, place.room));
        let after = at.clone().map(|mut key| {
            // The smallest key after this one, as all have the same length.
            key.push(0);
            key
        });
        let range = match direction {
            ScanDirection::Forward => {
                ScanRange::starting_at(Table::PublicRoomBySize, after.as_deref().unwrap_or_default())
            }
            ScanDirection::Backward => {
                ScanRange::between(Table::PublicRoomBySize, &[], at.as_deref().unwrap_or_default()).backward()
            }
        };
        let mut out = Vec::new();
        self.rows.scan(&range, &mut |(key, _)| {
            if let Some((members, room)) = key::parse_room_by_size(key) {
                out.push(DirectoryPlace { members, room });
            }
            Ok(if out.len() < limit { ScanControl::More } else { ScanControl::Stop })
        })?;
        Ok(out)
    }

    /// Returns the number of rooms in the directory, as far as they are counted.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn directory_size(&self) -> Result<usize, QueryError> {
        let mut count = 0;
        self.rows.scan(&ScanRange::all(Table::PublicRoomBySize), &mut |_| {
            count += 1;
            Ok(if count < MAX_COUNTED { ScanControl::More } else { ScanControl::Stop })
        })?;
        Ok(count)
    }

    /// Returns `true` if the room is to be in the public directory. `false` also if there is no such room, which a
    /// stranger must not learn.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn is_to_be_listed(&self, room_id: &str) -> Result<bool, QueryError> {
        match rows::room_by_id(self.rows, room_id, self.server_name())? {
            Some(room) => Ok(self.room_row(room)?.listed),
            None => Ok(false),
        }
    }

    /// Returns the aliases of a room, for those who may read its present state.
    ///
    /// # Errors
    /// [`QueryError::Forbidden`] for others.
    pub fn aliases_for(&self, localpart: &str, room: RoomNumber) -> Result<Vec<String>, QueryError> {
        self.present_members_place(localpart, room)?;
        let prefix = key::room_key(room);
        let mut out = Vec::new();
        self.rows.scan(&ScanRange::with_prefix(Table::RoomAlias, &prefix), &mut |(key, _)| {
            let local = std::str::from_utf8(key.get(prefix.len()..).unwrap_or_default()).unwrap_or_default();
            out.push(id::room_alias(local, self.server_name()));
            Ok(ScanControl::More)
        })?;
        Ok(out)
    }
}

/// Returns `true` if the room has one of the types, and the (lower-case) term in its name, topic or alias.
fn is_match(room: &RoomSummary, term: &str, types: Option<&[String]>) -> bool {
    let has_term = |text: &String| text.to_lowercase().contains(term);
    let of_type = types.is_none_or(|types| types.contains(&room.room_type));
    of_type && (term.is_empty() || [&room.name, &room.topic, &room.canonical_alias].into_iter().any(has_term))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log;
    use crate::proto::log::set_membership::Change;
    use crate::testing::world;

    fn query(from: Option<DirectoryPlace>, direction: ScanDirection, term: &str, limit: usize) -> DirectoryQuery {
        DirectoryQuery { from, direction, term: term.into(), room_types: None, limit }
    }

    fn names(page: &DirectoryPage) -> Vec<&str> {
        page.rooms.iter().map(|room| room.name.as_str()).collect()
    }

    #[test]
    fn the_directory_is_sorted_by_members_and_paged_both_ways() {
        let mut world = world(&["alice", "bob", "carol"]);
        let mut ids = Vec::new();
        for name in ["one", "two", "three", "space"] {
            let create = log::CreateRoom {
                preset: log::create_room::Preset::Public.into(),
                name: name.into(),
                room_type: if name == "space" { "m.space".into() } else { String::new() },
                listed: true,
                ..Default::default()
            };
            ids.push(world.create("alice", create).1);
        }
        for (user, room) in [("bob", 1), ("bob", 2), ("carol", 2)] {
            world.moved(user, &ids[room], Change::Join, "");
        }
        let view = world.view();
        let first = view.directory_page(&query(None, ScanDirection::Forward, "", 2)).unwrap();
        assert_eq!((names(&first), first.previous), (vec!["three", "two"], None));
        let second = view.directory_page(&query(first.next, ScanDirection::Forward, "", 2)).unwrap();
        assert_eq!((names(&second), second.next), (vec!["one", "space"], None));
        let back = view.directory_page(&query(second.previous, ScanDirection::Backward, "", 2)).unwrap();
        assert_eq!((names(&back), back.previous), (vec!["three", "two"], None));
        let again = view.directory_page(&query(back.next, ScanDirection::Forward, "", 2)).unwrap();
        assert_eq!(names(&again).len(), 2);
        assert_eq!(names(&view.directory_page(&query(None, ScanDirection::Forward, "TH", 9)).unwrap()), ["three"]);
        let spaces =
            DirectoryQuery { room_types: Some(vec!["m.space".into()]), ..query(None, ScanDirection::Forward, "", 9) };
        assert_eq!(names(&view.directory_page(&spaces).unwrap()), ["space"]);
        assert_eq!(view.directory_size().unwrap(), 4);
        world.moved("carol", &ids[2], Change::Leave, "");
        world.moved("bob", &ids[2], Change::Leave, "");
        let page = world.view().directory_page(&query(None, ScanDirection::Forward, "", 1)).unwrap();
        assert_eq!(names(&page), ["two"], "it moves with its members");
    }

    #[test]
    fn a_room_is_listed_and_unlisted_by_who_governs_it() {
        let mut world = world(&["alice", "bob"]);
        let (_, id) = world.public_room("alice");
        world.moved("bob", &id, Change::Join, "");
        let set = |listed| log::command::Kind::SetListed(log::SetListed { room_id: id.clone(), listed });
        let refused = world.by("bob", set(true));
        assert_eq!(world.rejected(refused), log::Reason::Forbidden);
        let listed = world.by("alice", set(true));
        world.accepted(listed);
        assert!(world.view().is_to_be_listed(&id).unwrap());
        assert_eq!(world.view().directory_size().unwrap(), 1);
        let unlisted = world.by("alice", set(false));
        world.accepted(unlisted);
        assert_eq!(world.view().directory_size().unwrap(), 0);
    }
}
