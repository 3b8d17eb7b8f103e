//! A bounded queue that is fair to addresses, and to accounts within an address.
//!
//! Addresses take turns, however many requests each of them has waiting. When the queue is full, the address with the
//! most waiting requests loses its newest one, so that a crowd from one address keeps nobody else out.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Key by which requests queue: turns rotate over the addresses, and over the accounts of each address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueLane {
    pub(super) address: IpAddr,
    pub(super) account: String,
}

/// The queue is full, and so is the caller's share of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueFull;

/// A queue that grants a few turns at a time. Clones share it.
#[derive(Clone)]
pub(super) struct FairQueue {
    shared: Arc<SharedQueue>,
}

struct SharedQueue {
    at_once: usize,
    most_waiting: usize,
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    running: usize,
    waiting: usize,
    next_ticket: u64,
    /// Addresses with waiting requests, in turn order; no entry is empty.
    addresses: VecDeque<AddressLane>,
}

struct AddressLane {
    address: IpAddr,
    /// Accounts with waiting requests, in turn order; no entry is empty.
    accounts: VecDeque<AccountLane>,
}

struct AccountLane {
    account: String,
    tickets: VecDeque<QueueTicket>,
}

struct QueueTicket {
    number: u64,
    wake: oneshot::Sender<QueueTurn>,
}

/// A granted turn; dropping it grants the next one.
pub(super) struct QueueTurn {
    shared: Arc<SharedQueue>,
}

impl Drop for QueueTurn {
    fn drop(&mut self) {
        // The lock ends before the turn is sent: a turn that nobody receives is dropped there, and locks again.
        let next = {
            let mut state = self.shared.state();
            let next = state.next();
            if next.is_none() {
                state.running -= 1;
            }
            next
        };
        if let Some(ticket) = next {
            // If the receiver has gone, the turn is dropped here and passes on to the next.
            drop(ticket.wake.send(QueueTurn { shared: Arc::clone(&self.shared) }));
        }
    }
}

/// A place in the queue, given up when dropped.
struct QueuePlace<'q> {
    shared: &'q SharedQueue,
    number: u64,
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.shared.state().remove(self.number);
    }
}

impl FairQueue {
    /// Creates a queue that grants `at_once` turns at a time and lets `most_waiting` requests wait for one.
    pub(super) fn new(at_once: usize, most_waiting: usize) -> Self {
        Self { shared: Arc::new(SharedQueue { at_once, most_waiting, state: Mutex::default() }) }
    }

    /// Waits for a turn. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// [`QueueFull`], at once, or later when a newcomer has a better claim to the place.
    pub(super) async fn turn(&self, lane: QueueLane) -> Result<QueueTurn, QueueFull> {
        let (wake, woken) = oneshot::channel();
        let place = {
            let mut state = self.shared.state();
            // Nobody waits now: a turn that ends passes on to whoever waits, before it is given back.
            if state.running < self.shared.at_once {
                state.running += 1;
                return Ok(QueueTurn { shared: Arc::clone(&self.shared) });
            }
            if state.waiting >= self.shared.most_waiting {
                state.make_room(&lane)?;
            }
            let number = state.enter(lane, wake);
            QueuePlace { shared: &self.shared, number }
        };
        // While this waits, its sender is dropped only by `make_room`.
        let turn = woken.await.map_err(|_| QueueFull);
        drop(place);
        turn
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.shared.state().waiting
    }
}

impl SharedQueue {
    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AddressLane {
    fn len(&self) -> usize {
        self.accounts.iter().map(|lane| lane.tickets.len()).sum()
    }

    fn len_of(&self, account: &str) -> usize {
        self.accounts.iter().find(|lane| lane.account == account).map_or(0, |lane| lane.tickets.len())
    }
}

impl QueueState {
    fn enter(&mut self, lane: QueueLane, wake: oneshot::Sender<QueueTurn>) -> u64 {
        let number = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += 1;
        let ticket = QueueTicket { number, wake };
        let QueueLane { address, account } = lane;
        let Some(at_address) = self.addresses.iter_mut().find(|lane| lane.address == address) else {
            let accounts = [AccountLane { account, tickets: [ticket].into() }].into();
            self.addresses.push_back(AddressLane { address, accounts });
            return number;
        };
        match at_address.accounts.iter_mut().find(|lane| lane.account == account) {
            Some(lane) => lane.tickets.push_back(ticket),
            None => at_address.accounts.push_back(AccountLane { account, tickets: [ticket].into() }),
        }
        number
    }

    /// Takes the ticket whose turn it is, and moves its address and account to the back.
    fn next(&mut self) -> Option<QueueTicket> {
        let mut at_address = self.addresses.pop_front()?;
        let mut of_account = at_address.accounts.pop_front()?;
        let ticket = of_account.tickets.pop_front();
        if !of_account.tickets.is_empty() {
            at_address.accounts.push_back(of_account);
        }
        if !at_address.accounts.is_empty() {
            self.addresses.push_back(at_address);
        }
        self.waiting -= usize::from(ticket.is_some());
        ticket
    }

