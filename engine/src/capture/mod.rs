//! Capturing live traffic: rings of packets, read by the shards that store them.
//!
//! A packet waits in a ring that the kernel fills ([`tapstone_runtime::packet_source`]), is copied
//! once into a batch, and goes the way that an imported packet goes. Each is accounted for: what
//! came is what was stored and what was lost, by cause; losses are kept with the packets around
//! them, so that an answer can say what it lacks.

mod clock_steps;
mod counts;
mod fill;
mod gauge;
pub(crate) mod loss;
mod source;
mod thin;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use tapstone_runtime::packet_source::PacketSource;
use tapstone_runtime::{Task, TaskClass, block_on, clock};

pub use clock_steps::ClockStep;
use clock_steps::ClockWatch;
pub use counts::CaptureCounts;
pub(crate) use counts::{Counted, Counters};
pub(crate) use fill::BATCHES;
use fill::{Filler, Treatment};
pub(crate) use gauge::LiveRing;
pub use source::{CaptureOptions, LiveSource, OpenInterfaceError};
use thin::Rules;
pub use thin::{CutOff, ShedFlow, ThinError, Thinning};

use crate::exchangeable::Exchangeable;
use crate::shard::{Command, Inbox, IngestError};
use crate::store::Store;

/// Why a capture ended.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Packets cannot be stored any more.
    #[error("cannot store the packets of {interface}: {source}")]
    Store {
        /// The interface.
        interface: String,
        /// Why.
        source: IngestError,
    },
}

/// A capture that is running. Dropping it ends it, and nobody is told how; see
/// [`stop`](Self::stop).
#[derive(Debug)]
pub struct Capture {
    /// It stays open as long as packets are put into it.
    _store: Store,
    stopping: Arc<AtomicBool>,
    tasks: Vec<Running>,
    captured: Vec<Captured>,
}

/// A ring that is read: the interface's name, and how that ends.
type Running = (Arc<str>, Task<Result<(), IngestError>>);

