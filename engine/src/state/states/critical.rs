//! CRITICAL: a resource has run out, or the machine is about to go.

use super::super::tree::{Arrows, Node, Tree, states};

states! {
    /// In CRITICAL: done one after the other.
    Critical: First {
        /// What is there is made safe.
        EmergencyMode(EmergencyMode),
        /// So that another can go on.
        FailoverPrep(FailoverPrep),
    }
}

states! {
    /// In CRITICAL / EmergencyMode.
    EmergencyMode: Absent {
        /// State and counters.
        SaveState,
        /// Packets and keys.
        SecureData,
        /// Whoever is in control is told.
        NotifyControl,
    }
}

states! {
    /// In CRITICAL / FailoverPrep.
    FailoverPrep: Absent {
        /// What another needs to know.
        StateDump,
        /// Buffers go to the disk.
        BufferFlush,
        /// The index is brought up to date.
        IndexSync,
    }
}