    /// Evicts a waiting request that has a lesser claim than a newcomer of this lane, if there is one.
    fn make_room(&mut self, newcomer: &QueueLane) -> Result<(), QueueFull> {
        let own = self.addresses.iter().find(|lane| lane.address == newcomer.address);
        let (own_len, of_account) = own.map_or((0, 0), |lane| (lane.len(), lane.len_of(&newcomer.account)));
        let longest = self.addresses.iter_mut().max_by_key(|lane| lane.len()).ok_or(QueueFull)?;
        // On a tie the waiting request stays; evicting a lane with one more than the newcomer's would only swap the
        // two.
        let other_address = longest.address != newcomer.address && longest.len() > own_len + 1;
        let same_address = own_len == longest.len() && own_len > 0;
        let victims = match (other_address, same_address) {
            (true, _) => longest,
            (false, true) => {
                self.addresses.iter_mut().find(|lane| lane.address == newcomer.address).ok_or(QueueFull)?
            }
            (false, false) => return Err(QueueFull),
        };
        let account = victims.accounts.iter_mut().max_by_key(|lane| lane.tickets.len()).ok_or(QueueFull)?;
        if !other_address && account.tickets.len() <= of_account + 1 {
            return Err(QueueFull);
        }
        // The newest of them, which has waited least.
        let number = account.tickets.back().map(|ticket| ticket.number).ok_or(QueueFull)?;
        self.remove(number);
        Ok(())
    }

    fn remove(&mut self, number: u64) {
        for at_address in &mut self.addresses {
            for of_account in &mut at_address.accounts {
                let before = of_account.tickets.len();
                of_account.tickets.retain(|ticket| ticket.number != number);
                self.waiting -= before - of_account.tickets.len();
            }
            at_address.accounts.retain(|lane| !lane.tickets.is_empty());
        }
        self.addresses.retain(|lane| !lane.accounts.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::{BoxFuture, FutureExt as _};
    use std::net::Ipv4Addr;

    type Waiting = BoxFuture<'static, Result<QueueTurn, QueueFull>>;

    fn lane(address: u32, account: &str) -> QueueLane {
        QueueLane { address: Ipv4Addr::from_bits(address).into(), account: account.into() }
    }

    /// Starts to wait in the queue.
    fn wait(queue: &FairQueue, address: u32, account: &str) -> Waiting {
        let (queue, lane) = (queue.clone(), lane(address, account));
        let mut waiting = async move { queue.turn(lane).await }.boxed();
        assert!((&mut waiting).now_or_never().is_none(), "it waits");
        waiting
    }

    /// Returns the names of the waiting requests in the order of their turns, until nobody waits.
    fn order(first: QueueTurn, mut waiting: Vec<(&'static str, Waiting)>) -> Vec<&'static str> {
        let (mut running, mut order) = (first, Vec::new());
        while !waiting.is_empty() {
            drop(running);
            let (at, turn) = waiting
                .iter_mut()
                .enumerate()
                .find_map(|(at, (_, turn))| (&mut *turn).now_or_never().map(|turn| (at, turn)))
                .unwrap();
            running = turn.unwrap();
            order.push(waiting.remove(at).0);
        }
        order
    }

    async fn busy(most_waiting: usize) -> (FairQueue, QueueTurn) {
        let queue = FairQueue::new(1, most_waiting);
        let turn = queue.turn(lane(0, "")).await.unwrap();
        (queue, turn)
    }

    #[tokio::test]
    async fn addresses_take_turns_and_so_do_accounts_of_an_address() {
        let (queue, turn) = busy(10).await;
        let waiting =
            [(1, "a", "1a"), (1, "a", "1a'"), (1, "a", "1a''"), (1, "b", "1b"), (2, "a", "2a"), (2, "a", "2a'")];
        let waiting = waiting.map(|(address, account, name)| (name, wait(&queue, address, account)));
        assert_eq!(order(turn, waiting.into()), ["1a", "2a", "1b", "2a'", "1a'", "1a''"]);
    }

    #[tokio::test]
    async fn a_crowd_from_one_address_keeps_nobody_else_out() {
        let (queue, turn) = busy(4).await;
        let mut crowd: Vec<_> = (0..4).map(|_| wait(&queue, 1, "a")).collect();
        assert!(queue.turn(lane(1, "a")).await.is_err(), "its own share is full");
        let other = wait(&queue, 2, "a");
        assert_eq!((&mut crowd[3]).now_or_never().unwrap().err(), Some(QueueFull), "the newest of the crowd");
        let _another_account = wait(&queue, 1, "b");
        assert_eq!((&mut crowd[2]).now_or_never().unwrap().err(), Some(QueueFull));
        assert_eq!(queue.waiting(), 4);
        assert!(queue.turn(lane(1, "b")).await.is_err());
        drop((turn, other));
    }

    #[tokio::test]
    async fn a_queue_that_is_shared_fairly_refuses_newcomers() {
        let (queue, _turn) = busy(3).await;
        let _waiting: Vec<_> = (1..=3).map(|address| wait(&queue, address, "a")).collect();
        assert!(queue.turn(lane(4, "a")).await.is_err());
        assert!(queue.turn(lane(1, "b")).await.is_err());
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_queue_and_passes_a_turn_on() {
        let (queue, turn) = busy(4).await;
        let (gone, next, last) = (wait(&queue, 1, "a"), wait(&queue, 2, "a"), wait(&queue, 3, "a"));
        drop(gone);
        assert_eq!(queue.waiting(), 2);
        // `next` is granted a turn, and is dropped without noticing.
        drop(turn);
        drop(next);
        let turn = last.now_or_never().unwrap().unwrap();
        drop(turn);
        assert!(queue.turn(lane(5, "a")).now_or_never().is_some(), "nobody holds a turn");
    }
}