impl Store {
    /// Stores the packets of live sources from now on, those that wait already among them.
    ///
    /// ```no_run
    /// use tapstone::{CaptureOptions, LiveSource, OpenOptions, Store};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let options = OpenOptions { create: true, ..OpenOptions::default() };
    /// let source = LiveSource::open(&CaptureOptions::new("eth0"), options.shards)?;
    /// let store = Store::open("store".as_ref(), options)?;
    /// let capture = store.capture(vec![source]);
    /// std::thread::sleep(std::time::Duration::from_secs(10));
    /// for counts in capture.stop()? {
    ///     assert_eq!(counts.received,
    ///         counts.stored + counts.filtered + counts.thinned() + counts.lost());
    /// }
    /// store.close()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn capture(&self, sources: Vec<LiveSource>) -> Capture {
        let stopping = Arc::new(AtomicBool::new(false));
        let (mut tasks, mut captured) = (Vec::new(), Vec::new());
        for source in sources {
            let LiveSource { name, interface, rings, program, judge_all, rules } = source;
            let thinning = Arc::new(Exchangeable::new(Arc::new(rules)));
            let snap_len = interface.snap_len;
            let treatment = Treatment { snap_len, program, judge_all };
            let interfaces: Arc<[_]> = Arc::new([interface]);
            let clock = Arc::new(ClockWatch::new());
            let counted = Counted {
                interface: Arc::clone(&name),
                rings: Vec::new(),
                clock: Arc::clone(&clock),
            };
            let mut of_interface = Captured {
                counted,
                thinning: Arc::clone(&thinning),
                held_at_most: rings
                    .iter()
                    .map(PacketSource::held_at_most)
                    .max()
                    .unwrap_or_default(),
                flushes: Vec::new(),
                live: Vec::new(),
            };
            for (number, ring) in rings.into_iter().enumerate() {
                let shard = number % self.inner.shards.count();
                let (flush, asked) = async_channel::bounded(1);
                let filler = Filler {
                    ring,
                    treatment: treatment.clone(),
                    thinning: Arc::clone(&thinning),
                    orders: Arc::clone(&self.inner.orders),
                    interfaces: Arc::clone(&interfaces),
                    source: Arc::clone(&name),
                    commands: self.commands_of(shard).clone(),
                    counters: Arc::default(),
                    clock: Arc::clone(&clock),
                    stopping: Arc::clone(&stopping),
                    flushes: Inbox(asked),
                };
                of_interface.counted.rings.push(Arc::clone(&filler.counters));
                of_interface.live.push(LiveRing::of(&filler, shard));
                let run = move || filler.run();
                let task = self.inner.shards.spawn(shard, TaskClass::Capture, run);
                tasks.push((Arc::clone(&name), task));
                of_interface.flushes.push(flush);
            }
            captured.push(of_interface);
        }
        self.watch_captures(&captured);
        Capture { _store: self.clone(), stopping, tasks, captured }
    }

    /// What became of the packets of live interfaces since the store was opened, by interface.
    #[must_use]
    pub fn captures(&self) -> Vec<CaptureCounts> {
        let captures = self.inner.captures.lock().expect("no holder of the lock panics");
        captures.iter().map(|it| it.counted.read()).collect()
    }

    /// Makes everything durable that was taken in or has come from live interfaces so far.
    ///
    /// # Errors
    ///
    /// When something cannot be stored.
    pub fn flush(&self) -> Result<(), IngestError> {
        let captures = self.inner.captures.lock().expect("no holder of the lock panics").clone();
        // What has come may not be seen before.
        clock::wait(captures.iter().map(|it| it.held_at_most).max().unwrap_or_default());
        let waiting: Vec<_> = captures.iter().flat_map(Captured::flush).collect();
        // One that ends meanwhile makes everything durable, and answers no more.
        let durable = |answer: Receiver<_>| block_on(answer.recv()).unwrap_or(Ok(()));
        let flushed = waiting.into_iter().map(durable).fold(Ok(()), Result::and);
        let committed = self.ask_all(Command::Commit).into_iter();
        let committed = committed.map(|answer| answer.unwrap_or(Err(IngestError::Lost)));
        flushed.and(committed.fold(Ok(()), Result::and))
    }

    /// Leaves out on arrival what is asked for, from now on; the budget of every flow begins anew.
    ///
    /// # Errors
    ///
    /// When a class is no filter for an interface; then nothing changes.
    pub fn thin(&self, thinning: &Thinning) -> Result<(), ThinError> {
        let captures = self.inner.captures.lock().expect("no holder of the lock panics").clone();
        let rules = |it: &Captured| {
            let link_type = it.thinning.get().link_type;
            Rules::new(thinning, &it.counted.interface, link_type).map(Arc::new)
        };
        let rules = captures.iter().map(rules).collect::<Result<Vec<_>, _>>()?;
        captures.iter().zip(rules).for_each(|(it, rules)| it.thinning.exchange(rules));
        Ok(())
    }

    /// Tells of these captures in [`info`](Self::info) from now on.
    fn watch_captures(&self, captured: &[Captured]) {
        let mut captures = self.inner.captures.lock().expect("no holder of the lock panics");
        captures.extend_from_slice(captured);
    }
}

impl Capture {
    /// What became of the packets so far, by interface.
    #[must_use]
    pub fn counts(&self) -> Vec<CaptureCounts> {
        self.captured.iter().map(|it| it.counted.read()).collect()
    }

    /// Whether it ended by itself, because packets cannot be stored any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.captured.iter().any(Captured::is_over)
    }

    /// Lets no more packets come, stores those that have come, and gives what became of all.
    ///
    /// # Errors
    ///
    /// When some could not be stored.
    pub fn stop(mut self) -> Result<Vec<CaptureCounts>, CaptureError> {
        self.stopping.store(true, Ordering::Relaxed);
        let mut result = Ok(());
        for (interface, task) in std::mem::take(&mut self.tasks) {
            let ended = task.wait().unwrap_or(Err(IngestError::Lost));
            let failed = |source| CaptureError::Store { interface: interface.to_string(), source };
            result = result.and(ended.map_err(failed));
        }
        result?;
        Ok(self.captured.iter().map(|it| it.counted.read()).collect())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// An interface that is captured from, as the store knows it.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    pub(crate) counted: Counted,
    thinning: Arc<Exchangeable<Arc<Rules>>>,
    /// What came is seen after so long at the latest.
    held_at_most: Duration,
    flushes: Vec<Sender<Sender<Result<(), IngestError>>>>,
    live: Vec<LiveRing>,
}

impl Captured {
    /// Asks for everything that has come to be made durable; the answers come when it is.
    fn flush(&self) -> Vec<Receiver<Result<(), IngestError>>> {
        let ask = |flush: &Sender<Sender<_>>| {
            let (done, answer) = async_channel::bounded(1);
            // A filler that ended has nothing to flush.
            block_on(flush.send(done)).ok().map(|()| answer)
        };
        self.flushes.iter().filter_map(ask).collect()
    }

    fn is_over(&self) -> bool {
        self.flushes.iter().any(Sender::is_closed)
    }
}
