//! AWS_LIFECYCLE: the cloud has said something of the instance.

use std::mem;

use super::super::tree::{Arrows, Node, Tree, states};

states! {
    /// In AWS_LIFECYCLE: what was said last, of each of the three.
    AwsLifecycle: Absent {
        /// What becomes of the instance.
        InstanceStates(InstanceStates),
        /// How well it is.
        HealthStates(HealthStates),
        /// How its group changes.
        ScalingStates(ScalingStates),
    }
}

states! {
    /// In AWS_LIFECYCLE / InstanceStates.
    InstanceStates: Absent {
        /// It is being started.
        Launching,
        /// It runs.
        Running,
        /// It is being stopped.
        Stopping,
        /// It is being removed.
        Terminated,
    }
}

states! {
    /// In AWS_LIFECYCLE / HealthStates.
    HealthStates: Absent {
        /// Its checks pass.
        Healthy,
        /// A check fails.
        Impaired,
        /// Nobody knows yet.
        InsufficientData,
    }
}

states! {
    /// In AWS_LIFECYCLE / ScalingStates.
    ScalingStates: Absent {
        /// The group is about to change.
        ScalePrep,
        /// It changes.
        ScaleExec,
        /// It has changed.
        ScaleComplete,
    }
}

impl AwsLifecycle {
    /// Whether both say the same kind of thing, so that the later one takes the other's place.
    pub(in crate::state) fn is_of_kind(self, other: AwsLifecycle) -> bool {
        mem::discriminant(&self) == mem::discriminant(&other)
    }

    /// Whether something is under way that will be told of again.
    pub(in crate::state) const fn is_under_way(self) -> bool {
        match self {
            AwsLifecycle::InstanceStates(InstanceStates::Launching)
            | AwsLifecycle::ScalingStates(ScalingStates::ScalePrep | ScalingStates::ScaleExec) => {
                true
            }
            AwsLifecycle::InstanceStates(
                InstanceStates::Running | InstanceStates::Stopping | InstanceStates::Terminated,
            )
            | AwsLifecycle::HealthStates(
                HealthStates::Healthy | HealthStates::Impaired | HealthStates::InsufficientData,
            )
            | AwsLifecycle::ScalingStates(ScalingStates::ScaleComplete) => false,
        }
    }

    /// Whether the instance is about to go.
    pub(in crate::state) const fn is_ending(self) -> bool {
        match self {
            AwsLifecycle::InstanceStates(InstanceStates::Stopping | InstanceStates::Terminated) => {
                true
            }
            AwsLifecycle::InstanceStates(InstanceStates::Launching | InstanceStates::Running)
            | AwsLifecycle::HealthStates(_)
            | AwsLifecycle::ScalingStates(_) => false,
        }
    }
}
