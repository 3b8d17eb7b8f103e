//! One watch on each pod's admin door.
//!
//! A change of leader reaches the status in well under a second because the pods tell it; nobody polls. Each watch keeps
//! the newest answer and, when it differs in what matters, asks for the ChatCluster to be looked at.

use super::{
    DialError, PeerIdentity,
    convert::{differs, from_proto},
    dial,
    silence::Silence,
};
use crate::observed::Door;
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

/// How often a door gives a sign of life when nothing changes.
const INTERVAL: Duration = Duration::from_secs(1);
/// A door that is silent for longer is taken for lost. Four signs of life: one may be late under load. A process that
/// ends is noticed at once, because its connection breaks; this is for nodes that are frozen or cut off.
const SILENCE: Duration = Duration::from_secs(4);
/// Between two attempts: first and longest. Short, because a restarted pod opens its door within a second.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Longest wait for the first word of a door whose watch has just begun. A refused connection ends it at once; only an
/// address that swallows packets takes it all.
const FIRST_WORD: Duration = Duration::from_millis(1200);

/// A pod to be watched.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its uid.
    pub uid: String,
    /// Its address.
    pub address: String,
}

/// The newest answer of a pod.
#[derive(Clone, Debug)]
pub struct Answer {
    status: Arc<StatusResponse>,
    at: Instant,
}

impl Answer {
    /// What the door said, aged; `None` when that is too long ago.
    #[must_use]
    pub fn door(&self) -> Option<Door> {
        let age = self.at.elapsed();
        (age <= SILENCE).then(|| from_proto(&self.status, age))
    }
}

/// The watches on all pods of all clusters.
#[derive(Debug)]
pub struct Hub {
    changes: mpsc::Sender<ObjectRef<ChatCluster>>,
    watches: Mutex<HashMap<String, Watch>>,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    silence: Silence,
}

#[derive(Debug)]
struct Watch {
    cluster: ObjectRef<ChatCluster>,
    address: String,
    identity: PeerIdentity,
    channel: Channel,
    /// Whether the door has said a word, or has failed to, at least once.
    tried: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hub {
    /// A hub that reports changed clusters to `changes`.
    #[must_use]
    pub fn new(changes: mpsc::Sender<ObjectRef<ChatCluster>>) -> Self {
        Self { changes, watches: Mutex::default(), answers: Arc::default(), silence: Silence::default() }
    }

    /// Watches exactly these pods of a cluster from now on. Watches that fit go on.
    ///
    /// # Errors
    /// When a pod cannot be dialled for what its address or the Secret is; the others are watched all the same.
    pub fn watch(
        &self,
        cluster: &ObjectRef<ChatCluster>,
        targets: &[Target],
        identity: &PeerIdentity,
    ) -> Result<(), DialError> {
        let mut watches = lock(&self.watches);
        watches.retain(|uid, watch| {
            let fits =
                |target: &Target| target.uid == *uid && target.address == watch.address && watch.identity == *identity;
            watch.cluster != *cluster || targets.iter().any(fits)
        });
        let mut outcome = Ok(());
        for target in targets {
            if watches.contains_key(&target.uid) {
                continue;
            }
            match dial(&target.address, identity) {
                Ok(channel) => {
                    let watch = self.start(cluster, target, identity, channel);
                    watches.insert(target.uid.clone(), watch);
                }
                Err(error) => outcome = Err(error),
            }
        }
        lock(&self.answers).retain(|uid, _| watches.contains_key(uid));
        outcome
    }

    /// Waits, bounded, until each door of the cluster has been tried once. An operator that has just begun must not take
    /// doors for lost that it has not listened to yet.
    pub async fn listen(&self, cluster: &ObjectRef<ChatCluster>) {
        let tried: Vec<watch::Receiver<bool>> = lock(&self.watches)
            .values()
            .filter(|watch| watch.cluster == *cluster)
            .map(|watch| watch.tried.clone())
            .collect();
        let all = join_all(tried.into_iter().map(async |mut tried| drop(tried.wait_for(|tried| *tried).await)));
        // Whoever is silent for longer is reported as silent.
        let _ = timeout(FIRST_WORD, all).await;
    }

    /// Watches no pod of this cluster any more.
    pub fn forget(&self, cluster: &ObjectRef<ChatCluster>) {
        lock(&self.watches).retain(|_, watch| watch.cluster != *cluster);
        self.silence.forget(&cluster.to_string());
    }

    /// Notes whether a leader of the cluster is heard at this look; returns since when none was.
    pub fn leader_unheard(&self, cluster: &ObjectRef<ChatCluster>, heard: bool) -> Duration {
        self.silence.note(&cluster.to_string(), heard)
    }

    /// What the door of a pod said last, unless that is too long ago.
    #[must_use]
    pub fn door(&self, pod_uid: &str) -> Option<Door> {
        lock(&self.answers).get(pod_uid).and_then(Answer::door)
    }

    /// A channel to the door of a watched pod, for calls.
    #[must_use]
    pub fn channel(&self, pod_uid: &str) -> Option<Channel> {
        lock(&self.watches).get(pod_uid).map(|watch| watch.channel.clone())
    }

    fn start(
        &self,
        cluster: &ObjectRef<ChatCluster>,
        target: &Target,
        identity: &PeerIdentity,
        channel: Channel,
    ) -> Watch {
        let (try_once, tried) = watch::channel(false);
        let follower = Follower {
            tried: try_once,
            uid: target.uid.clone(),
            cluster: cluster.clone(),
            answers: Arc::clone(&self.answers),
            changes: self.changes.clone(),
        };
        Watch {
            cluster: cluster.clone(),
            address: target.address.clone(),
            identity: identity.clone(),
            channel: channel.clone(),
            tried,
            task: tokio::spawn(follower.run(channel)),
        }
    }
}

/// The task behind one watch.
struct Follower {
    tried: watch::Sender<bool>,
    uid: String,
    cluster: ObjectRef<ChatCluster>,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    changes: mpsc::Sender<ObjectRef<ChatCluster>>,
}

impl Follower {
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

    /// Follows one stream to its end; says whether anything was heard.
    async fn follow(&self, channel: Channel) -> bool {
        let interval_ms = u32::try_from(INTERVAL.as_millis()).unwrap_or(u32::MAX);
        let mut client = AdminClient::new(channel);
        let opening = timeout(SILENCE, client.watch(WatchRequest { interval_ms })).await;
        let mut stream = match opening {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => {
                tracing::debug!(pod = self.uid, %status, "the admin door does not answer");
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

    /// Keeps the answer; says whether it differs from the last in what matters.
    fn keep(&self, status: StatusResponse) -> bool {
        let new = from_proto(&status, Duration::ZERO);
        let answer = Answer { status: Arc::new(status), at: Instant::now() };
        let old = lock(&self.answers).insert(self.uid.clone(), answer);
        self.tried.send_replace(true);
        old.is_none_or(|old| differs(&from_proto(&old.status, Duration::ZERO), &new))
    }

    /// Forgets the answer; says whether there was one.
    fn forget(&self) -> bool {
        lock(&self.answers).remove(&self.uid).is_some()
    }

    /// The queue only fills when the controller is stopping, and then nobody minds waiting.
    async fn report(&self) {
        let _ = self.changes.send(self.cluster.clone()).await;
    }
}

/// A poisoned lock guards a map of whole values: it is as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
