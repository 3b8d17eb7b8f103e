//! A script packed into log entries. The place of a command decides the ids it makes, so that ids are known in advance,
//! and a script can name what its own earlier commands make.

use crate::rng::Rng;
use crate::script::{AdministratorStep, BackupStep, CommandNumber, DEVICES, ScriptAction, ScriptStep, USERS};
use bytes::Bytes;
use quorate_core::apply::{self, AppliedCommand, ApplyError};
use quorate_core::id::{self, ORDINALS_PER_COMMAND, Position};
use quorate_core::proto::log::administer::Action;
use quorate_core::proto::log::command::Kind;
use quorate_core::proto::log::{self, Batch, Command, Envelope, room_ref};
use quorate_core::table::TableWrite;

/// Server name of the cluster.
pub const SERVER: &str = "a.org";

/// A script together with the places of its commands.
pub struct PackedScript {
    steps: Vec<ScriptStep>,
    positions: Vec<Position>,
    sizes: Vec<usize>,
    /// Milliseconds between the times of two entries.
    pub tick_ms: u64,
}

impl PackedScript {
    /// Packs a script into entries of one to `largest` commands, at random.
    #[must_use]
    pub fn new(steps: Vec<ScriptStep>, rng: &mut Rng, largest: usize) -> Self {
        let mut sizes = Vec::new();
        let mut positions = Vec::new();
        while positions.len() < steps.len() {
            let size = (1 + rng.below(largest)).min(steps.len() - positions.len());
            let index = u64::try_from(sizes.len() + 1).unwrap();
            positions.extend((0..size).map(|place| Position {
                incarnation: 0,
                index,
                ordinal: u32::try_from(place).unwrap() * ORDINALS_PER_COMMAND,
            }));
            sizes.push(size);
        }
        Self { steps, positions, sizes, tick_ms: 10 }
    }

    /// Returns the position of a command's first event, if it makes any.
    #[must_use]
    pub fn position(&self, number: CommandNumber) -> Position {
        self.positions[number]
    }

    /// Returns the number of commands.
    #[must_use]
    pub fn commands(&self) -> usize {
        self.steps.len()
    }

    /// Returns the entries, each with its index.
    pub fn batches(&self) -> impl Iterator<Item = (u64, Batch)> {
        let mut first = 0;
        self.sizes.iter().zip(1..).map(move |(size, index)| {
            let envelopes = (first..first + size).map(|number| self.envelope(number)).collect();
            first += size;
            (index, Batch { time_ms: 1_000 + index * self.tick_ms, envelopes, ..Batch::default() })
        })
    }

    /// Applies every entry to `rows`, and calls `between` with the rows and the answers after each.
    ///
    /// # Errors
    /// Fails as apply does.
    pub fn run<W: TableWrite>(
        &self,
        rows: &mut W,
        mut between: impl FnMut(&W, u64, &Batch, &[AppliedCommand]),
    ) -> Result<(), ApplyError> {
        for (index, batch) in self.batches() {
            let applied = apply::batch_in_place(rows, index, &batch)?;
            between(rows, index, &batch, &applied);
        }
        Ok(())
    }

    /// Returns a command as it stands in the log.
    #[must_use]
    pub fn envelope(&self, number: CommandNumber) -> Envelope {
        let ScriptStep { user, device, act } = &self.steps[number];
        if let ScriptAction::Again { of } = act {
            return self.envelope(*of);
        }
        let has_caller = !matches!(
            act,
            ScriptAction::Bootstrap
                | ScriptAction::Register
                | ScriptAction::OpenSession { .. }
                | ScriptAction::Purge { .. }
                | ScriptAction::Administer { .. }
        );
        let text = |text: &str| if has_caller { text.to_owned() } else { String::new() };
        Envelope {
            user: text(USERS[*user]),
            device_id: text(DEVICES[*device]),
            transaction_id: text(&format!("t{number}")),
            command: Some(Command { kind: Some(self.kind(number, USERS[*user], DEVICES[*device], act)) }),
            sequence: None,
            quotas: None,
            guess_count: None,
        }
    }

