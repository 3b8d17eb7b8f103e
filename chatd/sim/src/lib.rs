//! Simulation and checkers, for tests only.
//!
//! [`script`] makes any sequence of commands from a seed → [`plan`] packs it into entries and says it in the log's words
//! → [`client`] follows it as clients do, through syncs and feeds → [`oracle`] says what they must have seen, worked out
//! anew from the bare timelines.
//!
//! Beside these models stands the simulation of whole clusters: [`world`] is time, machines and network, [`replica`] one
//! pod of production code, `workload` and [`faults`] are what is done to them, [`invariants`] what must hold,
//! [`simulation`] one seed, [`driver`] many, [`story`] one that is written down. See `docs/simulation.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed check of a test is a panic"
)]

pub mod act;
pub mod client;
pub mod driver;
pub mod faults;
pub mod history;
pub mod invariants;
pub mod mutation;
pub mod oracle;
pub mod plan;
pub mod replica;
pub mod rng;
pub mod script;
pub mod simulation;
pub mod story;
mod workload;
pub mod world;

/// Runs a property for many seeds; a failure names its seed. `QUORATE_SEED=7` runs that one alone, `QUORATE_SEEDS=5000`
/// runs more of them.
pub fn for_seeds(default: u64, property: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("QUORATE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("QUORATE_SEEDS").unwrap_or(default),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| property(seed));
        assert!(outcome.is_ok(), "failed with seed {seed}: QUORATE_SEED={seed} runs it again");
    }
}
