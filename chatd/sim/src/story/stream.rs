//! Streams of a user who follows all rooms through one pod, and later through another, from where the first stream
//! ended.

use super::cast::StoryCast;
use super::step::StoryUser;
use super::tell;
use crate::act::SimAction;
use crate::history::SubscriberHistory;
use crate::replica::PodHandle;
use crate::workload::session_of;
use crate::world::net::HostId;
use futures::FutureExt as _;
use quorate_chatd::service::RequestRefusal;
use quorate_chatd::service::subscription::{EventSubscription, ReaderStep};
use quorate_core::id::Position;
use tokio::sync::mpsc;

/// Steps of a stream that may be on their way: far more than a story has.
const ON_THE_WAY: usize = 1024;

type NumberedStep = (u64, Result<ReaderStep, RequestRefusal>);

impl StoryCast {
    /// Opens the stream and returns with its first answer; everything after it is told as it comes.
    pub(crate) async fn follow(self, user: StoryUser, pod: HostId) {
        let stream = self.count_stream(user);
        let cursor = self.clients.history.lock().followed.get(user).map(|followed| followed.cursor);
        let (steps, mut arriving) = mpsc::channel(ON_THE_WAY);
        self.open_stream(user, pod, cursor, steps);
        let name = format!("{user}'s stream from {}", tell::format_pod(pod));
        match arriving.recv().await {
            Some((0, Ok(first))) => {
                let from = tell::up_to(first.after);
                let begins = if cursor.is_some() { "resumes" } else { "begins" };
                self.tell(format!("{name} {begins} after {from}"));
                self.begin(user, first.after);
            }
            Some((_, Err(refusal))) => {
                return self.tell(format!("{name} is refused: {}", tell::describe_refusal(&refusal)));
            }
            _ => return self.tell(format!("{name} was not opened: {} does not answer", tell::format_pod(pod))),
        }
        // The task is not waited for: a stream has no end.
        tokio::spawn(async move { self.listen(user, stream, &name, arriving).await });
    }

    fn count_stream(&self, user: StoryUser) -> u32 {
        let mut streams = self.streams.lock().unwrap();
        let stream = streams.entry(user).or_default();
        *stream += 1;
        *stream
    }

    fn begin(&self, user: StoryUser, at: Position) {
        let begun = SubscriberHistory { user, from: at, cursor: at, seen: Vec::new(), connections: 0 };
        let mut record = self.clients.history.lock();
        record.followed.entry(user).or_insert(begun).connections += 1;
    }

    async fn listen(&self, user: StoryUser, stream: u32, name: &str, mut arriving: mpsc::Receiver<NumberedStep>) {
        let mut expected = 1;
        while let Some((number, step)) = arriving.recv().await {
            if self.streams.lock().unwrap().get(user) != Some(&stream) {
                // Another stream has taken over.
                return;
            }
            let Ok(ReaderStep { events, after, applied: _ }) = step else { break };
            // A missing number means a step that was lost on the way: the stream counts as broken.
            if number != expected {
                break;
            }
            expected += 1;
            for line in tell::describe_events(&events) {
                self.tell(format!("{name} delivers {line}"));
            }
            let mut record = self.clients.history.lock();
            let Some(followed) = record.followed.get_mut(user) else { return };
            followed.seen.extend(events.iter().map(|event| event.position));
            followed.cursor = after;
        }
        if self.streams.lock().unwrap().get(user) == Some(&stream) {
            self.tell(format!("{name} is broken"));
        }
    }

    /// Opens a stream at the pod, which reports where it begins and then reads on as long as the client listens.
    fn open_stream(&self, user: StoryUser, pod: HostId, cursor: Option<Position>, steps: mpsc::Sender<NumberedStep>) {
        let net = self.clients.net.clone();
        let follow = move |running: PodHandle| {
            async move {
                let mut last = 0;
                let mut number = 0;
                let mut send = |step: Result<ReaderStep, RequestRefusal>| {
                    let to = steps.clone();
                    let numbered = (number, step);
                    number += 1;
                    let arrive = Box::new(move || drop(to.try_send(numbered)));
                    net.act_after(&mut last, SimAction::ToClients(pod, arrive));
                    !steps.is_closed()
                };
                let opened = EventSubscription::open(&running.service, &session_of(user), "", cursor).await;
                let mut subscription = match opened {
                    Ok(subscription) => subscription,
                    Err(refusal) => {
                        send(Err(refusal));
                        return;
                    }
                };
                let mut step = Ok(ReaderStep { events: Vec::new(), after: subscription.after(), applied: None });
                while step.is_ok() && send(step) {
                    step = subscription.next().await;
                }
            }
            .boxed()
        };
        self.clients.net.act_over(SimAction::ToPod(pod, Box::new(follow)));
    }
}
