//! NORMAL: packets are taken, written and indexed as they come.

use super::super::tree::{Arrows, Node, Tree, states};

states! {
    /// In NORMAL.
    Normal: First {
        /// The way of a packet.
        OptimalFlow(OptimalFlow),
        /// Watching it.
        MonitoringActive(MonitoringActive),
    }
}

states! {
    /// In NORMAL / OptimalFlow. Each is at work once it has said so, and stays at work while the
    /// next ones begin.
    OptimalFlow: Chain {
        /// From the ring to the disk with one copy.
        ZeroCopyActive(ZeroCopyActive),
        /// Blocks are compressed.
        CompressActive,
        /// Sealed segments are indexed.
        IndexActive,
    }
}

states! {
    /// In NORMAL / OptimalFlow / ZeroCopyActive.
    ZeroCopyActive: Absent {
        /// Packets are copied once.
        DirectMemory,
        /// Writes are direct.
        NVMeDirect,
        /// Buffers are used again.
        BufferManaged,
    }
}

states! {
    /// In NORMAL / MonitoringActive.
    MonitoringActive: Absent {
        /// The gauges are read and judged.
        PressureWatch,
        /// Metrics are collected.
        MetricsCollection,
        /// The store tries itself.
        HealthCheck,
    }
}
