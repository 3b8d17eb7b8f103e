//! Search for users, and what two users have in common.

use super::{QueryError, StateView};
use crate::id::{self, RoomNumber};
use crate::json;
use crate::proto::store;
use crate::rows::{self, event_type};
use crate::table::{self, ReadError, ScanControl, ScanRange, Table, key};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of accounts examined for one search: those whose localpart begins with the term come first, so that
/// they are found in any directory; others are found among this many.
const MAX_ACCOUNTS: usize = 10_000;

/// Maximum number of accounts with the term whose rooms are examined: most of them may be none of the searcher's
/// business.
const MAX_CANDIDATES: usize = 500;

/// Maximum number of rooms of a found user that are examined for one that the searcher may know of.
const MAX_ROOMS: usize = 500;

/// Maximum number of rooms that are examined for one search, of all found users together.
const MAX_ROOMS_LOOKED_AT: usize = 5000;

/// User who was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundUser {
    /// Localpart of the account.
    pub localpart: String,
    /// Full user id.
    pub user_id: String,
    /// Display name; empty if there is none.
    pub display_name: String,
    /// Avatar URL (`mxc://…`); empty if there is none.
    pub avatar_url: String,
}

/// Result of a search for users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundUsers {
    /// Users whose localpart begins with the term first.
    pub users: Vec<FoundUser>,
    /// `true` if there may be others.
    pub limited: bool,
}

/// Report of a room, an event or a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiledReport {
    /// Localpart of the reporter.
    pub reporter: String,
    /// Position of the report in the log, and with the reporter its name.
    pub at: id::Position,
    /// Reported room, or the room of the reported event; empty if a user is reported.
    pub room_id: String,
    /// Reported event; empty unless an event is reported.
    pub event_id: String,
    /// Reported user; empty unless a user is reported.
    pub user_id: String,
    /// Reason that the reporter gave; may be empty.
    pub reason: String,
    /// Time of the report, in milliseconds since the Unix epoch.
    pub time_ms: u64,
}

