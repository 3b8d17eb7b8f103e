//! Simulated time, machines and network: one thread, one queue of what happens next, one seed.
//!
//! [`SimWorld`] takes the next event from the queue of [`net::SimNet`] → wakes the hosts it concerns → lets each
//! [`host::SimHost`] run until it has nothing to do → asks it when it next has → and so on. No time passes while a host
//! runs. Everything that happens is folded into [`trace::TraceDigest`], whose digest must be the same in two runs of one
//! seed.

pub mod host;
pub mod net;
pub mod stream;
pub mod trace;

use host::{HostClock, SimHost};
use net::{HandledEvent, HostId, SimNet};
use std::time::Duration;
use trace::TraceDigest;

/// Nanoseconds since the simulation began.
pub type SimTime = u64;

/// Converts a duration to the unit of [`SimTime`].
#[must_use]
pub fn to_sim_time(duration: Duration) -> SimTime {
    u64::try_from(duration.as_nanos()).unwrap()
}

/// A simulated world, with its network and machines.
pub struct SimWorld<A> {
    /// The network, which also keeps the time.
    pub net: SimNet<A>,
    /// The machines, by [`HostId`].
    pub hosts: Vec<SimHost>,
    /// Digest of everything that happened.
    pub trace: TraceDigest,
}

impl<A: Send + 'static> SimWorld<A> {
    /// Creates a world without machines.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { net: SimNet::new(seed), hosts: Vec::new(), trace: TraceDigest::default() }
    }

    /// Adds a machine, switched off, and returns its id.
    pub fn add_host(&mut self, clock: HostClock) -> HostId {
        self.hosts.push(SimHost::new(clock));
        self.hosts.len() - 1
    }

    /// Returns the simulated time.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.net.now()
    }

    /// Lets time pass until something is to be done outside of the machines, or until `end`; returns `None` then.
    pub fn next_act(&mut self, end: SimTime) -> Option<A> {
        loop {
            self.run_dirty();
            let wake = self.hosts.iter().filter_map(SimHost::wakes_at).min();
            let next = self.net.next_time().into_iter().chain(wake).min().filter(|next| *next <= end);
            let Some(next) = next else {
                self.net.advance(end);
                return None;
            };
            self.net.advance(next);
            for (id, host) in self.hosts.iter_mut().enumerate() {
                if host.wakes_at().is_some_and(|at| at <= next) {
                    self.net.mark(id);
                }
            }
            match self.net.happen() {
                Some(HandledEvent::Act(act)) => return Some(act),
                Some(HandledEvent::Delivered { digest }) => self.trace.note(&[next, digest]),
                None => {}
            }
        }
    }

    /// Runs the hosts that were woken, in their order, until nobody wakes anybody at this moment.
    pub fn run_dirty(&mut self) {
        let now = self.now();
        while let Some(id) = self.net.take_dirty(|id| self.hosts[id].may_run(now)) {
            self.trace.note(&[now, id as u64]);
            self.hosts[id].run(now);
        }
    }

    /// Stops a machine for a while, as under SIGSTOP or a long garbage collection; its clocks go on.
    pub fn pause(&mut self, id: HostId, until: SimTime) {
        self.hosts[id].paused_until = until;
        self.net.mark(id);
    }
}
