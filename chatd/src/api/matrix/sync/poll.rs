//! One poll: how far it has been told, and where its news come from.
//!
//! A poll that keeps up is told from memory: the newest events of the pod (`feed::tail`), for the rooms that it knows
//! its user to be in. News that need rows (state, members, a gap) are read once for all who want the same. Only a poll
//! that has fallen behind, or whose user's own memberships or account data have changed, reads the user's rows.

use super::super::context::MatrixContext;
use super::super::error::MatrixError;
use super::super::shared_sync::{JoinedAt, MovesKey, NewsKey, StockAt};
use super::receipt_events::add_receipts;
use crate::feed::{FeedSubscription, FeedTopics};
use crate::metrics::delivery::SyncSource;
use crate::service::{CallerSession, RequestRefusal};
use quorate_core::id;
use quorate_core::id::{Position, RoomNumber};
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::sync::{JoinedRoom, RoomNews, SYNC_BYTES, SyncRest, SyncToken};
use quorate_core::query::{
    DeviceListChanges, DeviceStock, MemberMove, QueryError, RoomEvent, StateView, SyncFilter, SyncRequest, SyncResponse,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum number of new events that a poll is told from memory; one that is further behind reads rows.
const MOST_FROM_MEMORY: usize = 256;

/// A `/sync` call that waits for news; see the [module](self).
pub(super) struct SyncPoll<'p> {
    context: &'p MatrixContext,
    session: &'p CallerSession,
    filter: Arc<SyncFilter>,
    full_state: bool,
    interest: FeedSubscription,
    /// Position up to which all was told, or is of no interest; `None` if nothing was told.
    from: Option<Position>,
    /// Rooms that the answer before had no room for, and that are still to come.
    rest: Option<SyncRest>,
    /// Position up to which the device was given its messages; before `from` if some are still to come.
    given_to: Option<Position>,
    /// Position at which the user was in the rooms that are subscribed to, and in no others.
    rooms_at: Option<Position>,
    /// Keys that the device has left for others to begin encrypted sessions with; `None` if it is not known.
    stock: Option<StockAt>,
    was_woken: bool,
}

struct RowsAnswer {
    response: SyncResponse,
    joined: BTreeSet<RoomNumber>,
    stock: Option<DeviceStock>,
}

impl<'p> SyncPoll<'p> {
    /// Subscribes to the feed; what happens from here on wakes the poll.
    pub(super) fn open(
        context: &'p MatrixContext,
        session: &'p CallerSession,
        since: Option<SyncToken>,
        full_state: bool,
        filter: Arc<SyncFilter>,
    ) -> Self {
        let known = since
            // Such a poll reads rows first in any case, and learns the rooms from them.
            .filter(|token| !full_state && token.rest.is_none())
            .and_then(|_| context.shared.joined(&session.localpart));
        let rooms = known.as_ref().map(|known| BTreeSet::clone(&known.rooms)).unwrap_or_default();
        let users = BTreeSet::from([session.localpart.clone()]);
        let interest = context.service.feed().subscribe(FeedTopics { rooms, users });
        let rooms_at = known.map(|known| known.at);
        let from = since.map(|token| token.at);
        let rest = since.and_then(|token| token.rest);
        let given_to = since.map(|token| token.to_device.unwrap_or(token.at));
        let stock = context.shared.stock(session);
        Self { context, session, filter, full_state, interest, from, rest, given_to, rooms_at, stock, was_woken: false }
    }

    /// Returns the rooms that the user was in at the last look.
    pub(super) fn rooms(&self) -> &BTreeSet<RoomNumber> {
        &self.interest.topics().rooms
    }

    /// Returns what is new since the last look.
    pub(super) async fn look(&mut self) -> Result<SyncResponse, MatrixError> {
        let response = match self.tell_from_memory().await? {
            Some(response) => response,
            None => self.tell_from_rows().await?,
        };
        if response.is_empty() {
            // Nothing new up to there: the next look goes on from there.
            self.from = Some(response.next);
            self.given_to = Some(response.next);
        }
        Ok(response)
    }

    /// Returns what the device has left, as of the last look; `None` if it never uploaded a key.
    pub(super) fn stock(&self) -> Option<&DeviceStock> {
        self.stock.as_ref()?.stock.as_deref()
    }

