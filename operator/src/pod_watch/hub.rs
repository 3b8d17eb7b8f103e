//! Watches on the pods' admin APIs, one per pod.
//!
//! A change of leader reaches the status in well under a second because the pods report it; nothing is polled. Each
//! watch keeps the newest answer and, if it differs in a way that matters, requests a reconcile of the ChatCluster.

use super::{
    DialError, PeerIdentity,
    convert::{from_proto, warrants_reconcile},
    dial_pod,
    silence::LeaderSilence,
};
use crate::observed::AdminStatus;
use futures::future::join_all;
use kube::runtime::reflector::ObjectRef;
use quorate_crd::ChatCluster;
use quorate_wire::admin::v1::{StatusResponse, WatchRequest, admin_client::AdminClient};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tonic::transport::Channel;

/// Interval at which a pod sends its status when nothing changes.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time without a message after which a pod counts as lost. It spans four intervals, because a message may be late
/// under load. A process that ends is noticed at once, because its connection breaks; this limit is for nodes that are
/// frozen or cut off.
const SILENCE: Duration = Duration::from_secs(4);
/// First and longest wait between two attempts. Both are short, because a restarted pod serves its admin API within a
/// second.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Longest wait for the first message of a new watch. A refused connection ends the wait at once; only an address that
/// swallows packets uses it up.
const FIRST_WORD: Duration = Duration::from_millis(1200);

/// Pod to be watched.
#[derive(Clone, Debug)]
pub struct WatchTarget {
    /// Uid of the pod.
    pub uid: String,
    /// Address of the pod.
    pub address: String,
}

/// Newest answer of a pod.
#[derive(Clone, Debug)]
pub struct PodAnswer {
    status: Arc<StatusResponse>,
    at: Instant,
}

impl PodAnswer {
    /// Returns the status that the pod sent, with its age added, or `None` if it is too old.
    #[must_use]
    pub fn fresh_status(&self) -> Option<AdminStatus> {
        let age = self.at.elapsed();
        (age <= SILENCE).then(|| from_proto(&self.status, age))
    }
}

/// Watches on all pods of all clusters.
#[derive(Debug)]
pub struct WatchHub {
    changes: mpsc::Sender<ObjectRef<ChatCluster>>,
    watches: Mutex<HashMap<String, PodWatch>>,
    answers: Arc<Mutex<HashMap<String, PodAnswer>>>,
    silence: LeaderSilence,
}

