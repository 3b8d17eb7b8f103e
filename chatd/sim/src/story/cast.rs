//! Actions of users and administrators in a story. Each tells what came of it, and records what was promised.

use super::step::{StoryMessage, StoryUser};
use super::tell::{self, StoryTranscript};
use crate::history::ClientSend;
use crate::replica::PodHandle;
use crate::workload::{self, ClientContext, session_of, setup};
use crate::world::SimTime;
use crate::world::net::HostId;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quorate_chatd::service::{RequestRefusal, RoomMade, SentEvent};
use quorate_core::proto::log::create_room::Preset;
use quorate_core::proto::log::{CreateRoom, StateInput};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Time for which a client waits for an answer that is lost, not knowing that it is.
const LOST_AFTER: Duration = Duration::from_secs(2);

/// Everyone who takes part, and what they know; clones are handles to the same cast.
#[derive(Clone)]
pub(crate) struct StoryCast {
    pub(crate) clients: ClientContext,
    pub(crate) told: StoryTranscript,
    /// Names of rooms, in the order of `Record::rooms`.
    names: Arc<Mutex<Vec<String>>>,
    waited_for: Arc<AtomicUsize>,
    /// Number of streams that each user has opened.
    pub(super) streams: Arc<Mutex<BTreeMap<StoryUser, u32>>>,
}

impl StoryCast {
    pub(crate) fn new(clients: ClientContext) -> Self {
        Self {
            clients,
            told: StoryTranscript::default(),
            names: Arc::default(),
            waited_for: Arc::default(),
            streams: Arc::default(),
        }
    }

    /// Returns `true` if the step has all its answers.
    pub(crate) fn is_answered(&self) -> bool {
        self.waited_for.load(Ordering::Relaxed) == 0
    }

