//! Scripts: arbitrary sequences of commands, from a seed. A command names rooms and events by the number of the command
//! that made them, so that the same script can be packed into entries in many ways.

use crate::rng::Rng;
use quorate_core::proto::log::set_membership::Change;

/// Localparts of the users of every script.
pub const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Devices of each user.
pub const DEVICES: [&str; 2] = ["D", "E"];

/// Number of a command in its script, from 0.
pub type Number = usize;

/// One command of a script.
#[derive(Clone, Debug)]
pub struct Step {
    /// User who gives it, as an index into [`USERS`].
    pub user: usize,
    /// Device that it comes from, as an index into [`DEVICES`].
    pub device: usize,
    pub act: Act,
}

/// Action of a command. Rooms and events are named by the number of the command that should have made them.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are those of the commands")]
pub enum Act {
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
        room: Number,
        change: Change,
        target: Option<usize>,
    },
    Say {
        room: Number,
        content: String,
    },
    React {
        room: Number,
        event: Number,
    },
    Set {
        room: Number,
        event_type: String,
        state_key: String,
        content: String,
    },
    Redact {
        room: Number,
        event: Number,
        as_event: bool,
    },
    Profile {
        name: String,
    },
    Filter {
        content: String,
    },
    AccountData {
        room: Option<Number>,
        event_type: String,
        content: String,
    },
    /// The cluster removes what was said before `before_ms`; 0 removes what the room's own retention rule does not
    /// keep.
    Purge {
        room: Number,
        before_ms: u64,
    },
    /// The very same command is given once more.
    Again {
        of: Number,
    },
}

/// Number of commands that every script begins with: the cluster, its users, two rooms.
pub const BEGINNING: usize = 1 + USERS.len() + 2;

/// Generates a script of [`BEGINNING`] commands and `length` random ones.
#[must_use]
pub fn script(rng: &mut Rng, length: usize) -> Vec<Step> {
    let mut steps = vec![Step { user: 0, device: 0, act: Act::Bootstrap }];
    steps.extend((0..USERS.len()).map(|user| Step { user, device: 0, act: Act::Register }));
    let mut rooms = Vec::new();
    for (user, preset) in [(0, 1), (1, 1)] {
        rooms.push(steps.len());
        let act = Act::CreateRoom { preset, invite: vec![], alias: None, state: vec![], levels: None };
        steps.push(Step { user, device: 0, act });
    }
    let mut events: Vec<Number> = Vec::new();
    for number in BEGINNING..BEGINNING + length {
        let act = act(rng, number, &rooms, &events);
        match &act {
            Act::CreateRoom { .. } => rooms.push(number),
            Act::Say { .. } | Act::React { .. } | Act::Set { .. } => events.push(number),
            _ => {}
        }
        let (user, device) = (rng.below(USERS.len()), usize::from(rng.percent(5)));
        steps.push(Step { user, device, act });
    }
    steps
}

/// Generates a script in which no history is removed: for readers from the beginning, which a purge would stop.
#[must_use]
pub fn script_that_keeps_history(rng: &mut Rng, length: usize) -> Vec<Step> {
    let mut steps = script(rng, length);
    for step in &mut steps {
        if matches!(step.act, Act::Purge { .. }) {
            step.act = Act::ExtendSession;
        }
    }
    steps
}

