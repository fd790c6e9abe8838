//! What the states of PRESSURE and DEGRADED do (docs/state-machine.md): from the states in force to
//! numbers that those who work go by.
//!
//! ```text
//! Machine::active ── Effects::of ──▶ Effects ── Store::apply_effects ──▶ fillers, shards, builders,
//!                                                                        caches, questions
//! Action::Begin ──── Relief::of ───▶ Relief ─── Store::relieve       done once
//! Readings ───────── Lookout::look ▶ Report     trend, outlook, urgency
//! ```
//!
//! All but `Store`'s methods is pure. What holds in NORMAL is [`Effects::normal`].

mod apply;
mod consequence;
mod lookout;
mod orders;
mod outlook;
mod relief;
#[cfg(test)]
mod tests;
mod urgency;

use std::collections::BTreeSet;
use std::time::Duration;

pub use consequence::consequence;
pub use lookout::{Lookout, Report};
pub(crate) use orders::{Behind, Orders, Way};
pub use outlook::{Outlook, Sample, outlook};
pub use relief::{Relief, ReliefError};
pub use urgency::{Urgency, urgency};

use crate::limits::Sizes;
use crate::state::{
    BufferControl, Degraded, DegradedMonitoring, MemoryPressure, NVMeControl, PartialCapture,
    PipelinePressure, Pressure, QueueControl, State, StoragePressure,
};

/// How the work is done while some states are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effects {
    /// Blocks of a ring that are read before anything else is looked after.
    pub read_blocks: usize,
    /// Bytes of a batch at which it is handed over.
    pub unit: usize,
    /// A live packet waits no longer for others to be written with; half of it passes between two
    /// commits.
    pub flush_after: Duration,
    /// Units that are written before they are made durable together.
    pub units_per_commit: usize,
    /// Sealed segments that are kept open.
    pub segments_kept: usize,
    /// Splits that are kept open.
    pub splits_kept: usize,
    /// Units that a question has read ahead, for each shard.
    pub read_ahead: usize,
    /// The tables of flows and duplicates are so many times smaller.
    pub smaller_tables: usize,
    /// How long a builder rests between two splits.
    pub builder_pause: Duration,
    /// Builders; those beyond the first work while cores are idle.
    pub builders: usize,
    /// Whether live packets go before the index, and that before questions, instead of side by
    /// side.
    pub packets_first: bool,
    /// Duplicates are looked for so many times longer.
    pub wider_window: u32,
    /// Which flows are not stored.
    pub shedding: Shedding,
    /// Whether the trend of the scarce resource is followed,
    pub tracking: bool,
    /// whether it is estimated where that leads,
    pub planning: bool,
    /// and whether somebody is told.
    pub alerting: bool,
}

/// How much is shed of flows that are of no critical class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shedding {
    /// Nothing, and nothing is known of flows.
    #[default]
    No,
    /// Nothing; which flows are critical, and how much is stored of each, is found out.
    Evaluate,
    /// What comes behind the first bytes of each.
    Prioritize,
    /// All but the beginning of some.
    Suspend,
}

impl Effects {
    /// Four blocks at once are enough for a ring that is looked at every few milliseconds.
    const FEWER_BLOCKS: usize = 4;
    /// A unit of 4 MiB still has whole blocks of most flows.
    const SMALLER_UNIT: usize = 4;
    /// An eighth of what is kept open in NORMAL takes 50 MiB at most.
    const FEWER_KEPT: usize = 8;
    /// Tables of an eighth take less than a mebibyte a ring.
    const SMALLER_TABLES: usize = 8;
    /// A quarter of the syncs.
    const FEWER_WRITES: u32 = 4;
    /// Half of the batches.
    const FULLER_BATCHES: u32 = 2;
    /// Half of the disk's time is left to packets when a split takes as long to write.
    const PAUSE: Duration = Duration::from_millis(500);
    /// Duplicates come through slower paths when queues are full everywhere.
    const WIDER_WINDOW: u32 = 4;

