//! What the machine is told.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reading::Readings;
use super::states::{AwsLifecycle, State, Task};

/// When something happened, by two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Since the machine was started, by a clock that never goes back: what is decided by.
    pub since_start: Duration,
    /// Since the epoch, in nanoseconds: what is recorded.
    pub unix_nanos: u64,
}

/// What the machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The gauges were read and judged.
    Readings(Readings),
    /// Time has passed.
    Tick,
    /// What this state had to do is done; of the states of NORMAL: it is at work.
    Done(State),
    /// What this state had to do cannot be done, and why.
    Failed(State, String),
    /// The cloud says this of the instance.
    Cloud(AwsLifecycle),
    /// A task is due.
    Maintain(Task, Occasion),
}

/// Why a task is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// Its time has come.
    Scheduled,
    /// Somebody wants it.
    Manual,
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Occasion::Scheduled => "its time has come",
            Occasion::Manual => "somebody asked for it",
        })
    }
}

/// What kind of event led to a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The machine was started.
    Start,
    /// The gauges were read.
    Readings,
    /// Time passed.
    Tick,
    /// Something was done.
    Done,
    /// Something failed.
    Failed,
    /// The cloud said something.
    Cloud,
    /// A task was due.
    Maintain,
}

impl EventKind {
    /// All there are.
    pub const ALL: [EventKind; 7] = [
        EventKind::Start,
        EventKind::Readings,
        EventKind::Tick,
        EventKind::Done,
        EventKind::Failed,
        EventKind::Cloud,
        EventKind::Maintain,
    ];

    /// As it is written, in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::Start => "start",
            EventKind::Readings => "readings",
            EventKind::Tick => "tick",
            EventKind::Done => "done",
            EventKind::Failed => "failed",
            EventKind::Cloud => "cloud",
            EventKind::Maintain => "maintain",
        }
    }

    pub(super) fn of_name(name: &str) -> Option<EventKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Event {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Event::Readings(_) => EventKind::Readings,
            Event::Tick => EventKind::Tick,
            Event::Done(_) => EventKind::Done,
            Event::Failed(..) => EventKind::Failed,
            Event::Cloud(_) => EventKind::Cloud,
            Event::Maintain(..) => EventKind::Maintain,
        }
    }
}
