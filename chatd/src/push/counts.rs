//! Unread notifications of rooms, worked out from rows when somebody asks for them (docs/adr/0028).
//!
//! What was worked out is remembered: as long as the user has read no further and changed no rule, only the events since
//! then are judged. It can be forgotten at any time.

use super::judge::{FlatEvents, JudgedRoom, PushJudge};
use super::ruleset::PUSH_RULES;
use quorate_core::id::{self, Position, RoomNumber};
use quorate_core::query::{MemberReading, QueryError, ReadPoints, StateView, UnreadEvent, UnreadWalk};
use quorate_core::table::ReadError;
use ruma::UserId;
use ruma::push::Action;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of events of a room that are judged for a count: the newest ones. Clients show "99+", and a thousand
/// take some ten milliseconds.
const MOST_JUDGED: usize = 1_000;
/// Maximum number of events that are judged for the rooms of one answer, and of each further room: a user who never
/// reads anything in hundreds of rooms would otherwise wait for seconds at each first sync.
const MOST_JUDGED_AT_ONCE: usize = 20_000;
const FEWEST_JUDGED: usize = 20;
/// Maximum number of events of a room that are judged where little is to be done.
const FEW_JUDGED: usize = 16;
/// Number of events up to which all that is unread in a room is walked through again for each redaction, some milliseconds,
/// and the pause between two walks through more. A redaction makes everybody who waits for the room count anew: in a room
/// of thousands that nobody reads, one user could keep all pods busy. Until then a count may have what was redacted.
const FEW_WALKED: usize = 250;
const WALK_PAUSE: Duration = Duration::from_secs(10);
/// Maximum number of rooms of users, with their threads, whose counts are remembered, some hundred bytes each, and of users
/// whose rules are, some kilobytes each. Past that those counts are forgotten that were not asked for, and all rules.
const MOST_COUNTS: usize = 65_536;
const MOST_RULES: usize = 8_192;

/// Type of the account data that names the users whom a user ignores.
const IGNORED_USERS: &str = "m.ignored_user_list";

/// Number of unread events that notify a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NotificationCount {
    /// Events that notify.
    pub(crate) notified: u64,
    /// Notifying events that are highlighted, as mentions are.
    pub(crate) highlighted: u64,
}

impl NotificationCount {
    fn add(&mut self, actions: &[Action]) {
        if actions.iter().any(Action::should_notify) {
            self.notified += 1;
            self.highlighted += u64::from(actions.iter().any(Action::is_highlight));
        }
    }
}

/// Unread notifications of one room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnreadCounts {
    /// Notifications that are in no thread.
    pub(crate) main: NotificationCount,
    /// Notifications of threads, by the root of the thread; none is zero.
    pub(crate) threads: BTreeMap<Position, NotificationCount>,
}

impl UnreadCounts {
    /// Returns the notifications of the room with its threads.
    pub(crate) fn total(&self) -> NotificationCount {
        self.threads.values().fold(self.main, |all, thread| NotificationCount {
            notified: all.notified + thread.notified,
            highlighted: all.highlighted + thread.highlighted,
        })
    }

    fn add(&mut self, thread: Option<Position>, actions: &[Action]) {
        let mut counted = NotificationCount::default();
        counted.add(actions);
        if counted == NotificationCount::default() {
            return;
        }
        let place = match thread {
            None => &mut self.main,
            Some(root) => self.threads.entry(root).or_default(),
        };
        place.notified += counted.notified;
        place.highlighted += counted.highlighted;
    }

    /// Forgets what was unread in a thread, or in none.
    fn clear(&mut self, thread: Option<Position>) {
        match thread {
            None => self.main = NotificationCount::default(),
            Some(root) => {
                self.threads.remove(&root);
            }
        }
    }

    /// Adds counts of later events.
    fn extend(&mut self, later: Self) {
        let mut sum = |thread: Option<Position>, count: NotificationCount| {
            let place = match thread {
                None => &mut self.main,
                Some(root) => self.threads.entry(root).or_default(),
            };
            place.notified += count.notified;
            place.highlighted += count.highlighted;
        };
        sum(None, later.main);
        later.threads.into_iter().for_each(|(root, count)| sum(Some(root), count));
    }
}

/// Versions of the account data that counts depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct RuleVersions {
    rules: bytes::Bytes,
    ignored: bytes::Bytes,
}

/// Rules of a user, and the users whom it ignores.
pub(super) struct UserRules {
    versions: RuleVersions,
    pub(super) judge: PushJudge,
    ignored: BTreeSet<String>,
}

/// Counts of a room, and all that they depend on.
#[derive(Clone)]
struct KnownCounts {
    points: ReadPoints,
    purged_to: Position,
    versions: RuleVersions,
    /// Position up to which events are counted.
    until: Position,
    counts: UnreadCounts,
    walk: LastWalk,
}

/// Last walk through all that is unread in a room.
#[derive(Clone, Copy, Debug, Default)]
struct LastWalk {
    /// Time of the walk; `None` if it was short.
    at: Option<Instant>,
    /// `true` if something was redacted since.
    is_outdated: bool,
}

