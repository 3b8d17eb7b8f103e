//! State that polls have in common, so that it is worked out once and not by each of them: the rooms of users, filters,
//! and the news of a room for its members. All of it can be forgotten at any time.

use crate::service::CallerSession;
use quorate_core::id::{Position, RoomNumber};
use quorate_core::query::sync::JoinedRoom;
use quorate_core::query::{DeviceStock, MemberMove, SyncFilter};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;

/// Maximum number of users whose rooms are remembered between two of their polls. With [`MOST_ROOMS`], the bound on the
/// rooms of all of them together, this takes some megabytes. Past that the memory begins anew.
const MOST_USERS: usize = 16_384;
const MOST_ROOMS: usize = 262_144;
/// Maximum number of filters that are remembered; the bound on a request's body is a rough one on their size.
const MOST_FILTERS: usize = 4096;
/// Maximum number of rooms whose newest news are remembered. Those who read them were woken together, so that only the
/// newest count.
const MOST_NEWS: usize = 32;
/// Maximum number of devices of which is remembered what they have left: some hundred bytes each.
const MOST_STOCKS: usize = 32_768;

/// News of a room, once somebody has worked them out.
pub(super) type SharedNews = Arc<OnceCell<Option<Arc<JoinedRoom>>>>;

/// Users who came to a room or left it, once somebody has worked them out.
pub(super) type SharedMoves = Arc<OnceCell<Arc<Vec<MemberMove>>>>;

/// Places for what somebody works out, oldest first.
type SharedPlaces<K, T> = VecDeque<(K, Arc<OnceCell<T>>)>;

/// User of a stored filter, and its number.
type FilterName = (Arc<str>, u64);

/// Memory that all polls share; see the [module](self).
#[derive(Default)]
pub(super) struct SharedSync {
    joined: Mutex<JoinedRooms>,
    filters: Mutex<HashMap<FilterName, Arc<SyncFilter>>>,
    news: Mutex<VecDeque<(NewsKey, SharedNews)>>,
    moves: Mutex<VecDeque<(MovesKey, SharedMoves)>>,
    stocks: Mutex<HashMap<DeviceName, StockAt>>,
}

/// Localpart and device id of a device.
type DeviceName = (Arc<str>, Arc<str>);

/// Keys that a device had left at a position.
#[derive(Clone, Debug)]
pub(super) struct StockAt {
    pub(super) at: Position,
    /// Stock of the device; `None` if it never uploaded a key.
    pub(super) stock: Option<Arc<DeviceStock>>,
}

/// Key of the moves of a room, after and up to a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MovesKey {
    pub(super) room: RoomNumber,
    pub(super) since: Position,
    pub(super) until: Position,
}

/// Rooms that a user was in at a position.
#[derive(Clone, Debug)]
pub(super) struct JoinedAt {
    pub(super) at: Position,
    pub(super) rooms: Arc<BTreeSet<RoomNumber>>,
}

#[derive(Default)]
struct JoinedRooms {
    of: HashMap<Arc<str>, JoinedAt>,
    rooms: usize,
}

/// Key of some news: of a room, after and up to a position, by a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewsKey {
    pub(super) room: RoomNumber,
    pub(super) since: Position,
    pub(super) until: Position,
    pub(super) filter: Arc<SyncFilter>,
}

