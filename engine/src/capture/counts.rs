//! What became of the packets that came.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::clock_steps::{ClockStep, ClockWatch};
use super::loss::LossCause;
use super::thin::{LeftOut, ShedFlow};

/// What became of the packets of an interface so far. When nothing is under way any more,
/// `received` is the sum of the others, exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    /// The interface's name.
    pub interface: String,
    /// Packets that came, but for those that the kernel's filter left out.
    pub received: u64,
    /// Stored: they survive a power cut and are found.
    pub stored: u64,
    /// Captured bytes of those.
    pub stored_bytes: u64,
    /// Left out by the filter after the kernel let them through.
    pub filtered: u64,
    /// Not stored, by cause, as [`LossCause::ALL`] orders them.
    pub lost: [u64; LossCause::ALL.len()],
    /// Packets that were shed, of which `lost` has the sum, by the kind of their flow, as
    /// [`ShedFlow::ALL`] orders them.
    pub shed: [u64; ShedFlow::ALL.len()],
    /// How often the clock was set meanwhile that gives packets their times.
    pub clock_steps: u64,
    /// The last time that it was.
    pub last_clock_step: Option<ClockStep>,
}

impl CaptureCounts {
    /// Packets lost against anybody's wish, whatever the cause.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sum(|cause| !cause.is_asked_for())
    }

    /// Packets left out because that was asked for, but for those that the filter left out.
    #[must_use]
    pub fn thinned(&self) -> u64 {
        self.sum(LossCause::is_asked_for)
    }

    fn sum(&self, of: impl Fn(LossCause) -> bool) -> u64 {
        let causes = LossCause::ALL.into_iter().zip(self.lost);
        causes.filter(|(cause, _)| of(*cause)).map(|(_, packets)| packets).sum()
    }

    fn add(&mut self, counters: &Counters) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // What was received is counted before what became of it, and read after that.
        self.stored += read(&counters.stored);
        self.stored_bytes += read(&counters.stored_bytes);
        self.filtered += read(&counters.filtered);
        for (sum, lost) in self.lost.iter_mut().zip(&counters.lost) {
            *sum += read(lost);
        }
        for (sum, shed) in self.shed.iter_mut().zip(&counters.shed) {
            *sum += read(shed);
        }
        self.received += read(&counters.received);
    }
}

/// One ring's, written by the shard that reads it.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(super) received: AtomicU64,
    pub(super) stored: AtomicU64,
    pub(super) stored_bytes: AtomicU64,
    pub(super) filtered: AtomicU64,
    pub(super) lost: [AtomicU64; LossCause::ALL.len()],
    pub(super) shed: [AtomicU64; ShedFlow::ALL.len()],
    /// Captured bytes that a shard has, and of which it is not decided whether they are durable.
    pub(super) waiting_bytes: AtomicU64,
    /// Whether no batch is left: its shard has them all, or takes no more.
    pub(super) stuck: AtomicBool,
    /// How often the kernel has said how many packets came.
    pub(super) counted: AtomicU64,
}

impl Counters {
    /// A shard has these now.
    pub(super) fn hand_over(&self, bytes: u64) {
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Of these it is decided.
    pub(crate) fn settle(&self, bytes: u64) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// These are durable.
    pub(crate) fn store(&self, packets: u64, bytes: u64) {
        self.stored.fetch_add(packets, Ordering::Relaxed);
        self.stored_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.settle(bytes);
    }

    /// These are lost.
    pub(crate) fn lose(&self, cause: LossCause, packets: u64) {
        self.of(cause).fetch_add(packets, Ordering::Relaxed);
    }

    /// One is left out.
    pub(super) fn leave_out(&self, why: LeftOut) {
        self.lose(why.cause(), 1);
        if let LeftOut::Shed(flow) = why {
            self.shed[flow as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Packets lost so far.
    pub(super) fn lost(&self, cause: LossCause) -> u64 {
        self.of(cause).load(Ordering::Relaxed)
    }

    fn of(&self, cause: LossCause) -> &AtomicU64 {
        let place = LossCause::ALL.iter().position(|it| *it == cause);
        &self.lost[place.expect("all causes are among all causes")]
    }
}

/// The counters of an interface's rings.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    pub(super) interface: Arc<str>,
    pub(super) rings: Vec<Arc<Counters>>,
    pub(super) clock: Arc<ClockWatch>,
}

impl Counted {
    pub(crate) fn read(&self) -> CaptureCounts {
        let interface = self.interface.to_string();
        let (clock_steps, last_clock_step) = self.clock.steps();
        let mut counts =
            CaptureCounts { interface, clock_steps, last_clock_step, ..CaptureCounts::default() };
        self.rings.iter().for_each(|counters| counts.add(counters));
        counts
    }
}