    fn kind(&self, number: CommandNumber, user: &str, device: &str, act: &ScriptAction) -> Kind {
        match act.clone() {
            ScriptAction::Bootstrap => {
                Kind::Bootstrap(log::Bootstrap { cluster_id: "c".into(), server_name: SERVER.into() })
            }
            ScriptAction::Register => Kind::Register(log::Register {
                localpart: user.into(),
                password_hash: format!("hash of {user}"),
                session: Some(new_session(user, "D", 0, 0)),
                ..Default::default()
            }),
            ScriptAction::OpenSession { token, lifetime_ms } => Kind::OpenSession(log::OpenSession {
                localpart: user.into(),
                session: Some(new_session(user, device, token + 1, lifetime_ms)),
                password_version: 1,
                ..Default::default()
            }),
            ScriptAction::CloseSession { all, other } => Kind::CloseSession(log::CloseSession {
                device_id: if other { "E".into() } else { String::new() },
                all_devices: all,
                at_most: 0,
                keep_own: false,
            }),
            ScriptAction::ExtendSession => Kind::ExtendSession(log::ExtendSession {
                token_hash: new_session(user, device, 0, 0).token_hash,
                lifetime_ms: 700,
            }),
            ScriptAction::CreateRoom { preset, invite, alias, state, levels } => {
                Kind::CreateRoom(create_room(preset, &invite, alias, state, levels))
            }
            ScriptAction::Member { room, change, target } => Kind::SetMembership(log::SetMembership {
                room: Some(log::RoomRef { by: Some(room_ref::By::RoomId(self.room_id(room))) }),
                target: target.map(|target| id::user_id(USERS[target], SERVER)).unwrap_or_default(),
                change: change.into(),
                ..Default::default()
            }),
            ScriptAction::Say { room, content } => self.event(room, "m.room.message", None, content),
            ScriptAction::React { room, event } => {
                let target = id::event_id(self.positions[event]);
                // By the event, so that threads grow, and reactions are repeated.
                let kind = match event % 3 {
                    0 => r#""rel_type":"m.thread""#,
                    1 => r#""rel_type":"m.annotation","key":"+""#,
                    _ => r#""rel_type":"m.replace""#,
                };
                let content = format!("{{\"m.relates_to\":{{{kind},\"event_id\":\"{target}\"}}}}");
                self.event(room, "m.reaction", None, content)
            }
            ScriptAction::Set { room, event_type, state_key, content } => {
                self.event(room, &event_type, Some(state_key), content)
            }
            ScriptAction::Redact { room, event, as_event: true } => {
                let target = id::event_id(self.positions[event]);
                self.event(room, "m.room.redaction", None, format!("{{\"redacts\":\"{target}\"}}"))
            }
            ScriptAction::Redact { room, event, as_event: false } => Kind::Redact(log::Redact {
                room_id: self.room_id(room),
                event_id: id::event_id(self.positions[event]),
                reason: String::new(),
            }),
            ScriptAction::Alias { room, alias } => Kind::SetAlias(log::SetAlias {
                alias: format!("alias{alias}"),
                room_id: room.map(|room| self.room_id(room)).unwrap_or_default(),
            }),
            ScriptAction::Listed { room, listed } => {
                Kind::SetListed(log::SetListed { room_id: self.room_id(room), listed })
            }
            ScriptAction::Upgrade { room, version } => Kind::UpgradeRoom(log::UpgradeRoom {
                room_id: self.room_id(room),
                new_version: version.into(),
                additional_creators: Vec::new(),
            }),
            ScriptAction::Report { room, event } => Kind::FileReport(log::FileReport {
                room_id: self.room_id(room),
                event_id: event.map(|event| id::event_id(self.positions[event])).unwrap_or_default(),
                ..Default::default()
            }),
            ScriptAction::Pusher { number, is_set, append } => Kind::SetPusher(log::SetPusher {
                app_id: "app".into(),
                pushkey: format!("key{number}"),
                kind: if is_set { "http".into() } else { String::new() },
                data: "{}".into(),
                append,
                max_pushers: 2,
                ..Default::default()
            }),
            ScriptAction::Profile { name } => {
                Kind::SetProfile(log::SetProfile { display_name: Some(name), avatar_url: None, in_parts: true })
            }
            ScriptAction::Filter { content } => {
                Kind::PutFilter(log::PutFilter { filter: content.into(), max_filters: 4 })
            }
            ScriptAction::AccountData { room, event_type, content } => Kind::PutAccountData(log::PutAccountData {
                room_id: room.map(|room| self.room_id(room)).unwrap_or_default(),
                r#type: event_type,
                content: content.into(),
                max_entries: 8,
                max_bytes: 4096,
                replaces: None,
            }),
            ScriptAction::Read { room, event, in_main } => {
                let event_id = id::event_id(self.positions[event]);
                Kind::SetReceipts(log::SetReceipts {
                    room_id: self.room_id(room),
                    read: event_id.clone(),
                    read_private: event_id.clone(),
                    fully_read: if in_main { String::new() } else { event_id },
                    thread_id: if in_main { "main".into() } else { String::new() },
                })
            }
            ScriptAction::Tag { room, tag, is_set } => Kind::ChangeTag(log::ChangeTag {
                room_id: self.room_id(room),
                tag,
                info: is_set.then(|| "{}".into()),
                max_entries: 8,
                max_bytes: 4096,
            }),
            ScriptAction::ProfileField { name, value } => {
                Kind::SetProfileField(log::SetProfileField { name, value: value.map(Into::into) })
            }

            ScriptAction::Keys { identity, number } => Kind::PutDeviceKeys(put_keys(user, device, identity, number)),
            ScriptAction::Dehydrated { number, is_set } if is_set => {
                Kind::PutDehydratedDevice(put_dehydrated(user, number))
            }
            ScriptAction::Dehydrated { .. } => Kind::DeleteDehydratedDevice(log::DeleteDehydratedDevice {}),
            ScriptAction::Claim { target } => {
                let algorithm = ALGORITHM.to_owned();
                let claim = log::KeyClaim { localpart: USERS[target].into(), device_id: DEVICES[0].into(), algorithm };
                Kind::ClaimKeys(log::ClaimKeys { claims: vec![claim] })
            }
            ScriptAction::Purge { room, before_ms } => {
                Kind::PurgeHistory(log::PurgeHistory { room_id: self.room_id(room), before_ms })
            }
            ScriptAction::Administer { act, room, target } => administer(act, self.room_id(room), USERS[target]),
            ScriptAction::ToDevice { target, device } => to_device(number, target, device),
            ScriptAction::Received { up_to } => {
                let Position { incarnation, index, ordinal } = self.positions[up_to];
                let up_to = Some(log::Position { incarnation, index, ordinal });
                Kind::DeleteToDevice(log::DeleteToDevice { up_to })
            }
            ScriptAction::Backup { change, version } => backup(change, version),
            ScriptAction::Again { .. } => unreachable!("the command repeated was taken instead"),
        }
    }