    /// What holds in NORMAL.
    #[must_use]
    pub const fn normal(sizes: &Sizes) -> Effects {
        Effects {
            read_blocks: 16,
            unit: sizes.unit,
            flush_after: Duration::from_millis(400),
            units_per_commit: 4,
            // A segment's map takes 256 KiB for each GiB, a split some hundred KiB and a file.
            segments_kept: 512,
            splits_kept: 128,
            read_ahead: 2,
            smaller_tables: 1,
            builder_pause: Duration::ZERO,
            builders: 1,
            packets_first: false,
            wider_window: 1,
            shedding: Shedding::No,
            tracking: false,
            planning: false,
            alerting: false,
        }
    }

    /// What follows from the states that are in force ([`Machine::active`]), in a store of these
    /// sizes. The order in which they were begun makes no difference.
    ///
    /// [`Machine::active`]: crate::state::Machine::active
    #[must_use]
    pub fn of(active: &BTreeSet<State>, sizes: &Sizes) -> Effects {
        let mut effects = Effects::normal(sizes);
        for state in active {
            match state {
                State::Pressure(measure) => effects.take(*measure),
                State::Degraded(part) => effects.degrade(*part),
                State::Init(_)
                | State::Normal(_)
                | State::Critical(_)
                | State::AwsLifecycle(_)
                | State::Maintenance(_) => {}
            }
        }
        effects
    }

    /// Adds what a measure does.
    fn take(&mut self, measure: Pressure) {
        match measure {
            Pressure::MemoryPressure(MemoryPressure::BufferControl(it)) => match it {
                BufferControl::AdjustAllocation => {
                    self.segments_kept /= Self::FEWER_KEPT;
                    self.splits_kept /= Self::FEWER_KEPT;
                    self.read_ahead = 1;
                }
                BufferControl::ThrottleIngestion => {
                    self.read_blocks = (self.read_blocks / Self::FEWER_BLOCKS).max(1);
                    self.unit = (self.unit / Self::SMALLER_UNIT).max(1);
                    self.smaller_tables = Self::SMALLER_TABLES;
                }
                // What it does, it does once.
                BufferControl::ForceClear => {}
            },
            Pressure::StoragePressure(StoragePressure::NVMeControl(it)) => match it {
                NVMeControl::AdjustWriteRate => {
                    self.flush_after *= Self::FEWER_WRITES;
                    self.units_per_commit *= Self::FEWER_WRITES as usize;
                    self.builder_pause = Self::PAUSE;
                }
                NVMeControl::IncreaseDedupe => self.wider_window = Self::WIDER_WINDOW,
                // What it does, it does once.
                NVMeControl::ForceFlush => {}
            },
            Pressure::PipelinePressure(PipelinePressure::QueueControl(it)) => match it {
                QueueControl::AdjustBatch => {
                    self.flush_after *= Self::FULLER_BATCHES;
                    self.read_blocks *= Self::FULLER_BATCHES as usize;
                }
                QueueControl::ReorderQueues => self.packets_first = true,
                QueueControl::ScaleThreads => self.builders += 1,
            },
        }
    }

    /// Adds what a part of DEGRADED does.
    fn degrade(&mut self, part: Degraded) {
        match part {
            Degraded::PartialCapture(part) => {
                let shedding = match part {
                    PartialCapture::EvaluateFlows => Shedding::Evaluate,
                    PartialCapture::PrioritizeCritical => Shedding::Prioritize,
                    PartialCapture::SuspendNonCritical => Shedding::Suspend,
                };
                self.shedding = self.shedding.max(shedding);
            }
            Degraded::DegradedMonitoring(part) => match part {
                DegradedMonitoring::ResourceTracking => self.tracking = true,
                DegradedMonitoring::RecoveryPlanning => self.planning = true,
                DegradedMonitoring::AlertEscalation => self.alerting = true,
            },
        }
    }
}

impl Default for Effects {
    /// What holds in NORMAL, in a store of the usual sizes.
    fn default() -> Self {
        Effects::normal(&Sizes::default())
    }
}