impl LastWalk {
    /// Returns `true` if it is too early for another one.
    fn is_recent(self) -> bool {
        self.at.is_some_and(|at| at.elapsed() < WALK_PAUSE)
    }
}

impl KnownCounts {
    /// Returns how much this takes of the memory: a room in which a user reads no thread has a thousand of them.
    fn weight(&self) -> usize {
        1 + self.counts.threads.len() + self.points.thread_count()
    }
}

/// Localpart of a user, and a room.
type CountPlace = (Arc<str>, RoomNumber);

/// Counts that are remembered, in two generations: those that are asked for again stay. If all were forgotten at once,
/// everybody who waits would have to walk through what is unread at the same time.
#[derive(Default)]
struct CountMemory {
    young: CountGeneration,
    old: CountGeneration,
}

#[derive(Default)]
struct CountGeneration {
    known: HashMap<CountPlace, KnownCounts>,
    /// Sum of the weights of all.
    weight: usize,
}

impl CountGeneration {
    fn insert(&mut self, place: CountPlace, new: KnownCounts) {
        self.weight += new.weight();
        self.known.insert(place, new);
    }

    fn remove(&mut self, place: &CountPlace) {
        if let Some(old) = self.known.remove(place) {
            self.weight = self.weight.saturating_sub(old.weight());
        }
    }
}

impl CountMemory {
    fn get(&self, place: &CountPlace) -> Option<&KnownCounts> {
        self.young.known.get(place).or_else(|| self.old.known.get(place))
    }

    /// Remembers counts, unless later ones of the same place are known.
    fn put(&mut self, place: CountPlace, new: KnownCounts) {
        if self.get(&place).is_some_and(|known| known.until > new.until) {
            return;
        }
        self.young.remove(&place);
        self.old.remove(&place);
        if self.young.weight + new.weight() > MOST_COUNTS / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(place, new);
    }
}

/// Counter of unread notifications, with its memory.
#[derive(Default)]
pub(crate) struct UnreadCounter {
    counts: Mutex<CountMemory>,
    rules: Mutex<HashMap<Arc<str>, Arc<UserRules>>>,
    pub(super) flat: FlatEvents,
}

impl UnreadCounter {
    /// Counts as [`UnreadCounter::count`] does, if little is to be done for it: `None` if the counts of a room are not
    /// remembered, or not up to date enough, or if the user has rules that cost much.
    pub(crate) fn count_quickly(
        &self,
        view: &StateView<'_>,
        localpart: &str,
        rooms: &[RoomNumber],
    ) -> Result<Option<BTreeMap<RoomNumber, UnreadCounts>>, QueryError> {
        let Some(rules) = self.rules_of(view, localpart)? else { return Ok(None) };
        // The caller's thread serves others, too.
        if !rules.judge.is_cheap() {
            return Ok(None);
        }
        let mut out = BTreeMap::new();
        for room in rooms {
            let Some(reading) = view.member_reading(localpart, *room)? else { continue };
            let Some(counts) = self.count_onward(view, localpart, &rules, &reading, FEW_JUDGED)? else {
                return Ok(None);
            };
            out.insert(*room, counts);
        }
        Ok(Some(out))
    }

    /// Counts the unread notifications of a user in rooms; rooms that the user is not in are left out.
    pub(crate) fn count(
        &self,
        view: &StateView<'_>,
        localpart: &str,
        rooms: &[RoomNumber],
    ) -> Result<BTreeMap<RoomNumber, UnreadCounts>, QueryError> {
        self.count_within(view, localpart, rooms, MOST_JUDGED_AT_ONCE)
    }

    /// Counts as [`UnreadCounter::count`] does, and judges at most `most` events, and a few of each further room.
    pub(super) fn count_within(
        &self,
        view: &StateView<'_>,
        localpart: &str,
        rooms: &[RoomNumber],
        most: usize,
    ) -> Result<BTreeMap<RoomNumber, UnreadCounts>, QueryError> {
        let Some(rules) = self.rules_of(view, localpart)? else { return Ok(BTreeMap::new()) };
        let mut left = most;
        let mut out = BTreeMap::new();
        for room in rooms {
            view.is_wanted()?;
            if let Some(reading) = view.member_reading(localpart, *room)? {
                out.insert(*room, self.count_room(view, localpart, &rules, &reading, &mut left)?);
            }
        }
        Ok(out)
    }

