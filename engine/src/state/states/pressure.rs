//! PRESSURE: a pressure source is used beyond its threshold, and measures are taken against it.

use super::super::reading::PressureSource;
use super::super::tree::{Arrows, Node, Tree, states};

states! {
    /// In PRESSURE: a measure. Those of one source are taken one after the other while the
    /// pressure goes on, each in addition to those before it.
    Pressure: Each {
        /// On memory.
        MemoryPressure(MemoryPressure),
        /// On the disk.
        StoragePressure(StoragePressure),
        /// On what is between them.
        PipelinePressure(PipelinePressure),
    }
}

states! {
    /// In PRESSURE / MemoryPressure.
    MemoryPressure: Absent {
        /// Measures on buffers.
        BufferControl(BufferControl),
    }
}

states! {
    /// In PRESSURE / MemoryPressure / BufferControl.
    BufferControl: Absent {
        /// Less memory is set aside.
        AdjustAllocation,
        /// Packets are taken more slowly.
        ThrottleIngestion,
        /// Memory is given back whatever it costs.
        ForceClear,
    }
}

states! {
    /// In PRESSURE / StoragePressure.
    StoragePressure: Absent {
        /// Measures on writes.
        NVMeControl(NVMeControl),
    }
}

states! {
    /// In PRESSURE / StoragePressure / NVMeControl.
    NVMeControl: Absent {
        /// Fewer and larger writes.
        AdjustWriteRate,
        /// Fewer bytes for the same packets.
        IncreaseDedupe,
        /// Room is made whatever it costs.
        ForceFlush,
    }
}

states! {
    /// In PRESSURE / PipelinePressure.
    PipelinePressure: Absent {
        /// Measures on queues.
        QueueControl(QueueControl),
    }
}

states! {
    /// In PRESSURE / PipelinePressure / QueueControl.
    QueueControl: Absent {
        /// Larger batches.
        AdjustBatch,
        /// What matters most goes first.
        ReorderQueues,
        /// More threads.
        ScaleThreads,
    }
}

impl Pressure {
    /// What it is taken against.
    #[must_use]
    pub const fn source(self) -> PressureSource {
        match self {
            Pressure::MemoryPressure(_) => PressureSource::Memory,
            Pressure::StoragePressure(_) => PressureSource::Storage,
            Pressure::PipelinePressure(_) => PressureSource::Pipeline,
        }
    }

    /// How many measures of its source come before it.
    #[must_use]
    pub const fn step(self) -> usize {
        match self {
            Pressure::MemoryPressure(MemoryPressure::BufferControl(it)) => it as usize,
            Pressure::StoragePressure(StoragePressure::NVMeControl(it)) => it as usize,
            Pressure::PipelinePressure(PipelinePressure::QueueControl(it)) => it as usize,
        }
    }

    /// The measures against a source, in the order in which they are taken.
    #[must_use]
    pub fn against(source: PressureSource) -> Vec<Pressure> {
        Pressure::all().into_iter().filter(|it| it.source() == source).collect()
    }

    /// The first measure against a source.
    pub(in crate::state) const fn first(source: PressureSource) -> Pressure {
        match source {
            PressureSource::Memory => Pressure::MemoryPressure(MemoryPressure::BufferControl(
                BufferControl::AdjustAllocation,
            )),
            PressureSource::Storage => Pressure::StoragePressure(StoragePressure::NVMeControl(
                NVMeControl::AdjustWriteRate,
            )),
            PressureSource::Pipeline => Pressure::PipelinePressure(PipelinePressure::QueueControl(
                QueueControl::AdjustBatch,
            )),
        }
    }

    /// The next measure against the same source.
    pub(in crate::state) fn next_measure(self) -> Option<Pressure> {
        self.next().filter(|next| next.source() == self.source())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_three_measures() {
        for source in PressureSource::ALL {
            let measures = Pressure::against(source);
            assert_eq!(measures[0], Pressure::first(source));
            assert_eq!(measures.iter().map(|it| it.step()).collect::<Vec<_>>(), [0, 1, 2]);
            assert_eq!(measures[0].next_measure(), Some(measures[1]));
            assert_eq!(measures[2].next_measure(), None);
        }
    }
}
