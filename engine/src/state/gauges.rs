//! What is measured: plain numbers, as parts of what there is, so that they mean the same on a
//! machine of any size.

use super::reading::{Gauge, PressureSource};

/// A part of something that has a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// So much is used.
    pub used: u64,
    /// Of so much. Where this is nothing, nothing is known.
    pub of: u64,
}

impl Part {
    /// In thousandths, at most a thousand.
    #[must_use]
    pub fn thousandths(self) -> u16 {
        if self.of == 0 {
            return 0;
        }
        let part = u128::from(self.used) * 1000 / u128::from(self.of);
        part.min(1000) as u16
    }
}

/// Everything that is measured, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Memory.
    pub memory: MemoryGauge,
    /// The disk.
    pub storage: StorageGauge,
    /// The queues.
    pub pipeline: PipelineGauge,
}

/// Memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryGauge {
    /// Bytes in use.
    pub used: u64,
    /// Bytes that may be used.
    pub limit: u64,
}

/// The disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageGauge {
    /// Free bytes of the file system.
    pub free: u64,
    /// All its bytes.
    pub total: u64,
    /// Bytes that retention keeps free; a tenth of the file system counts where this is nothing.
    pub keep_free: u64,
    /// Bytes that wait for the disk, of those that may.
    pub backlog: Part,
}

impl StorageGauge {
    /// How much is used of what should stay free. A store that retention keeps at its size has a
    /// file system that is always as full as it may be: that is no pressure.
    fn space(&self) -> Part {
        let kept = if self.keep_free == 0 { self.total / 10 } else { self.keep_free };
        Part { used: kept.saturating_sub(self.free), of: kept }
    }
}

/// The queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PipelineGauge {
    /// Batches that wait for a shard.
    pub queue: Part,
    /// Packets that wait in the rings.
    pub ring: Part,
    /// Segments that wait for their index.
    pub index: Part,
}

impl Gauges {
    /// What the gauges of a source show.
    pub(super) fn of(&self, source: PressureSource) -> Vec<(Gauge, Part)> {
        let Gauges { memory, storage, pipeline } = self;
        match source {
            PressureSource::Memory => {
                vec![(Gauge::Memory, Part { used: memory.used, of: memory.limit })]
            }
            PressureSource::Storage => {
                vec![(Gauge::Space, storage.space()), (Gauge::Backlog, storage.backlog)]
            }
            PressureSource::Pipeline => vec![
                (Gauge::Queue, pipeline.queue),
                (Gauge::Ring, pipeline.ring),
                (Gauge::Index, pipeline.index),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_what_there_is() {
        let thousandths = |used, of| Part { used, of }.thousandths();
        assert_eq!(thousandths(1, 3), 333);
        assert_eq!(thousandths(5, 3), 1000, "at most all");
        assert_eq!(thousandths(5, 0), 0, "nothing is known");
        assert_eq!(thousandths(u64::MAX, u64::MAX), 1000);
        for gib in [4, 256] {
            assert_eq!(thousandths(gib << 29, gib << 30), 500);
        }
    }

    #[test]
    fn a_disk_that_is_as_full_as_retention_lets_it_be_is_not_pressed() {
        let space = |free, keep_free| {
            StorageGauge { free, total: 1000, keep_free, ..StorageGauge::default() }
                .space()
                .thousandths()
        };
        assert_eq!(space(100, 100), 0);
        assert_eq!(space(50, 100), 500);
        assert_eq!(space(0, 100), 1000);
        assert_eq!(space(50, 50), 0, "less is kept free");
        assert_eq!(space(75, 0), 250, "a tenth, where nothing is said");
        assert_eq!(StorageGauge::default().space().thousandths(), 0, "nothing is known");
    }
}
