//! What can be done in a story, and how it is written.

mod words;

use crate::world::net::HostId;
use std::str::FromStr;
use words::Words;

/// Who may take part.
pub const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// One of [`USERS`].
pub type User = &'static str;

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saying {
    /// Who says it.
    pub user: User,
    /// What; of a message that is sent again, the same.
    pub text: String,
    /// Where.
    pub room: String,
    /// To which pod it is sent.
    pub pod: HostId,
    /// With which id; the text, if the story names none.
    pub transaction: String,
    /// The pod's answer gets lost.
    pub answer_lost: bool,
    /// The story goes on before there is an answer.
    pub goes_on: bool,
}

/// One step: a closed set, each with the words in which it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `start pod-0 pod-1`: their processes.
    Start(Vec<HostId>),
    /// `found the cluster with pod-0 pod-1 pod-2`, at the first of them.
    Found(Vec<HostId>),
    /// `register alice bob`, at pod-0.
    Register(Vec<User>),
    /// `alice opens general at pod-0`, if wanted with `, history visible to joined`.
    Open {
        /// Who makes it.
        user: User,
        /// Its name.
        room: String,
        /// Where.
        pod: HostId,
        /// Matrix's word for who sees what was before: `m.room.history_visibility`.
        visibility: Option<String>,
    },
    /// `bob joins general at pod-1`.
    Join {
        /// Who.
        user: User,
        /// Which.
        room: String,
        /// Where.
        pod: HostId,
    },
    /// `alice says "hello" in general at pod-1`, if wanted with `, as t1` (the transaction id), `, answer lost` and
    /// `, and the story goes on`; several texts in a row, or several messages with ` | ` in between, are sent in the same
    /// moment.
    Say(Vec<Saying>),
    /// `bob follows at pod-2`: from now on, or from where an earlier stream of his ended.
    Follow {
        /// Who.
        user: User,
        /// Where.
        pod: HostId,
    },
    /// `dave reads general at pod-2`: all that he may see, as of now.
    Read {
        /// Who.
        user: User,
        /// Which.
        room: String,
        /// Where.
        pod: HostId,
        /// The story goes on before there is an answer.
        goes_on: bool,
    },
    /// `kill pod-0`: its process.
    Kill(HostId),
    /// `power off pod-0`: what it had not synced is gone.
    PowerOff(HostId),
    /// `cut off pod-0`: no other pod reaches it or is reached by it; its clients do.
    CutOff(HostId),
    /// `heal the network`.
    Heal,
    /// `hand leadership to pod-1`.
    HandOver(HostId),
    /// `snapshot pod-0`: it takes one and purges the log that stands in it.
    Snapshot(HostId),
    /// `replace pod-2 by pod-3`, as the operator does; by itself: it comes back with an empty volume.
    Replace {
        /// Who goes.
        out: HostId,
        /// Who comes.
        with: HostId,
    },
    /// `wait 500 ms`.
    Wait(u64),
    /// `wait until 5000 ms`, since the beginning.
    WaitUntil(u64),
    /// `wait for a leader after term 1`: one that hears a majority, of a later term.
    WaitForLeader {
        /// The term that is over.
        after: u64,
    },
    /// `wait for answers`: of all that is on its way.
    WaitForAnswers,
    /// `look`: what each pod is and has.
    Look,
    /// `the end`: everybody has applied the same, and everything that must hold holds.
    End,
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        read(text).map_err(|error| format!("{error}, in the step {text:?}"))
    }
}

fn read(text: &str) -> Result<Step, String> {
    let mut words = Words::new(text);
    let step = match words.any()? {
        "start" => Step::Start(words.pods()?),
        "found" => {
            words.all("the cluster with")?;
            Step::Found(words.pods()?)
        }
        "register" => Step::Register(words.users()?),
        "kill" => Step::Kill(words.pod()?),
        "power" => {
            words.all("off")?;
            Step::PowerOff(words.pod()?)
        }
        "cut" => {
            words.all("off")?;
            Step::CutOff(words.pod()?)
        }
        "heal" => {
            words.all("the network")?;
            Step::Heal
        }
        "hand" => {
            words.all("leadership to")?;
            Step::HandOver(words.pod()?)
        }
        "snapshot" => Step::Snapshot(words.pod()?),
        "replace" => {
            let out = words.pod()?;
            words.all("by")?;
            Step::Replace { out, with: words.pod()? }
        }
        "wait" => wait(&mut words)?,
        "look" => Step::Look,
        "the" => {
            words.all("end")?;
            Step::End
        }
        _ => return acts(text),
    };
    words.end()?;
    Ok(step)
}

