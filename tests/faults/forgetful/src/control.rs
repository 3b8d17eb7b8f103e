//! What a test says to the disk, line by line, and what it hears.
//!
//! | line | answer |
//! |---|---|
//! | `forget PART all`, `forget PART SEED` | `{"pages": lost, "names": lost}` |
//! | `off PART` | `{}`; until `forget` |
//! | `lie PART`, `fail PART` | `{}`; until `heal` |
//! | `heal` | `{}` |
//! | `counts PART` | `{"done": n, "failed": n, "repeated": n}` |

use crate::disk::{Disk, Loss};
use anyhow::{Context as _, bail};
use fuser::Errno;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io;

/// Does what a line says.
///
/// # Errors
/// When it says nothing known, or names a part that is not there.
pub fn obey(disk: &mut Disk, line: &str) -> anyhow::Result<Value> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match *words.as_slice() {
        ["forget", part, how] => {
            let loss = match how {
                "all" => Loss::All,
                seed => Loss::Some(seed.parse().with_context(|| format!("{seed} is neither `all` nor a seed"))?),
            };
            let lost = disk.forget(OsStr::new(part), loss).map_err(system)?;
            Ok(json!({ "pages": lost.pages, "names": lost.names }))
        }
        ["off", part] => {
            disk.power_off(OsStr::new(part)).map_err(system)?;
            Ok(json!({}))
        }
        ["lie", part] => {
            disk.lie(OsStr::new(part)).map_err(system)?;
            Ok(json!({}))
        }
        ["fail", part] => {
            disk.fail(OsStr::new(part)).map_err(system)?;
            Ok(json!({}))
        }
        ["heal"] => {
            disk.heal();
            Ok(json!({}))
        }
        ["counts", part] => {
            let counts = disk.counts(OsStr::new(part)).map_err(system)?;
            Ok(json!({ "done": counts.done, "failed": counts.failed, "repeated": counts.repeated }))
        }
        _ => bail!("not understood: {line}"),
    }
}

fn system(error: Errno) -> io::Error {
    io::Error::from_raw_os_error(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::ROOT;

    #[test]
    fn a_line_is_obeyed_or_refused() {
        let mut disk = Disk::default();
        disk.make(ROOT, OsStr::new("node"), 0o755, true).unwrap();
        assert_eq!(obey(&mut disk, "forget node all").unwrap(), json!({ "pages": 0, "names": 0 }));
        assert_eq!(obey(&mut disk, "fail node").unwrap(), json!({}));
        assert_eq!(obey(&mut disk, "counts node").unwrap()["failed"], 0);
        for wrong in ["forget other all", "forget node some", "burn node", ""] {
            assert!(obey(&mut disk, wrong).is_err(), "{wrong}");
        }
    }
}
