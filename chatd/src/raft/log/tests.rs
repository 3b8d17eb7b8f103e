//! Tests of the log on disks that fail, and on a real one.

mod crash;
mod damage;
mod failure;
mod golden;
mod lying;
mod machine;
mod model;
mod store;
mod suite;
mod support;
