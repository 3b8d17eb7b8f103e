//! A steered thread sees the simulated time and the seed's numbers, and nothing else.
#![allow(clippy::expect_used, reason = "a failed check of a test is a panic")]

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn on_a_steered_thread<T: Send + 'static>(seed: u64, work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        quorate_steer::steer_thread(seed);
        quorate_steer::set_time(1_000_000_000, 0);
        work()
    });
    thread.join().expect("no panic")
}

#[test]
fn the_clocks_are_those_that_were_set() {
    on_a_steered_thread(1, || {
        let start = Instant::now();
        quorate_steer::set_time(3_500_000_000, 5_000_000_000);
        assert_eq!(start.elapsed(), Duration::from_millis(2500));
        assert_eq!(SystemTime::now().duration_since(UNIX_EPOCH).expect("after it"), Duration::from_secs(5));
    });
    assert!(SystemTime::now().duration_since(UNIX_EPOCH).expect("after it") > Duration::from_secs(1_000_000_000));
}

#[test]
fn a_sleep_waits_for_simulated_time_only() {
    on_a_steered_thread(1, || {
        let real = std::thread::spawn(Instant::now).join().expect("no panic");
        let runtime = runtime();
        let sleep = runtime.spawn(async { tokio::time::sleep(Duration::from_secs(3600)).await });
        let wait = quorate_steer::until_idle(|idle| runtime.block_on(idle)).expect("it waits for time");
        // Tokio looks at a timer so far away again when the slot of its wheel comes, some minutes early.
        assert!((3300..=3600).contains(&wait.as_secs()), "{wait:?}");
        assert!(!sleep.is_finished());
        quorate_steer::set_time(3_700_000_000_000, 0);
        assert_eq!(quorate_steer::until_idle(|idle| runtime.block_on(idle)), None);
        assert!(sleep.is_finished());
        let passed = std::thread::spawn(move || real.elapsed()).join().expect("no panic");
        assert!(passed < Duration::from_secs(60), "{passed:?}");
    });
}

#[test]
fn the_same_seed_gives_the_same_numbers_and_the_same_order_of_a_map() {
    let numbers = |seed| {
        on_a_steered_thread(seed, || {
            let map: HashMap<u32, ()> = (0..100).map(|number| (number, ())).collect();
            map.into_keys().collect::<Vec<_>>()
        })
    };
    assert_eq!(numbers(7), numbers(7));
    assert_ne!(numbers(7), numbers(8));
}
