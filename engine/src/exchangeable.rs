//! A value that is exchanged now and then, and looked at all the time.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The value. Whoever looks at it often follows it: as long as it stays as it is, that costs one
/// load and no lock.
#[derive(Debug)]
pub(crate) struct Exchangeable<T> {
    value: Mutex<T>,
    /// Counts the exchanges.
    version: AtomicU64,
}

impl<T: Clone> Exchangeable<T> {
    pub(crate) fn new(value: T) -> Exchangeable<T> {
        Exchangeable { value: Mutex::new(value), version: AtomicU64::new(0) }
    }

    pub(crate) fn exchange(&self, value: T) {
        *self.value.lock().expect("no holder of the lock panics") = value;
        self.version.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn get(&self) -> T {
        self.value.lock().expect("no holder of the lock panics").clone()
    }
}

/// Somebody who follows a value, and what was seen of it last.
pub(crate) struct Follower<T> {
    from: Arc<Exchangeable<T>>,
    version: u64,
    seen: T,
}

impl<T: Clone> Follower<T> {
    pub(crate) fn new(from: Arc<Exchangeable<T>>) -> Follower<T> {
        // A value that is exchanged in between is looked at once more, that is all.
        let version = from.version.load(Ordering::Acquire);
        let seen = from.get();
        Follower { from, version, seen }
    }

    /// Looks at the value; gives whether it may have been exchanged.
    pub(crate) fn keep_up(&mut self) -> bool {
        let exchanged = self.from.version.load(Ordering::Acquire) != self.version;
        if exchanged {
            *self = Follower::new(Arc::clone(&self.from));
        }
        exchanged
    }

    /// What was seen last.
    pub(crate) fn seen(&self) -> &T {
        &self.seen
    }
}

impl<T: fmt::Debug> fmt::Debug for Follower<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Follower").field(&self.seen).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_sees_what_it_has_looked_at() {
        let value = Arc::new(Exchangeable::new(1));
        let mut follower = Follower::new(Arc::clone(&value));
        assert!(!follower.keep_up());
        value.exchange(2);
        value.exchange(3);
        assert_eq!(*follower.seen(), 1, "nobody has looked");
        assert!(follower.keep_up());
        assert_eq!((*follower.seen(), follower.keep_up()), (3, false));
    }
}
