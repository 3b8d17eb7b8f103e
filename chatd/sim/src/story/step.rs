//! Steps of a story: what can be done, and how it is written.

mod words;

use crate::world::net::HostId;
use std::str::FromStr;
use words::StepParser;

/// Localparts of the users who may take part.
pub const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Localpart of a user, one of [`USERS`].
pub type StoryUser = &'static str;

/// A message that a user sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoryMessage {
    /// User who sends it.
    pub user: StoryUser,
    /// Text of the message; the same if it is sent again.
    pub text: String,
    /// Name of the room.
    pub room: String,
    /// Pod that the message is sent to.
    pub pod: HostId,
    /// Transaction id; the text, if the story names none.
    pub transaction: String,
    /// `true` if the pod's answer gets lost.
    pub answer_lost: bool,
    /// `true` if the story goes on before there is an answer.
    pub goes_on: bool,
}

/// One step of a story: a closed set, each with the words in which it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoryStep {
    /// `start pod-0 pod-1`: starts their processes.
    Start(Vec<HostId>),
    /// `found the cluster with pod-0 pod-1 pod-2`: initializes the cluster, at the first of them.
    Found(Vec<HostId>),
    /// `register alice bob`: creates accounts, at pod-0.
    Register(Vec<StoryUser>),
    /// `alice opens general at pod-0`: creates a room, optionally with `, history visible to joined`.
    Open {
        /// User who creates the room.
        user: StoryUser,
        /// Name of the room.
        room: String,
        /// Pod that the request goes to.
        pod: HostId,
        /// History visibility in Matrix's words (`m.room.history_visibility`), or `None` for the default.
        visibility: Option<String>,
    },
    /// `bob joins general at pod-1`: lets a user join a room.
    Join {
        /// User who joins the room.
        user: StoryUser,
        /// Name of the room.
        room: String,
        /// Pod that the request goes to.
        pod: HostId,
    },
    /// `alice says "hello" in general at pod-1`: sends a message, optionally with `, as t1` (the transaction id),
    /// `, answer lost` and `, and the story goes on`. Several texts in a row, or several messages with ` | ` in
    /// between, are sent at the same moment.
    Say(Vec<StoryMessage>),
    /// `bob follows at pod-2`: opens a stream over all of the user's rooms, from that moment on or from where the
    /// user's earlier stream ended.
    Follow {
        /// User who opens the stream.
        user: StoryUser,
        /// Pod that serves the stream.
        pod: HostId,
    },
    /// `dave reads general at pod-2`: reads everything in a room that the user may see, as of that moment.
    Read {
        /// User who reads the room.
        user: StoryUser,
        /// Name of the room.
        room: String,
        /// Pod that the request goes to.
        pod: HostId,
        /// `true` if the story goes on before there is an answer.
        goes_on: bool,
    },
    /// `kill pod-0`: kills its process.
    Kill(HostId),
    /// `power off pod-0`: cuts its machine's power; what it had not synced is gone.
    PowerOff(HostId),
    /// `cut off pod-0`: isolates it from all other pods, in both directions; its clients still reach it.
    CutOff(HostId),
    /// `heal the network`: opens everything that was cut off.
    Heal,
    /// `hand leadership to pod-1`: transfers leadership to it.
    HandOver(HostId),
    /// `snapshot pod-0`: makes it take a snapshot and purge the log that it covers.
    Snapshot(HostId),
    /// `replace pod-2 by pod-3`: replaces a node, as the operator does. A pod that is replaced by itself comes back
    /// with an empty volume.
    Replace {
        /// Pod whose node leaves.
        out: HostId,
        /// Pod whose node takes the place.
        with: HostId,
    },
    /// `wait 500 ms`: lets this many milliseconds pass.
    Wait(u64),
    /// `wait until 5000 ms`: lets time pass until this many milliseconds after the beginning.
    WaitUntil(u64),
    /// `wait for a leader after term 1`: waits for a leader of a later term that hears a majority.
    WaitForLeader {
        /// Term that is over.
        after: u64,
    },
    /// `wait for answers`: waits until everything that is on its way is answered.
    WaitForAnswers,
    /// `look`: tells the role, the log and the applied index of each pod.
    Look,
    /// `the end`: waits until every voter has applied the same, and checks everything that must hold.
    End,
}

impl FromStr for StoryStep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_step(text).map_err(|error| format!("{error}, in the step {text:?}"))
    }
}

fn parse_step(text: &str) -> Result<StoryStep, String> {
    let mut words = StepParser::new(text);
    let step = match words.any()? {
        "start" => StoryStep::Start(words.pods()?),
        "found" => {
            words.all("the cluster with")?;
            StoryStep::Found(words.pods()?)
        }
        "register" => StoryStep::Register(words.users()?),
        "kill" => StoryStep::Kill(words.pod()?),
        "power" => {
            words.all("off")?;
            StoryStep::PowerOff(words.pod()?)
        }
        "cut" => {
            words.all("off")?;
            StoryStep::CutOff(words.pod()?)
        }
        "heal" => {
            words.all("the network")?;
            StoryStep::Heal
        }
        "hand" => {
            words.all("leadership to")?;
            StoryStep::HandOver(words.pod()?)
        }
        "snapshot" => StoryStep::Snapshot(words.pod()?),
        "replace" => {
            let out = words.pod()?;
            words.all("by")?;
            StoryStep::Replace { out, with: words.pod()? }
        }
        "wait" => parse_wait(&mut words)?,
        "look" => StoryStep::Look,
        "the" => {
            words.all("end")?;
            StoryStep::End
        }
        _ => return parse_user_step(text),
    };
    words.end()?;
    Ok(step)
}

