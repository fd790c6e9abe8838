//! Threads that are not shards.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_lite::future::{or, yield_now};

use crate::shards::NICENESS;
use crate::simulation;

/// Blocks this thread until `future` is done.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    match simulation::world() {
        Some(world) => world.block_on(future),
        None => futures_lite::future::block_on(future),
    }
}

/// Turns that other tasks of a simulated world have while one has patience.
const TURNS: usize = 100;

/// Blocks this thread until `future` is done, but no longer than `patience`: then there is nothing.
pub fn block_on_within<T>(patience: Duration, future: impl Future<Output = T>) -> Option<T> {
    if let Some(world) = simulation::world() {
        let patience = async {
            for _ in 0..TURNS {
                yield_now().await;
            }
            None
        };
        return world.block_on(or(async { Some(future.await) }, patience));
    }
    let (began, mut future) = (Instant::now(), pin!(future));
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(value);
        }
        let left = patience.saturating_sub(began.elapsed());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A thread that runs one future.
pub struct Thread(Running);

enum Running {
    Thread(std::thread::JoinHandle<()>),
    Simulated(async_task::Task<()>),
}

/// Starts a thread; `work` makes its future there, and the future never leaves.
///
/// # Errors
///
/// When there can be no more threads.
pub fn spawn_thread<Fut: Future<Output = ()> + 'static>(
    name: &str,
    work: impl FnOnce() -> Fut + Send + 'static,
) -> io::Result<Thread> {
    if let Some(world) = simulation::world() {
        return Ok(Thread(Running::Simulated(world.spawn(async move { work().await }))));
    }
    let thread = std::thread::Builder::new().name(name.to_owned());
    let thread = thread.spawn(move || futures_lite::future::block_on(work()))?;
    Ok(Thread(Running::Thread(thread)))
}

impl Thread {
    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// What it panicked with, when it did.
    pub fn join(self) -> Result<(), Box<dyn Any + Send>> {
        match self.0 {
            Running::Thread(thread) => thread.join(),
            Running::Simulated(task) => {
                block_on(task);
                Ok(())
            }
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match &self.0 {
            Running::Thread(thread) => thread.is_finished(),
            Running::Simulated(task) => task.is_finished(),
        }
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Thread")
    }
}

/// How often it is asked whether to go on with patient work.
const ASKED: Duration = Duration::from_millis(100);

/// Does work that may take hours on a thread of its own, which gets of a core what others leave of it,
/// and waits for it. The work is told when `go_on` says no more.
///
/// # Panics
///
/// When the work does, or there can be no more threads.
pub fn patiently<T: Send>(
    go_on: &dyn Fn() -> bool,
    work: impl FnOnce(&dyn Fn() -> bool) -> T + Send,
) -> T {
    if simulation::world().is_some() {
        return work(go_on);
    }
    let (given_up, waiting) = (AtomicBool::new(false), std::thread::current());
    let run = || {
        /// However it ends.
        struct Wake(std::thread::Thread);
        impl Drop for Wake {
            fn drop(&mut self) {
                self.0.unpark();
            }
        }
        let _wake = Wake(waiting);
        be_patient();
        work(&|| !given_up.load(Ordering::Relaxed))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("patient".to_owned());
        let running = thread.spawn_scoped(scope, run).expect("there can be one more thread");
        while !running.is_finished() {
            if !go_on() {
                given_up.store(true, Ordering::Relaxed);
            }
            std::thread::park_timeout(ASKED);
        }
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// This thread lets others go first on the core from now on.
fn be_patient() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "what can wait is as urgent as packets");
    }
}

/// Applies `work` to every item, on at most `threads` threads at once. Results come in order.
///
/// # Panics
///
/// When `work` does.
pub fn map<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if simulation::world().is_some() {
        return items.iter().map(work).collect();
    }
    let share = items.len().div_ceil(threads).max(1);
    let work = &work;
    std::thread::scope(|scope| {
        let start = |items: &'_ [T]| items.iter().map(work).collect::<Vec<R>>();
        let threads: Vec<_> =
            items.chunks(share).map(|items| scope.spawn(move || start(items))).collect();
        let done = threads.into_iter().map(|it| it.join());
        done.flat_map(|it| it.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_mapped_in_order() {
        for threads in [1, 3, 8] {
            for count in [0, 1, 7, 8, 9] {
                let items: Vec<usize> = (0..count).collect();
                let expected: Vec<usize> = (0..count).map(|item| item * 2).collect();
                assert_eq!(map(&items, threads, |item| item * 2), expected);
            }
        }
    }

    #[test]
    fn patience_ends_and_what_comes_before_is_taken() {
        let (told, tell) = async_channel::bounded(1);
        let began = Instant::now();
        assert_eq!(block_on_within(Duration::from_millis(30), tell.recv()), None);
        assert!(began.elapsed() >= Duration::from_millis(30));
        let teller = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            told.send_blocking(1).unwrap();
        });
        assert_eq!(block_on_within(Duration::from_secs(60), tell.recv()), Some(Ok(1)));
        assert!(began.elapsed() < Duration::from_secs(30), "nobody waited for the end");
        teller.join().unwrap();
    }

    #[test]
    fn patient_work_is_less_urgent_and_told_when_it_is_wanted_no_more() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        assert_eq!(patiently(&|| true, |go_on| (go_on(), nice())), (true, before + NICENESS));
        assert_eq!(nice(), before, "only that thread");
        let asked = std::cell::Cell::new(0);
        let go_on = || {
            asked.set(asked.get() + 1);
            asked.get() < 3
        };
        let began = Instant::now();
        patiently(&go_on, |go_on| {
            while go_on() {
                std::thread::yield_now();
            }
        });
        assert!(asked.get() >= 3 && began.elapsed() >= ASKED);
        let panicked = std::panic::catch_unwind(|| patiently(&|| true, |_| panic!("on purpose")));
        assert!(panicked.is_err());
    }

    #[test]
    fn a_thread_is_waited_for() {
        let (told, tell) = async_channel::bounded(1);
        let work = move || async move { told.send(1).await.unwrap() };
        spawn_thread("one", work).unwrap().join().unwrap();
        assert_eq!(tell.try_recv(), Ok(1));
    }
}
