//! The storage state machine, the half that decides: how scarce memory, disk and queues are.
//!
//! Measurements come in as values; nothing here reads a clock, a file or a gauge.

mod gauges;
mod judge;
mod reading;
mod thresholds;

pub use gauges::{Gauges, MemoryGauge, Part, PipelineGauge, StorageGauge};
pub use judge::judge;
pub use reading::{Gauge, Level, PressureSource, Reading, Readings};
pub use thresholds::{Bounds, ThresholdError, Thresholds};
