//! Tasks in the background of which one at a time is enough for a session.

use super::token::TokenHash;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Sessions for which such a task is under way, by the hashes of their tokens.
pub(super) struct SessionTasks {
    /// Maximum number of tasks. Whoever is refused one asks again with a later request.
    most: usize,
    under_way: Mutex<HashSet<TokenHash>>,
}

impl SessionTasks {
    pub(super) fn at_most(most: usize) -> Self {
        Self { most, under_way: Mutex::default() }
    }

    /// Returns `true` if a task may begin; [`SessionTasks::end`] must follow.
    pub(super) fn begin(&self, hash: TokenHash) -> bool {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.len() < self.most && under_way.insert(hash)
    }

    pub(super) fn end(&self, hash: &TokenHash) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_task_of_a_session_is_under_way_at_a_time_and_their_number_is_bounded() {
        let tasks = SessionTasks::at_most(2);
        assert!(tasks.begin([1; 32]) && !tasks.begin([1; 32]));
        assert!(tasks.begin([2; 32]) && !tasks.begin([3; 32]));
        tasks.end(&[1; 32]);
        assert!(tasks.begin([1; 32]));
    }
}