impl StateView<'_> {
    /// Returns users whose id or display name contains the term, in any case, as far as the searcher may know of them:
    /// those in a room of the searcher's, or in a public one.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn search_users(&self, searcher: &str, term: &str, limit: usize) -> Result<FoundUsers, QueryError> {
        let term = term.trim().to_lowercase();
        let wanted = id::user_localpart(&term, self.server_name()).unwrap_or(&term).trim_start_matches('@').to_owned();
        if wanted.is_empty() {
            return Ok(FoundUsers::default());
        }
        let mine = self.joined_rooms(searcher)?;
        let nothing = BTreeSet::new();
        let mut found = FoundUsers::default();
        let mut seen = BTreeSet::new();
        let mut open = BTreeMap::new();
        let first = key::account_key(&wanted);
        for range in [ScanRange::with_prefix(Table::Account, &first), ScanRange::all(Table::Account)] {
            let (candidates, cut) = self.matching_accounts(&range, &wanted, &seen)?;
            found.limited |= cut;
            for user in candidates {
                self.is_wanted()?;
                if found.users.len() >= limit {
                    found.limited = true;
                    return Ok(found);
                }
                if seen.len() > MAX_CANDIDATES {
                    found.limited = true;
                    return Ok(found);
                }
                seen.insert(user.localpart.clone());
                // One is found by oneself as by strangers: in an open room.
                let shared = if user.localpart == searcher { &nothing } else { &mine };
                if self.is_findable(&user.localpart, shared, &mut open)? {
                    found.users.push(user);
                }
            }
        }
        Ok(found)
    }

    /// Returns the accounts of a range that match, and whether the range has more than were examined.
    fn matching_accounts(
        &self,
        range: &ScanRange<'_>,
        wanted: &str,
        seen: &BTreeSet<String>,
    ) -> Result<(Vec<FoundUser>, bool), QueryError> {
        let mut out = Vec::new();
        let mut looked_at = 0;
        let mut cut = false;
        self.rows.scan(range, &mut |(key, value)| {
            if looked_at >= MAX_ACCOUNTS {
                cut = true;
                return Ok(ScanControl::Stop);
            }
            looked_at += 1;
            let localpart = std::str::from_utf8(key).unwrap_or_default();
            let row: store::Account = table::decode_value(Table::Account, value)?;
            let matches = localpart.contains(wanted) || row.display_name.to_lowercase().contains(wanted);
            if matches && !row.deactivated && !seen.contains(localpart) {
                out.push(FoundUser {
                    localpart: localpart.to_owned(),
                    user_id: id::user_id(localpart, self.server_name()),
                    display_name: row.display_name,
                    avatar_url: row.avatar_url,
                });
            }
            Ok(ScanControl::More)
        })?;
        Ok((out, cut))
    }

    /// Returns `true` if the user is in one of these rooms, or in one that anyone may enter or read; `open` keeps which
    /// rooms are, between calls.
    fn is_findable(
        &self,
        localpart: &str,
        mine: &BTreeSet<RoomNumber>,
        open: &mut BTreeMap<RoomNumber, bool>,
    ) -> Result<bool, QueryError> {
        let theirs = self.joined_rooms(localpart)?;
        if theirs.iter().any(|room| mine.contains(room)) {
            return Ok(true);
        }
        for room in theirs.into_iter().take(MAX_ROOMS) {
            let is_open = match open.get(&room).copied() {
                Some(is_open) => is_open,
                None if open.len() >= MAX_ROOMS_LOOKED_AT => continue,
                None => {
                    let is_open = self.is_open_to_all(room)?;
                    open.insert(room, is_open);
                    is_open
                }
            };
            if is_open {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns `true` if anyone may enter or read the room.
    fn is_open_to_all(&self, room: RoomNumber) -> Result<bool, QueryError> {
        let rules = rows::state_event(self.rows, room, event_type::JOIN_RULES, "", id::Position::MAX)?;
        let rules = rules.map(|(_, event)| json::stored_object(&event.content)).unwrap_or_default();
        Ok(json::string_field(&rules, "join_rule") == Some("public") || self.sight(room, "")?.is_world_readable())
    }

    /// Returns the rooms that both users are joined to, in order of their numbers and beginning after `after`: their
    /// ids, the number of all of them, and the room after which the next page begins.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn mutual_rooms(
        &self,
        user: &str,
        other: &str,
        after: Option<RoomNumber>,
        limit: usize,
    ) -> Result<(Vec<String>, usize, Option<RoomNumber>), QueryError> {
        let mine = self.joined_rooms(user)?;
        let theirs = self.joined_rooms(other)?;
        let both: Vec<_> = mine.intersection(&theirs).copied().collect();
        let rest = both.iter().copied().filter(|room| after.is_none_or(|after| *room > after));
        let page: Vec<_> = rest.take(limit).collect();
        let next = page.last().copied().filter(|last| both.last() != Some(last));
        let ids = page.into_iter().map(|room| self.room_id(room)).collect::<Result<Vec<_>, _>>()?;
        Ok((ids, both.len(), next))
    }

    /// Returns `true` if a user wants to hear nothing from another one (`m.ignored_user_list`).
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn ignores(&self, localpart: &str, sender: &str) -> Result<bool, ReadError> {
        let key = key::account_data(localpart, RoomNumber(0), "m.ignored_user_list");
        let row = table::fetch_row::<store::AccountData>(self.rows, Table::AccountData, &key)?;
        let content = row.map(|row| json::stored_object(&row.content)).unwrap_or_default();
        Ok(content.get("ignored_users").and_then(Value::as_object).is_some_and(|users| users.contains_key(sender)))
    }

    /// Returns at most `limit` reports, by reporter and then oldest first, beginning after the one of a reporter
    /// at a position.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn reports(&self, after: Option<(&str, id::Position)>, limit: usize) -> Result<Vec<FiledReport>, QueryError> {
        let mut from = after.map(|(reporter, at)| key::report_key(reporter, at)).unwrap_or_default();
        if after.is_some() {
            // The smallest key after this one: no key of a report is longer.
            from.push(0);
        }
        let mut out = Vec::new();
        self.rows.scan(&ScanRange::starting_at(Table::Report, &from), &mut |(key, value)| {
            let row: store::Report = table::decode_value(Table::Report, value)?;
            let reporter = key.split(|byte| *byte == 0).next().unwrap_or_default();
            out.push(FiledReport {
                reporter: String::from_utf8_lossy(reporter).into_owned(),
                at: rows::position_in(Table::Report, key)?,
                room_id: row.room_id,
                event_id: row.event_id,
                user_id: row.user_id,
                reason: row.reason,
                time_ms: row.time_ms,
            });
            Ok(if out.len() < limit { ScanControl::More } else { ScanControl::Stop })
        })?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use crate::proto::log;
    use crate::proto::log::set_membership::Change;
    use crate::testing::{World, world};

    fn found(world: &World, searcher: &str, term: &str) -> Vec<String> {
        let found = world.view().search_users(searcher, term, 10).unwrap();
        found.users.into_iter().map(|user| user.localpart).collect()
    }

    #[test]
    fn users_are_found_by_name_if_a_room_is_shared_or_public() {
        let mut world = world(&["alice", "bob", "bobby", "carol"]);
        let named = log::SetProfile { display_name: Some("Robert Bob".into()), ..Default::default() };
        let envelope = world.by("carol", log::command::Kind::SetProfile(named));
        world.accepted(envelope);
        assert!(found(&world, "alice", "bob").is_empty());
        let (_, room) = world.create("alice", log::CreateRoom::default());
        world.moved("alice", &room, Change::Invite, "carol");
        world.moved("carol", &room, Change::Join, "");
        world.public_room("bobby");
        assert_eq!(found(&world, "alice", "BOB"), ["bobby", "carol"]);
        assert_eq!(found(&world, "alice", "@bobby:a.org"), ["bobby"]);
        assert_eq!(found(&world, "bob", "robert"), [""; 0]);
        assert_eq!(found(&world, "bobby", "bobby"), ["bobby"], "in a public room");
        assert!(found(&world, "carol", "carol").is_empty(), "in none");
        assert!(world.view().search_users("alice", "bob", 1).unwrap().limited);
    }

    #[test]
    fn mutual_rooms_are_those_that_both_are_in() {
        let mut world = world(&["alice", "bob"]);
        let rooms: Vec<_> = (0..3).map(|_| world.public_room("alice").1).collect();
        for room in &rooms[1..] {
            world.moved("bob", room, Change::Join, "");
        }
        let view = world.view();
        let (page, count, next) = view.mutual_rooms("alice", "bob", None, 1).unwrap();
        assert_eq!((page.as_slice(), count), (&rooms[1..2], 2));
        let (page, _, end) = view.mutual_rooms("alice", "bob", next, 1).unwrap();
        assert_eq!((page.as_slice(), end), (&rooms[2..], None));
        assert!(view.mutual_rooms("alice", "nobody", None, 9).unwrap().0.is_empty());
    }
}