    /// Wraps a task that has to come to its end before the story does and, unless the story `goes_on`, before the step
    /// does.
    pub(crate) fn task(
        &self,
        goes_on: bool,
        task: impl Future<Output = ()> + core::marker::Send + 'static,
    ) -> impl Future<Output = ()> + core::marker::Send + 'static {
        let history = self.clients.history.clone();
        let waited_for = self.waited_for.clone();
        let counts = usize::from(!goes_on);
        history.lock().working += 1;
        waited_for.fetch_add(counts, Ordering::Relaxed);
        async move {
            task.await;
            history.lock().working -= 1;
            waited_for.fetch_sub(counts, Ordering::Relaxed);
        }
    }

    pub(super) fn tell(&self, what: String) {
        self.told.tell(self.clients.now(), what);
    }

    /// Returns the number and the id of a room, or `None` if the story has no such room yet.
    pub(super) fn room(&self, name: &str) -> Option<(usize, String)> {
        let number = self.names.lock().unwrap().iter().position(|known| known == name)?;
        Some((number, self.clients.history.lock().rooms[number].clone()))
    }

    pub(crate) async fn found(self, pods: Vec<HostId>) {
        let mut voters = Vec::new();
        for pod in pods.clone() {
            voters.push(setup::retry_on_pod(&self.clients, pod, |running| own_member(running).boxed()).await);
        }
        setup::retry_on_pod(&self.clients, pods[0], move |running| setup::initialize_voters(running, voters.clone()))
            .await;
        let pods: Vec<_> = pods.into_iter().map(tell::format_pod).collect();
        self.tell(format!("{} form a cluster", tell::join_names(&pods)));
    }

    pub(crate) async fn register(self, users: Vec<StoryUser>) {
        for user in &users {
            setup::retry_on_pod(&self.clients, 0, |running| setup::create_account(running, user)).await;
        }
        let names: Vec<_> = users.into_iter().map(str::to_owned).collect();
        let verb = if names.len() == 1 { "has an account" } else { "have accounts" };
        self.tell(format!("{} {verb}", tell::join_names(&names)));
    }

    pub(crate) async fn open(self, user: StoryUser, room: String, pod: HostId, visibility: Option<String>) {
        let begun = self.clients.now();
        let name = room.clone();
        let made = self.clients.call(pod, move |running| create_room(running, user, room, visibility)).await;
        if let Some(Ok(made)) = &made {
            self.names.lock().unwrap().push(name.clone());
            self.clients.history.lock().rooms.push(made.room_id.clone());
        }
        let made =
            made.map(|made| made.map(|made| format!("begins with event {}", tell::format_position(made.position))));
        self.answered(&format!("{user}'s room {name}"), pod, begun, made);
    }

    pub(crate) async fn join(self, user: StoryUser, room: String, pod: HostId) {
        let begun = self.clients.now();
        let Some((_, room_id)) = self.room(&room) else { return self.unknown(&room) };
        let joined = self.clients.call(pod, move |running| setup::set_joined(running, user, room_id)).await;
        let joined =
            joined.map(|joined| joined.map(|sent| format!("is event {}", tell::format_position(sent.position))));
        self.answered(&format!("{user}'s join of {room}"), pod, begun, joined);
    }

    pub(crate) async fn say(self, saying: StoryMessage) {
        let StoryMessage { user, text, room, pod, transaction, answer_lost, .. } = saying;
        let Some((number, room_id)) = self.room(&room) else { return self.unknown(&room) };
        let begun = self.clients.now();
        let new = ClientSend { room: number, invoked: begun, acknowledged: None, answers: Vec::new(), attempts: 0 };
        self.clients.history.lock().sends.entry(text.clone()).or_insert(new).attempts += 1;
        let patience = if answer_lost { LOST_AFTER } else { self.clients.patience };
        let clients = ClientContext { patience, ..self.clients.clone() };
        let body = text.clone();
        let sent = clients
            .call(pod, move |running| {
                async move {
                    let sent = post_message(running, user, room_id, body, transaction).await;
                    if answer_lost { std::future::pending().await } else { sent }
                }
                .boxed()
            })
            .await;
        if let (Some(Ok(sent)), Some(send)) = (&sent, self.clients.history.lock().sends.get_mut(&text)) {
            send.acknowledged.get_or_insert(self.clients.now());
            send.answers.push(sent.position);
        }
        let sent = sent.map(|sent| {
            sent.map(|sent| {
                let again = if sent.duplicate { " already" } else { "" };
                format!("is event {}{again}", tell::format_position(sent.position))
            })
        });
        self.answered(&format!("{user}'s \"{text}\""), pod, begun, sent);
    }

    fn unknown(&self, room: &str) {
        let surprise = format!("the story has no room {room:?} yet");
        self.clients.history.lock().surprises.push(surprise);
    }

    /// Tells how a request ended.
    pub(super) fn answered(
        &self,
        what: &str,
        pod: HostId,
        begun: SimTime,
        answer: Option<Result<String, RequestRefusal>>,
    ) {
        let pod = tell::format_pod(pod);
        let took = tell::format_elapsed(begun, self.clients.now());
        self.tell(match answer {
            Some(Ok(is)) => format!("{what} {is}, says {pod} after {took}"),
            Some(Err(refusal)) if refusal.unknown => {
                format!(
                    "{what}: {pod} says after {took} that the outcome is unknown ({})",
                    tell::describe_refusal(&refusal)
                )
            }
            Some(Err(refusal)) => {
                format!("{what} is refused by {pod} after {took}: {}", tell::describe_refusal(&refusal))
            }
            None => format!("{what}: no answer from {pod}, gave up after {took}; the outcome is unknown"),
        });
    }

    pub(crate) async fn hand_over(self, to: HostId) {
        let Some(node_id) = self.clients.call(to, |running| async move { running.node.own().node_id }.boxed()).await
        else {
            return;
        };
        let done = workload::transfer_leadership(self.clients.clone(), Some(node_id)).await;
        let result = if done { "follow it" } else { "do not follow it" };
        self.tell(format!("leadership was transferred to {}; the others {result}", tell::format_pod(to)));
    }

    pub(crate) async fn snapshot(self, pod: HostId) {
        if !workload::request_snapshot(self.clients.clone(), pod).await {
            self.tell(format!("{} took no snapshot", tell::format_pod(pod)));
        }
    }

    pub(crate) async fn replace(self, out: u64, with: HostId, names: (String, String)) {
        workload::replace_voter(self.clients.clone(), out, with).await;
        self.tell(format!("{} has replaced {}", names.1, names.0));
    }
}

async fn own_member(running: PodHandle) -> Option<quorate_chatd::raft::cluster::ClusterMember> {
    Some(running.node.own().clone())
}

fn create_room(
    running: PodHandle,
    user: StoryUser,
    name: String,
    visibility: Option<String>,
) -> BoxFuture<'static, Result<RoomMade, RequestRefusal>> {
    let state = visibility.map(|visibility| StateInput {
        r#type: "m.room.history_visibility".into(),
        state_key: String::new(),
        content: format!("{{\"history_visibility\":\"{visibility}\"}}").into(),
    });
    let wish = CreateRoom {
        preset: Preset::Public.into(),
        initial_state: state.into_iter().collect(),
        ..CreateRoom::default()
    };
    async move { running.service.create_room(&session_of(user), wish, &format!("room-{name}")).await }.boxed()
}

async fn post_message(
    running: PodHandle,
    user: StoryUser,
    room_id: String,
    body: String,
    id: String,
) -> Result<SentEvent, RequestRefusal> {
    let content = serde_json::json!({ "msgtype": "m.text", "body": body }).to_string().into();
    running.service.send(&session_of(user), &room_id, "m.room.message", content, &id).await
}
