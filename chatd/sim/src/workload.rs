//! Clients that send with transaction ids, repeat what they got no answer to, follow streams from any pod to any other,
//! and read. What they were told goes into the [`SharedHistory`].

mod call;
mod follower;
mod operator;
mod poster;
mod reader;
pub(crate) mod setup;
mod writer;

pub(crate) use call::{ClientContext, session_of};
pub(crate) use operator::{replace_voter, request_snapshot, transfer_leadership};
pub(crate) use setup::USERS;

use crate::history::SharedHistory;
use crate::rng::Rng;
use std::future::Future;

/// Runs the main task of the clients' machine: makes the cluster, then does everything at once.
pub(crate) async fn run_workload(clients: ClientContext, seed: u64) {
    let start = setup::set_up_cluster(&clients).await;
    let mut rng = Rng::new(seed);
    for (place, user) in USERS.iter().enumerate() {
        let mut fork = || Rng::new(rng.number());
        // The last user is a program that posts over a stream, the others are people.
        if place + 1 == USERS.len() {
            clients.spawn(poster::run_poster(clients.clone(), fork(), place));
        } else {
            clients.spawn(writer::run_writer(clients.clone(), fork(), place));
        }
        clients.spawn(reader::run_reader(clients.clone(), fork(), user));
        clients.spawn(follower::run_follower(clients.clone(), fork(), user, start));
    }
}

impl ClientContext {
    /// Spawns a task that the end of the simulation waits for.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.history.lock().working += 1;
        let history: SharedHistory = self.history.clone();
        tokio::spawn(async move {
            task.await;
            history.lock().working -= 1;
        });
    }
}