#[derive(Debug)]
struct PodWatch {
    cluster: ObjectRef<ChatCluster>,
    address: String,
    identity: PeerIdentity,
    channel: Channel,
    /// `true` once the pod has answered, or has failed to, at least once.
    tried: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Drop for PodWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl WatchHub {
    /// Creates a hub that reports changed clusters to `changes`.
    #[must_use]
    pub fn new(changes: mpsc::Sender<ObjectRef<ChatCluster>>) -> Self {
        Self { changes, watches: Mutex::default(), answers: Arc::default(), silence: LeaderSilence::default() }
    }

    /// Watches exactly these pods of a cluster. Existing watches that match are kept.
    ///
    /// # Errors
    /// Fails if a pod cannot be dialled because of its address or the Secret; the others are watched all the same.
    pub fn watch(
        &self,
        cluster: &ObjectRef<ChatCluster>,
        targets: &[WatchTarget],
        identity: &PeerIdentity,
    ) -> Result<(), DialError> {
        let mut watches = lock_ignoring_poison(&self.watches);
        watches.retain(|uid, watch| {
            // A connection keeps the certificate that it was opened with, so a renewed one needs a new connection.
            let fits = |target: &WatchTarget| {
                target.uid == *uid && target.address == watch.address && watch.identity == *identity
            };
            watch.cluster != *cluster || targets.iter().any(fits)
        });
        let mut outcome = Ok(());
        for target in targets {
            if watches.contains_key(&target.uid) {
                continue;
            }
            match dial_pod(&target.address, identity) {
                Ok(channel) => {
                    let watch = self.start(cluster, target, identity, channel);
                    watches.insert(target.uid.clone(), watch);
                }
                Err(error) => outcome = Err(error),
            }
        }
        // Always the second of the two locks, while the first is held: in no other order are both taken.
        lock_ignoring_poison(&self.answers).retain(|uid, _| watches.contains_key(uid));
        outcome
    }

    /// Waits, for a bounded time, until each pod of the cluster has been tried once. An operator that has just started
    /// must not count pods as lost that it has not listened to yet.
    pub async fn listen(&self, cluster: &ObjectRef<ChatCluster>) {
        let tried: Vec<watch::Receiver<bool>> = lock_ignoring_poison(&self.watches)
            .values()
            .filter(|watch| watch.cluster == *cluster)
            .map(|watch| watch.tried.clone())
            .collect();
        let all = join_all(tried.into_iter().map(async |mut tried| drop(tried.wait_for(|tried| *tried).await)));
        // A pod that is silent for longer is reported as silent.
        let _ = timeout(FIRST_WORD, all).await;
    }

    /// Stops watching the pods of a cluster.
    pub fn forget(&self, cluster: &ObjectRef<ChatCluster>) {
        // Their answers are left to the next `watch`, which keeps only those of watched pods.
        lock_ignoring_poison(&self.watches).retain(|_, watch| watch.cluster != *cluster);
        self.silence.forget(&cluster.to_string());
    }

    /// Records whether a leader of the cluster is heard, and returns the time for which none has been.
    pub fn leader_unheard(&self, cluster: &ObjectRef<ChatCluster>, heard: bool) -> Duration {
        self.silence.note(&cluster.to_string(), heard)
    }

    /// Returns the last status of a pod, unless it is too old.
    #[must_use]
    pub fn answer(&self, pod_uid: &str) -> Option<AdminStatus> {
        lock_ignoring_poison(&self.answers).get(pod_uid).and_then(PodAnswer::fresh_status)
    }

    /// Returns a channel to the admin API of a watched pod, for calls.
    #[must_use]
    pub fn channel(&self, pod_uid: &str) -> Option<Channel> {
        lock_ignoring_poison(&self.watches).get(pod_uid).map(|watch| watch.channel.clone())
    }

    fn start(
        &self,
        cluster: &ObjectRef<ChatCluster>,
        target: &WatchTarget,
        identity: &PeerIdentity,
        channel: Channel,
    ) -> PodWatch {
        let (try_once, tried) = watch::channel(false);
        let follower = WatchTask {
            tried: try_once,
            uid: target.uid.clone(),
            cluster: cluster.clone(),
            answers: Arc::clone(&self.answers),
            changes: self.changes.clone(),
        };
        PodWatch {
            cluster: cluster.clone(),
            address: target.address.clone(),
            identity: identity.clone(),
            channel: channel.clone(),
            tried,
            task: tokio::spawn(follower.run(channel)),
        }
    }
}

/// Background task of one watch.
struct WatchTask {
    tried: watch::Sender<bool>,
    uid: String,
    cluster: ObjectRef<ChatCluster>,
    answers: Arc<Mutex<HashMap<String, PodAnswer>>>,
    changes: mpsc::Sender<ObjectRef<ChatCluster>>,
}

impl WatchTask {
    async fn run(self, channel: Channel) {
        let mut pause = RETRY.0;
        loop {
            let heard = self.follow(channel.clone()).await;
            self.tried.send_replace(true);
            if self.forget() {
                self.report().await;
            }
            pause = if heard { RETRY.0 } else { (pause * 2).min(RETRY.1) };
            sleep(pause).await;
        }
    }

    /// Follows one stream to its end. Returns `true` if any message was received.
    async fn follow(&self, channel: Channel) -> bool {
        let interval_ms = u32::try_from(INTERVAL.as_millis()).unwrap_or(u32::MAX);
        let mut client = AdminClient::new(channel);
        let opening = timeout(SILENCE, client.watch(WatchRequest { interval_ms })).await;
        let mut stream = match opening {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => {
                tracing::debug!(pod = self.uid, %status, "the admin API does not answer");
                return false;
            }
            Err(_) => return false,
        };
        let mut heard = false;
        // A broken or silent stream ends the watch: the connection may be half open.
        while let Ok(Ok(Some(status))) = timeout(SILENCE, stream.message()).await {
            heard = true;
            if self.keep(status) {
                self.report().await;
            }
        }
        heard
    }

    /// Stores the answer. Returns `true` if it differs from the last one in a way that matters.
    fn keep(&self, status: StatusResponse) -> bool {
        let new = from_proto(&status, Duration::ZERO);
        let answer = PodAnswer { status: Arc::new(status), at: Instant::now() };
        let old = lock_ignoring_poison(&self.answers).insert(self.uid.clone(), answer);
        self.tried.send_replace(true);
        old.is_none_or(|old| warrants_reconcile(&from_proto(&old.status, Duration::ZERO), &new))
    }

    /// Drops the answer. Returns `true` if there was one.
    fn forget(&self) -> bool {
        lock_ignoring_poison(&self.answers).remove(&self.uid).is_some()
    }

    /// Requests a reconcile of the cluster. The queue fills up only when the controller is stopping, and then waiting
    /// does no harm.
    async fn report(&self) {
        let _ = self.changes.send(self.cluster.clone()).await;
    }
}

/// Locks a mutex. A poisoned lock remains usable, because it guards a map of complete values.
fn lock_ignoring_poison<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