    /// Waits until there may be something new.
    pub(super) async fn changed(&mut self) {
        self.interest.changed().await;
        self.was_woken = true;
    }

    /// Answers from what memory holds; `None` if memory cannot tell.
    async fn tell_from_memory(&mut self) -> Result<Option<SyncResponse>, RequestRefusal> {
        let (Some(from), Some(rooms_at), false) = (self.from, self.rooms_at, self.full_state) else {
            return Ok(None);
        };
        let Some(stock_at) = self.stock.as_ref().map(|stock| stock.at) else { return Ok(None) };
        // These rooms, and the device, may have nothing after `from`, which is all that memory is asked for.
        if self.rest.is_some() || self.given_to < self.from {
            return Ok(None);
        }
        // Read from where the rooms and the keys were known: a change of the user's own since then sends the poll to the
        // rows.
        let tail = self.context.service.feed().tail();
        let rooms = &self.interest.topics().rooms;
        let page = tail.after(from.min(rooms_at).min(stock_at), &self.session.localpart, rooms, MOST_FROM_MEMORY);
        // A pod that has not reached the token waits for it at the rows: the end of its tail would be a step back, after
        // which the poll would tell once more what its client has.
        let Some(page) = page.filter(|page| !page.more && page.next >= from) else { return Ok(None) };
        let mut by_room = BTreeMap::<_, Vec<_>>::new();
        for event in page.events.into_iter().filter(|event| event.position > from) {
            by_room.entry(event.room).or_default().push(event);
        }
        let mut response = SyncResponse { next: page.next, ..SyncResponse::default() };
        let mut lists = ListedUsers::default();
        for (_, hint) in page.key_changes.iter().filter(|(at, _)| *at > from) {
            lists.changed.insert(id::user_id(&hint.localpart, self.context.service.server_name()));
        }
        let mut source = SyncSource::Memory;
        for (_, events) in by_room {
            // Whatever the filter says: it is about events.
            if events.iter().any(|event| event.is_state("m.room.member")) {
                self.note_moves(&events, &mut lists).await?;
            }
            let wanted = events.first().is_some_and(|event| self.filter.wants_room(&event.room_id));
            if !wanted {
                continue;
            }
            let (Some(first), Some(last)) = (events.first(), events.last()) else { continue };
            let key = self.news_key(first, last);
            match RoomNews::of_events(&self.filter, events) {
                RoomNews::Told(room) => response.join.push(*room),
                RoomNews::Nothing => {}
                RoomNews::AskRows => {
                    source = SyncSource::Shared;
                    let Some(news) = self.shared_news(key).await? else { continue };
                    let Some(told) = news.told_to(&self.session.user_id) else { return Ok(None) };
                    response.join.push(told);
                }
            }
        }
        add_receipts(self.context, self.session, &self.filter, from, page.receipts, &mut response)?;
        response.device_lists = lists.into_changes();
        self.context.metrics.sync_looked(source);
        self.rooms_are(page.next, None);
        self.stock_is(page.next, None);
        Ok(Some(response))
    }

