//! The contents of one file: pages that are durable, and newer ones that are not yet.

use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a page: what a disk is assumed to write as a whole.
pub const PAGE: u64 = 4096;

type Page = Box<[u8]>;

/// See the [module](self). Pages that are absent read as zeros.
#[derive(Debug, Default)]
pub struct Pages {
    durable: BTreeMap<u64, Page>,
    durable_size: u64,
    /// Newer than the durable ones; `None` where a page was cut off.
    dirty: BTreeMap<u64, Option<Page>>,
    /// Of the dirty ones, those whose fsync failed: the next fsync passes over them, as Linux does.
    given_up: BTreeSet<u64>,
    size: u64,
}

impl Pages {
    /// Length in bytes, as read now.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// At most `len` bytes from `offset` on.
    #[must_use]
    pub fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let end = offset.saturating_add(len).min(self.size);
        let mut bytes = Vec::new();
        let mut at = offset;
        while at < end {
            let (number, within) = (at / PAGE, at % PAGE);
            let upto = (PAGE - within).min(end - at);
            match self.page(number) {
                Some(page) => bytes.extend(page.iter().skip(usize_of(within)).take(usize_of(upto))),
                None => bytes.resize(bytes.len() + usize_of(upto), 0),
            }
            at += upto;
        }
        bytes
    }

    /// Writes all of `bytes`, and makes the file longer where they reach past its end.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let within = usize_of(at % PAGE);
            let (now, later) = rest.split_at(rest.len().min(usize_of(PAGE) - within));
            for (into, from) in self.page_mut(at / PAGE).iter_mut().skip(within).zip(now) {
                *into = *from;
            }
            at += now.len() as u64;
            rest = later;
        }
        self.size = self.size.max(at);
    }

    /// Cuts or extends the file.
    pub fn set_size(&mut self, size: u64) {
        if size < self.size {
            let first = size.div_ceil(PAGE);
            let beyond: Vec<u64> = self
                .durable
                .range(first..)
                .map(|(n, _)| *n)
                .chain(self.dirty.range(first..).map(|(n, _)| *n))
                .collect();
            for number in beyond {
                self.dirty.insert(number, None);
                self.given_up.remove(&number);
            }
            if !size.is_multiple_of(PAGE) {
                self.page_mut(size / PAGE).iter_mut().skip(usize_of(size % PAGE)).for_each(|byte| *byte = 0);
            }
        }
        self.size = size;
    }

    /// Makes everything durable.
    pub fn sync(&mut self) {
        let given_up = std::mem::take(&mut self.given_up);
        for (number, page) in std::mem::take(&mut self.dirty) {
            if given_up.contains(&number) {
                self.dirty.insert(number, page);
            } else {
                put(&mut self.durable, number, page);
            }
        }
        self.given_up = given_up;
        self.durable_size = self.size;
    }

    /// An fsync that failed: what is dirty now is never written any more, unless it is changed again.
    pub fn fail_sync(&mut self) {
        self.given_up.extend(self.dirty.keys());
    }

    /// The power fails. Each page that is not durable had been written all the same if `survives` says so. Gives how
    /// many had not.
    pub fn forget(&mut self, mut survives: impl FnMut() -> bool) -> u64 {
        let mut lost = 0;
        for (number, page) in std::mem::take(&mut self.dirty) {
            if survives() {
                put(&mut self.durable, number, page);
            } else {
                lost += 1;
            }
        }
        self.given_up.clear();
        if self.size != self.durable_size && survives() {
            self.durable_size = self.size;
        }
        self.size = self.durable_size;
        // What had been written past the end that survived is nobody's.
        drop(self.durable.split_off(&self.size.div_ceil(PAGE)));
        lost
    }

    fn page(&self, number: u64) -> Option<&[u8]> {
        match self.dirty.get(&number) {
            Some(newer) => newer.as_deref(),
            None => self.durable.get(&number).map(AsRef::as_ref),
        }
    }

    /// The page, dirty from now on.
    fn page_mut(&mut self, number: u64) -> &mut [u8] {
        self.given_up.remove(&number);
        let durable = &self.durable;
        let page = self.dirty.entry(number).or_insert_with(|| durable.get(&number).cloned());
        page.get_or_insert_with(|| vec![0; usize_of(PAGE)].into())
    }
}

fn put(pages: &mut BTreeMap<u64, Page>, number: u64, page: Option<Page>) {
    match page {
        Some(page) => pages.insert(number, page),
        None => pages.remove(&number),
    };
}

/// Offsets within a file that is held in memory fit.
fn usize_of(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bytes: &[u8]) -> Pages {
        let mut pages = Pages::default();
        pages.write(0, bytes);
        pages
    }

    #[test]
    fn what_was_synced_outlives_what_was_written_after_it() {
        let mut pages = with(b"synced");
        pages.sync();
        pages.write(0, b"newer!");
        pages.write(2 * PAGE, b"far");
        assert_eq!(pages.read(0, 6), b"newer!");
        assert_eq!(pages.forget(|| false), 2);
        assert_eq!((pages.read(0, 100), pages.size()), (b"synced".to_vec(), 6));
    }

    #[test]
    fn a_disk_may_have_written_some_pages_and_not_others() {
        let mut pages = with(&[1; 2 * PAGE as usize]);
        let mut turns = [true, false, true].into_iter();
        assert_eq!(pages.forget(|| turns.next().unwrap()), 1);
        assert_eq!(pages.size(), 2 * PAGE);
        assert_eq!((pages.read(0, 1), pages.read(PAGE, 1)), (vec![1], vec![0]), "the second page reads as zeros");
    }

    #[test]
    fn after_a_failed_sync_a_second_one_succeeds_without_having_written() {
        let mut pages = with(b"old");
        pages.sync();
        pages.write(0, b"new");
        pages.fail_sync();
        pages.sync();
        assert_eq!(pages.read(0, 3), b"new", "it still reads as if it were there");
        pages.forget(|| false);
        assert_eq!(pages.read(0, 3), b"old");
    }

    #[test]
    fn a_page_changed_after_its_failed_sync_is_written_by_the_next() {
        let mut pages = with(b"old");
        pages.fail_sync();
        pages.write(1, b"E");
        pages.sync();
        pages.forget(|| false);
        assert_eq!(pages.read(0, 3), b"oEd");
    }

    #[test]
    fn a_file_that_was_cut_reads_zeros_where_it_grows_again() {
        let mut pages = with(&[7; 3 * PAGE as usize]);
        pages.sync();
        pages.set_size(10);
        pages.set_size(3 * PAGE);
        assert_eq!(pages.read(9, 2), [7, 0]);
        assert_eq!(pages.read(2 * PAGE, 1), [0]);
        pages.forget(|| false);
        assert_eq!(pages.read(2 * PAGE, 1), [7], "the cut was not synced");
    }

    #[test]
    fn reads_end_with_the_file() {
        let mut pages = with(b"abc");
        assert_eq!(pages.read(1, 100), b"bc");
        assert_eq!(pages.read(5, 100), b"");
        pages.set_size(2 * PAGE);
        assert_eq!(pages.read(PAGE, PAGE).len(), 4096);
    }
}
