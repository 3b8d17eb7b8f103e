//! Part of a sync that is about one room.

mod shared;

pub use shared::RoomNews;

use super::summary::is_summarised;
use super::{AccountDatum, InvitedRoom, JoinedRoom, LeftRoom, SyncRequest, SyncResponse, SyncSummary, SyncTimeline};
use crate::id::{self, Position, RoomNumber};
use crate::proto::store::membership::Kind;
use crate::query::state::{StateVersions, key_after};
use crate::query::{PAGE_BYTES, QueryError, RoomEvent, RoomMembership, StateView, SyncFilter};
use crate::rows::{self, event_type};
use crate::table::{self, ScanControl, ScanRange, Table, key};
use crate::visibility::UserVisibility;
use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

/// Number of timeline events if the filter does not say.
const DEFAULT_LIMIT: usize = 10;

/// Maximum number of timeline events; more are available as pages.
const MAX_LIMIT: usize = 1000;

/// State that an invited user is shown of a room (Matrix specification, "Stripped state").
const STRIPPED: [&str; 8] = [
    event_type::CREATE,
    event_type::JOIN_RULES,
    event_type::NAME,
    event_type::AVATAR,
    event_type::TOPIC,
    event_type::CANONICAL_ALIAS,
    event_type::ENCRYPTION,
    "m.room.tombstone",
];

/// Maximum number of events examined for one timeline, if a filter wants few of them.
const MAX_LOOKED_AT: usize = 4096;

/// Span of a room's timeline to be shown, and the point from which the client knows the room's state.
pub(super) struct TimelineSpan<'s> {
    pub(super) room: RoomNumber,
    pub(super) room_id: &'s str,
    pub(super) sight: UserVisibility,
    /// Position as of which the client has the room's state; `None` if it does not have it at all.
    pub(super) known: Option<Position>,
    /// Position up to which the client has the events.
    pub(super) floor: Position,
    /// Position of the last event to be shown.
    pub(super) until: Position,
    /// Position at which the user left; `None` for a user who is in the room.
    pub(super) left_at: Option<Position>,
}

/// Timeline of a span, and what comes before it.
#[derive(Default)]
pub(super) struct ShownSpan {
    pub(super) timeline: SyncTimeline,
    /// Position of the state before the timeline.
    pub(super) before: Position,
    /// State events in the span that the filter left out of the timeline: told as state instead, or they would be lost.
    pub(super) taken_out: StateVersions,
}

/// Returns `false` if the room can be skipped, at the price of one lookup. Most rooms can, when all rooms of a user are
/// gone through.
pub(super) fn may_have_news(
    view: &StateView<'_>,
    request: &SyncRequest<'_>,
    row: &RoomMembership,
    account_data: &[AccountDatum],
) -> Result<bool, QueryError> {
    let Some(since) = request.since.filter(|_| !request.full_state) else { return Ok(true) };
    match (row.kind, row.joined_since) {
        (Kind::Join, Some(from)) if from <= since && account_data.is_empty() => Ok(view
            .has_event_after(row.room, since)?
            || view.purged_after(row.room, since)?.is_some()
            || view.has_receipts_after(row.room, request.localpart, since)?),
        (Kind::Join, _) => Ok(true),
        // The user's clients keep data about the room beyond its leave.
        (Kind::Leave | Kind::Ban, _) if !account_data.is_empty() => Ok(true),
        _ => Ok(row.position > since),
    }
}

