//! The disk as the kernel asks for it. Nothing is cached in the kernel: it must not remember what the disk forgets.

use crate::disk::Disk;
use crate::inode::Ino;
use crate::syncer::{Syncer, lock};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the kernel may remember names and attributes.
const REMEMBER: Duration = Duration::ZERO;
/// Space that it claims to have, in blocks of [`BLOCK`]: 16 GiB.
const BLOCKS: u64 = 4 << 20;
const BLOCK: u32 = 4096;

/// File system that FUSE mounts: what the kernel asks is answered from the disk in memory.
#[derive(Debug)]
pub struct ForgetfulFilesystem {
    disk: Arc<Mutex<Disk>>,
    syncer: Syncer,
}

impl ForgetfulFilesystem {
    /// Returns a file system on this disk. A sync takes `sync_takes`.
    #[must_use]
    pub fn new(disk: Arc<Mutex<Disk>>, sync_takes: Duration) -> Self {
        let syncer = Syncer::start(Arc::clone(&disk), sync_takes);
        Self { disk, syncer }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    fn make(&self, parent: INodeNo, name: &OsStr, mode: u32, is_directory: bool) -> Result<FileAttr, Errno> {
        let mut disk = self.disk();
        let ino = disk.make(parent.0, name, permissions(mode), is_directory)?;
        attributes(&disk, ino)
    }
}

fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or(0o600)
}

fn attributes(disk: &Disk, ino: Ino) -> Result<FileAttr, Errno> {
    let inode = disk.inode(ino)?;
    Ok(FileAttr {
        ino: INodeNo(ino),
        size: inode.size(),
        blocks: inode.size().div_ceil(512),
        // Nobody here asks for times.
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: if inode.is_directory() { FileType::Directory } else { FileType::RegularFile },
        perm: inode.mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    })
}

fn answer(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn answer_entry(reply: ReplyEntry, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attributes) => reply.entry(&REMEMBER, &attributes, Generation(0)),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for ForgetfulFilesystem {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let disk = self.disk();
        answer_entry(reply, disk.lookup(parent.0, name).and_then(|ino| attributes(&disk, ino)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(&self.disk(), ino.0) {
            Ok(attributes) => reply.attr(&REMEMBER, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = self.disk();
        let cut = size.map_or(Ok(()), |size| disk.pages(ino.0).map(|pages| pages.set_size(size)));
        match cut.and_then(|()| attributes(&disk, ino.0)) {
            Ok(attributes) => reply.attr(&REMEMBER, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        answer_entry(reply, self.make(parent, name, mode, true));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.disk().unlink(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.disk().unlink(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let result = if flags.is_empty() {
            self.disk().rename((parent.0, name), (new_parent.0, new_name))
        } else {
            Err(Errno::EINVAL)
        };
        answer(reply, result);
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut disk = self.disk();
        let linked = disk.link(ino.0, parent.0, name);
        answer_entry(reply, linked.and_then(|()| attributes(&disk, ino.0)));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.disk().inode(ino.0) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.make(parent, name, mode, false) {
            Ok(attributes) => {
                reply.created(&REMEMBER, &attributes, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.disk().pages(ino.0) {
            Ok(pages) => reply.data(&pages.read(offset, u64::from(size))),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.disk().pages(ino.0) {
            Ok(pages) => {
                pages.write(offset, data);
                // A request carries at most 16 MiB.
                reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
            }
            Err(error) => reply.error(error),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        /// Reserve space, but leave the length as it is (`linux/falloc.h`).
        const KEEP_SIZE: i32 = 1;
        let mut disk = self.disk();
        let result = match (mode, disk.pages(ino.0)) {
            (_, Err(error)) => Err(error),
            (KEEP_SIZE, Ok(_)) => Ok(()),
            (0, Ok(pages)) => {
                let size = pages.size().max(offset.saturating_add(length));
                pages.set_size(size);
                Ok(())
            }
            _ => Err(Errno::EOPNOTSUPP),
        };
        answer(reply, result);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.syncer.sync(ino.0, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.syncer.sync(ino.0, reply);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let disk = self.disk();
        let directory = match disk.directory(ino.0) {
            Ok(directory) => directory,
            Err(error) => return reply.error(error),
        };
        let dots = [OsStr::new("."), OsStr::new("..")].map(|name| (name, ino.0));
        let names = dots.into_iter().chain(directory.iter().map(|(name, ino)| (name.as_os_str(), ino)));
        for (next, (name, ino)) in (1_u64..).zip(names).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            let is_directory = disk.inode(ino).is_ok_and(crate::inode::Inode::is_directory);
            let kind = if is_directory { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(ino), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, 0, 0, BLOCK, 255, BLOCK);
    }
}
