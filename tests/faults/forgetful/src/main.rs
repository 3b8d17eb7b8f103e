//! Mounts a forgetful file system and does what standard input says; see [`quorate_forgetful::control`].

use anyhow::Context as _;
use fuser::{Config, MountOption};
use quorate_forgetful::{control, disk::Disk, filesystem::ForgetfulFilesystem};
use serde_json::json;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: quorate-forgetful MOUNTPOINT MILLISECONDS_OF_A_SYNC";
    let (mountpoint, takes) = (args.next().context(usage)?, args.next().context(usage)?);
    let takes = Duration::from_millis(takes.parse().context(usage)?);
    let disk = Arc::new(Mutex::new(Disk::default()));
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("forgetful".to_owned()), MountOption::NoAtime];
    let mounted = fuser::spawn_mount(ForgetfulFilesystem::new(Arc::clone(&disk), takes), &mountpoint, &config)
        .with_context(|| format!("cannot mount on {mountpoint} (needs root and /dev/fuse)"))?;
    let mut out = io::stdout();
    writeln!(out, "{}", json!({ "mounted": mountpoint }))?;
    out.flush()?;
    for line in io::stdin().lines() {
        let answer = control::obey(&mut disk.lock().unwrap_or_else(PoisonError::into_inner), &line?);
        writeln!(out, "{}", answer.unwrap_or_else(|error| json!({ "error": error.to_string() })))?;
        out.flush()?;
    }
    mounted.umount_and_join().context("cannot unmount")
}
