//! A client's way to a pod: a request that may be lost, an answer that may be lost, and patience that ends.

use crate::act::{Act, CLIENTS, PODS};
use crate::history::History;
use crate::mutation::Mutation;
use crate::replica::{Running, SERVER};
use crate::rng::Rng;
use crate::world::Time;
use crate::world::net::{HostId, Net};
use futures::future::BoxFuture;
use quorate_chatd::service::Session;
use quorate_core::id;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// What all clients share.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) net: Net<Act>,
    pub(crate) history: History,
    pub(crate) mutation: Option<Mutation>,
    /// When no new work is begun.
    pub(crate) until: Time,
    /// Hosts of pods that may be asked: a bit mask, because it changes with the membership.
    pub(crate) pods: Arc<AtomicU64>,
    /// How long an answer is waited for.
    pub(crate) patience: Duration,
}

/// The session of a user: made in `setup`, never shown as a token.
pub(crate) fn session(user: &str) -> Session {
    Session {
        localpart: user.to_owned(),
        user_id: id::user_id(user, SERVER),
        device_id: "D".to_owned(),
        expires_ms: 0,
        token_hash: token_hash(user),
    }
}

pub(crate) fn token_hash(user: &str) -> [u8; 32] {
    let mut hash = [b'.'; 32];
    hash[..user.len()].copy_from_slice(user.as_bytes());
    hash
}

impl Clients {
    /// Asks a pod; `None` when no answer came: it may have been done or not.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        pod: HostId,
        work: impl FnOnce(Running) -> BoxFuture<'static, T> + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let net = self.net.clone();
        let request = Act::ToPod(
            pod,
            Box::new(move |running| {
                Box::pin(async move {
                    let told = work(running).await;
                    // Whoever lost patience is not there any more.
                    net.act_over(Act::ToClients(pod, Box::new(move || drop(answer.send(told)))));
                })
            }),
        );
        self.net.act_over(request);
        timeout(self.patience, answered).await.ok()?.ok()
    }

    /// A pod to try.
    pub(crate) fn any_pod(&self, rng: &mut Rng) -> HostId {
        let mask = self.pods.load(Ordering::Relaxed);
        let pods: Vec<_> = (0..CLIENTS).filter(|pod| mask & (1 << pod) != 0).collect();
        *rng.pick(&pods)
    }

    /// The pods of a new cluster.
    pub(crate) fn first_pods() -> Arc<AtomicU64> {
        Arc::new(AtomicU64::new((1 << PODS) - 1))
    }

    pub(crate) fn now(&self) -> Time {
        self.net.now()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.now() >= self.until
    }
}