    /// Notes the users who came to a room or left it with these events.
    async fn note_moves(&self, events: &[RoomEvent], lists: &mut ListedUsers) -> Result<(), RequestRefusal> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
        let key = MovesKey { room: first.room, since: first.position.before(), until: last.position };
        let cell = self.context.shared.moves(key);
        let read = || async {
            let moves = self.context.service.read_woken(move |view| view.member_moves(key.room, key.since));
            Ok::<_, RequestRefusal>(Arc::new(moves.await?))
        };
        let moves = cell.get_or_try_init(read).await?;
        let rooms = &self.interest.topics().rooms;
        for MemberMove { user_id, stays_in } in moves.iter().filter(|one| one.user_id != self.session.user_id) {
            match stays_in {
                None => drop(lists.changed.insert(user_id.clone())),
                Some(others) if others.is_disjoint(rooms) => drop(lists.left.insert(user_id.clone())),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Returns the key of a room's news. There are no events after the token's position and before the first new event,
    /// so whoever has the same new events has the same news, whatever its token.
    fn news_key(&self, first: &RoomEvent, last: &RoomEvent) -> NewsKey {
        NewsKey { room: first.room, since: first.position.before(), until: last.position, filter: self.filter.clone() }
    }

    async fn shared_news(&self, key: NewsKey) -> Result<Option<Arc<JoinedRoom>>, RequestRefusal> {
        let cell = self.context.shared.news(key.clone());
        let read = || async {
            let NewsKey { room, since, until, filter } = key;
            let news = self.context.service.read_woken(move |view| view.news_for_members(room, since, until, &filter));
            Ok::<_, RequestRefusal>(news.await?.map(Arc::new))
        };
        // If the one who reads goes away, another does it.
        cell.get_or_try_init(read).await.cloned()
    }

    async fn tell_from_rows(&mut self) -> Result<SyncResponse, MatrixError> {
        self.context.metrics.sync_looked(SyncSource::Rows);
        let localpart = self.session.localpart.clone();
        let filter = self.filter.clone();
        let since = self.from;
        let rest = self.rest;
        let full_state = self.full_state;
        let device_id = self.session.device_id.clone();
        let given_to = self.given_to;
        let question = move |view: &StateView<'_>| {
            let request = SyncRequest { localpart: &localpart, since, full_state, filter: &filter };
            let mut response = view.sync_part(&request, rest, SYNC_BYTES)?;
            response.to_device = view.queued_messages(&localpart, &device_id, given_to, response.next)?;
            let stock = view.device_stock(&localpart, &device_id)?;
            Ok(RowsAnswer { response, joined: joined_rooms(view, &localpart)?, stock })
        };
        let service = &self.context.service;
        let RowsAnswer { response, joined, stock } = match since {
            None => self.context.read(question).await?,
            // Its first look has waited for the token; from now on it comes after those who ask.
            Some(_) if self.was_woken => service.read_woken(question).await?,
            // Never answered from a state older than the token's.
            Some(position) => service.read_from(position, question).await?,
        };
        self.rooms_are(response.next, Some(joined));
        if let Some(given_to) = self.given_to.filter(|_| response.to_device.has_received) {
            self.context.service.received_messages(self.session, given_to);
        }
        self.stock_is(response.next, Some(stock));
        Ok(response)
    }

    /// Notes what the device has left at a position; `None` means the same as before.
    fn stock_is(&mut self, at: Position, read: Option<Option<DeviceStock>>) {
        let stock = match read {
            Some(read) => read.map(Arc::new),
            None => self.stock.take().and_then(|known| known.stock),
        };
        let known = StockAt { at, stock };
        self.context.shared.put_stock(self.session, known.clone());
        self.stock = Some(known);
    }

    /// Notes the rooms as they are at a position; `None` means the same as before. New rooms count as changed: they may
    /// have changed since the read.
    fn rooms_are(&mut self, at: Position, joined: Option<BTreeSet<RoomNumber>>) {
        self.rooms_at = Some(at);
        let rooms = match joined {
            None => self.context.shared.joined(&self.session.localpart).map(|known| known.rooms),
            Some(joined) => {
                self.interest.set_rooms(joined.clone());
                Some(Arc::new(joined))
            }
        };
        // Another poll of the user may know other rooms: only those that this one follows are sure as of `at`.
        if let Some(rooms) = rooms.filter(|rooms| **rooms == self.interest.topics().rooms) {
            self.context.shared.put_joined(&self.session.localpart, JoinedAt { at, rooms });
        }
    }
}

/// Users of whom an answer tells that their devices changed, or are of no concern any more.
#[derive(Default)]
struct ListedUsers {
    changed: BTreeSet<String>,
    left: BTreeSet<String>,
}

impl ListedUsers {
    fn into_changes(self) -> DeviceListChanges {
        let changed = self.changed.difference(&self.left).cloned().collect();
        DeviceListChanges { changed, left: self.left.into_iter().collect() }
    }
}

fn joined_rooms(view: &StateView<'_>, localpart: &str) -> Result<BTreeSet<RoomNumber>, QueryError> {
    let rooms = view.rooms_of(localpart)?;
    Ok(rooms.iter().filter(|room| room.kind == Kind::Join).map(|room| room.room).collect())
}
