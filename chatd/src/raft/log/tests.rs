//! The log on disks that fail, and on a real one.

mod machine;
mod store;
mod suite;
mod support;
