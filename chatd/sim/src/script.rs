//! Scripts: arbitrary sequences of commands, from a seed. A command names rooms and events by the number of the command
//! that made them, so that the same script can be packed into entries in many ways.

use crate::rng::Rng;
use quorate_core::proto::log::set_membership::Change;

/// Localparts of the users of every script.
pub const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Devices of each user.
pub const DEVICES: [&str; 2] = ["D", "E"];

/// Number of a command in its script, from 0.
pub type CommandNumber = usize;

/// One command of a script.
#[derive(Clone, Debug)]
pub struct ScriptStep {
    /// User who gives it, as an index into [`USERS`].
    pub user: usize,
    /// Device that it comes from, as an index into [`DEVICES`].
    pub device: usize,
    pub act: ScriptAction,
}

/// Action of a command. Rooms and events are named by the number of the command that should have made them.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are those of the commands")]
pub enum ScriptAction {
    Bootstrap,
    Register,
    OpenSession {
        token: usize,
        lifetime_ms: u64,
    },
    CloseSession {
        all: bool,
        other: bool,
    },
    ExtendSession,
    CreateRoom {
        preset: i32,
        invite: Vec<usize>,
        alias: Option<usize>,
        state: Vec<(String, String)>,
        levels: Option<String>,
    },
    Member {
        room: CommandNumber,
        change: Change,
        target: Option<usize>,
    },
    Say {
        room: CommandNumber,
        content: String,
    },
    React {
        room: CommandNumber,
        event: CommandNumber,
    },
    Set {
        room: CommandNumber,
        event_type: String,
        state_key: String,
        content: String,
    },
    Redact {
        room: CommandNumber,
        event: CommandNumber,
        as_event: bool,
    },
    /// A room gets an alias; without a room, the alias is removed.
    Alias {
        room: Option<CommandNumber>,
        alias: usize,
    },
    Listed {
        room: CommandNumber,
        listed: bool,
    },
    Upgrade {
        room: CommandNumber,
        version: &'static str,
    },
    /// Reports an event, or the room.
    Report {
        room: CommandNumber,
        event: Option<CommandNumber>,
    },
    /// Sets one of two pushers, or removes it.
    Pusher {
        number: usize,
        is_set: bool,
        append: bool,
    },
    Profile {
        name: String,
    },
    Filter {
        content: String,
    },
    AccountData {
        room: Option<CommandNumber>,
        event_type: String,
        content: String,
    },
    /// Receipts of all kinds for an event, in the main timeline alone or regardless of threads.
    Read {
        room: CommandNumber,
        event: CommandNumber,
        in_main: bool,
    },
    Tag {
        room: CommandNumber,
        tag: String,
        is_set: bool,
    },
    ProfileField {
        name: String,
        value: Option<String>,
    },
    /// Publishes the device's identity keys and two one-time keys.
    Keys {
        identity: usize,
        number: usize,
    },
    /// Replaces the user's dehydrated device by one of two, or removes it.
    Dehydrated {
        number: usize,
        is_set: bool,
    },
    /// Takes a one-time key of another user's first device.
    Claim {
        target: usize,
    },
    /// The cluster removes what was said before `before_ms`; 0 removes what the room's own retention rule does not
    /// keep.
    Purge {
        room: CommandNumber,
        before_ms: u64,
    },
    /// A message to one device of a user, or to all.
    ToDevice {
        target: usize,
        device: Option<usize>,
    },
    /// The device has received what was sent to it before a command.
    Received {
        up_to: CommandNumber,
    },
    /// A change of the user's key backup.
    Backup {
        change: BackupStep,
        version: u64,
    },
    /// An administrator, who has a certificate and no account, acts about a user or a room.
    Administer {
        act: AdministratorStep,
        room: CommandNumber,
        target: usize,
    },
    /// The very same command is given once more.
    Again {
        of: CommandNumber,
    },
}

/// Change of a key backup.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the variants are those of the commands")]
pub enum BackupStep {
    Create,
    Update,
    Delete,
    PutKey(u64),
    DeleteKeys,
}

/// Act of an administrator.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the variants are those of the commands")]
pub enum AdministratorStep {
    Lock(bool),
    Suspend(bool),
    Block(bool),
    Delete,
}

/// Number of commands that every script begins with: the cluster, its users, two rooms.
pub const BEGINNING: usize = 1 + USERS.len() + 2;

/// Generates a script of [`BEGINNING`] commands and `length` random ones.
#[must_use]
pub fn generate_script(rng: &mut Rng, length: usize) -> Vec<ScriptStep> {
    let mut steps = vec![ScriptStep { user: 0, device: 0, act: ScriptAction::Bootstrap }];
    steps.extend((0..USERS.len()).map(|user| ScriptStep { user, device: 0, act: ScriptAction::Register }));
    let mut rooms = Vec::new();
    for (user, preset) in [(0, 1), (1, 1)] {
        rooms.push(steps.len());
        let act = ScriptAction::CreateRoom { preset, invite: vec![], alias: None, state: vec![], levels: None };
        steps.push(ScriptStep { user, device: 0, act });
    }
    let mut events: Vec<CommandNumber> = Vec::new();
    for number in BEGINNING..BEGINNING + length {
        let act = random_action(rng, number, &rooms, &events);
        match &act {
            ScriptAction::CreateRoom { .. } => rooms.push(number),
            ScriptAction::Say { .. } | ScriptAction::React { .. } | ScriptAction::Set { .. } => events.push(number),
            _ => {}
        }
        let user = rng.below(USERS.len());
        let device = usize::from(rng.percent(5));
        steps.push(ScriptStep { user, device, act });
    }
    steps
}