    /// Returns a user's rules as they are in this view; `None` if the user's id is not valid.
    pub(super) fn rules_of(&self, view: &StateView<'_>, localpart: &str) -> Result<Option<Arc<UserRules>>, QueryError> {
        let content = view.account_data_version(localpart, PUSH_RULES)?;
        let ignored = view.account_data_version(localpart, IGNORED_USERS)?;
        let version = |datum: &Option<(bytes::Bytes, quorate_core::query::DataVersion)>| {
            datum.as_ref().map(|(_, version)| version.0.clone()).unwrap_or_default()
        };
        let versions = RuleVersions { rules: version(&content), ignored: version(&ignored) };
        let known = self.rules.lock().unwrap_or_else(PoisonError::into_inner).get(localpart).cloned();
        if let Some(known) = known.filter(|known| known.versions == versions) {
            return Ok(Some(known));
        }
        let Ok(user) = UserId::parse(id::user_id(localpart, view.server_name())) else { return Ok(None) };
        let content = content.map(|(content, _)| content);
        let made = Arc::new(UserRules {
            versions,
            judge: PushJudge::new(user, content.as_deref()),
            ignored: view.users_ignored_by(localpart)?,
        });
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if rules.len() >= MOST_RULES {
            rules.clear();
        }
        rules.insert(localpart.into(), made.clone());
        Ok(Some(made))
    }

    fn count_room(
        &self,
        view: &StateView<'_>,
        localpart: &str,
        rules: &UserRules,
        reading: &MemberReading,
        left: &mut usize,
    ) -> Result<UnreadCounts, QueryError> {
        if let Some(counts) = self.count_onward(view, localpart, rules, reading, MOST_JUDGED)? {
            return Ok(counts);
        }
        let at_most = MOST_JUDGED.min((*left).max(FEWEST_JUDGED));
        let all = self.judge_after(view, localpart, rules, reading, Position::ZERO, at_most)?;
        *left = left.saturating_sub(all.walk.examined);
        // A count for which time was short is made anew by whoever has more.
        if !all.walk.cut || at_most == MOST_JUDGED {
            let walk = LastWalk { at: (all.walk.examined > FEW_WALKED).then(Instant::now), is_outdated: false };
            self.remember((localpart.into(), reading.room), rules, reading, view.now(), all.counts.clone(), walk);
        }
        Ok(all.counts)
    }

    /// Brings a remembered count up to date; `None` if there is none, if it does not count any more, or if more than
    /// `at_most` events would have to be judged.
    fn count_onward(
        &self,
        view: &StateView<'_>,
        localpart: &str,
        rules: &UserRules,
        reading: &MemberReading,
        at_most: usize,
    ) -> Result<Option<UnreadCounts>, QueryError> {
        let place: CountPlace = (localpart.into(), reading.room);
        let now = view.now();
        let known = self.counts.lock().unwrap_or_else(PoisonError::into_inner).get(&place).cloned();
        let known = known.filter(|known| {
            known.points == reading.points
                && known.purged_to == reading.purged_to
                && known.versions == rules.versions
                && known.until <= now
        });
        let Some(known) = known else { return Ok(None) };
        let later = self.judge_after(view, localpart, rules, reading, known.until, at_most)?;
        let is_outdated = known.walk.is_outdated || later.walk.redacted;
        if later.walk.cut || (is_outdated && !known.walk.is_recent()) {
            return Ok(None);
        }
        let walk = LastWalk { is_outdated, ..known.walk };
        let mut counts = known.counts;
        later.walk.sent.keys().for_each(|thread| counts.clear(*thread));
        counts.extend(later.counts);
        self.remember(place, rules, reading, now, counts.clone(), walk);
        Ok(Some(counts))
    }

    fn judge_after(
        &self,
        view: &StateView<'_>,
        localpart: &str,
        rules: &UserRules,
        reading: &MemberReading,
        after: Position,
        at_most: usize,
    ) -> Result<JudgedEvents, QueryError> {
        let mut counts = UnreadCounts::default();
        let mut judged_room = None;
        let walk = view.walk_unread(localpart, reading, after, at_most, &mut |unread| {
            let UnreadEvent { event, thread } = &unread;
            if judged_room.is_none() {
                judged_room = JudgedRoom::new(reading, view.member_name(reading.room, localpart)?);
            }
            let Some(room) = &judged_room else { return Ok(()) };
            counts.add(*thread, self.actions_in(view, rules, room, event)?);
            Ok(())
        })?;
        Ok(JudgedEvents { counts, walk })
    }

    /// Returns the actions that a user's rules prescribe for an event.
    pub(super) fn actions_in<'r>(
        &self,
        view: &StateView<'_>,
        rules: &'r UserRules,
        room: &JudgedRoom,
        event: &quorate_core::query::RoomEvent,
    ) -> Result<&'r [Action], ReadError> {
        if rules.ignored.contains(&event.sender) {
            return Ok(&[]);
        }
        let Some(flat) = self.flat.of(event) else { return Ok(&[]) };
        rules.judge.actions_for(view, room, event, &flat)
    }

    fn remember(
        &self,
        place: CountPlace,
        rules: &UserRules,
        reading: &MemberReading,
        until: Position,
        counts: UnreadCounts,
        walk: LastWalk,
    ) {
        let MemberReading { points, purged_to, .. } = reading;
        let known = KnownCounts {
            points: points.clone(),
            purged_to: *purged_to,
            versions: rules.versions.clone(),
            until,
            counts,
            walk,
        };
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).put(place, known);
    }
}

/// Counts of some events, and what else was found among them.
struct JudgedEvents {
    counts: UnreadCounts,
    walk: UnreadWalk,
}

#[cfg(test)]
pub(super) mod tests;
