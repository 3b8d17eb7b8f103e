//! A file system in memory, mounted through FUSE, that behaves as a disk does when the power fails: what was not fsynced
//! may be gone. Killing a process never shows a missing fsync, because the kernel's page cache outlives the process;
//! here the cache can be thrown away.
//!
//! ```text
//! chatd ── write, rename, fsync ──▶ file system ──▶ Disk: what is read now │ what is durable
//! test  ── "forget node-1 all" on standard input ──────────▶ │ what is read now := what is durable
//! ```
//!
//! It is as forgetful as POSIX allows: contents become durable by an fsync of the file, names only by an fsync of their
//! directory. A failed fsync behaves as on Linux: the pages count as clean afterwards, so that a second fsync succeeds
//! without having written them. On command it is worse than any disk may be, and forgets what was fsynced: with
//! that, a test shows that it would notice.

pub mod control;
pub mod directory;
pub mod disk;
pub mod filesystem;
pub mod inode;
pub mod pages;
pub mod syncer;
