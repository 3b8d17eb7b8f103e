//! A client that follows all of its user's rooms, and resumes from its cursor at any pod when its stream breaks.

use super::call::{Clients, session};
use crate::act::Act;
use crate::history::Followed;
use crate::mutation::Mutation;
use crate::rng::Rng;
use crate::world::Time;
use futures::FutureExt as _;
use quorate_chatd::service::subscription::{Step, Subscription};
use quorate_core::id::Position;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Steps of a stream that may be on their way: a stream that has more is cut.
const ON_THE_WAY: usize = 1024;
/// Time without a step after which a stream is opened anew elsewhere.
const SILENCE: Duration = Duration::from_millis(1500);
/// Time after the end during which the rest is still fetched.
const LAST_STEPS: Time = 3_000_000_000;

pub(super) async fn run(clients: Clients, mut rng: Rng, user: &'static str, from: Position) {
    let begun = Followed { user, from, cursor: from, seen: Vec::new(), connections: 0 };
    clients.history.lock().followed.insert(user, begun);
    while clients.now() < clients.until + LAST_STEPS {
        follow(&clients, &mut rng, user).await;
        sleep(Duration::from_millis(rng.below(50) as u64)).await;
    }
}

/// Follows one connection until it breaks, falls silent or, now and then, is given up.
async fn follow(clients: &Clients, rng: &mut Rng, user: &'static str) {
    let (steps, mut arriving) = mpsc::channel(ON_THE_WAY);
    let (cursor, resumed) = {
        let mut history = clients.history.lock();
        let Some(followed) = history.followed.get_mut(user) else { return };
        followed.connections += 1;
        (followed.cursor, followed.connections > 1)
    };
    open(clients, rng, user, cursor, steps);
    let mut skip = usize::from(resumed && clients.mutation == Some(Mutation::SkipOnResume));
    let mut expected = 0;
    while let Ok(Some((number, step))) = timeout(SILENCE, arriving.recv()).await {
        // A missing number means a step that was lost on the way: the stream counts as broken.
        if number != expected {
            return;
        }
        expected += 1;
        let Step { events, after, applied: _ } = step;
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
fn open(clients: &Clients, rng: &mut Rng, user: &'static str, cursor: Position, steps: mpsc::Sender<(u64, Step)>) {
    let (pod, net) = (clients.any_pod(rng), clients.net.clone());
    let follow = move |running: crate::replica::Running| {
        async move {
            let opened = Subscription::open(&running.service, &session(user), "", Some(cursor)).await;
            let Ok(mut subscription) = opened else { return };
            let (mut last, mut number) = (0, 0);
            while !steps.is_closed()
                && let Ok(step) = subscription.next().await
            {
                let (steps, numbered) = (steps.clone(), (number, step));
                number += 1;
                let arrive = Box::new(move || drop(steps.try_send(numbered)));
                net.act_after(&mut last, Act::ToClients(pod, arrive));
            }
        }
        .boxed()
    };
    clients.net.act_over(Act::ToPod(pod, Box::new(follow)));
}
