//! Places of one kind, and how many wait for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::monitoring::Load;

/// Places of one kind.
#[derive(Debug)]
pub(super) struct Places {
    kind: &'static str,
    all: usize,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Someone waits, until dropped.
pub(super) struct Waiting<'a>(&'a AtomicUsize);

impl Places {
    pub(super) fn new(kind: &'static str, all: usize) -> Places {
        let free = Arc::new(Semaphore::new(all));
        Places { kind, all, free, waiting: AtomicUsize::new(0) }
    }

    /// Waits for a place.
    pub(super) async fn take(&self) -> OwnedSemaphorePermit {
        let _waiting = self.wait();
        Arc::clone(&self.free).acquire_owned().await.expect("it is never closed")
    }

    /// Counts someone who waits for something else first.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiting)
    }

    pub(super) fn load(&self) -> Load {
        let underway = self.all - self.free.available_permits();
        Load { kind: self.kind, underway, waiting: self.waiting.load(Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
