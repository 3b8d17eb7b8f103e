//! Replacements of three functions of the C library.

use crate::{HERE, count_wait, next_random, went_idle};
use libc::{c_int, c_long, c_uint, c_void, clockid_t, epoll_event, size_t, ssize_t, timespec};
use std::{ptr, slice};

fn is_steered() -> bool {
    // A thread that is ending is not steered any more.
    HERE.try_with(|here| here.steered.get()).unwrap_or(false)
}

/// Replaces `clock_gettime` (`man 2 clock_gettime`): a steered thread is told the simulated time.
///
/// # Safety
/// The arguments must be as the C function requires them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, into: *mut timespec) -> c_int {
    let ns = match clock {
        _ if !is_steered() => None,
        libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_COARSE | libc::CLOCK_MONOTONIC_RAW | libc::CLOCK_BOOTTIME => {
            Some(HERE.with(|here| here.monotonic_ns.get()))
        }
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => Some(HERE.with(|here| here.wall_ns.get())),
        _ => None,
    };
    let Some(ns) = ns else {
        // SAFETY: the caller's arguments, passed on as they are.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock as c_long, into) as c_int };
    };
    #[allow(clippy::cast_possible_wrap, reason = "seconds of this era")]
    let time = timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 };
    // SAFETY: the caller promises a valid pointer.
    unsafe { into.write(time) };
    0
}

/// Replaces `getrandom` (`man 2 getrandom`): a steered thread gets numbers from its seed.
///
/// # Safety
/// The arguments must be as the C function requires them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(into: *mut c_void, len: size_t, flags: c_uint) -> ssize_t {
    if !is_steered() {
        // SAFETY: the caller's arguments, passed on as they are.
        return unsafe { libc::syscall(libc::SYS_getrandom, into, len, flags as c_long) as ssize_t };
    }
    if len > 0 {
        // SAFETY: the caller promises `len` bytes that may be written.
        let bytes = unsafe { slice::from_raw_parts_mut(into.cast::<u8>(), len) };
        for chunk in bytes.chunks_mut(8) {
            for (byte, random) in chunk.iter_mut().zip(next_random().to_le_bytes()) {
                *byte = random;
            }
        }
    }
    len as ssize_t
}

/// Replaces `epoll_wait` (`man 2 epoll_wait`): a steered thread does not wait, but notes for how long it would have.
///
/// # Safety
/// The arguments must be as the C function requires them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_wait(epoll: c_int, into: *mut epoll_event, at_most: c_int, timeout: c_int) -> c_int {
    let steered = is_steered();
    let patience = if steered { 0 } else { timeout };
    let no_mask = ptr::null::<c_void>();
    // SAFETY: the caller's arguments; `epoll_pwait` without a mask is `epoll_wait`, which not every architecture has.
    let found =
        unsafe { libc::syscall(libc::SYS_epoll_pwait, epoll, into, at_most, patience, no_mask, 8_usize) as c_int };
    if steered {
        count_wait();
        if found == 0 && timeout != 0 {
            went_idle(timeout);
        }
    }
    found
}
