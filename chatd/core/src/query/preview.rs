//! Rooms as somebody sees them who need not be in them: summaries, and the rooms of spaces.

use super::{QueryError, RoomEvent, RoomSummary, StateScope, StateView};
use crate::id::RoomNumber;
use crate::json;
use crate::proto::store::membership::Kind;
use crate::rows;
use serde_json::Value;
use std::collections::BTreeSet;

/// Maximum number of rooms of one hierarchy: a larger one ends there. The walk begins anew for each page, because no
/// pod keeps state for a reader.
const MAX_ROOMS: usize = 2000;

/// Maximum number of rooms examined for one hierarchy, with those that the reader may not know of.
const MAX_LOOKED_AT: usize = 2 * MAX_ROOMS;

/// Maximum number of rooms of one space that are followed and shown.
const MAX_CHILDREN: usize = 500;

/// Maximum number of bytes of one page of a hierarchy.
const PAGE_BYTES: usize = super::PAGE_BYTES;

/// Room of a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HierarchyRoom {
    /// Summary of the room.
    pub summary: RoomSummary,
    /// `m.space.child` events of a space, in the order in which its rooms are shown.
    pub children: Vec<RoomEvent>,
}

/// Wish for a page of a hierarchy.
#[derive(Clone, Copy, Debug)]
pub struct HierarchyQuery {
    /// Number of rooms to skip: those of earlier pages.
    pub skip: usize,
    /// Maximum number of rooms.
    pub limit: usize,
    /// Maximum number of steps below the root; `None` for no limit.
    pub max_depth: Option<usize>,
    /// `true` to follow only the rooms that spaces suggest.
    pub suggested_only: bool,
}

/// Page of a hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HierarchyPage {
    /// Rooms, each before the rooms that are in it.
    pub rooms: Vec<HierarchyRoom>,
    /// Number of rooms up to the end of this page; `None` if it is the last one.
    pub next: Option<usize>,
}

