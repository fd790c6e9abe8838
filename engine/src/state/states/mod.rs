//! The states of the specification, each as it lies in the others.

mod aws_lifecycle;
mod critical;
mod degraded;
mod init;
mod maintenance;
mod normal;
mod path;
mod pressure;

pub use aws_lifecycle::{AwsLifecycle, HealthStates, InstanceStates, ScalingStates};
pub use critical::{Critical, EmergencyMode, FailoverPrep};
pub use degraded::{Degraded, DegradedMonitoring, PartialCapture};
pub use init::{Init, ResourceCheck, SecurityInit, WarmUp};
pub use maintenance::{Backup, Cleanup, ComplianceOps, Maintenance, Recovery, Task};
pub use normal::{MonitoringActive, Normal, OptimalFlow, ZeroCopyActive};
pub use path::ParseStateError;
pub use pressure::{
    BufferControl, MemoryPressure, NVMeControl, PipelinePressure, Pressure, QueueControl,
    StoragePressure,
};

use std::fmt;

use serde::{Deserialize, Serialize};

use super::tree::{Arrows, Node, Tree};

/// An innermost state. Its text is its *state path*:
/// `PRESSURE / StoragePressure / NVMeControl / AdjustWriteRate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum State {
    /// What must hold first is looked at.
    Init(Init),
    /// All is well.
    Normal(Normal),
    /// A measure against pressure on a source.
    Pressure(Pressure),
    /// Not everything can be kept.
    Degraded(Degraded),
    /// A resource has run out.
    Critical(Critical),
    /// The cloud has said something of the instance.
    AwsLifecycle(AwsLifecycle),
    /// A task looks after what is stored.
    Maintenance(Maintenance),
}

impl State {
    /// All there are, in the order of the specification.
    #[must_use]
    pub fn all() -> Vec<State> {
        fn of<T: Tree>(top: fn(T) -> State) -> Vec<State> {
            T::all().into_iter().map(top).collect()
        }
        [
            of(State::Init),
            of(State::Normal),
            of(State::Pressure),
            of(State::Degraded),
            of(State::Critical),
            of(State::AwsLifecycle),
            of(State::Maintenance),
        ]
        .concat()
    }

    /// The outermost state that it lies in.
    #[must_use]
    pub const fn top(self) -> TopState {
        match self {
            State::Init(_) => TopState::Init,
            State::Normal(_) => TopState::Normal,
            State::Pressure(_) => TopState::Pressure,
            State::Degraded(_) => TopState::Degraded,
            State::Critical(_) => TopState::Critical,
            State::AwsLifecycle(_) => TopState::AwsLifecycle,
            State::Maintenance(_) => TopState::Maintenance,
        }
    }

    /// The names of the states that it lies in, from the outermost to its own.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let inner = match self {
            State::Init(it) => it.names(),
            State::Normal(it) => it.names(),
            State::Pressure(it) => it.names(),
            State::Degraded(it) => it.names(),
            State::Critical(it) => it.names(),
            State::AwsLifecycle(it) => it.names(),
            State::Maintenance(it) => it.names(),
        };
        [&[self.top().name()], &inner[..]].concat()
    }

    /// Its own name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.names().last().copied().unwrap_or_default()
    }
}

/// An outermost state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TopState {
    /// What must hold first is looked at.
    Init,
    /// All is well.
    Normal,
    /// A source is used beyond its threshold.
    Pressure,
    /// Not everything can be kept.
    Degraded,
    /// A resource has run out.
    Critical,
    /// The cloud has said something of the instance.
    AwsLifecycle,
    /// A task looks after what is stored.
    Maintenance,
}

impl TopState {
    /// All there are, in the order of the specification.
    pub const ALL: [TopState; 7] = [
        TopState::Init,
        TopState::Normal,
        TopState::Pressure,
        TopState::Degraded,
        TopState::Critical,
        TopState::AwsLifecycle,
        TopState::Maintenance,
    ];

    /// As the specification calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            TopState::Init => "INIT",
            TopState::Normal => "NORMAL",
            TopState::Pressure => "PRESSURE",
            TopState::Degraded => "DEGRADED",
            TopState::Critical => "CRITICAL",
            TopState::AwsLifecycle => "AWS_LIFECYCLE",
            TopState::Maintenance => "MAINTENANCE",
        }
    }

    /// Whether it says how heavy the load is: one of the four that the readings lead between.
    #[must_use]
    pub const fn is_of_load(self) -> bool {
        match self {
            TopState::Normal | TopState::Pressure | TopState::Degraded | TopState::Critical => true,
            TopState::Init | TopState::AwsLifecycle | TopState::Maintenance => false,
        }
    }

    /// What is drawn.
    pub(super) fn node(self) -> Node {
        fn of<T: Tree>() -> (Arrows, Vec<Node>) {
            (T::ARROWS, T::nodes())
        }
        let (arrows, children) = match self {
            TopState::Init => of::<Init>(),
            TopState::Normal => of::<Normal>(),
            TopState::Pressure => of::<Pressure>(),
            TopState::Degraded => of::<Degraded>(),
            TopState::Critical => of::<Critical>(),
            TopState::AwsLifecycle => of::<AwsLifecycle>(),
            TopState::Maintenance => of::<Maintenance>(),
        };
        Node { name: self.name(), arrows, children }
    }
}

impl fmt::Display for TopState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
