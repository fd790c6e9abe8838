//! The storage state machine, the half that decides: a pure function from a state and an event to
//! the next state and what is to be done (docs/state-machine.md).
//!
//! ```text
//! Gauges ── judge ──▶ Readings ─┐
//! done, failed, cloud, tick ────┴▶ Event ── Machine::step ──▶ Machine, Transition, Actions
//! ```
//!
//! A [`State`] is one of the innermost states of the specification; its text is its *state path*.
//! Several hold at a time ([`Machine::active`]): an [`Action`] begins or ends one of them. Time and
//! measurements come in with the events; nothing here reads a clock, a file or a gauge.

mod change;
mod diagram;
mod edge;
mod event;
mod gauges;
mod judge;
mod load;
mod machine;
mod outside;
mod pressed;
mod reading;
mod states;
#[cfg(test)]
mod tests;
mod thresholds;
mod transition;
mod tree;
mod watch;
mod work;

pub use change::{Action, Change, Ignored, Outcome};
pub use diagram::diagram;
pub use edge::Edge;
pub use event::{Event, EventKind, Moment, Occasion};
pub use gauges::{Gauges, MemoryGauge, Part, PipelineGauge, StorageGauge};
pub use judge::judge;
pub use machine::Machine;
pub use reading::{Gauge, Level, PressureSource, Reading, Readings};
pub use states::*;
pub use thresholds::{Bounds, ThresholdError, Thresholds};
pub use transition::Transition;
