//! Steering of a thread: its clock, randomness and waiting are decided by a simulation, so that production code runs in
//! it unchanged: `std::time`, `rand`, the keys of hash maps, tokio's timers and its `select!`.
//!
//! Three functions of the C library are defined here, and thereby replaced for the whole program that links this:
//! `clock_gettime` tells the simulated time, `getrandom` gives numbers from the seed, and `epoll_wait`, in which tokio
//! waits when it has nothing to do, returns at once and notes for how long it would have waited. On threads that are
//! not steered all three go on to the kernel. (The idea is madsim's and mad-turmoil's; std looks `getrandom` up by its
//! symbol to allow for it.)

pub mod hooks;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// State of a thread that its hooks read. Without destructors, because hooks may run while a thread ends.
pub(crate) struct ThreadState {
    pub(crate) steered: Cell<bool>,
    pub(crate) monotonic_ns: Cell<u64>,
    pub(crate) wall_ns: Cell<u64>,
    pub(crate) entropy: Cell<u64>,
    pub(crate) idle: Cell<Option<i32>>,
    pub(crate) waits: Cell<u64>,
}

thread_local! {
    pub(crate) static HERE: ThreadState = const {
        ThreadState {
            steered: Cell::new(false),
            monotonic_ns: Cell::new(0),
            wall_ns: Cell::new(0),
            entropy: Cell::new(0),
            idle: Cell::new(None),
            waits: Cell::new(0),
        }
    };
    static ROOT: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// Number of calls of `epoll_wait` in one run until idle above which the program must be spinning.
const WAITS_AT_MOST: u64 = 1_000_000;

/// Steers this thread from then on. Call it first on a fresh thread: code that took random numbers before keeps them.
pub fn steer_thread(seed: u64) {
    HERE.with(|here| {
        here.entropy.set(seed);
        here.steered.set(true);
    });
}

/// Sets the time on this thread, in nanoseconds: of the monotonic clocks, and since the Unix epoch.
pub fn set_time(monotonic_ns: u64, wall_ns: u64) {
    HERE.with(|here| {
        here.monotonic_ns.set(monotonic_ns);
        here.wall_ns.set(wall_ns);
    });
}

/// Runs a tokio runtime, built with `enable_all` for the current thread, as far as it goes without time passing.
/// Returns the time after which it has something to do, or `None` if it does not wait for time at all.
pub fn until_idle(block_on: impl FnOnce(UntilIdle)) -> Option<Duration> {
    HERE.with(|here| {
        here.idle.set(None);
        here.waits.set(0);
    });
    block_on(UntilIdle(()));
    let waits = HERE.with(|here| here.idle.take());
    waits.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis)
}

/// A future that is ready when the runtime that polls it has nothing else to do.
#[derive(Debug)]
pub struct UntilIdle(());

impl Future for UntilIdle {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if HERE.with(|here| here.idle.get().is_some()) {
            return Poll::Ready(());
        }
        ROOT.with(|root| *root.borrow_mut() = Some(context.waker().clone()));
        Poll::Pending
    }
}

/// Notes that the runtime of this thread would wait at this point.
pub(crate) fn went_idle(timeout_ms: i32) {
    HERE.with(|here| here.idle.set(Some(timeout_ms)));
    let root = ROOT.with(|root| root.borrow_mut().take());
    if let Some(root) = root {
        root.wake();
    }
}

/// Counts a call of `epoll_wait`, and panics if the program makes too many of them without getting idle.
pub(crate) fn count_wait() {
    let waits = HERE.with(|here| {
        here.waits.set(here.waits.get() + 1);
        here.waits.get()
    });
    assert!(waits < WAITS_AT_MOST, "the simulated program spins: it never waits for anything");
}

/// Returns the next number of this thread's randomness (SplitMix64).
pub(crate) fn next_random() -> u64 {
    HERE.with(|here| {
        let state = here.entropy.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        here.entropy.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}
