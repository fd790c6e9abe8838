//! Where things are in a store's folder.

use std::path::{Path, PathBuf};

use crate::id::SegmentId;

/// The paths of a store.
///
/// ```text
/// DIR/store              what store this is
/// DIR/lock               who has it open
/// DIR/master.key         the master key (0600)
/// DIR/keys/              bucket keys, one file a day
/// DIR/catalog.redb       which segments there are; catalog.damaged: one that could not be read
/// DIR/segments/*.seg     sealed segments; *.open while they are written
/// DIR/splits/*.split     their indexes
/// DIR/wal/*.log          what was made durable of open segments
/// DIR/audit/*.log        the audit log; DIR/audit.head: how far it reached
/// DIR/audit/archive/     its files that were archived; DIR/audit.mark: which, and what they end with
/// DIR/ledger/*.log       what was decided about the store: holds, transitions of the state machine;
///                        DIR/ledger.head: what is in force
/// DIR/names/             the name cache; may be deleted
/// DIR/state-dump.json    what another process may start from, written in CRITICAL
/// DIR/report.key         signs reports, wrapped by the master key; DIR/report.pem: its public half
/// DIR/maintenance.json   when tasks of MAINTENANCE were done last, and how far a scrub got
/// DIR/probe              there for a moment, when the disk is tried
/// DIR/restoring          there while a backup is being restored
/// ```
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Layout {
        Layout { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn store_file(&self) -> PathBuf {
        self.root.join("store")
    }

    pub(crate) fn master_key(&self) -> PathBuf {
        self.root.join("master.key")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    pub(crate) fn catalog(&self) -> PathBuf {
        self.root.join("catalog.redb")
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    pub(crate) fn splits(&self) -> PathBuf {
        self.root.join("splits")
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.root.join("wal")
    }

    pub(crate) fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    pub(crate) fn audit(&self) -> PathBuf {
        self.root.join("audit")
    }

    /// Beside the folder, so that it tells of a folder that is gone.
    pub(crate) fn audit_head(&self) -> PathBuf {
        self.root.join("audit.head")
    }

    /// Where files of the audit log are archived, unless another folder is named.
    pub(crate) fn audit_archive(&self) -> PathBuf {
        self.audit().join("archive")
    }

    /// Beside the folder, as the head.
    pub(crate) fn audit_mark(&self) -> PathBuf {
        self.root.join("audit.mark")
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.root.join("ledger")
    }

    /// Beside the folder, as the audit log's.
    pub(crate) fn ledger_head(&self) -> PathBuf {
        self.root.join("ledger.head")
    }

    pub(crate) fn state_dump(&self) -> PathBuf {
        self.root.join("state-dump.json")
    }

    pub(crate) fn report_key(&self) -> PathBuf {
        self.root.join("report.key")
    }

    pub(crate) fn report_public_key(&self) -> PathBuf {
        self.root.join("report.pem")
    }

    pub(crate) fn maintenance(&self) -> PathBuf {
        self.root.join("maintenance.json")
    }

    pub(crate) fn probe(&self) -> PathBuf {
        self.root.join("probe")
    }

    pub(crate) fn restoring(&self) -> PathBuf {
        self.root.join("restoring")
    }

    pub(crate) fn segment(&self, id: SegmentId) -> PathBuf {
        self.segments().join(format!("{id}.seg"))
    }

    pub(crate) fn split(&self, id: SegmentId) -> PathBuf {
        self.splits().join(format!("{id}.split"))
    }
}
