//! Settings of a device that its user's clients keep as global account data, such as whether it is silent. They go with
//! the device.
//! Source: MSC3890, "Remotely togglable push notifications for another client".

use super::account_data;
use super::context::{ApplyContext, ApplyResult};
use crate::proto::store;
use crate::rows;
use crate::table::{self, Table, key};

/// Types of the settings, stable and unstable, without the id of the device that follows.
const PREFIXES: [&str; 2] = ["m.local_notification_settings.", "org.matrix.msc3890.local_notification_settings."];

/// Maximum number of removed settings that syncs tell of: some kilobytes of a row. A client that was away while more
/// were removed keeps those of devices that are gone, which does no harm.
const MOST_TOLD: usize = 64;

/// Removes the settings of a device that is removed, and notes them for the syncs of the user's other devices.
pub(super) fn forget_device_settings(
    context: &mut ApplyContext<'_>,
    localpart: &str,
    device_id: &str,
) -> ApplyResult<()> {
    let mut gone = Vec::new();
    for prefix in PREFIXES {
        let event_type = format!("{prefix}{device_id}");
        if account_data::remove_datum(context, localpart, &event_type)? {
            gone.push(event_type);
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    let mut row = rows::removed_data(&context.rows, localpart)?;
    // Another device may have had the same id before.
    row.entries.retain(|entry| !gone.contains(&entry.r#type));
    let position = table::position_field(context.first);
    row.entries.extend(gone.into_iter().map(|r#type| store::RemovedDatum { r#type, position: position.clone() }));
    let excess = row.entries.len().saturating_sub(MOST_TOLD);
    row.entries.drain(..excess);
    context.rows.put(Table::Meta, key::removed_data_key(localpart), table::encode_value(&row));
    context.touched.user(localpart);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::AppliedCommand;
    use crate::id::Position;
    use crate::proto::log::command::Kind;
    use crate::proto::log::{self, Envelope, administer, outcome};
    use crate::query::{SyncFilter, SyncRequest};
    use crate::testing::{World, command, session, world};

    const STABLE: &str = "m.local_notification_settings.";
    const SILENT: &str = r#"{"is_silenced":true}"#;

    fn by_cluster(kind: Kind) -> Envelope {
        Envelope { command: command(kind), ..Envelope::default() }
    }

    fn log_in(world: &mut World, new: log::NewSession) {
        let open = log::OpenSession {
            localpart: "alice".into(),
            session: Some(new),
            password_version: 1,
            ..Default::default()
        };
        world.accepted(by_cluster(Kind::OpenSession(open)));
    }

    fn put(world: &mut World, user: &str, event_type: &str) {
        // With a limit, as the APIs set it, so that the data is counted.
        let put = log::PutAccountData {
            r#type: event_type.into(),
            content: SILENT.into(),
            max_entries: 200,
            ..Default::default()
        };
        let envelope = world.by(user, Kind::PutAccountData(put));
        world.accepted(envelope);
    }

    fn is_there(world: &World, event_type: &str) -> bool {
        world.view().account_data("alice", None, event_type).unwrap().is_some()
    }

    /// Returns the global account data that a sync of Alice's tells: types and contents.
    fn told(world: &World, since: Option<Position>) -> Vec<(String, String)> {
        let filter = SyncFilter::default();
        let request = SyncRequest { localpart: "alice", since, full_state: false, filter: &filter };
        let told = world.view().sync(&request).unwrap().account_data;
        told.into_iter().map(|datum| (datum.event_type, String::from_utf8(datum.content.to_vec()).unwrap())).collect()
    }

    fn counted(world: &World) -> (u64, u64) {
        let account = rows::account_row(&world.rows, "alice").unwrap().unwrap();
        (account.account_data_entries, account.account_data_bytes)
    }

    /// Returns every kind of command that ends device "E" of Alice's, whose other device is "D".
    fn ends_of_device(world: &mut World) -> Vec<(&'static str, Envelope)> {
        let logout = world.by("alice", Kind::CloseSession(log::CloseSession::default()));
        let logout = Envelope { device_id: "E".into(), ..logout };
        let one = log::CloseSession { device_id: "E".into(), ..Default::default() };
        let all = log::CloseSession { all_devices: true, at_most: 8, ..Default::default() };
        let listed = log::RemoveDevices { device_ids: vec!["E".into()] };
        let password = log::ChangePassword { password_hash: "h".into(), password_version: 1, end_others: 8 };
        let deactivated = log::Deactivate { password_version: 1, erase: false };
        let swept = log::SweepDevice { localpart: "alice".into(), device_id: "E".into(), kept_ms: 1 };
        let reset = log::ResetPassword { localpart: "alice".into(), password_hash: "h".into(), end_sessions: 8 };
        let reset = log::Administer { configured: false, action: Some(administer::Action::ResetPassword(reset)) };
        let closed = log::CloseAccount { localpart: "alice".into(), erase: false };
        let closed = log::Administer { configured: false, action: Some(administer::Action::CloseAccount(closed)) };
        let another = log::OpenSession {
            localpart: "alice".into(),
            session: Some(log::NewSession { max_devices: 1, ..session("alice", "F", 0) }),
            password_version: 1,
            ..Default::default()
        };
        vec![
            ("logout", logout),
            ("close one", world.by("alice", Kind::CloseSession(one))),
            ("close all", world.by("alice", Kind::CloseSession(all))),
            ("remove listed", world.by("alice", Kind::RemoveDevices(listed))),
            ("change password", world.by("alice", Kind::ChangePassword(password))),
            ("deactivate", world.by("alice", Kind::Deactivate(deactivated))),
            ("sweep", by_cluster(Kind::SweepDevice(swept))),
            ("reset password", by_cluster(Kind::Administer(reset))),
            ("close account", by_cluster(Kind::Administer(closed))),
            ("too many devices", by_cluster(Kind::OpenSession(another))),
        ]
    }

    #[test]
    fn settings_go_with_their_device_however_it_ends() {
        for place in 0..10 {
            let mut world = world(&["alice"]);
            log_in(&mut world, session("alice", "E", 1_000));
            let others = [format!("{STABLE}F"), "m.other".to_owned()];
            others.iter().for_each(|event_type| put(&mut world, "alice", event_type));
            let before = counted(&world);
            let own = PREFIXES.map(|prefix| format!("{prefix}E"));
            own.iter().for_each(|event_type| put(&mut world, "alice", event_type));
            let since = world.view().now();
            let mut ends = ends_of_device(&mut world);
            assert_eq!(ends.len(), 10);
            let (what, envelope) = ends.swap_remove(place);
            if what == "sweep" {
                world.time_ms += 2_000;
            }
            let AppliedCommand { outcome, touched } = world.apply(vec![envelope]).remove(0);
            assert!(!matches!(outcome.kind, Some(outcome::Kind::Rejected(_))), "{what}: {outcome:?}");
            assert!(own.iter().all(|event_type| !is_there(&world, event_type)), "{what}");
            assert!(others.iter().all(|event_type| is_there(&world, event_type)), "{what}");
            assert_eq!(counted(&world), before, "{what}");
            assert_eq!(touched.users, ["alice"], "{what}: other devices are woken");
            let removed = own.clone().map(|event_type| (event_type, "{}".to_owned()));
            assert_eq!(told(&world, Some(since)), removed, "{what}");
        }
    }

    #[test]
    fn a_removal_is_told_once_and_not_at_all_to_a_new_client() {
        let mut world = world(&["alice"]);
        log_in(&mut world, session("alice", "E", 0));
        let settings = format!("{STABLE}E");
        put(&mut world, "alice", &settings);
        let since = world.view().now();
        let close = log::CloseSession { device_id: "E".into(), ..Default::default() };
        let close = world.by("alice", Kind::CloseSession(close));
        world.accepted(close);
        assert_eq!(told(&world, Some(since)), [(settings.clone(), "{}".to_owned())]);
        assert!(told(&world, Some(world.view().now())).is_empty());
        assert!(told(&world, None).is_empty());
        // A client may set them again, whether or not there is such a device.
        put(&mut world, "alice", &settings);
        assert_eq!(told(&world, Some(since)), [(settings, SILENT.to_owned())]);
    }

    #[test]
    fn a_device_that_logs_in_again_keeps_its_settings_and_another_users_stay() {
        let mut world = world(&["alice", "bob"]);
        let settings = format!("{STABLE}D");
        for user in ["alice", "bob"] {
            put(&mut world, user, &settings);
        }
        let mut new = log::NewSession { continues_device: true, ..session("alice", "D", 0) };
        new.token_hash = "another token of the same device".into();
        log_in(&mut world, new);
        assert!(is_there(&world, &settings));
        let close = world.by("alice", Kind::CloseSession(log::CloseSession::default()));
        world.accepted(close);
        assert!(!is_there(&world, &settings));
        assert!(world.view().account_data("bob", None, &settings).unwrap().is_some());
    }

    #[test]
    fn the_newest_removals_are_remembered_and_an_erased_account_has_none() {
        let mut world = world(&["alice"]);
        let since = world.view().now();
        for n in 0..MOST_TOLD + 3 {
            let device = format!("E{n:03}");
            log_in(&mut world, session("alice", &device, 0));
            put(&mut world, "alice", &format!("{STABLE}{device}"));
            let close = log::CloseSession { device_id: device, ..Default::default() };
            let close = world.by("alice", Kind::CloseSession(close));
            world.accepted(close);
        }
        let removed = told(&world, Some(since));
        assert_eq!((removed.len(), removed[0].0.as_str()), (MOST_TOLD, "m.local_notification_settings.E003"));
        let erase = world.by("alice", Kind::Deactivate(log::Deactivate { password_version: 1, erase: true }));
        world.accepted(erase);
        assert_eq!(rows::removed_data(&world.rows, "alice").unwrap(), store::RemovedData::default());
    }
}
