//! From what on a source is pressed, and how long things must last before they count.

mod check;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use check::ThresholdError;

use super::reading::{Gauge, Level};

/// From what on a gauge means what, in thousandths of what there is. Each way in has a way out
/// that lies lower, so that a load at a threshold does not count as coming and going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Below this, pressure is over.
    pub low: u16,
    /// From this on there is pressure.
    pub high: u16,
    /// Below this, what was exhausted is so no more.
    pub relieved: u16,
    /// From this on nothing is left.
    pub exhausted: u16,
}

impl Bounds {
    /// What `used` thousandths mean where they meant `before` the last time.
    pub(super) fn level(self, before: Level, used: u16) -> Level {
        if used >= self.exhausted || (before == Level::Exhausted && used >= self.relieved) {
            Level::Exhausted
        } else if used >= self.high {
            Level::High
        } else if before >= Level::Easing && used >= self.low {
            Level::Easing
        } else {
            Level::Calm
        }
    }
}

/// What the machine decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Of the memory that may be used.
    pub memory: Bounds,
    /// Of the room on the disk that should stay free.
    pub space: Bounds,
    /// Of what may wait for the disk.
    pub backlog: Bounds,
    /// Of what may wait in queues and rings, and for the index.
    pub pipeline: Bounds,
    /// The dwell time. The load moves the machine from one outermost state to another once in this
    /// time at most, and what has got better or run out counts once it has been so for as long.
    pub dwell: Duration,
    /// How long pressure goes on before the next measure is taken.
    pub step: Duration,
    /// How long pressure goes on before not everything is kept any more.
    pub sustained: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            memory: Bounds { low: 750, high: 850, relieved: 920, exhausted: 970 },
            space: Bounds { low: 100, high: 300, relieved: 750, exhausted: 900 },
            backlog: Bounds { low: 400, high: 700, relieved: 850, exhausted: 970 },
            pipeline: Bounds { low: 400, high: 700, relieved: 850, exhausted: 970 },
            dwell: Duration::from_secs(10),
            step: Duration::from_secs(10),
            sustained: Duration::from_secs(60),
        }
    }
}

impl Thresholds {
    /// Those that a gauge is judged by.
    #[must_use]
    pub const fn of(&self, gauge: Gauge) -> Bounds {
        match gauge {
            Gauge::Memory => self.memory,
            Gauge::Space => self.space,
            Gauge::Backlog => self.backlog,
            Gauge::Queue | Gauge::Ring | Gauge::Index => self.pipeline,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_level_is_entered_at_its_threshold_and_left_below_another(
            mut bounds in proptest::collection::btree_set(1u16..=1000, 4),
            loads in proptest::collection::vec(0u16..=1000, 1..50),
        ) {
            let mut next = || bounds.pop_first().unwrap();
            let bounds =
                Bounds { low: next(), high: next(), relieved: next(), exhausted: next() };
            let mut before = Level::Calm;
            for used in loads {
                let level = bounds.level(before, used);
                match level {
                    Level::Calm => prop_assert!(
                        used < bounds.low || (before == Level::Calm && used < bounds.high)
                    ),
                    Level::Easing => prop_assert!(
                        (bounds.low..bounds.high).contains(&used) && before != Level::Calm
                    ),
                    Level::High => prop_assert!(
                        (bounds.high..bounds.exhausted).contains(&used)
                            && !(before == Level::Exhausted && used >= bounds.relieved)
                    ),
                    Level::Exhausted => prop_assert!(
                        used >= bounds.exhausted
                            || (before == Level::Exhausted && used >= bounds.relieved)
                    ),
                }
                before = level;
            }
        }
    }
}
