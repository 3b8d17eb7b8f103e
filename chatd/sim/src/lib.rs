//! Simulation and checkers, for tests only.
//!
//! [`script`] generates a sequence of commands from a seed → [`plan`] packs it into log entries → [`client`] follows it
//! as Matrix clients do, through syncs and pages of history → [`oracle`] works out anew from the bare timelines what
//! they must have seen.
//!
//! Beside these models stands the simulation of whole clusters: [`world`] provides time, machines and network,
//! [`layout`] names the machines, [`replica`] is one pod of production code, which `boot` starts, `workload` and
//! [`faults`] act on the pods, `upgrade` brings them to another version, [`invariants`] check what must hold,
//! [`simulation`] runs one seed and [`driver`] many, and [`story`] plays one that is written down. See
//! `docs/simulation.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed check of a test is a panic"
)]

pub mod act;
mod boot;
pub mod client;
pub mod driver;
pub mod faults;
pub mod history;
pub mod invariants;
pub mod layout;
pub mod mutation;
pub mod oracle;
pub mod plan;
pub mod replica;
pub mod rng;
pub mod script;
pub mod simulation;
pub mod story;
mod upgrade;
mod workload;
pub mod world;

/// Runs a property for many seeds; a failure names its seed. `QUORATE_SEED=7` runs that seed alone,
/// `QUORATE_SEEDS=5000` runs that many instead of `default`.
pub fn for_seeds(default: u64, property: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("QUORATE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("QUORATE_SEEDS").unwrap_or(default),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| property(seed));
        assert!(outcome.is_ok(), "failed with seed {seed}; rerun with QUORATE_SEED={seed}");
    }
}
