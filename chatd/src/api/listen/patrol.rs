//! The walk past all connections, once a second, which finds those that are idle and those that take no answers.
//!
//! There is one timer for all of them: a timer of its own would cost each parked connection memory, and each request
//! two resets.

use super::bounds::{ListenerBounds, ListenerTimeouts};
use super::places::{ConnectionSignal, ConnectionSlots, TrackedConnection};
use std::sync::Arc;
use tokio::time::{MissedTickBehavior, interval};

pub(super) async fn patrol_connections(places: Arc<ConnectionSlots>) {
    let mut every = interval(places.bounds.patience.patrol);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        places.bounds.tick();
        let stalled_early = places.bounds.answers.is_nearly_full();
        for held in places.all() {
            check_connection(&places.bounds, &held, stalled_early);
        }
        let requests = places.bounds.requests.bytes();
        let answers = places.bounds.answers.bytes();
        places.bounds.metrics.bytes_in_flight(requests, answers);
        places.bounds.metrics.connections_without_session(places.api(), places.strangers());
    }
}

fn check_connection(bounds: &ListenerBounds, held: &TrackedConnection, stalled_early: bool) {
    let ListenerTimeouts { stranger_idle, session_idle, finish, stalled, stalled_when_full, .. } = bounds.patience;
    let stalled = if stalled_early { stalled_when_full } else { stalled };
    let idle = if held.is_stranger() { stranger_idle } else { session_idle };
    let waits = held.waits_since();
    if waits.is_some_and(|since| bounds.age(since) > stalled) {
        end_connection(bounds, held, ConnectionSignal::End, "stalled");
    } else if held.told() == ConnectionSignal::Finish {
        // With requests open the connection goes on until they end; at the end of the process that has its own limit.
        // The later of the two: whoever was told during a request has this time after its answer.
        if !held.is_busy() && bounds.age(held.told_at().max(held.idle_since())) > finish {
            held.tell(ConnectionSignal::End);
        }
    } else if waits.is_none() && !held.is_busy() && bounds.age(held.idle_since()) > idle {
        // Not with an answer that waits: such a connection is not idle, but perhaps stalled, as above.
        end_connection(bounds, held, ConnectionSignal::Finish, "idle");
    }
}

fn end_connection(bounds: &ListenerBounds, held: &TrackedConnection, how: ConnectionSignal, reason: &'static str) {
    // Counted once: until it has ended, each patrol finds the connection again.
    if held.told() != ConnectionSignal::End {
        bounds.metrics.connection_closed(held.api(), reason);
        held.tell(how);
    }
}
