//! All rooms, as administrators see them.

use super::{PAGE_BYTES, QueryError, RoomSummary, StateView};
use crate::id::RoomNumber;
use crate::proto::store;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, key};

/// Maximum number of rooms that are examined for one page: a search for a rare word gives short pages instead of slow
/// ones. Each room costs some ten lookups.
const MAX_LOOKED_AT: usize = 1000;

/// Room as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRoom {
    /// Summary of the room.
    pub summary: RoomSummary,
    /// Localpart of the user who created the room.
    pub creator: String,
    /// `true` if nobody can enter the room.
    pub blocked: bool,
    /// `true` if the room was deleted.
    pub deleted: bool,
    /// `true` while the deletion has members to remove, or what they said.
    pub clearing: bool,
}

/// Page of all rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedRooms {
    /// Rooms in order of their numbers, which is that of their creation.
    pub rooms: Vec<ListedRoom>,
    /// Room after which the next page begins; `None` at the end. A page may be empty without being the last.
    pub next: Option<RoomNumber>,
}

impl StateView<'_> {
    /// Returns a page of at most `limit` rooms after one whose id, name, topic or canonical alias contains the term, in
    /// any case; an empty term stands for all rooms. The page is bounded in bytes as well: a name may have 64 KiB.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn list_rooms(&self, term: &str, after: Option<RoomNumber>, limit: usize) -> Result<ListedRooms, QueryError> {
        let term = term.to_lowercase();
        let mut page = ListedRooms::default();
        let numbers = self.room_numbers(after, MAX_LOOKED_AT + 1)?;
        let more = numbers.len() > MAX_LOOKED_AT;
        let mut last = None;
        let mut bytes = 0;
        for number in numbers.into_iter().take(MAX_LOOKED_AT) {
            self.is_wanted()?;
            if page.rooms.len() >= limit || bytes >= PAGE_BYTES {
                page.next = last;
                return Ok(page);
            }
            let summary = self.summary(number)?;
            if is_match(&summary, &term) {
                bytes += summary.weight();
                page.rooms.push(self.listed_room(number, summary)?);
            }
            last = Some(number);
        }
        page.next = last.filter(|_| more);
        Ok(page)
    }

    /// Returns the room with this id as administrators see it, if it exists.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn find_room(&self, room_id: &str) -> Result<Option<ListedRoom>, QueryError> {
        let Some(number) = rows::room_by_id(self.rows, room_id, self.server_name())? else { return Ok(None) };
        let summary = self.summary(number)?;
        self.listed_room(number, summary).map(Some)
    }

    /// Returns `true` if an administrator has deleted the room.
    pub(super) fn is_deleted(&self, room: RoomNumber) -> Result<bool, QueryError> {
        Ok(rows::room_block_row(self.rows, room)?.is_some_and(|block| block.deleted))
    }

    /// Returns the ids of at most `limit` deleted rooms of which something is left to remove.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn unfinished_clearings(&self, limit: usize) -> Result<Vec<String>, QueryError> {
        let mut numbers = Vec::new();
        self.rows.scan(&ScanRange::with_prefix(Table::Meta, key::CLEARINGS), &mut |(key, _)| {
            if numbers.len() >= limit {
                return Ok(ScanControl::Stop);
            }
            numbers.push(rows::room_in(Table::Meta, key.get(key::CLEARINGS.len()..).unwrap_or_default())?);
            Ok(ScanControl::More)
        })?;
        numbers.into_iter().map(|number| self.room_id(number)).collect()
    }

    fn room_numbers(&self, after: Option<RoomNumber>, limit: usize) -> Result<Vec<RoomNumber>, QueryError> {
        let from = key::room_key(RoomNumber(after.map_or(0, |after| after.0.saturating_add(1))));
        let mut out = Vec::new();
        self.rows.scan(&ScanRange::starting_at(Table::Room, &from), &mut |(key, _)| {
            out.push(rows::room_in(Table::Room, key)?);
            Ok(if out.len() < limit { ScanControl::More } else { ScanControl::Stop })
        })?;
        Ok(out)
    }

    fn listed_room(&self, number: RoomNumber, summary: RoomSummary) -> Result<ListedRoom, QueryError> {
        let block = rows::room_block_row(self.rows, number)?;
        let clearing =
            table::fetch_row::<store::RoomClearing>(self.rows, Table::Meta, &key::room_clearing(number))?.is_some();
        Ok(ListedRoom {
            summary,
            creator: self.room_row(number)?.creator,
            blocked: block.is_some(),
            deleted: block.is_some_and(|block| block.deleted),
            clearing,
        })
    }
}

fn is_match(room: &RoomSummary, term: &str) -> bool {
    let texts = [&room.room_id, &room.name, &room.topic, &room.canonical_alias];
    term.is_empty() || texts.into_iter().any(|text| text.to_lowercase().contains(term))
}
