//! DEGRADED: what the measures of PRESSURE did not help against; not everything can be kept.

use super::super::tree::{Arrows, Node, Tree, states};

states! {
    /// In DEGRADED.
    Degraded: First {
        /// Some flows are kept, others are not.
        PartialCapture(PartialCapture),
        /// Watching that more closely.
        DegradedMonitoring(DegradedMonitoring),
    }
}

states! {
    /// In DEGRADED / PartialCapture: taken one after the other while the pressure goes on, each in
    /// addition to those before it.
    PartialCapture: Absent {
        /// Which flows matter is worked out.
        EvaluateFlows,
        /// Those that matter go first.
        PrioritizeCritical,
        /// The others are not kept.
        SuspendNonCritical,
    }
}

states! {
    /// In DEGRADED / DegradedMonitoring.
    DegradedMonitoring: Absent {
        /// How the scarce resource goes on.
        ResourceTracking,
        /// When it will have recovered, or run out.
        RecoveryPlanning,
        /// Whoever looks after it is told.
        AlertEscalation,
    }
}
