//! Changes that users make to the list of their devices: removing some, and naming one.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::device::{MAX_FORGOTTEN, remove_device};
use super::key_changes::note_key_change;
use super::session::MAX_DISPLAY_NAME_BYTES;
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::table::{self, Table, TableRead as _, key};

/// Maximum number of devices that one command removes: some hundred rows, which take far less than a millisecond.
pub const MAX_DEVICES_REMOVED: usize = 64;

/// Removes devices of the caller, whose sessions end.
pub(super) fn apply_remove_devices(
    context: &mut ApplyContext<'_>,
    command: &log::RemoveDevices,
) -> ApplyResult<CommandAnswer> {
    if command.device_ids.len() > MAX_DEVICES_REMOVED {
        return refuse(Reason::TooLarge, format!("remove at most {MAX_DEVICES_REMOVED} devices at once"));
    }
    let mut forgettable = MAX_FORGOTTEN;
    for device_id in &command.device_ids {
        let removed = remove_device(context, context.user, device_id, &mut forgettable)?;
        context.ended_own_session |= removed && device_id == context.device_id;
    }
    context.touched.user(context.user);
    Ok(CommandAnswer::done())
}

/// Changes the name of one of the caller's devices.
pub(super) fn apply_name_device(
    context: &mut ApplyContext<'_>,
    command: &log::NameDevice,
) -> ApplyResult<CommandAnswer> {
    if command.display_name.len() > MAX_DISPLAY_NAME_BYTES {
        return refuse(Reason::TooLarge, format!("a device's name must have at most {MAX_DISPLAY_NAME_BYTES} bytes"));
    }
    let key = key::device_key(context.user, &command.device_id);
    let Some(device) = table::fetch_row::<store::Device>(&context.rows, Table::Device, &key)? else {
        return refuse(Reason::DeviceNotFound, "you have no such device");
    };
    if device.display_name == command.display_name {
        return Ok(CommandAnswer::done());
    }
    let is_shown_to_others = context.rows.get(Table::DeviceKeys, &key)?.is_some();
    let row = store::Device { display_name: command.display_name.clone(), ..device };
    context.rows.put(Table::Device, key, table::encode_value(&row));
    context.touched.user(context.user);
    if is_shown_to_others {
        // With its keys, so that they are to be looked at again.
        note_key_change(context, context.user)?;
    }
    Ok(CommandAnswer::done())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::query::SessionState;
    use crate::testing::keys::device_keys;
    use crate::testing::{World, command, session, world};

    fn with_two() -> World {
        let mut world = world(&["alice", "bob"]);
        let open = log::OpenSession {
            localpart: "alice".into(),
            session: Some(session("alice", "E", 0)),
            password_version: 1,
            ..Default::default()
        };
        world.accepted(Envelope { command: command(Kind::OpenSession(open)), ..Envelope::default() });
        world
    }

    fn devices(world: &World, user: &str) -> Vec<(String, String)> {
        let devices = world.view().devices(user).unwrap();
        devices.into_iter().map(|device| (device.device_id, device.display_name)).collect()
    }

    fn remove(world: &mut World, user: &str, ids: &[&str]) -> Envelope {
        let device_ids = ids.iter().map(|id| (*id).to_owned()).collect();
        world.by(user, Kind::RemoveDevices(log::RemoveDevices { device_ids }))
    }

    #[test]
    fn a_removed_device_has_no_session_and_others_keep_theirs() {
        let mut world = with_two();
        let token = session("alice", "E", 0).token_hash;
        let envelope = remove(&mut world, "alice", &["E", "unknown"]);
        let applied = world.apply(vec![envelope.clone()]).remove(0);
        assert_eq!(applied.touched.sessions, ["alice"]);
        assert!(world.accepted(envelope).duplicate);
        assert_eq!(world.view().session(&token, world.time_ms).unwrap(), SessionState::Unknown);
        assert_eq!(devices(&world, "alice").len(), 1);
        let others = remove(&mut world, "bob", &["D"]);
        world.accepted(others);
        assert_eq!(devices(&world, "alice").len(), 1, "bob removed his own");
        let own = remove(&mut world, "alice", &["D"]);
        world.accepted(own.clone());
        assert_eq!(world.rejected(own), Reason::SessionEnded);
    }

    #[test]
    fn too_many_at_once_are_refused() {
        let mut world = with_two();
        let ids = vec!["E"; MAX_DEVICES_REMOVED + 1];
        let envelope = remove(&mut world, "alice", &ids);
        assert_eq!(world.rejected(envelope), Reason::TooLarge);
    }

    #[test]
    fn a_device_is_named_by_its_owner_alone() {
        let mut world = with_two();
        let mut name = |user: &str, device: &str, name: &str| {
            let name = log::NameDevice { device_id: device.into(), display_name: name.into() };
            world.by(user, Kind::NameDevice(name))
        };
        let right = name("alice", "E", "tablet");
        let foreign = name("bob", "E", "mine");
        let long = name("alice", "E", &"x".repeat(MAX_DISPLAY_NAME_BYTES + 1));
        world.accepted(right);
        assert_eq!(world.rejected(foreign), Reason::DeviceNotFound);
        assert_eq!(world.rejected(long), Reason::TooLarge);
        assert_eq!(devices(&world, "alice")[1], ("E".to_owned(), "tablet".to_owned()));
    }

    #[test]
    fn another_name_of_a_device_with_keys_is_told_to_those_who_see_its_keys() {
        let mut world = with_two();
        let put = log::PutDeviceKeys { device_keys: device_keys("alice", "D", "one"), ..log::PutDeviceKeys::default() };
        let put = world.by("alice", Kind::PutDeviceKeys(put));
        world.accepted(put);
        let mut told = |device: &str, name: &str| {
            let name = log::NameDevice { device_id: device.into(), display_name: name.into() };
            let envelope = world.by("alice", Kind::NameDevice(name));
            let touched = world.apply(vec![envelope]).remove(0).touched;
            touched.keys.into_iter().map(|hint| hint.localpart).collect::<Vec<_>>()
        };
        assert_eq!(told("D", "laptop"), ["alice"]);
        assert_eq!(told("D", "laptop"), Vec::<String>::new(), "it is the same name");
        assert_eq!(told("E", "tablet"), Vec::<String>::new(), "nobody else is shown a device without keys");
    }
}
