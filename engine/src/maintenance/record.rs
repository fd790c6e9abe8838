//! What is kept of tasks from one to the next: when each was done last, and how far a scrub got. A
//! small file, `DIR/maintenance.json`; where it is lost, tasks are done once more than was needed.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use tapstone_runtime::{blocking, clock};

use super::recovery::ScrubPlace;
use crate::layout::Layout;
use crate::state::Task;
use crate::store::Store;

const VERSION: u64 = 1;

/// It.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u64,
    /// When it was begun, nanoseconds since the epoch.
    begun_nanos: u64,
    /// When a task was done to its end, by its name.
    done_nanos: BTreeMap<String, u64>,
    /// How far a scrub got that was given up.
    pub(super) scrub: Option<ScrubPlace>,
}

/// The record of an open store, read when it is first asked for.
#[derive(Debug, Default)]
pub(crate) struct KeptRecord(Mutex<Option<Record>>);

impl Store {
    /// When a task was done to its end last, in nanoseconds since the epoch; `None` before it ever was.
    #[must_use]
    pub fn last_done(&self, task: Task) -> Option<u64> {
        self.kept_record().done_nanos.get(task.name()).copied()
    }

    /// From when on it counts how long a task was not done, in nanoseconds since the epoch: when it
    /// was done to its end last; before it ever was, when somebody asked for the first time.
    #[must_use]
    pub fn last_maintained(&self, task: Task) -> u64 {
        let mut record = self.kept_record();
        if record.begun_nanos == 0 {
            self.keep_record(|_| {});
            record = self.kept_record();
        }
        record.done_nanos.get(task.name()).copied().unwrap_or(record.begun_nanos)
    }

    /// A task was done to its end.
    pub(super) fn note_done(&self, task: Task) {
        self.keep_record(|record| {
            record.done_nanos.insert(task.name().to_owned(), clock::unix_nanos());
        });
    }

    pub(super) fn kept_record(&self) -> Record {
        let mut kept = self.inner.maintained.0.lock().expect("no holder of the lock panics");
        kept.get_or_insert_with(|| read(&self.inner.layout)).clone()
    }

    /// Changes the record, durably. Where the disk refuses, it is remembered until the store is closed.
    pub(super) fn keep_record(&self, change: impl FnOnce(&mut Record)) {
        let mut kept = self.inner.maintained.0.lock().expect("no holder of the lock panics");
        let record = kept.get_or_insert_with(|| read(&self.inner.layout));
        record.version = VERSION;
        if record.begun_nanos == 0 {
            record.begun_nanos = clock::unix_nanos();
        }
        change(record);
        let bytes = serde_json::to_vec_pretty(record).expect("it has texts and numbers alone");
        if let Err(error) = blocking::replace_file(&self.inner.layout.maintenance(), &bytes) {
            tracing::warn!(%error, "what was maintained is forgotten when the store is closed");
        }
    }
}

fn read(layout: &Layout) -> Record {
    let path = layout.maintenance();
    let bytes = match blocking::read_file(&path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Record::default(),
        Err(error) => {
            tracing::warn!(%error, "nobody knows what was maintained when");
            return Record::default();
        }
    };
    match serde_json::from_slice::<Record>(&bytes) {
        Ok(record) if record.version == VERSION => record,
        Ok(_) | Err(_) => {
            tracing::warn!(
                "{} says nothing that this program knows; it is begun anew",
                path.display()
            );
            Record::default()
        }
    }
}