/// Generates a script in which no history is removed: for readers from the beginning, which a purge would stop.
#[must_use]
pub fn script_that_keeps_history(rng: &mut Rng, length: usize) -> Vec<ScriptStep> {
    let mut steps = generate_script(rng, length);
    for step in &mut steps {
        let deletes = matches!(step.act, ScriptAction::Administer { act: AdministratorStep::Delete, .. });
        if deletes || matches!(step.act, ScriptAction::Purge { .. }) {
            step.act = ScriptAction::ExtendSession;
        }
    }
    steps
}

fn random_action(
    rng: &mut Rng,
    number: CommandNumber,
    rooms: &[CommandNumber],
    events: &[CommandNumber],
) -> ScriptAction {
    // The two rooms of the beginning always exist.
    let room = if rng.percent(50) { rooms[rng.below(2)] } else { pick_recent(rng, rooms) };
    match rng.below(100) {
        0..27 => ScriptAction::Say { room, content: random_content(rng) },
        27 => ScriptAction::Keys { identity: rng.below(2), number: rng.below(20) },
        28 => ScriptAction::Claim { target: rng.below(USERS.len()) },
        29 => ScriptAction::ToDevice {
            target: rng.below(USERS.len()),
            device: rng.percent(70).then(|| rng.below(DEVICES.len())),
        },
        30 => ScriptAction::Received { up_to: rng.below(number) },
        31..35 => random_backup(rng),
        35..37 => ScriptAction::Read { room, event: pick_recent(rng, events), in_main: rng.percent(20) },
        37..60 => ScriptAction::Member {
            room,
            change: random_change(rng),
            target: rng.percent(40).then(|| rng.below(USERS.len())),
        },
        60..72 => random_state(rng, room),
        72..76 => ScriptAction::React { room, event: pick_recent(rng, events) },
        76..80 => ScriptAction::Redact { room, event: pick_recent(rng, events), as_event: rng.percent(30) },
        80..82 => random_room(rng),
        82..88 => ScriptAction::Again { of: number - 1 - rng.below(number.min(30) - 1) },
        88..90 => ScriptAction::Dehydrated { number: rng.below(2), is_set: rng.percent(60) },
        90 => {
            let event = pick_recent(rng, events);
            random_governance(rng, room, event)
        }
        91 => ScriptAction::Profile { name: format!("name {}", rng.below(3)) },
        92..93 => ScriptAction::Filter { content: format!("{{\"f\":{}}}", rng.below(3)) },
        93 => account_data(rng, room),
        94 => match rng.below(3) {
            0 => account_data(rng, room),
            1 => ScriptAction::Tag { room, tag: format!("u.{}", rng.below(3)), is_set: rng.percent(70) },
            _ => ScriptAction::ProfileField {
                name: format!("x.f{}", rng.below(3)),
                value: rng.percent(70).then(|| rng.below(9).to_string()),
            },
        },
        // Entries are stamped from 1000 on, 10 milliseconds apart.
        95 => ScriptAction::Purge { room, before_ms: *rng.pick(&[0, 0, 1050, 1100, 1200, 1300, 1500]) },
        // Sessions are opened more often than they end, or soon nobody could say anything any more.
        96..98 => ScriptAction::OpenSession { token: rng.below(4), lifetime_ms: *rng.pick(&[0, 0, 0, 0, 500]) },
        98 => ScriptAction::ExtendSession,
        _ => ScriptAction::CloseSession { all: rng.percent(10), other: rng.percent(70) },
    }
}

/// Returns one of the last four, or 0, a command that made neither a room nor an event, if there are none.
fn pick_recent(rng: &mut Rng, of: &[CommandNumber]) -> CommandNumber {
    match of.len() {
        0 => 0,
        len => of[len - 1 - rng.below(len.min(4))],
    }
}

fn random_content(rng: &mut Rng) -> String {
    match rng.below(20) {
        0 => "[1]".into(),
        1 => "{\"broken\":".into(),
        2 => format!("{{\"body\":\"{}\"}}", "x".repeat(66_000)),
        3 => "{\"m.relates_to\":{\"rel_type\":\"m.thread\",\"event_id\":\"$nowhere\"}}".into(),
        _ => format!("{{\"body\":\"{}\"}}", rng.below(1000)),
    }
}

fn random_change(rng: &mut Rng) -> Change {
    *rng.pick(&[
        Change::Join,
        Change::Join,
        Change::Join,
        Change::Join,
        Change::Join,
        Change::Join,
        Change::Leave,
        Change::Leave,
        Change::Invite,
        Change::Invite,
        Change::Invite,
        Change::Kick,
        Change::Ban,
        Change::Unban,
        Change::Knock,
        Change::Forget,
        Change::Unspecified,
    ])
}