fn parse_wait(words: &mut StepParser<'_>) -> Result<StoryStep, String> {
    let step = match words.any()? {
        "for" if words.is("answers") => StoryStep::WaitForAnswers,
        "for" => {
            words.all("a leader after term")?;
            StoryStep::WaitForLeader { after: words.number()? }
        }
        "until" => StoryStep::WaitUntil(words.milliseconds()?),
        number => StoryStep::Wait(words.with_unit(number)?),
    };
    Ok(step)
}

/// Parses a step that begins with a user.
fn parse_user_step(text: &str) -> Result<StoryStep, String> {
    let mut words = StepParser::new(text);
    let user = words.user()?;
    match words.any()? {
        "says" => {
            let sayings: Result<Vec<_>, _> = text.split(" | ").map(parse_messages).collect();
            Ok(StoryStep::Say(sayings?.concat()))
        }
        "opens" => {
            let (room, pod) = words.place()?;
            let visibility = if words.is(",") {
                words.all("history visible to")?;
                Some(words.any()?.to_owned())
            } else {
                None
            };
            words.end()?;
            Ok(StoryStep::Open { user, room, pod, visibility })
        }
        "joins" => {
            let (room, pod) = words.place()?;
            words.end()?;
            Ok(StoryStep::Join { user, room, pod })
        }
        "follows" => {
            words.all("at")?;
            let pod = words.pod()?;
            words.end()?;
            Ok(StoryStep::Follow { user, pod })
        }
        "reads" => {
            let (room, pod) = words.place()?;
            let goes_on = words.goes_on()?;
            words.end()?;
            Ok(StoryStep::Read { user, room, pod, goes_on })
        }
        other => Err(format!("unknown action {other:?}")),
    }
}

fn parse_messages(text: &str) -> Result<Vec<StoryMessage>, String> {
    let mut words = StepParser::new(text);
    let user = words.user()?;
    words.all("says")?;
    let mut texts = vec![words.quoted()?];
    while !words.is("in") {
        texts.push(words.quoted()?);
    }
    let (room, pod) = words.place()?;
    let transaction = String::new();
    let text = String::new();
    let mut saying = StoryMessage { user, text, room, pod, transaction, answer_lost: false, goes_on: false };
    while words.is(",") {
        match words.any()? {
            "as" => saying.transaction = words.any()?.to_owned(),
            "answer" => {
                words.all("lost")?;
                saying.answer_lost = true;
            }
            "and" => {
                words.all("the story goes on")?;
                saying.goes_on = true;
            }
            other => return Err(format!("unexpected {other:?} after a message")),
        }
    }
    words.end()?;
    // The text serves as the transaction id of a message that has none of its own.
    let saying = |text: String| {
        let transaction = if saying.transaction.is_empty() { text.clone() } else { saying.transaction.clone() };
        StoryMessage { text, transaction, ..saying.clone() }
    };
    Ok(texts.into_iter().map(saying).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_with_all_that_is_said_of_it() {
        let step = r#"alice says "hello, bob" in general at pod-1, as t1, answer lost, and the story goes on"#.parse();
        let saying = StoryMessage {
            user: "alice",
            text: "hello, bob".into(),
            room: "general".into(),
            pod: 1,
            transaction: "t1".into(),
            answer_lost: true,
            goes_on: true,
        };
        assert_eq!(step, Ok(StoryStep::Say(vec![saying])));
    }

    #[test]
    fn several_speak_in_one_moment() {
        let step = r#"alice says "a" "a2" in general at pod-0 | bob says "b" in general at pod-2"#.parse();
        let Ok(StoryStep::Say(sayings)) = step else { panic!("{step:?}") };
        let who: Vec<_> = sayings.iter().map(|saying| (saying.user, saying.text.as_str(), saying.pod)).collect();
        assert_eq!(who, [("alice", "a", 0), ("alice", "a2", 0), ("bob", "b", 2)]);
    }

    #[test]
    fn a_wait_is_for_a_time_or_for_something() {
        assert_eq!("wait 500 ms".parse(), Ok(StoryStep::Wait(500)));
        assert_eq!("wait until 5000 ms".parse(), Ok(StoryStep::WaitUntil(5000)));
        assert_eq!("wait for a leader after term 1".parse(), Ok(StoryStep::WaitForLeader { after: 1 }));
        assert_eq!("wait for answers".parse(), Ok(StoryStep::WaitForAnswers));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_words_that_were_not_understood() {
        for (text, says) in [
            ("start pod-9", "pod-9"),
            ("mallory joins general at pod-0", "mallory"),
            ("alice sings general at pod-0", "sings"),
            ("alice says hello in general at pod-0", "hello"),
            ("kill pod-0 twice", "twice"),
            ("wait 5 hours", "hours"),
        ] {
            let error = text.parse::<StoryStep>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