fn act(rng: &mut Rng, number: Number, rooms: &[Number], events: &[Number]) -> Act {
    // The two rooms of the beginning always exist.
    let room = if rng.percent(50) { rooms[rng.below(2)] } else { recent(rng, rooms) };
    match rng.below(100) {
        0..35 => Act::Say { room, content: content(rng) },
        35..60 => Act::Member { room, change: change(rng), target: rng.percent(40).then(|| rng.below(USERS.len())) },
        60..72 => state(rng, room),
        72..76 => Act::React { room, event: recent(rng, events) },
        76..80 => Act::Redact { room, event: recent(rng, events), as_event: rng.percent(30) },
        80..82 => create(rng),
        82..90 => Act::Again { of: number - 1 - rng.below(number.min(30) - 1) },
        90..92 => Act::Profile { name: format!("name {}", rng.below(3)) },
        92..93 => Act::Filter { content: format!("{{\"f\":{}}}", rng.below(3)) },
        93..95 => account_data(rng, room),
        // Entries are stamped from 1000 on, 10 milliseconds apart.
        95 => Act::Purge { room, before_ms: *rng.pick(&[0, 0, 1050, 1100, 1200, 1300, 1500]) },
        // Sessions are opened more often than they end, or soon nobody could say anything any more.
        96..98 => Act::OpenSession { token: rng.below(4), lifetime_ms: *rng.pick(&[0, 0, 0, 0, 500]) },
        98 => Act::ExtendSession,
        _ => Act::CloseSession { all: rng.percent(10), other: rng.percent(70) },
    }
}

/// Returns one of the last four, or 0, a command that made neither a room nor an event, if there are none.
fn recent(rng: &mut Rng, of: &[Number]) -> Number {
    match of.len() {
        0 => 0,
        len => of[len - 1 - rng.below(len.min(4))],
    }
}

fn content(rng: &mut Rng) -> String {
    match rng.below(20) {
        0 => "[1]".into(),
        1 => "{\"broken\":".into(),
        2 => format!("{{\"body\":\"{}\"}}", "x".repeat(66_000)),
        3 => "{\"m.relates_to\":{\"rel_type\":\"m.thread\",\"event_id\":\"$nowhere\"}}".into(),
        _ => format!("{{\"body\":\"{}\"}}", rng.below(1000)),
    }
}

fn change(rng: &mut Rng) -> Change {
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

fn visibility(rng: &mut Rng) -> String {
    let visibility = rng.pick(&["world_readable", "shared", "shared", "invited", "joined", "joined"]);
    format!("{{\"history_visibility\":\"{visibility}\"}}")
}

fn state(rng: &mut Rng, room: Number) -> Act {
    let (event_type, state_key, content) = match rng.below(10) {
        0..3 => ("m.room.name", String::new(), format!("{{\"name\":\"{}\"}}", rng.below(100))),
        3..5 => ("m.room.history_visibility", String::new(), visibility(rng)),
        5 => {
            let rule = rng.pick(&["public", "public", "invite", "knock", "restricted"]);
            ("m.room.join_rules", String::new(), format!("{{\"join_rule\":\"{rule}\"}}"))
        }
        6..8 => ("m.room.power_levels", String::new(), levels(rng)),
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
    Act::Set { room, event_type: event_type.into(), state_key, content }
}

fn levels(rng: &mut Rng) -> String {
    let level = |rng: &mut Rng| *rng.pick(&[0, 50, 100, 100]);
    // The first user keeps all power, or rooms would end up with nobody in power.
    let mut users = vec![format!("\"@{}:a.org\":100", USERS[0])];
    users.extend(USERS[1..].iter().map(|user| format!("\"@{user}:a.org\":{}", level(rng))));
    let (state, send) = (level(rng), *rng.pick(&[0, 0, 0, 50]));
    format!("{{\"users\":{{{}}},\"state_default\":{state},\"events_default\":{send}}}", users.join(","))
}

fn create(rng: &mut Rng) -> Act {
    Act::CreateRoom {
        preset: *rng.pick(&[0, 1, 1, 2]),
        invite: (0..rng.below(2)).map(|_| rng.below(USERS.len())).collect(),
        alias: rng.percent(30).then(|| rng.below(2)),
        state: match rng.percent(50) {
            true => vec![("m.room.history_visibility".into(), visibility(rng))],
            false => vec![],
        },
        levels: rng.percent(20).then(|| "{\"users_default\":50}".into()),
    }
}

fn account_data(rng: &mut Rng, room: Number) -> Act {
    Act::AccountData {
        room: rng.percent(50).then_some(room),
        event_type: format!("t{}", rng.below(3)),
        content: format!("{{\"v\":{}}}", rng.below(100)),
    }
}
