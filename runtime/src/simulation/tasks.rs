//! Simulated cores: all tasks on one thread, the next one drawn by lot.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use async_task::{Runnable, Task};

/// The tasks that could run now.
#[derive(Clone, Default)]
pub(super) struct Tasks {
    ready: Arc<Mutex<Vec<Runnable>>>,
}

impl Tasks {
    pub(super) fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        let ready = Arc::clone(&self.ready);
        let schedule = move |task| ready.lock().expect("no holder panics").push(task);
        let (task, handle) = async_task::spawn_local(future, schedule);
        task.schedule();
        handle
    }

    /// Runs tasks until `future` is done. `below` draws a number below another.
    ///
    /// # Panics
    ///
    /// When every task waits for another: that is a deadlock.
    pub(super) fn block_on<T>(
        &self,
        future: impl Future<Output = T>,
        mut below: impl FnMut(usize) -> usize,
    ) -> T {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut future = pin!(future);
        loop {
            let ready = self.ready.lock().expect("no holder panics").len();
            let own = woken.0.load(Ordering::Relaxed);
            assert!(own || ready > 0, "every task waits for another");
            let drawn = below(ready + usize::from(own));
            if drawn < ready {
                let task = self.ready.lock().expect("no holder panics").swap_remove(drawn);
                task.run();
                continue;
            }
            woken.0.store(false, Ordering::Relaxed);
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return value;
            }
        }
    }

    /// Drops every task.
    pub(super) fn clear(&self) {
        loop {
            // Dropping a task may wake another.
            let tasks = std::mem::take(&mut *self.ready.lock().expect("no holder panics"));
            if tasks.is_empty() {
                return;
            }
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