fn lock_unpoisoned<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is remembered is either whole or not there.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedSync {
    /// Returns the rooms of a user as its last poll knew them. They may have changed since `at`.
    pub(super) fn joined(&self, localpart: &str) -> Option<JoinedAt> {
        lock_unpoisoned(&self.joined).of.get(localpart).cloned()
    }

    /// Remembers a user's rooms, unless somebody knows them as they were later.
    pub(super) fn put_joined(&self, localpart: &str, known: JoinedAt) {
        let mut joined = lock_unpoisoned(&self.joined);
        if joined.of.get(localpart).is_some_and(|other| other.at > known.at) {
            return;
        }
        if joined.of.len() >= MOST_USERS || joined.rooms + known.rooms.len() > MOST_ROOMS {
            // All at once: evicting one by one needs an order of use, and a poll that finds nothing only reads rows.
            *joined = JoinedRooms::default();
        }
        joined.rooms += known.rooms.len();
        if let Some(old) = joined.of.insert(localpart.into(), known) {
            joined.rooms = joined.rooms.saturating_sub(old.rooms.len());
        }
    }

    /// Returns a stored filter. The filter of a number never changes.
    pub(super) fn filter(&self, localpart: &str, number: u64) -> Option<Arc<SyncFilter>> {
        lock_unpoisoned(&self.filters).get(&(localpart.into(), number)).cloned()
    }

    /// Remembers a stored filter by its number.
    pub(super) fn put_filter(&self, localpart: &str, number: u64, filter: Arc<SyncFilter>) {
        let mut filters = lock_unpoisoned(&self.filters);
        if filters.len() >= MOST_FILTERS {
            filters.clear();
        }
        filters.insert((localpart.into(), number), filter);
    }

    /// Returns the place for some news: the same for all who ask for the same.
    pub(super) fn news(&self, key: NewsKey) -> SharedNews {
        place_of(&self.news, key)
    }

    /// Returns the place for a room's moves: the same for all who ask for the same.
    pub(super) fn moves(&self, key: MovesKey) -> SharedMoves {
        place_of(&self.moves, key)
    }

    /// Returns what a device had left when its last poll looked. It may have changed since.
    pub(super) fn stock(&self, session: &CallerSession) -> Option<StockAt> {
        lock_unpoisoned(&self.stocks).get(&device_name(session)).cloned()
    }

    /// Remembers what a device has left, unless somebody knows it as it was later.
    pub(super) fn put_stock(&self, session: &CallerSession, known: StockAt) {
        let name = device_name(session);
        let mut stocks = lock_unpoisoned(&self.stocks);
        if stocks.get(&name).is_some_and(|other| other.at > known.at) {
            return;
        }
        if stocks.len() >= MOST_STOCKS && !stocks.contains_key(&name) {
            // All at once, as with the rooms.
            stocks.clear();
        }
        stocks.insert(name, known);
    }
}

fn device_name(session: &CallerSession) -> DeviceName {
    (session.localpart.as_str().into(), session.device_id.as_str().into())
}

fn place_of<K: PartialEq, T>(of: &Mutex<SharedPlaces<K, T>>, key: K) -> Arc<OnceCell<T>> {
    let mut places = lock_unpoisoned(of);
    // From the newest on: whoever asks was just woken for it.
    if let Some((_, found)) = places.iter().rev().find(|(known, _)| *known == key) {
        return found.clone();
    }
    while places.len() >= MOST_NEWS {
        places.pop_front();
    }
    let cell = Arc::<OnceCell<T>>::default();
    places.push_back((key, cell.clone()));
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64) -> Position {
        Position::end_of_entry(0, index)
    }

    fn known(index: u64, rooms: u64) -> JoinedAt {
        JoinedAt { at: at(index), rooms: Arc::new((0..rooms).map(RoomNumber).collect()) }
    }

    #[test]
    fn the_newest_rooms_of_a_user_are_kept_and_their_number_is_bounded() {
        let shared = SharedSync::default();
        shared.put_joined("alice", known(2, 5));
        shared.put_joined("alice", known(1, 7));
        assert_eq!(shared.joined("alice").unwrap().rooms.len(), 5);
        shared.put_joined("alice", known(3, 1));
        assert_eq!((shared.joined("alice").unwrap().at, lock_unpoisoned(&shared.joined).rooms), (at(3), 1));
        shared.put_joined("bob", known(3, MOST_ROOMS as u64));
        assert!(shared.joined("alice").is_none() && shared.joined("bob").is_some());
    }

    #[test]
    fn who_asks_for_the_same_news_gets_the_same_place_and_only_the_newest_are_kept() {
        let shared = SharedSync::default();
        let key = |since, limit| {
            let mut filter = SyncFilter::default();
            filter.timeline.limit = Some(limit);
            NewsKey { room: RoomNumber(1), since: at(since), until: at(9), filter: Arc::new(filter) }
        };
        let first = shared.news(key(1, 5));
        assert!(Arc::ptr_eq(&first, &shared.news(key(1, 5))));
        assert!(!Arc::ptr_eq(&first, &shared.news(key(1, 6))));
        (0..MOST_NEWS as u64).for_each(|n| drop(shared.news(key(100 + n, 5))));
        assert!(!Arc::ptr_eq(&first, &shared.news(key(1, 5))));
        assert_eq!(lock_unpoisoned(&shared.news).len(), MOST_NEWS);
    }
}
