//! Three pods, of which one may be away at a time.

use super::caller::Session;
use super::random::Random;
use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::process::Node;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Typing and presence of a pod that is away are dropped after the shortest time that tests use.
const SETTINGS: &str = "rateLimit: {enabled: false}\npresence: {podTimeout: 5s}";
/// Maximum number of times that a pod is taken away in one history: each costs seconds.
const MOST_DISTURBANCES: usize = 4;

/// Manner in which a pod is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    Killed,
    Stopped,
    Paused,
}

#[derive(Debug)]
struct AwayPod {
    n: usize,
    how: Absence,
    /// Step at which it comes back.
    until: usize,
}

pub struct Pods {
    cluster: Cluster,
    away: Option<AwayPod>,
    /// Pod that has just come back, and is asked next: it may be behind.
    returned: Option<usize>,
    disturbed: usize,
    turn: AtomicUsize,
}

impl Pods {
    pub async fn start() -> Self {
        let cluster = Cluster::start(SETTINGS).await;
        Self { cluster, away: None, returned: None, disturbed: 0, turn: AtomicUsize::new(0) }
    }

    pub fn node(&self, n: usize) -> &Node {
        &self.cluster.nodes[n]
    }

    fn is_away(&self, n: usize) -> bool {
        self.away.as_ref().is_some_and(|away| away.n == n)
    }

    pub fn is_paused(&self, n: usize) -> bool {
        self.away.as_ref().is_some_and(|away| away.n == n && away.how == Absence::Paused)
    }

    /// Returns the number of a pod that runs.
    pub fn pick(&mut self, random: &mut Random) -> usize {
        let running: Vec<usize> = (0..self.cluster.nodes.len()).filter(|n| !self.is_away(*n)).collect();
        let other = random.pick(&running);
        self.returned.take().filter(|n| running.contains(n)).unwrap_or(other)
    }

    /// Makes a request through the pods in turn, until one answers; returns status and JSON.
    pub async fn call(&self, who: &Session, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let running: Vec<&Node> =
            (0..self.cluster.nodes.len()).filter(|n| !self.is_away(*n)).map(|n| self.node(n)).collect();
        eventually(&format!("{method} {path} is answered"), || async {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            who.attempt(running[turn % running.len()], method, path, body)
        })
        .await
    }

    /// Makes a request that succeeds.
    pub async fn must(&self, who: &Session, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(who, method, path, body).await;
        assert_eq!(status, 200, "{}: {method} {path}: {answer}", who.user);
        answer
    }

    pub async fn get(&self, who: &Session, path: &str) -> Value {
        self.must(who, "GET", path, &Value::Null).await
    }

    /// Takes a pod away at times, and brings it back later.
    pub async fn disturb(&mut self, step: usize, random: &mut Random) {
        match &self.away {
            Some(away) if away.until <= step => self.heal().await,
            None if self.disturbed < MOST_DISTURBANCES && random.percent(4) => self.take_away(step, random).await,
            _ => {}
        }
    }

    async fn take_away(&mut self, step: usize, random: &mut Random) {
        let n = random.below(self.cluster.nodes.len());
        let how = random.pick(&[Absence::Killed, Absence::Stopped, Absence::Paused]);
        let until = step + 5 + random.below(20);
        eprintln!("{step}: pod {n} is {how:?} until {until}");
        match how {
            Absence::Killed => self.cluster.kill(n),
            Absence::Stopped => {
                let process = self.cluster.processes[n].take().expect("it runs");
                process.terminate();
                process.ended().await;
            }
            Absence::Paused => self.signal(n, "STOP"),
        }
        self.disturbed += 1;
        self.away = Some(AwayPod { n, how, until });
    }

    /// Brings back the pod that is away.
    pub async fn heal(&mut self) {
        let Some(AwayPod { n, how, .. }) = self.away.take() else { return };
        match how {
            Absence::Killed | Absence::Stopped => self.cluster.restart(n),
            Absence::Paused => self.signal(n, "CONT"),
        }
        // One that was paused is asked while it is behind; one that starts must be open first.
        if how != Absence::Paused {
            self.cluster.all_ready().await;
        }
        self.returned = Some(n);
    }

    fn signal(&self, n: usize, name: &str) {
        self.cluster.processes[n].as_ref().expect("it runs").signal(name);
    }
}
