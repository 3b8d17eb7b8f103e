//! Users to whose accounts or memberships something was applied, for a task that looks at them a few times per second.

use std::collections::BTreeSet;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum number of users recorded; past it all users count as touched, which is as right and costs no memory.
const MOST_TOUCHED: usize = 16_384;

/// Users to whom something was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TouchedUsers {
    /// These, by their localparts.
    These(BTreeSet<String>),
    /// Any of them.
    All,
}

impl Default for TouchedUsers {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

/// Record of touched users, once somebody wants it.
#[derive(Debug, Default)]
pub(super) struct TouchedRecord {
    is_wanted: AtomicBool,
    users: Mutex<TouchedUsers>,
}

impl TouchedRecord {
    fn users(&self) -> MutexGuard<'_, TouchedUsers> {
        // Each change is one insertion or replacement.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self) {
        self.is_wanted.store(true, Ordering::Release);
    }

    pub(super) fn note(&self, touched: &BTreeSet<String>) {
        if !self.is_wanted.load(Ordering::Acquire) {
            return;
        }
        let mut users = self.users();
        if let TouchedUsers::These(known) = &mut *users {
            known.extend(touched.iter().cloned());
            if known.len() > MOST_TOUCHED {
                *users = TouchedUsers::All;
            }
        }
    }

    pub(super) fn note_all(&self) {
        if self.is_wanted.load(Ordering::Acquire) {
            *self.users() = TouchedUsers::All;
        }
    }

    pub(super) fn take(&self) -> TouchedUsers {
        mem::take(&mut *self.users())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_users_are_recorded_once_wanted_and_their_number_is_bounded() {
        let record = TouchedRecord::default();
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        record.note(&named(&["alice"]));
        assert_eq!(record.take(), TouchedUsers::default());
        record.begin();
        record.note(&named(&["alice"]));
        record.note(&named(&["bob", "alice"]));
        assert_eq!(record.take(), TouchedUsers::These(named(&["alice", "bob"])));
        assert_eq!(record.take(), TouchedUsers::default());
        (0..=MOST_TOUCHED).for_each(|n| record.note(&named(&[&n.to_string()])));
        assert_eq!(record.take(), TouchedUsers::All);
    }
}
