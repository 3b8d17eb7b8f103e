//! Access control: calls every endpoint of both client APIs, and of the API for administrators, as each kind of caller,
//! and compares the answers with the table in `access.txt`. [`bad_requests`] sends each of them what no client sends.
//!
//! The endpoints come from the router and from the descriptors, so a new one that nobody thought of fails here. To
//! rewrite the table after an intended change, run `QUORATE_WRITE_ACCESS=1 cargo test --release --workspace --test it
//! access`, and read the difference.

mod admin;
mod bad_bodies;
mod bad_messages;
mod bad_paths;
mod bad_requests;
mod grpc;
pub(crate) mod http;
mod places;
mod raw_call;
mod raw_http;

use crate::support::cluster::Cluster;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// Path of the table; tests run in the directory of their package.
const TABLE: &str = "tests/it/access.txt";

/// Settings under which a session expires soon.
const SHORT: &str = "sessions: {lifetime: 1s}";

/// Settings under which sessions last and no rate limit applies, so that only rights matter.
const QUIET: &str = "rateLimit: {enabled: false}";

/// Callers of endpoints about a user in a room.
const ABOUT_BOTH: [Caller; 11] = [
    Caller::NoToken,
    Caller::WrongToken,
    Caller::ExpiredToken,
    Caller::User("owner"),
    Caller::User("member"),
    Caller::User("invited"),
    Caller::User("left"),
    Caller::User("banned"),
    Caller::User("stranger"),
    Caller::RoomGone,
    Caller::AnothersUser,
];

/// Callers of endpoints about a room.
const ABOUT_A_ROOM: &[Caller] = ABOUT_BOTH.split_at(ABOUT_BOTH.len() - 1).0;

/// Callers of endpoints about a user.
const ABOUT_A_USER: [Caller; 5] =
    [Caller::NoToken, Caller::WrongToken, Caller::ExpiredToken, Caller::User("stranger"), Caller::AnothersUser];

/// Callers of endpoints about neither.
const ABOUT_NOTHING: [Caller; 4] =
    [Caller::NoToken, Caller::WrongToken, Caller::ExpiredToken, Caller::User("stranger")];

/// Kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    NoToken,
    WrongToken,
    ExpiredToken,
    /// A user with a session, named after the user's membership in the room.
    User(&'static str),
    /// A user with a session who calls about a room that does not exist.
    RoomGone,
    /// A user with a session who calls about another user.
    AnothersUser,
}

impl Caller {
    fn label(self) -> &'static str {
        match self {
            Self::NoToken => "no token",
            Self::WrongToken => "wrong token",
            Self::ExpiredToken => "expired token",
            Self::User(name) => name,
            Self::RoomGone => "room gone",
            Self::AnothersUser => "about another",
        }
    }
}

/// Answers of one endpoint, each with the callers who get it.
#[derive(Default)]
struct Answers(BTreeMap<String, Vec<&'static str>>);

impl Answers {
    fn add(&mut self, caller: &'static str, answer: String) {
        self.0.entry(answer).or_default().push(caller);
    }

    fn write(&self, endpoint: &str, table: &mut String) {
        writeln!(table, "\n{endpoint}").expect("written");
        for (answer, callers) in &self.0 {
            writeln!(table, "    {answer:<42} {}", callers.join(", ")).expect("written");
        }
    }
}

/// Starts one node, and returns it with the token of an expired session.
async fn cluster() -> (Cluster, String) {
    let mut cluster = Cluster::uninitialised(1, &format!("{QUIET}\n{SHORT}"));
    cluster.initialise().await;
    cluster.all_ready().await;
    let token = http::register(&cluster.nodes[0], "expired");
    let over = SystemTime::now() + Duration::from_secs(1);
    cluster.kill(0);
    cluster.nodes[0].configure(QUIET);
    cluster.restart(0);
    cluster.all_ready().await;
    crate::support::eventually("the session's time is over", || async { (SystemTime::now() > over).then_some(()) })
        .await;
    (cluster, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_endpoint_answers_each_caller_as_the_table_says() {
    let (cluster, expired) = cluster().await;
    let places = places::Places::new(&cluster.nodes[0], expired);
    let mut table =
        String::from("Written by access.rs: who may call what. A line is an answer, and the callers who get it.\n");
    http::answers(&places, &mut table);
    grpc::answers(&cluster, &places, &mut table).await;
    admin::answers(&cluster, &mut table).await;
    if std::env::var_os("QUORATE_WRITE_ACCESS").is_some() {
        std::fs::write(TABLE, &table).expect("written");
    }
    let expected = std::fs::read_to_string(TABLE).unwrap_or_default();
    let (mut new, mut old) = (table.lines(), expected.lines());
    let mut endpoint = "";
    loop {
        let (new, old) = (new.next(), old.next());
        if new.is_none() && old.is_none() {
            return;
        }
        endpoint = new.filter(|line| !line.starts_with(' ')).unwrap_or(endpoint);
        assert_eq!(new, old, "{endpoint}: the answer, and what {TABLE} says");
    }
}