    /// Returns the id of the room that a command makes.
    #[must_use]
    pub fn room_id(&self, number: CommandNumber) -> String {
        id::room_id(self.positions[number], SERVER)
    }

    fn event(&self, room: CommandNumber, event_type: &str, state_key: Option<String>, content: String) -> Kind {
        Kind::SendEvent(log::SendEvent {
            room_id: self.room_id(room),
            r#type: event_type.into(),
            state_key,
            content: content.into(),
        })
    }
}

fn to_device(number: CommandNumber, target: usize, device: Option<usize>) -> Kind {
    let message = log::DeviceMessage {
        user: id::user_id(USERS[target], SERVER),
        device_id: device.map_or("*", |device| DEVICES[device]).into(),
        // Readers tell the messages apart.
        content: format!("{{\"n\":{number}}}").into(),
    };
    Kind::SendToDevice(log::SendToDevice {
        r#type: "m.dummy".into(),
        messages: vec![message],
        part: "0".into(),
        max_messages: 2,
        max_bytes: 0,
    })
}

fn administer(act: AdministratorStep, room_id: String, user: &str) -> Kind {
    let standing =
        |locked, suspended| Action::SetStanding(log::SetStanding { localpart: user.to_owned(), locked, suspended });
    let action = match act {
        AdministratorStep::Lock(locked) => standing(Some(locked), None),
        AdministratorStep::Suspend(suspended) => standing(None, Some(suspended)),
        AdministratorStep::Block(blocked) => Action::BlockRoom(log::BlockRoom { room_id, blocked }),
        AdministratorStep::Delete => Action::DeleteRoom(log::DeleteRoom { room_id, reason: String::new() }),
    };
    Kind::Administer(log::Administer { configured: false, action: Some(action) })
}