impl StateView<'_> {
    fn has_event_after(&self, room: RoomNumber, at: Position) -> Result<bool, QueryError> {
        let mut found = false;
        let low = key_after(room, at);
        let high = key_after(room, Position::MAX);
        self.rows.scan(&ScanRange::between(Table::Timeline, &low, &high), &mut |_| {
            found = true;
            Ok(ScanControl::Stop)
        })?;
        Ok(found)
    }

    pub(super) fn sync_room(
        &self,
        request: &SyncRequest<'_>,
        row: &RoomMembership,
        mut account_data: Vec<AccountDatum>,
        out: &mut SyncResponse,
    ) -> Result<(), QueryError> {
        let room_id = self.room_id(row.room)?;
        if !request.filter.wants_room(&room_id) {
            return Ok(());
        }
        let is_new = request.since.is_none_or(|since| row.position > since);
        match row.kind {
            Kind::Join => out.join.extend(self.joined(request, row, room_id, account_data)?),
            Kind::Invite if is_new => out.invite.extend(self.invited_unless_ignored(request, row, room_id)?),
            Kind::Knock if is_new => out.knock.push(self.invited(request, row, room_id)?),
            Kind::Leave | Kind::Ban => {
                let asked = request.filter.include_leave && (request.since.is_none() || request.full_state);
                let just_left = is_new && request.since.is_some();
                account_data.retain(|datum| request.filter.wants_account_data(&datum.event_type, &room_id));
                if just_left || (asked && !row.forgotten) {
                    out.leave.push(self.left(request, row, room_id, account_data)?);
                } else if !account_data.is_empty() && request.since.is_some() && !row.forgotten {
                    let timeline = SyncTimeline { prev_batch: row.position, ..SyncTimeline::default() };
                    let state = Vec::new();
                    out.leave.push(LeftRoom { room: row.room, room_id, state, timeline, account_data });
                }
            }
            Kind::Invite | Kind::Knock | Kind::Unspecified => {}
        }
        Ok(())
    }

    fn joined(
        &self,
        request: &SyncRequest<'_>,
        row: &RoomMembership,
        room_id: String,
        mut account_data: Vec<AccountDatum>,
    ) -> Result<Option<JoinedRoom>, QueryError> {
        let is_wanted = |datum: &AccountDatum| request.filter.wants_account_data(&datum.event_type, &room_id);
        account_data.retain(is_wanted);
        let sight = match (row.joined_since, request.since) {
            (Some(from), Some(since)) if from <= since => UserVisibility::of_member_since(from),
            _ => self.sight_in_lists(row.room, request.localpart)?,
        };
        let known = known_since(&sight, request.since);
        let span = TimelineSpan {
            room: row.room,
            room_id: &room_id,
            sight,
            known,
            floor: known.unwrap_or(Position::ZERO),
            until: self.now(),
            left_at: None,
        };
        let (state, timeline, summary) = self.span(request, &span)?;
        let ephemeral = self.ephemeral_of(request, row.room, &room_id, known)?;
        let nothing_new = state.is_empty()
            && timeline.events.is_empty()
            && !timeline.limited
            && account_data.is_empty()
            && ephemeral.is_empty();
        if nothing_new && known.is_some() && !request.full_state {
            return Ok(None);
        }
        if known.is_none() {
            account_data = self.account_data_of(request.localpart, row.room)?;
            account_data.retain(is_wanted);
        }
        Ok(Some(JoinedRoom { room: row.room, room_id, state, timeline, summary, account_data, ephemeral }))
    }

    /// Returns an invitation, unless the user ignores the one who sent it.
    fn invited_unless_ignored(
        &self,
        request: &SyncRequest<'_>,
        row: &RoomMembership,
        room_id: String,
    ) -> Result<Option<InvitedRoom>, QueryError> {
        let sender = rows::known_event(self.rows, row.room, row.position)?.sender;
        if self.ignores(request.localpart, &sender)? {
            return Ok(None);
        }
        self.invited(request, row, room_id).map(Some)
    }

    fn invited(
        &self,
        request: &SyncRequest<'_>,
        row: &RoomMembership,
        room_id: String,
    ) -> Result<InvitedRoom, QueryError> {
        let own = self.event_at(row.room, &room_id, row.position)?;
        let me = id::user_id(request.localpart, self.server_name());
        let mut stripped_state = Vec::new();
        for event_type in STRIPPED {
            stripped_state.extend(self.state_event(row.room, event_type, "", Some(row.position))?);
        }
        if own.sender != me {
            stripped_state.extend(self.state_event(row.room, event_type::MEMBER, &own.sender, Some(row.position))?);
        }
        stripped_state.push(own);
        // Whoever invites may have closed the account since.
        let sight = self.sight_in_lists(row.room, request.localpart)?;
        let stripped_state = self.state_shown_to(stripped_state, &sight)?;
        Ok(InvitedRoom { room: row.room, room_id, stripped_state })
    }

    /// Returns the state and the timeline of a span, and a summary if members or names changed.
    pub(super) fn span(
        &self,
        request: &SyncRequest<'_>,
        span: &TimelineSpan<'_>,
    ) -> Result<(Vec<RoomEvent>, SyncTimeline, Option<SyncSummary>), QueryError> {
        let shown = self.timeline_of(request.filter, span)?;
        let delta_from = span.known.filter(|_| !request.full_state);
        let told_at = if request.filter.state_after { span.state_at(span.until) } else { shown.before };
        let mut versions = match delta_from {
            Some(known) => self.changed_versions(span.room, known, told_at)?,
            None => self.versions(span.room, &key::room_key(span.room), told_at)?,
        };
        add_newer(&mut versions, shown.taken_out);
        let mut timeline = shown.timeline;
        // A client that knows rooms from before, but not this one, must drop what it may hold of an earlier stay: that
        // is what `limited` makes it do. Pages from `prev_batch` are then merely empty if there is nothing more.
        timeline.limited |= span.known.is_none() && span.left_at.is_none() && request.since.is_some();
        if timeline.limited {
            // Only here: otherwise the client has, or gets, all events and puts them together itself. What exceeds a
            // page's bytes is left out, because a timeline cannot be cut.
            self.aggregate_for(request.localpart, span.room, &span.sight, &mut timeline.events)?;
        }
        let summary_changed =
            timeline.events.iter().any(|event| event.state_key.is_some() && is_summarised(&event.event_type))
                || versions.keys().any(|(event_type, _)| is_summarised(event_type));
        // A room that the user is out of has no summary, which would describe those who are in it at present.
        let summary = if span.left_at.is_none() && (summary_changed || delta_from.is_none()) {
            Some(self.room_in_short(span.room, request.localpart)?)
        } else {
            None
        };
        if request.filter.lazy_load_members {
            let mut needed: BTreeSet<String> = timeline.events.iter().map(|event| event.sender.clone()).collect();
            needed.extend(summary.iter().flat_map(|summary| summary.heroes.iter().cloned()));
            if request.filter.state_after {
                needed.extend(members_in(&timeline.events));
            }
            if delta_from.is_none() {
                needed.insert(id::user_id(request.localpart, self.server_name()));
                keep_members(&mut versions, &needed);
            }
            self.add_members(span.room, told_at, needed, &mut versions)?;
        }
        let state = self.events(span.room, span.room_id, versions.into_values())?;
        let mut state = self.state_shown_to(state, &span.sight)?;
        state.retain(|event| request.filter.state.wants(event));
        Ok((state, timeline, summary))
    }

    /// Returns the newest part of the span that fits.
    fn timeline_of(&self, filter: &SyncFilter, span: &TimelineSpan<'_>) -> Result<ShownSpan, QueryError> {
        let limit = filter.timeline.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        let floor = span.floor;
        let mut shown = ShownSpan { before: span.state_at(span.until), ..ShownSpan::default() };
        let mut looked_at = 0;
        let mut bytes = 0;
        let low = key_after(span.room, floor);
        let high = key_after(span.room, span.until);
        self.rows.scan(&ScanRange::between(Table::Timeline, &low, &high).backward(), &mut |(key, value)| {
            let at = rows::position_in(Table::Timeline, key)?;
            looked_at += 1;
            // A timeline never jumps over what the user may not see (`sync` says why): it begins after that.
            if looked_at > MAX_LOOKED_AT || !span.shows(at) {
                shown.timeline.limited = true;
                return Ok(ScanControl::Stop);
            }
            let event = self.render(span.room, span.room_id, at, table::decode_value(Table::Timeline, value)?)?;
            let event = self.in_timeline(event, &span.sight)?;
            if !self.wants(&filter.timeline, &event, &span.sight)? {
                if let Some(state_key) = event.state_key {
                    // The walk goes backward: the first version found is the newest.
                    shown.taken_out.entry((event.event_type, state_key)).or_insert(at);
                }
            } else if shown.timeline.events.len() == limit || bytes >= PAGE_BYTES {
                shown.timeline.limited = true;
                return Ok(ScanControl::Stop);
            } else {
                bytes += event.weight();
                shown.timeline.events.push(event);
            }
            shown.before = span.state_at(at.before());
            Ok(ScanControl::More)
        })?;
        if !shown.timeline.limited {
            shown.before = span.state_at(floor);
            // The missing events were removed: the client has a gap, which pages cannot fill.
            shown.timeline.limited = span.known.is_some() && self.purged_after(span.room, floor)?.is_some();
        }
        shown.timeline.events.reverse();
        let first = shown.timeline.events.first();
        shown.timeline.prev_batch = match (first, span.left_at) {
            (Some(event), _) => event.position.before(),
            // If nothing is shown, pages begin with what is missing: the user's own last event.
            (None, Some(_)) => span.until,
            (None, None) => shown.before,
        };
        self.add_own(filter, span, &mut shown)?;
        Ok(shown)
    }

    /// Adds the member events, as of `at`, of the users whom the timeline or the summary names. The client may have
    /// them already: the view does not remember what was sent, and redundant ones are allowed.
    fn add_members(
        &self,
        room: RoomNumber,
        at: Position,
        needed: BTreeSet<String>,
        versions: &mut StateVersions,
    ) -> Result<(), QueryError> {
        for user_id in needed {
            let member = (event_type::MEMBER.to_owned(), user_id);
            if let Entry::Vacant(entry) = versions.entry(member)
                && let Some(version) = rows::state_version(self.rows, room, event_type::MEMBER, &entry.key().1, at)?
            {
                entry.insert(version);
            }
        }
        Ok(())
    }
}

/// Adds versions; of each name the newer one stays.
fn add_newer(versions: &mut StateVersions, others: StateVersions) {
    for (name, at) in others {
        let version = versions.entry(name).or_insert(at);
        *version = at.max(*version);
    }
}

/// Returns the users whose memberships change in a timeline, for a client that does not take state from there.
fn members_in(events: &[RoomEvent]) -> impl Iterator<Item = String> {
    let members = events.iter().filter(|event| event.is_state(event_type::MEMBER));
    members.filter_map(|event| event.state_key.clone())
}

/// Reduces the members in all state to these. Changes within a gap are not reduced in this way: the client may know any
/// of those members from earlier.
fn keep_members(versions: &mut StateVersions, needed: &BTreeSet<String>) {
    versions.retain(|(event_type, state_key), _| event_type != event_type::MEMBER || needed.contains(state_key));
}

/// Returns the token if the client had the room at that time.
pub(super) fn known_since(sight: &UserVisibility, since: Option<Position>) -> Option<Position> {
    since.filter(|since| sight.membership_at(*since) == Some(Kind::Join))
}
