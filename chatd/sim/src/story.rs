//! Stories: what a cluster does, in plain sentences, as golden text (`tests/stories/*.txt`).
//!
//! [`page`] takes a file apart into prose and steps → [`step`] reads each step, of a closed set → `simulation::stage`
//! carries them out on simulated pods, one after the other → [`tell`] words what happened below each. Nothing in a
//! story is left to chance but the lengths of elections; what must always hold is checked as for a seed.

pub(crate) mod cast;
pub mod page;
mod read;
pub mod step;
mod stream;
pub(crate) mod tell;