fn backup(change: BackupStep, version: u64) -> Kind {
    let algorithm = || "a".to_owned();
    let auth_data = || Bytes::from_static(b"{}");
    match change {
        BackupStep::Create => {
            Kind::CreateBackup(log::CreateBackup { algorithm: algorithm(), auth_data: auth_data(), max_versions: 2 })
        }
        BackupStep::Update => {
            Kind::UpdateBackup(log::UpdateBackup { version, algorithm: algorithm(), auth_data: auth_data() })
        }
        BackupStep::Delete => Kind::DeleteBackup(log::DeleteBackup { version, continues: false }),
        BackupStep::DeleteKeys => {
            Kind::DeleteBackupKeys(log::DeleteBackupKeys { version, ..log::DeleteBackupKeys::default() })
        }
        BackupStep::PutKey(first_message_index) => {
            let key = log::BackupKeyInput {
                room_id: "!r".into(),
                session_id: "s".into(),
                first_message_index,
                session_data: "{}".into(),
                ..log::BackupKeyInput::default()
            };
            Kind::PutBackupKeys(log::PutBackupKeys { version, keys: vec![key], ..log::PutBackupKeys::default() })
        }
    }
}

/// Algorithm of the one-time keys.
const ALGORITHM: &str = "signed_curve25519";

fn put_keys(user: &str, device: &str, identity: usize, number: usize) -> log::PutDeviceKeys {
    let keys = format!(
        "{{\"user_id\":\"{}\",\"device_id\":\"{device}\",\"algorithms\":[],\"keys\":{{\"ed25519:{device}\":\"{identity}\"}},\"signatures\":{{}}}}",
        id::user_id(user, SERVER)
    );
    let one_time_key = |number: usize| log::KeyInput {
        algorithm: ALGORITHM.into(),
        key_id: number.to_string(),
        key: format!("\"of {identity}\"").into(),
    };
    log::PutDeviceKeys {
        device_keys: keys.into(),
        one_time_keys: vec![one_time_key(number), one_time_key(number + 1)],
        fallback_keys: vec![one_time_key(100 + number)],
    }
}

fn put_dehydrated(user: &str, number: usize) -> log::PutDehydratedDevice {
    let device_id = format!("asleep{number}");
    let keys = put_keys(user, &device_id, number, number);
    log::PutDehydratedDevice {
        device_id,
        data: "{}".into(),
        device_keys: keys.device_keys,
        one_time_keys: keys.one_time_keys,
        fallback_keys: keys.fallback_keys,
        ..log::PutDehydratedDevice::default()
    }
}

fn new_session(user: &str, device: &str, token: usize, lifetime_ms: u64) -> log::NewSession {
    let token_hash: Bytes = format!("{:.>32}", format!("{user}/{device}/{token}")).into();
    log::NewSession { device_id: device.into(), token_hash, lifetime_ms, ..log::NewSession::default() }
}

fn create_room(
    preset: i32,
    invite: &[usize],
    alias: Option<usize>,
    state: Vec<(String, String)>,
    levels: Option<String>,
) -> log::CreateRoom {
    let state = state.into_iter().map(|(event_type, content)| log::StateInput {
        r#type: event_type,
        state_key: String::new(),
        content: content.into(),
    });
    log::CreateRoom {
        preset,
        invite: invite.iter().map(|user| id::user_id(USERS[*user], SERVER)).collect(),
        alias: alias.map(|alias| format!("alias{alias}")).unwrap_or_default(),
        initial_state: state.collect(),
        power_level_override: levels.unwrap_or_default().into(),
        ..Default::default()
    }
}
