//! A file or a directory.

use crate::{directory::Directory, pages::Pages};

/// Names a file or directory for as long as it exists.
pub type Ino = u64;

/// What it holds.
#[derive(Debug)]
pub enum Body {
    /// Bytes.
    File(Pages),
    /// Names.
    Directory(Directory),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Inode {
    /// What it holds.
    pub body: Body,
    /// Permission bits.
    pub mode: u16,
    /// The directory in the root under which it was made: faults are set for all that one of them holds.
    pub owner: Ino,
    /// Failed syncs of it.
    pub failed_syncs: u64,
}

impl Inode {
    /// An empty file.
    #[must_use]
    pub fn file(mode: u16, owner: Ino) -> Self {
        Self { body: Body::File(Pages::default()), mode, owner, failed_syncs: 0 }
    }

    /// An empty directory.
    #[must_use]
    pub fn directory(mode: u16, owner: Ino) -> Self {
        Self { body: Body::Directory(Directory::default()), mode, owner, failed_syncs: 0 }
    }

    /// Bytes, as read now.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.body {
            Body::File(pages) => pages.size(),
            Body::Directory(_) => 0,
        }
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }
}
