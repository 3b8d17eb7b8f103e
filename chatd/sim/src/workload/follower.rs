//! A client that follows all of its user's rooms, and resumes from its cursor at any pod when its stream breaks.

use super::call::{ClientContext, session_of};
use crate::act::SimAction;
use crate::history::SubscriberHistory;
use crate::mutation::Mutation;
use crate::rng::Rng;
use crate::world::SimTime;
use futures::FutureExt as _;
use quorate_chatd::service::subscription::{EventSubscription, ReaderStep};
use quorate_core::id::Position;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Steps of a stream that may be on their way: a stream that has more is cut.
const ON_THE_WAY: usize = 1024;
/// Time without a step after which a stream is opened anew elsewhere.
const SILENCE: Duration = Duration::from_millis(1500);
/// Time after the end during which the rest is still fetched.
const LAST_STEPS: SimTime = 3_000_000_000;

pub(super) async fn run_follower(clients: ClientContext, mut rng: Rng, user: &'static str, from: Position) {
    let begun = SubscriberHistory { user, from, cursor: from, seen: Vec::new(), connections: 0 };
    clients.history.lock().followed.insert(user, begun);
    while clients.now() < clients.until + LAST_STEPS {
        follow_connection(&clients, &mut rng, user).await;
        sleep(Duration::from_millis(rng.below(50) as u64)).await;
    }
}

/// Follows one connection until it breaks, falls silent or, now and then, is given up.
async fn follow_connection(clients: &ClientContext, rng: &mut Rng, user: &'static str) {
    let (steps, mut arriving) = mpsc::channel(ON_THE_WAY);
    let (cursor, resumed) = {
        let mut history = clients.history.lock();
        let Some(followed) = history.followed.get_mut(user) else { return };
        followed.connections += 1;
        (followed.cursor, followed.connections > 1)
    };
    open_stream(clients, rng, user, cursor, steps);
    let mut skip = usize::from(resumed && clients.mutation == Some(Mutation::SkipOnResume));
    let mut expected = 0;
    while let Ok(Some((number, step))) = timeout(SILENCE, arriving.recv()).await {
        // A missing number means a step that was lost on the way: the stream counts as broken.
        if number != expected {
            return;
        }
        expected += 1;
        let ReaderStep { events, after, applied: _ } = step;
        let mut history = clients.history.lock();
        let Some(followed) = history.followed.get_mut(user) else { return };
        followed.seen.extend(events.iter().map(|event| event.position).skip(skip));
        skip = skip.saturating_sub(events.len());
        followed.cursor = after;
        if rng.percent(4) {
            return;
        }
    }
}

/// Opens a stream at any pod, which reads on from the cursor as long as the client listens.
fn open_stream(
    clients: &ClientContext,
    rng: &mut Rng,
    user: &'static str,
    cursor: Position,
    steps: mpsc::Sender<(u64, ReaderStep)>,
) {
    let pod = clients.any_pod(rng);
    let net = clients.net.clone();
    let follow = move |running: crate::replica::PodHandle| {
        async move {
            let opened = EventSubscription::open(&running.service, &session_of(user), "", Some(cursor)).await;
            let Ok(mut subscription) = opened else { return };
            let mut last = 0;
            let mut number = 0;
            while !steps.is_closed()
                && let Ok(step) = subscription.next().await
            {
                let steps = steps.clone();
                let numbered = (number, step);
                number += 1;
                let arrive = Box::new(move || drop(steps.try_send(numbered)));
                net.act_after(&mut last, SimAction::ToClients(pod, arrive));
            }
        }
        .boxed()
    };
    clients.net.act_over(SimAction::ToPod(pod, Box::new(follow)));
}