fn wait(words: &mut Words<'_>) -> Result<Step, String> {
    let step = match words.any()? {
        "for" if words.is("answers") => Step::WaitForAnswers,
        "for" => {
            words.all("a leader after term")?;
            Step::WaitForLeader { after: words.number()? }
        }
        "until" => Step::WaitUntil(words.milliseconds()?),
        number => Step::Wait(words.with_unit(number)?),
    };
    Ok(step)
}

/// What users do.
fn acts(text: &str) -> Result<Step, String> {
    let mut words = Words::new(text);
    let user = words.user()?;
    match words.any()? {
        "says" => {
            let sayings: Result<Vec<_>, _> = text.split(" | ").map(sayings).collect();
            Ok(Step::Say(sayings?.concat()))
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
            Ok(Step::Open { user, room, pod, visibility })
        }
        "joins" => {
            let (room, pod) = words.place()?;
            words.end()?;
            Ok(Step::Join { user, room, pod })
        }
        "follows" => {
            words.all("at")?;
            let pod = words.pod()?;
            words.end()?;
            Ok(Step::Follow { user, pod })
        }
        "reads" => {
            let (room, pod) = words.place()?;
            let goes_on = words.goes_on()?;
            words.end()?;
            Ok(Step::Read { user, room, pod, goes_on })
        }
        other => Err(format!("nobody can {other:?}")),
    }
}

fn sayings(text: &str) -> Result<Vec<Saying>, String> {
    let mut words = Words::new(text);
    let user = words.user()?;
    words.all("says")?;
    let mut texts = vec![words.quoted()?];
    while !words.is("in") {
        texts.push(words.quoted()?);
    }
    let (room, pod) = words.place()?;
    let (transaction, text) = (String::new(), String::new());
    let mut saying = Saying { user, text, room, pod, transaction, answer_lost: false, goes_on: false };
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
            other => return Err(format!("nothing is said {other:?}")),
        }
    }
    words.end()?;
    // A message without an id of its own is known by its text.
    let saying = |text: String| {
        let transaction = if saying.transaction.is_empty() { text.clone() } else { saying.transaction.clone() };
        Saying { text, transaction, ..saying.clone() }
    };
    Ok(texts.into_iter().map(saying).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_with_all_that_is_said_of_it() {
        let step = r#"alice says "hello, bob" in general at pod-1, as t1, answer lost, and the story goes on"#.parse();
        let saying = Saying {
            user: "alice",
            text: "hello, bob".into(),
            room: "general".into(),
            pod: 1,
            transaction: "t1".into(),
            answer_lost: true,
            goes_on: true,
        };
        assert_eq!(step, Ok(Step::Say(vec![saying])));
    }

    #[test]
    fn several_speak_in_one_moment() {
        let step = r#"alice says "a" "a2" in general at pod-0 | bob says "b" in general at pod-2"#.parse();
        let Ok(Step::Say(sayings)) = step else { panic!("{step:?}") };
        let who: Vec<_> = sayings.iter().map(|saying| (saying.user, saying.text.as_str(), saying.pod)).collect();
        assert_eq!(who, [("alice", "a", 0), ("alice", "a2", 0), ("bob", "b", 2)]);
    }

    #[test]
    fn a_wait_is_for_a_time_or_for_something() {
        assert_eq!("wait 500 ms".parse(), Ok(Step::Wait(500)));
        assert_eq!("wait until 5000 ms".parse(), Ok(Step::WaitUntil(5000)));
        assert_eq!("wait for a leader after term 1".parse(), Ok(Step::WaitForLeader { after: 1 }));
        assert_eq!("wait for answers".parse(), Ok(Step::WaitForAnswers));
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
            let error = text.parse::<Step>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
