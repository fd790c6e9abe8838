//! MAINTENANCE: a task that looks after what is stored.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::tree::{Arrows, Node, Tree, states};

states! {
    /// In MAINTENANCE: the steps of a task, one after the other.
    Maintenance: Absent {
        /// A copy of the store.
        Backup(Backup),
        /// What has to go goes.
        Cleanup(Cleanup),
        /// What was damaged is made good.
        Recovery(Recovery),
        /// What others must be able to check.
        ComplianceOps(ComplianceOps),
    }
}

states! {
    /// In MAINTENANCE / Backup.
    Backup: Absent {
        /// A moment of the store is held fast.
        SnapshotInit,
        /// It is copied.
        SecureTransfer,
        /// The copy is checked.
        VerifyIntegrity,
    }
}

states! {
    /// In MAINTENANCE / Cleanup.
    Cleanup: Absent {
        /// What has to go is worked out.
        RetentionCheck,
        /// It is removed so that nobody can read it.
        SecureDelete,
        /// The index forgets it.
        IndexCleanup,
    }
}

states! {
    /// In MAINTENANCE / Recovery.
    Recovery: Absent {
        /// What the store knows of itself.
        StateRestore,
        /// The index.
        IndexRebuild,
        /// All of it is checked.
        IntegrityVerify,
    }
}

states! {
    /// In MAINTENANCE / ComplianceOps.
    ComplianceOps: Absent {
        /// The audit log is made ready.
        AuditPrep,
        /// It is archived.
        LogArchival,
        /// It is checked and reported on.
        ComplianceCheck,
    }
}

/// A task of MAINTENANCE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// A copy of the store is made.
    Backup,
    /// What has to go goes.
    Cleanup,
    /// What was damaged is made good.
    Recovery,
    /// The audit log is archived and reported on.
    ComplianceOps,
}

impl Task {
    /// All there are.
    pub const ALL: [Task; 4] = [Task::Backup, Task::Cleanup, Task::Recovery, Task::ComplianceOps];

    /// Its first step.
    #[must_use]
    pub const fn first(self) -> Maintenance {
        match self {
            Task::Backup => Maintenance::Backup(Backup::SnapshotInit),
            Task::Cleanup => Maintenance::Cleanup(Cleanup::RetentionCheck),
            Task::Recovery => Maintenance::Recovery(Recovery::StateRestore),
            Task::ComplianceOps => Maintenance::ComplianceOps(ComplianceOps::AuditPrep),
        }
    }

    /// As the specification calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Task::Backup => "Backup",
            Task::Cleanup => "Cleanup",
            Task::Recovery => "Recovery",
            Task::ComplianceOps => "ComplianceOps",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Maintenance {
    /// The task that it is a step of.
    #[must_use]
    pub const fn task(self) -> Task {
        match self {
            Maintenance::Backup(_) => Task::Backup,
            Maintenance::Cleanup(_) => Task::Cleanup,
            Maintenance::Recovery(_) => Task::Recovery,
            Maintenance::ComplianceOps(_) => Task::ComplianceOps,
        }
    }

    /// The next step of the same task.
    pub(crate) fn next_step(self) -> Option<Maintenance> {
        self.next().filter(|next| next.task() == self.task())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_has_three_steps() {
        for task in Task::ALL {
            let steps: Vec<_> =
                std::iter::successors(Some(task.first()), |it| it.next_step()).collect();
            assert_eq!(steps.len(), 3);
            assert!(steps.iter().all(|it| it.task() == task && it.names()[0] == task.name()));
        }
    }
}
