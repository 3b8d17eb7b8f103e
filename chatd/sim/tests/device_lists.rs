//! Properties of device lists: a client that looks at the devices of changed users again, and forgets users who left,
//! has at any time the keys of all who share a room with its user, and of nobody else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed check of a test is a panic")]

use quorate_core::id::{self, Position};
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::{StateView, SyncFilter, SyncRequest, UserKeys};
use quorate_core::table::MemTable;
use quorate_sim::for_seeds;
use quorate_sim::plan::{PackedScript, SERVER};
use quorate_sim::rng::Rng;
use quorate_sim::script::{self, USERS};
use std::collections::{BTreeMap, BTreeSet};

/// Client of a user.
struct KeyClient {
    user: &'static str,
    since: Option<Position>,
    /// Keys of others, as they were when the client last looked.
    known: BTreeMap<String, UserKeys>,
}

fn joined(view: &StateView<'_>, user: &str) -> BTreeSet<u64> {
    let rooms = view.rooms_of(user).unwrap().into_iter();
    rooms.filter(|room| room.kind == Kind::Join).map(|room| room.room.0).collect()
}

impl KeyClient {
    fn keys_of(&self, view: &StateView<'_>, user: &str) -> UserKeys {
        view.keys_of(self.user, user, &[]).unwrap().unwrap_or_default()
    }

    fn look_at(&mut self, view: &StateView<'_>, user: &str) {
        let keys = self.keys_of(view, user);
        self.known.insert(user.to_owned(), keys);
    }

    /// Returns the others who share a room with the user.
    fn room_mates(&self, view: &StateView<'_>) -> BTreeSet<String> {
        let mine = joined(view, self.user);
        let others = USERS.iter().filter(|other| **other != self.user);
        others.filter(|other| !joined(view, other).is_disjoint(&mine)).map(|other| (*other).to_owned()).collect()
    }

    /// Syncs, and returns how many users were listed.
    fn sync(&mut self, view: &StateView<'_>) -> usize {
        let filter = SyncFilter::default();
        let request = SyncRequest { localpart: self.user, since: self.since, full_state: false, filter: &filter };
        let answer = view.sync(&request).unwrap();
        if self.since.is_none() {
            self.room_mates(view).iter().for_each(|user| self.look_at(view, user));
        }
        self.since = Some(answer.next);
        let lists = answer.device_lists;
        let me = self.user;
        let localpart = |user_id: &String| id::user_localpart(user_id, SERVER).unwrap().to_owned();
        for user in lists.changed.iter().map(localpart).filter(|user| *user != me) {
            self.look_at(view, &user);
        }
        for user in lists.left.iter().map(localpart) {
            self.known.remove(&user);
        }
        lists.changed.len() + lists.left.len()
    }
}

#[test]
fn a_client_that_follows_device_lists_has_the_keys_of_its_room_mates_and_no_others() {
    let listed = std::sync::atomic::AtomicUsize::new(0);
    for_seeds(60, |seed| {
        let mut rng = Rng::new(seed);
        let steps = script::generate_script(&mut rng, 300);
        let plan = PackedScript::new(steps, &mut rng, 6);
        let mut clients = USERS.map(|user| KeyClient { user, since: None, known: BTreeMap::new() });
        let mut rows = MemTable::default();
        plan.run(&mut rows, |rows, index, _, _| {
            let Ok(view) = StateView::open(rows) else { return };
            for client in &mut clients {
                if !rng.percent(20) {
                    continue;
                }
                let count = client.sync(&view);
                listed.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
                let known: BTreeSet<_> = client.known.keys().cloned().collect();
                assert_eq!(known, client.room_mates(&view), "{} after entry {index} of seed {seed}", client.user);
                for (user, keys) in &client.known {
                    let now = client.keys_of(&view, user);
                    assert_eq!(*keys, now, "{user} for {} after entry {index} of seed {seed}", client.user);
                }
            }
        })
        .unwrap();
    });
    let listed = listed.into_inner();
    assert!(listed > 300, "{listed} users were listed");
}
