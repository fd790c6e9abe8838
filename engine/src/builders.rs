//! The threads that make splits: one, and more beside it while that is asked for.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use async_channel::{Receiver, Sender, WeakReceiver};
use tapstone_runtime::cores::IdleCores;
use tapstone_runtime::{StartError, Thread, clock, spawn_thread};

use crate::builder::{Builder, Job};
use crate::recovery::Later;

/// Segments being built wait here when the builder is behind; more, and taking packets waits.
pub(crate) const QUEUE: usize = 1;
/// How often a helper looks whether there is something to do, and a core to do it on.
const HELPER_LOOKS: Duration = Duration::from_millis(100);
/// What a core must have been idle of the time before for a helper to take it.
const IDLE_ENOUGH: f64 = 0.5;

/// The threads of a store.
#[derive(Debug)]
pub(crate) struct Builders {
    builder: Builder,
    /// Where they take their jobs from; it does not keep them waiting for more.
    jobs: WeakReceiver<Job>,
    threads: Mutex<Threads>,
}

#[derive(Debug)]
struct Threads {
    first: Option<Thread>,
    helpers: Vec<Thread>,
}

impl Builders {
    /// Starts the one that is always there; gives where jobs go.
    ///
    /// # Errors
    ///
    /// When there can be no more threads.
    pub(crate) fn start(
        builder: Builder,
        later: VecDeque<Later>,
    ) -> Result<(Builders, Sender<Job>), StartError> {
        let (jobs, queue) = async_channel::bounded(QUEUE);
        let weak = queue.downgrade();
        let first = {
            let builder = builder.clone();
            spawn_thread("builder", move || builder.run(queue, later))
                .map_err(StartError::Thread)?
        };
        let threads = Mutex::new(Threads { first: Some(first), helpers: Vec::new() });
        Ok((Builders { builder, jobs: weak, threads }, jobs))
    }

    /// Starts helpers until there are so many builders. Those that are too many end by themselves.
    pub(crate) fn scale(&self, builders: usize) {
        // A helper waits for time to pass, which in a simulated world it does not.
        if !tapstone_runtime::is_real() {
            return;
        }
        let mut threads = self.threads.lock().expect("no holder of the lock panics");
        threads.helpers.retain(|helper| !helper.is_finished());
        for number in threads.helpers.len() + 1..builders {
            let Some(jobs) = self.jobs.upgrade() else { return };
            let builder = self.builder.clone();
            let mut cores = IdleCores::default();
            let is_idle = move || cores.look() >= IDLE_ENOUGH;
            match spawn_thread("helper", move || help(builder, jobs, number, is_idle)) {
                Ok(helper) => threads.helpers.push(helper),
                Err(error) => tracing::warn!(%error, "no further thread makes splits"),
            }
        }
    }

    /// Waits until all have ended: when nobody can send them any job.
    pub(crate) fn join(&self) {
        let Ok(mut threads) = self.threads.lock() else { return };
        let first = threads.first.take();
        for builder in first.into_iter().chain(threads.helpers.drain(..)) {
            if builder.join().is_err() {
                tracing::error!(
                    "a builder died; segments are indexed when the store is next opened"
                );
            }
        }
    }
}

/// Takes jobs while a core `is_idle`, for as long as builder number `number` is wanted.
async fn help(
    builder: Builder,
    jobs: Receiver<Job>,
    number: usize,
    mut is_idle: impl FnMut() -> bool,
) {
    while builder.orders.effects().builders > number && !(jobs.is_closed() && jobs.is_empty()) {
        // A job that is taken must be done, so none is taken before there is a core.
        match is_idle().then(|| jobs.try_recv()) {
            Some(Ok(job)) => builder.build_and_tell(job).await,
            Some(Err(_)) | None => clock::wait(HELPER_LOOKS),
        }
    }
}

#[cfg(test)]
impl Builders {
    /// Helpers that have not ended.
    fn helpers(&self) -> usize {
        let threads = self.threads.lock().unwrap();
        threads.helpers.iter().filter(|helper| !helper.is_finished()).count()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tapstone_runtime::block_on;
    use tapstone_runtime::clock::Stopwatch;

    use super::*;
    use crate::doc_capture;
    use crate::effects::Effects;
    use crate::import::ImportOptions;
    use crate::pace::Pace;
    use crate::replay::replay;
    use crate::store::{OpenOptions, Store};

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions { create: true, shards: 1, ..OpenOptions::default() };
        let store = Store::open(dir.path(), options).unwrap();
        store.import(&doc_capture()[..], ImportOptions::default()).unwrap();
        store.seal().unwrap();
        (dir, store)
    }

    #[test]
    fn helpers_come_when_they_are_wanted_and_go_when_they_are_not() {
        let (_dir, store) = store();
        let builders = &store.inner.builders;
        let become_ = |wanted, helpers| {
            store.apply_effects(&Effects { builders: wanted, ..Effects::default() });
            let waited = Stopwatch::start();
            while builders.helpers() != helpers && waited.elapsed() < Duration::from_secs(20) {
                clock::wait(HELPER_LOOKS);
            }
            assert_eq!(builders.helpers(), helpers);
        };
        become_(1, 0);
        become_(2, 1);
        become_(4, 3);
        become_(4, 3);
        become_(1, 0);
        // They keep no store from closing.
        become_(2, 1);
        store.close().unwrap();
    }

    #[test]
    fn a_helper_makes_splits_while_a_core_is_idle() {
        let (_dir, store) = store();
        let builder = store.inner.builders.builder.clone();
        store.inner.orders.exchange(Effects { builders: 2, ..Effects::default() });
        let id = *store.inner.catalog.segments().unwrap().rows.keys().next().unwrap();
        let segment = store.segment(id).unwrap();
        let (path, stored_bytes) = (store.inner.layout.split(id), 1);
        std::fs::remove_file(&path).unwrap();

        let (jobs, queue) = async_channel::bounded(QUEUE);
        let (done, answer) = async_channel::bounded(1);
        let replayed = replay(&segment, &mut Pace::unbounded()).unwrap();
        let (table, answers) = (Arc::new(replayed.table), replayed.answers);
        let job = Job { segment, stored_bytes, table, answers, wal: None, done: Some(done) };
        jobs.try_send(job).unwrap();
        drop(jobs);
        // It looks three times before there is a core.
        let mut looks = 0;
        let is_idle = || {
            looks += 1;
            looks > 3
        };
        block_on(help(builder, queue, 1, is_idle));
        assert!(block_on(answer.recv()).unwrap().is_ok());
        assert!(path.try_exists().unwrap());
        assert_eq!(looks, 4);
    }

    /// What a helper took before the first builder looked again kept questions waiting.
    #[test]
    fn a_builder_that_waits_for_a_job_says_that_none_waits() {
        let (_dir, store) = store();
        let builder = store.inner.builders.builder.clone();
        let orders = Arc::clone(&builder.orders);
        orders.index_waits(true);
        let (jobs, queue) = async_channel::bounded(QUEUE);
        let run = move || builder.run(queue, VecDeque::new());
        let builder = spawn_thread("builder", run).unwrap();
        let waited = Stopwatch::start();
        while orders.does_index_wait() && waited.elapsed() < Duration::from_secs(20) {
            clock::wait(Duration::from_millis(1));
        }
        assert!(!orders.does_index_wait());
        drop(jobs);
        builder.join().unwrap();
    }
}
