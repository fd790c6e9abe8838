//! Handing the effects to those who act.

use super::{Effects, Report};
use crate::store::Store;

impl Store {
    /// Works as the effects say from now on. Whoever keeps the state of the store calls it after
    /// each transition; applying the same effects twice is applying them once.
    pub fn apply_effects(&self, effects: &Effects) {
        let inner = &self.inner;
        inner.orders.exchange(*effects);
        inner.recent_files.bound(effects);
        inner.builders.scale(effects.builders);
    }

    /// The effects that hold.
    #[must_use]
    pub fn effects(&self) -> Effects {
        self.inner.orders.effects()
    }

    /// Takes note of what [`Lookout::look`](super::Lookout::look) said, and tells the log when that
    /// is due.
    pub fn take_note(&self, report: Option<Report>) {
        if let Some(report) = &report {
            report.tell();
        }
        *self.inner.outlook.lock().expect("no holder of the lock panics") = report;
    }

    /// What is known of the scarcest resource while the store is degraded.
    #[must_use]
    pub fn outlook(&self) -> Option<Report> {
        *self.inner.outlook.lock().expect("no holder of the lock panics")
    }
}