impl StateView<'_> {
    /// Returns the summary of a room for somebody who may know of it, and the user's membership in it. `localpart` is
    /// `None` for somebody without an account.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] if there is no such room, or the user may not know of it.
    pub fn room_preview(
        &self,
        localpart: Option<&str>,
        room: RoomNumber,
    ) -> Result<(RoomSummary, Option<Kind>), QueryError> {
        let summary = self.summary(room)?;
        if !self.may_preview(localpart, &summary)? {
            return Err(QueryError::RoomNotFound);
        }
        let membership = localpart.map(|localpart| self.membership(room, localpart)).transpose()?.flatten();
        Ok((summary, membership))
    }

    /// Returns `true` if the user may know of the room: anyone may enter, knock or read it; the user is in it or
    /// invited; or it lets in members of a room that the user is in. Nobody may know of a deleted room.
    fn may_preview(&self, localpart: Option<&str>, room: &RoomSummary) -> Result<bool, QueryError> {
        if self.is_deleted(room.room)? {
            return Ok(false);
        }
        if room.world_readable || room.join_rule == "public" || room.version.takes_knocks(&room.join_rule) {
            return Ok(true);
        }
        let Some(localpart) = localpart else { return Ok(false) };
        if matches!(self.membership(room.room, localpart)?, Some(Kind::Join | Kind::Invite)) {
            return Ok(true);
        }
        for allowed in &room.allowed_rooms {
            if let Some(allowed) = rows::room_by_id(self.rows, allowed, self.server_name())?
                && self.membership(allowed, localpart)? == Some(Kind::Join)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns a page of the rooms of a space and of the spaces in it, as far as the user may know of them.
    ///
    /// # Errors
    /// [`QueryError::Forbidden`] if the user may not know of the root.
    pub fn hierarchy(
        &self,
        localpart: &str,
        root: RoomNumber,
        query: HierarchyQuery,
    ) -> Result<HierarchyPage, QueryError> {
        let mut page = HierarchyPage::default();
        let mut seen = BTreeSet::new();
        let mut waiting = vec![(root, 0)];
        let mut count = 0;
        let mut bytes = 0;
        while let Some((room, depth)) = waiting.pop() {
            // A room in several spaces is shown once, where it comes first.
            if !seen.insert(room) {
                continue;
            }
            self.is_wanted()?;
            let summary = self.summary(room)?;
            if !self.may_preview(Some(localpart), &summary)? {
                if room == root {
                    return Err(QueryError::Forbidden);
                }
                continue;
            }
            if count >= query.skip && (page.rooms.len() >= query.limit || bytes >= PAGE_BYTES) {
                page.next = Some(count);
                break;
            }
            count += 1;
            if count > MAX_ROOMS || seen.len() > MAX_LOOKED_AT {
                break;
            }
            let is_space = summary.room_type == "m.space";
            let children = if is_space { self.space_children(room, query.suggested_only)? } else { Vec::new() };
            if query.max_depth.is_none_or(|max| depth < max) {
                let next = self.rooms_named_by(&children, &seen)?;
                // The last one waiting is the next: a space is followed by its own rooms.
                let space = MAX_LOOKED_AT.saturating_sub(waiting.len());
                let skipped = next.len().saturating_sub(space);
                waiting.extend(next.into_iter().rev().skip(skipped).map(|child| (child, depth + 1)));
            }
            if count > query.skip {
                bytes += summary.weight() + children.iter().map(RoomEvent::weight).sum::<usize>();
                page.rooms.push(HierarchyRoom { summary, children });
            }
        }
        Ok(page)
    }

    /// Returns the rooms of this server that links lead to, except those that were seen.
    fn rooms_named_by(
        &self,
        children: &[RoomEvent],
        seen: &BTreeSet<RoomNumber>,
    ) -> Result<Vec<RoomNumber>, QueryError> {
        let mut out = Vec::with_capacity(children.len());
        for child in children.iter().filter_map(|child| child.state_key.as_deref()) {
            out.extend(rows::room_by_id(self.rows, child, self.server_name())?.filter(|room| !seen.contains(room)));
        }
        Ok(out)
    }

    /// Returns the `m.space.child` events of a space that say by which server to join, in the order in which clients
    /// show them.
    fn space_children(&self, space: RoomNumber, suggested_only: bool) -> Result<Vec<RoomEvent>, QueryError> {
        let mut out = Vec::new();
        let mut from = None;
        loop {
            let part = self.state_part(space, &StateScope::SpaceChildren, self.now(), from.as_ref())?;
            for child in part.events {
                let content = json::stored_object(&child.content);
                let has_via = content.get("via").and_then(Value::as_array).is_some_and(|via| !via.is_empty());
                let suggested = content.get("suggested").and_then(Value::as_bool) == Some(true);
                if has_via && (suggested || !suggested_only) {
                    let order = json::string_field(&content, "order").filter(|order| is_order(order));
                    // Children without an order come after those with one.
                    out.push(((order.is_none(), order.map(str::to_owned), child.origin_server_ts), child));
                }
            }
            from = part.next;
            if from.is_none() || out.len() >= MAX_CHILDREN {
                break;
            }
        }
        out.sort_by(|(a, left), (b, right)| a.cmp(b).then_with(|| left.state_key.cmp(&right.state_key)));
        out.truncate(MAX_CHILDREN);
        Ok(out.into_iter().map(|(_, child)| child).collect())
    }
}

/// Returns `true` if the text may order the rooms of a space (Matrix specification, "Ordering of children within a
/// space").
fn is_order(text: &str) -> bool {
    text.len() <= 50 && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log;
    use crate::proto::log::set_membership::Change;
    use crate::rows::event_type;
    use crate::testing::{World, world};

    fn room(world: &mut World, name: &str, is_space: bool, preset: log::create_room::Preset) -> (RoomNumber, String) {
        let create = log::CreateRoom {
            preset: preset.into(),
            name: name.into(),
            room_type: if is_space { "m.space".into() } else { String::new() },
            ..Default::default()
        };
        world.create("alice", create)
    }

    fn link(world: &mut World, space: &str, child: &str, content: &str) {
        let envelope = world.event("alice", space, event_type::SPACE_CHILD, Some(child), content);
        world.accepted(envelope);
    }

    fn names(page: &HierarchyPage) -> Vec<&str> {
        page.rooms.iter().map(|room| room.summary.name.as_str()).collect()
    }

    const ALL: HierarchyQuery = HierarchyQuery { skip: 0, limit: 50, max_depth: None, suggested_only: false };

    #[test]
    fn a_hierarchy_is_walked_depth_first_in_order_and_paged() {
        use log::create_room::Preset::{Private, Public};
        let mut world = world(&["alice", "bob"]);
        let (root, root_id) = room(&mut world, "root", true, Public);
        let (_, sub_id) = room(&mut world, "sub", true, Public);
        let (_, a) = room(&mut world, "a", false, Public);
        let (_, b) = room(&mut world, "b", false, Public);
        let (_, hidden) = room(&mut world, "hidden", false, Private);
        link(&mut world, &root_id, &sub_id, r#"{"via":["a.org"],"order":"1"}"#);
        link(&mut world, &root_id, &a, r#"{"via":["a.org"],"order":"0","suggested":true}"#);
        link(&mut world, &root_id, &hidden, r#"{"via":["a.org"]}"#);
        link(&mut world, &sub_id, &b, r#"{"via":["a.org"]}"#);
        link(&mut world, &sub_id, &root_id, r#"{"via":["a.org"]}"#);
        link(&mut world, &sub_id, &a, "{}");
        let view = world.view();
        let whole = view.hierarchy("bob", root, ALL).unwrap();
        assert_eq!((names(&whole), whole.next), (vec!["root", "a", "sub", "b"], None));
        assert_eq!(whole.rooms[0].children.len(), 3);
        assert_eq!(names(&view.hierarchy("alice", root, ALL).unwrap()), ["root", "a", "sub", "b", "hidden"]);
        let mut found = Vec::new();
        let mut skip = 0;
        loop {
            let page = view.hierarchy("bob", root, HierarchyQuery { skip, limit: 1, ..ALL }).unwrap();
            found.extend(names(&page).into_iter().map(str::to_owned));
            let Some(next) = page.next else { break };
            skip = next;
        }
        assert_eq!(found, ["root", "a", "sub", "b"]);
        let shallow = view.hierarchy("bob", root, HierarchyQuery { max_depth: Some(1), ..ALL }).unwrap();
        assert_eq!(names(&shallow), ["root", "a", "sub"]);
        let suggested = view.hierarchy("bob", root, HierarchyQuery { suggested_only: true, ..ALL }).unwrap();
        assert_eq!(names(&suggested), ["root", "a"]);
    }

    #[test]
    fn a_closed_room_is_previewed_by_those_whom_it_lets_in() {
        use log::create_room::Preset::Private;
        let mut world = world(&["alice", "bob"]);
        let (closed, closed_id) = room(&mut world, "closed", false, Private);
        let (_, lobby_id) = world.public_room("alice");
        let preview = |world: &World, user| world.view().room_preview(user, closed).map(|(_, kind)| kind);
        assert!(preview(&world, Some("bob")).is_err() && preview(&world, None).is_err());
        assert_eq!(preview(&world, Some("alice")).unwrap(), Some(Kind::Join));
        let rule =
            format!(r#"{{"join_rule":"restricted","allow":[{{"type":"m.room_membership","room_id":"{lobby_id}"}}]}}"#);
        world.set("alice", &closed_id, event_type::JOIN_RULES, &rule);
        assert!(preview(&world, Some("bob")).is_err());
        world.moved("bob", &lobby_id, Change::Join, "");
        assert_eq!(preview(&world, Some("bob")).unwrap(), None);
        assert!(world.view().hierarchy("carol", closed, ALL).is_err());
        let at = world.moved("bob", &closed_id, Change::Join, "");
        let joined = world.view().state_event(closed, event_type::MEMBER, "@bob:a.org", Some(at)).unwrap().unwrap();
        assert_eq!(joined.content, r#"{"join_authorised_via_users_server":"@alice:a.org","membership":"join"}"#);
    }
}
