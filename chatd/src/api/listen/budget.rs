//! Budgets in bytes for requests and answers in flight, per process and per address.
//!
//! A body is charged for what has arrived, not for what its length promises: a promise costs a stranger nothing, and
//! 600 of them would hold the whole budget without a byte being sent. What has arrived is what the pod's memory holds.

use super::address::AddressShare;
use super::bounds::ListenerBounds;
use super::places::TrackedConnection;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Divisor of the request budget for one address: its requests may hold a quarter, so four addresses must join to keep
/// others out.
const ADDRESSES: usize = 4;
/// Divisor of the request budget for strangers: their requests may hold a quarter, whoever sends them. Logins go on
/// beside a flood of posts, and posts beside a flood of logins.
const STRANGERS: usize = 4;
/// Divisor of the answer budget for one address: its answers may hold half, as people of one office sit behind one
/// address, and a first `/sync` is megabytes.
const ANSWERED_ADDRESSES: usize = 2;

/// Bytes of request bodies that have arrived and whose requests have not ended.
pub(super) struct RequestBudget {
    limit: usize,
    strangers: AtomicUsize,
    members: AtomicUsize,
}

impl RequestBudget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, strangers: AtomicUsize::new(0), members: AtomicUsize::new(0) }
    }

    pub(super) fn bytes(&self) -> usize {
        self.strangers.load(Relaxed).saturating_add(self.members.load(Relaxed))
    }
}

/// Bytes of answers that were made and that their callers have not taken.
pub(super) struct AnswerBudget {
    limit: usize,
    unsent: AtomicUsize,
}

impl AnswerBudget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, unsent: AtomicUsize::new(0) }
    }

    pub(super) fn bytes(&self) -> usize {
        self.unsent.load(Relaxed)
    }

    /// Returns `true` if three quarters are taken: then callers who take nothing are given up early.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.bytes() > self.limit / 4 * 3
    }

    /// Returns `true` if answers must be taken before a further request is served. Answers that were made are never
    /// thrown away for want of budget, so what is held may exceed it by the answers of the requests being served.
    pub(super) fn is_full_for(&self, share: &AddressShare, stranger: bool) -> bool {
        let full = if stranger { self.is_nearly_full() } else { self.bytes() > self.limit };
        full || share.answer_bytes.load(Relaxed) > self.limit / ANSWERED_ADDRESSES
    }

    pub(super) fn made(&self, share: &AddressShare, bytes: usize) {
        self.unsent.fetch_add(bytes, Relaxed);
        share.answer_bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn gone(&self, share: &AddressShare, bytes: usize) {
        self.unsent.fetch_sub(bytes, Relaxed);
        share.answer_bytes.fetch_sub(bytes, Relaxed);
    }
}

/// Part of the budget that one request's body holds; given back when the request ends.
pub(super) struct BodyCharge {
    bounds: Arc<ListenerBounds>,
    share: Arc<AddressShare>,
    held: Arc<TrackedConnection>,
    of_stranger: AtomicUsize,
    of_member: AtomicUsize,
}

impl BodyCharge {
    pub(super) fn new(bounds: Arc<ListenerBounds>, share: Arc<AddressShare>, held: Arc<TrackedConnection>) -> Self {
        Self { bounds, share, held, of_stranger: AtomicUsize::new(0), of_member: AtomicUsize::new(0) }
    }

    pub(super) fn bounds(&self) -> &Arc<ListenerBounds> {
        &self.bounds
    }

    /// Takes what has just arrived; `false` if there is no room for it. The sender is judged a stranger or not at this
    /// moment: the session is looked at before the body.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let budget = &self.bounds.requests;
        let stranger = self.held.is_stranger();
        let (pool, limit, taken) = if stranger {
            (&budget.strangers, budget.limit / STRANGERS, &self.of_stranger)
        } else {
            (&budget.members, budget.limit - budget.limit / STRANGERS, &self.of_member)
        };
        let of_address = if stranger { limit } else { budget.limit } / ADDRESSES;
        if !try_reserve(&self.share.request_bytes, bytes, of_address) {
            return false;
        }
        if !try_reserve(pool, bytes, limit) {
            self.share.request_bytes.fetch_sub(bytes, Relaxed);
            return false;
        }
        taken.fetch_add(bytes, Relaxed);
        true
    }

    /// Gives back what was taken so far.
    pub(super) fn give_back(&self) {
        let budget = &self.bounds.requests;
        for (taken, pool) in [(&self.of_stranger, &budget.strangers), (&self.of_member, &budget.members)] {
            let bytes = taken.swap(0, Relaxed);
            if bytes > 0 {
                pool.fetch_sub(bytes, Relaxed);
                self.share.request_bytes.fetch_sub(bytes, Relaxed);
            }
        }
    }
}

impl Drop for BodyCharge {
    fn drop(&mut self) {
        self.give_back();
    }
}

fn try_reserve(held: &AtomicUsize, bytes: usize, limit: usize) -> bool {
    // Added first: two at once cannot both take the last of the room.
    let before = held.fetch_add(bytes, Relaxed);
    let fits = before.saturating_add(bytes) <= limit;
    if !fits {
        held.fetch_sub(bytes, Relaxed);
    }
    fits
}
