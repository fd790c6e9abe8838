//! The edges between outermost states: those of the specification, and no others.

use super::states::TopState;

/// An arrow from one outermost state to another. There is no other way between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edge {
    /// INIT to NORMAL.
    SystemReady,
    /// NORMAL to PRESSURE.
    SourceThreshold,
    /// PRESSURE to NORMAL.
    ResourceRecovery,
    /// PRESSURE to DEGRADED.
    SustainedPressure,
    /// DEGRADED to PRESSURE.
    PartialRecovery,
    /// DEGRADED to CRITICAL.
    ResourceExhaustion,
    /// CRITICAL to DEGRADED.
    EmergencyRecovery,
    /// Any to AWS_LIFECYCLE.
    CloudEvent,
    /// AWS_LIFECYCLE to INIT.
    InstanceStart,
    /// AWS_LIFECYCLE to CRITICAL.
    InstanceStop,
    /// Any to MAINTENANCE.
    TaskDue,
    /// MAINTENANCE to INIT.
    TasksComplete,
}

impl Edge {
    /// All there are, in the order of the specification.
    pub const ALL: [Edge; 12] = [
        Edge::SystemReady,
        Edge::SourceThreshold,
        Edge::ResourceRecovery,
        Edge::SustainedPressure,
        Edge::PartialRecovery,
        Edge::ResourceExhaustion,
        Edge::EmergencyRecovery,
        Edge::CloudEvent,
        Edge::InstanceStart,
        Edge::InstanceStop,
        Edge::TaskDue,
        Edge::TasksComplete,
    ];

    /// Where it leads from; `None` is any other state.
    #[must_use]
    pub const fn from(self) -> Option<TopState> {
        match self {
            Edge::SystemReady => Some(TopState::Init),
            Edge::SourceThreshold => Some(TopState::Normal),
            Edge::ResourceRecovery | Edge::SustainedPressure => Some(TopState::Pressure),
            Edge::PartialRecovery | Edge::ResourceExhaustion => Some(TopState::Degraded),
            Edge::EmergencyRecovery => Some(TopState::Critical),
            Edge::InstanceStart | Edge::InstanceStop => Some(TopState::AwsLifecycle),
            Edge::TasksComplete => Some(TopState::Maintenance),
            Edge::CloudEvent | Edge::TaskDue => None,
        }
    }

    /// Where it leads to.
    #[must_use]
    pub const fn to(self) -> TopState {
        match self {
            Edge::SystemReady | Edge::ResourceRecovery => TopState::Normal,
            Edge::SourceThreshold | Edge::PartialRecovery => TopState::Pressure,
            Edge::SustainedPressure | Edge::EmergencyRecovery => TopState::Degraded,
            Edge::ResourceExhaustion | Edge::InstanceStop => TopState::Critical,
            Edge::CloudEvent => TopState::AwsLifecycle,
            Edge::TaskDue => TopState::Maintenance,
            Edge::InstanceStart | Edge::TasksComplete => TopState::Init,
        }
    }

    /// As the specification calls it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Edge::SystemReady => "System Ready",
            Edge::SourceThreshold => "Source-Specific Threshold",
            Edge::ResourceRecovery => "Resource Recovery",
            Edge::SustainedPressure => "Sustained Pressure",
            Edge::PartialRecovery => "Partial Recovery",
            Edge::ResourceExhaustion => "Resource Exhaustion",
            Edge::EmergencyRecovery => "Emergency Recovery",
            Edge::CloudEvent => "Cloud Event",
            Edge::InstanceStart => "Instance Start",
            Edge::InstanceStop => "Instance Stop/Terminate",
            Edge::TaskDue => "Scheduled/Manual",
            Edge::TasksComplete => "Tasks Complete",
        }
    }

    /// The edge from one to the other, if there is one.
    #[must_use]
    pub fn between(from: TopState, to: TopState) -> Option<Edge> {
        let leads = |edge: &Edge| edge.to() == to && edge.from().is_none_or(|it| it == from);
        Edge::ALL.into_iter().find(leads).filter(|_| from != to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_states_there_is_one_edge_at_most() {
        let mut count = 0;
        for from in TopState::ALL {
            for to in TopState::ALL {
                let leads =
                    |edge: &&Edge| edge.to() == to && edge.from().is_none_or(|it| it == from);
                let edges: Vec<_> = Edge::ALL.iter().filter(leads).collect();
                assert!(edges.len() <= 1, "{from} to {to}: {edges:?}");
                count += usize::from(Edge::between(from, to).is_some());
            }
        }
        assert_eq!(count, 10 + 2 * 6, "ten by name, two from any other state");
    }
}
