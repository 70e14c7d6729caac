//! Who waits, in order of arrival: what makes room for a newcomer is whoever has waited longest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Items that wait, the oldest first. Clones are the same queue.
pub struct Waiting<T>(Arc<Mutex<Queue<T>>>);

struct Queue<T> {
    next: u64,
    items: BTreeMap<u64, T>,
}

/// A place in the queue, left on drop.
pub struct Ticket<T> {
    queue: Waiting<T>,
    number: u64,
}

impl<T> Waiting<T> {
    /// Appends an item.
    pub fn join(&self, item: T) -> Ticket<T> {
        let mut queue = self.lock();
        let number = queue.next;
        queue.next += 1;
        queue.items.insert(number, item);
        drop(queue);
        Ticket { queue: self.clone(), number }
    }

    /// Takes out the item that has waited longest.
    pub fn evict(&self) -> Option<T> {
        self.lock().items.pop_first().map(|(_, item)| item)
    }

    /// Takes out the item that has waited longest of those that suit.
    pub fn evict_one_that(&self, suits: impl Fn(&T) -> bool) -> Option<T> {
        let mut queue = self.lock();
        let number = *queue.items.iter().find(|(_, item)| suits(item))?.0;
        queue.items.remove(&number)
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Ticket<T> {
    /// Takes the item back out; `None` if it was evicted.
    pub fn leave(self) -> Option<T> {
        self.queue.lock().items.remove(&self.number)
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        let item = self.queue.lock().items.remove(&self.number);
        // Outside of the lock: what it holds may have a drop of its own.
        drop(item);
    }
}

impl<T> Clone for Waiting<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Queue { next: 0, items: BTreeMap::new() })))
    }
}

impl<T> std::fmt::Debug for Waiting<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_evicted_first_and_who_has_left_is_not() {
        let waiting = Waiting::default();
        let (first, second, third) = (waiting.join(1), waiting.join(2), waiting.join(3));
        assert_eq!(waiting.evict(), Some(1));
        assert_eq!(first.leave(), None, "it was evicted");
        drop(second);
        assert_eq!(waiting.len(), 1);
        assert_eq!(third.leave(), Some(3));
        assert_eq!(waiting.evict(), None);

        let _tickets = [4, 5, 6].map(|item| waiting.join(item));
        assert_eq!(waiting.evict_one_that(|item| item % 5 == 0), Some(5));
        assert_eq!(waiting.evict_one_that(|item| item % 5 == 0), None);
    }
}
