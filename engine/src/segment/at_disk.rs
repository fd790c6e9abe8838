//! Whether a segment waits for the disk: what is behind on its account is told from what is behind
//! for another reason.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

/// Said by whoever writes, looked at by anybody.
#[derive(Debug, Default)]
pub(crate) struct AtDisk(AtomicBool);

impl AtDisk {
    /// Waits for something that the disk does.
    pub(crate) async fn during<T>(&self, done: impl Future<Output = T>) -> T {
        self.0.store(true, Ordering::Relaxed);
        let done = done.await;
        self.0.store(false, Ordering::Relaxed);
        done
    }

    /// Whether somebody waits now.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use tapstone_runtime::block_on;

    use super::*;

    #[test]
    fn it_is_told_for_as_long_as_it_lasts() {
        let at_disk = AtDisk::default();
        assert!(!at_disk.is_waiting());
        assert!(block_on(at_disk.during(async { at_disk.is_waiting() })));
        assert!(!at_disk.is_waiting());
    }
}
