//! What a gauge showed, and what it means.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where pressure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PressureSource {
    /// Memory.
    Memory,
    /// The disk.
    Storage,
    /// The queues between the interfaces, the disk and the index.
    Pipeline,
}

impl PressureSource {
    /// All there are.
    pub const ALL: [PressureSource; 3] =
        [PressureSource::Memory, PressureSource::Storage, PressureSource::Pipeline];

    /// As it is written, in settings and in names of metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            PressureSource::Memory => "memory",
            PressureSource::Storage => "storage",
            PressureSource::Pipeline => "pipeline",
        }
    }
}

impl fmt::Display for PressureSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gauge {
    /// Memory, of what may be used.
    Memory,
    /// Room on the disk, of what should stay free.
    Space,
    /// Bytes that wait for the disk, of those that may.
    Backlog,
    /// Batches that wait for a shard, of those that may.
    Queue,
    /// Packets that wait in the rings, of those that may.
    Ring,
    /// Segments that wait for their index, of those that may.
    Index,
}

impl Gauge {
    /// The source that it tells of.
    #[must_use]
    pub const fn source(self) -> PressureSource {
        match self {
            Gauge::Memory => PressureSource::Memory,
            Gauge::Space | Gauge::Backlog => PressureSource::Storage,
            Gauge::Queue | Gauge::Ring | Gauge::Index => PressureSource::Pipeline,
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Gauge::Memory => "of the memory is used",
            Gauge::Space => "of the room that should stay free is used",
            Gauge::Backlog => "of what may wait for the disk waits",
            Gauge::Queue => "of the queue is full",
            Gauge::Ring => "of the ring is full",
            Gauge::Index => "of the segments that may wait for their index wait",
        }
    }
}

/// How much of a source is used, judged.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Too little to speak of.
    #[default]
    Calm,
    /// It was high, and is not yet low.
    Easing,
    /// So much that something has to be done.
    High,
    /// There is nothing left.
    Exhausted,
}

impl Level {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Level::Calm => "calm",
            Level::Easing => "easing",
            Level::High => "high",
            Level::Exhausted => "exhausted",
        }
    }
}

/// One source, judged by the worst of its gauges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// What it means.
    pub level: Level,
    /// The gauge that shows it.
    pub gauge: Gauge,
    /// How much is used, in thousandths.
    pub used: u16,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Percent(self.used), self.gauge.sentence())
    }
}

/// All sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readings {
    /// Memory.
    pub memory: Reading,
    /// The disk.
    pub storage: Reading,
    /// The queues.
    pub pipeline: Reading,
}

impl Readings {
    /// Of one source.
    #[must_use]
    pub const fn of(&self, source: PressureSource) -> Reading {
        match source {
            PressureSource::Memory => self.memory,
            PressureSource::Storage => self.storage,
            PressureSource::Pipeline => self.pipeline,
        }
    }
}

impl Default for Readings {
    /// Nothing is used.
    fn default() -> Self {
        let unused = |gauge| Reading { level: Level::Calm, gauge, used: 0 };
        Readings {
            memory: unused(Gauge::Memory),
            storage: unused(Gauge::Space),
            pipeline: unused(Gauge::Queue),
        }
    }
}

impl fmt::Display for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [memory, storage, pipeline] =
            PressureSource::ALL.map(|source| Percent(self.of(source).used));
        write!(f, "memory {memory}, storage {storage}, pipeline {pipeline}")
    }
}

/// Thousandths, shown as hundredths.
pub(super) struct Percent(pub(super) u16);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} %", self.0 / 10, self.0 % 10)
    }
}