fn random_visibility(rng: &mut Rng) -> String {
    let visibility = rng.pick(&["world_readable", "shared", "shared", "invited", "joined", "joined"]);
    format!("{{\"history_visibility\":\"{visibility}\"}}")
}

fn random_state(rng: &mut Rng, room: CommandNumber) -> ScriptAction {
    let (event_type, state_key, content) = match rng.below(10) {
        0..3 => ("m.room.name", String::new(), format!("{{\"name\":\"{}\"}}", rng.below(100))),
        3..5 => ("m.room.history_visibility", String::new(), random_visibility(rng)),
        5 => {
            let rule = rng.pick(&["public", "public", "invite", "knock", "restricted", "private"]);
            ("m.room.join_rules", String::new(), format!("{{\"join_rule\":\"{rule}\"}}"))
        }
        6..8 => ("m.room.power_levels", String::new(), random_levels(rng)),
        8 => {
            let membership = rng.pick(&["join", "leave", "invite", "ban", "knock", "dance"]);
            let target = format!("@{}:a.org", rng.pick(&USERS));
            ("m.room.member", target, format!("{{\"membership\":\"{membership}\"}}"))
        }
        _ if rng.percent(60) => ("x.any", format!("{}", rng.below(3)), format!("{{\"v\":{}}}", rng.below(10))),
        _ => {
            let lifetime = rng.pick(&["1", "50", "200", "1000", "null", "-1"]);
            ("m.room.retention", String::new(), format!("{{\"max_lifetime\":{lifetime}}}"))
        }
    };
    ScriptAction::Set { room, event_type: event_type.into(), state_key, content }
}

fn random_levels(rng: &mut Rng) -> String {
    let level = |rng: &mut Rng| *rng.pick(&[0, 50, 100, 100]);
    // The first user keeps all power, or rooms would end up with nobody in power.
    let mut users = vec![format!("\"@{}:a.org\":100", USERS[0])];
    users.extend(USERS[1..].iter().map(|user| format!("\"@{user}:a.org\":{}", level(rng))));
    let state = level(rng);
    let send = *rng.pick(&[0, 0, 0, 50]);
    format!("{{\"users\":{{{}}},\"state_default\":{state},\"events_default\":{send}}}", users.join(","))
}

fn random_room(rng: &mut Rng) -> ScriptAction {
    ScriptAction::CreateRoom {
        preset: *rng.pick(&[0, 1, 1, 2]),
        invite: (0..rng.below(2)).map(|_| rng.below(USERS.len())).collect(),
        alias: rng.percent(30).then(|| rng.below(2)),
        state: if rng.percent(50) {
            vec![("m.room.history_visibility".into(), random_visibility(rng))]
        } else {
            vec![]
        },
        levels: rng.percent(20).then(|| "{\"users_default\":50}".into()),
    }
}

fn random_backup(rng: &mut Rng) -> ScriptAction {
    let change = match rng.below(10) {
        0..4 => BackupStep::Create,
        4 => BackupStep::Update,
        5 => BackupStep::Delete,
        6 => BackupStep::DeleteKeys,
        _ => BackupStep::PutKey(u64::try_from(rng.below(3)).unwrap()),
    };
    ScriptAction::Backup { change, version: 1 + u64::try_from(rng.below(2)).unwrap() }
}

fn random_governance(rng: &mut Rng, room: CommandNumber, event: CommandNumber) -> ScriptAction {
    match rng.below(10) {
        0..3 => ScriptAction::Alias { room: rng.percent(70).then_some(room), alias: rng.below(3) },
        3..6 => ScriptAction::Listed { room, listed: rng.percent(70) },
        6 => ScriptAction::Report { room, event: rng.percent(50).then_some(event) },
        7 => ScriptAction::Pusher { number: rng.below(2), is_set: rng.percent(70), append: rng.percent(50) },
        8 => {
            let version = *rng.pick(&["6", "8", "10", "11", "12"]);
            ScriptAction::Upgrade { room, version }
        }
        _ => random_administration(rng, room),
    }
}

fn random_administration(rng: &mut Rng, room: CommandNumber) -> ScriptAction {
    // Accounts and rooms are freed more often than not, or soon nobody could say anything any more.
    let act = match rng.below(10) {
        0 => AdministratorStep::Lock(true),
        1..3 => AdministratorStep::Lock(false),
        3 => AdministratorStep::Suspend(true),
        4..6 => AdministratorStep::Suspend(false),
        6 => AdministratorStep::Block(true),
        7..9 => AdministratorStep::Block(false),
        _ => AdministratorStep::Delete,
    };
    ScriptAction::Administer { act, room, target: rng.below(USERS.len()) }
}

fn account_data(rng: &mut Rng, room: CommandNumber) -> ScriptAction {
    ScriptAction::AccountData {
        room: rng.percent(50).then_some(room),
        event_type: format!("t{}", rng.below(3)),
        content: format!("{{\"v\":{}}}", rng.below(100)),
    }
}
