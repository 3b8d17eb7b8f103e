//! Clients that go from pod to pod with their tokens, through random histories in which pods are killed, stopped,
//! paused and started again. In the end each client believes what the other endpoints say: nothing was lost on the
//! way, nothing was told twice.
//!
//! A history is decided by its seed, as far as it does not depend on who leads. `QUORATE_SEED=7` replays that of a
//! seed, `QUORATE_HISTORIES=40` plays so many. What was done is printed, and shown if the test fails.

mod act;
mod caller;
mod client;
mod filter;
mod pods;
mod random;
mod room;
mod truth;

use crate::support::PATIENCE;
use act::World;
use caller::Session;
use client::Client;
use filter::ClientFilter;
use pods::Pods;
use random::Random;
use serde_json::json;
use std::time::Instant;

/// Acts and syncs of one history.
const STEPS: usize = 220;
/// Share of syncs among them, in percent.
const SYNCS: usize = 35;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_a_client_believes_in_the_end_what_the_other_endpoints_say() {
    let seeds = match number("QUORATE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("QUORATE_HISTORIES").unwrap_or(1),
    };
    for seed in seeds {
        eprintln!("history of seed {seed}; again: QUORATE_SEED={seed} make histories");
        play(seed).await;
    }
}

async fn play(seed: u64) {
    let pods = Pods::start().await;
    let people: Vec<Session> =
        ["alice", "bob", "carol", "dave"].iter().map(|name| Session::register(pods.node(0), name)).collect();
    let second = people[0].log_in(&pods, "second").await;
    let mut world = World::new(pods, Random::new(seed), people.clone());
    world.make_rooms().await;
    // Alice has two devices, and dave has no client: there are also people who only write.
    let sessions = [people[0].clone(), second, people[1].clone(), people[2].clone()];
    let mut clients = Vec::new();
    for (n, session) in sessions.into_iter().enumerate() {
        let filter = match n {
            0 => ClientFilter::none(),
            _ => ClientFilter::random(&mut world.random, &world.rooms),
        };
        eprintln!("{} {} filters by {}", session.user, session.device, filter.to_json());
        world.expects_messages(&session);
        clients.push(Client::begin(&world.pods, session, filter).await);
    }
    for step in 0..STEPS {
        world.pods.disturb(step, &mut world.random).await;
        if world.random.percent(SYNCS) {
            let n = world.random.below(clients.len());
            clients[n].step(&mut world.pods, &mut world.random).await;
        } else {
            world.act(step).await;
        }
    }
    world.pods.heal().await;
    for client in &mut clients {
        settle(client, &world).await;
    }
}

/// Syncs until the client believes what is true; nothing happens any more. Then no pod has anything to tell it.
async fn settle(client: &mut Client, world: &World) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        client.sync_now(&world.pods, "&timeout=300").await;
        let Err(difference) = truth::compare(client, world).await else { break };
        let Session { user, device, .. } = &client.session;
        assert!(Instant::now() < deadline, "{user} {device} believes something else: {difference}");
    }
    for n in 0..3 {
        client.hears_nothing(world.pods.node(n)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_misses_an_event_is_found_out() {
    let pods = Pods::start().await;
    let alice = Session::register(pods.node(0), "alice");
    let mut world = World::new(pods, Random::new(0), vec![alice.clone()]);
    let room = world.make_room(&alice, &json!({"preset": "public_chat"})).await;
    world.expects_messages(&alice);
    let mut client = Client::begin(&world.pods, alice.clone(), ClientFilter::none()).await;
    let content = json!({"msgtype": "m.text", "body": "x"});
    for txn in 0..2 {
        let path = format!("rooms/{}/send/m.room.message/{txn}", crate::support::matrix::escape(&room));
        world.pods.must(&alice, "PUT", &path, &content).await;
    }
    settle(&mut client, &world).await;
    client.rooms.get_mut(&room).expect("the room").timeline.remove(1);
    let difference = truth::compare(&client, &world).await.expect_err("an event is missing");
    assert!(difference.contains("timeline"), "{difference}");
}
