//! Whether the log is whole.

use std::fmt;
use std::path::{Path, PathBuf};

use tapstone_packet::time::Timestamp;

use super::log::AuditError;
use super::read::walk;
use super::record::{AuditHash, AuditRecord};
use super::walk::{Found, Walk};

/// Most breaks, and most unacknowledged ends, that a report lists.
const LISTED_MAX: usize = 1000;

/// What was found in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// The archived record that the verification begins behind, where what was archived up to there
    /// has been taken away.
    pub behind: Option<AuditHead>,
    /// Records that are there, each with the hash that it says.
    pub records: u64,
    /// When the first of them was recorded.
    pub first: Option<Timestamp>,
    /// When the last of them was recorded.
    pub last: Option<Timestamp>,
    /// Number and hash of the last. Kept somewhere else, they show later on whether the log up to
    /// there is still the same, whoever could write to the store meanwhile.
    pub head: Option<AuditHead>,
    /// What is wrong, in the order of the log, the first thousand; empty when it is whole.
    pub breaks: Vec<AuditBreak>,
    /// Breaks beyond those.
    pub more_breaks: u64,
    /// What crashes or failed writes left, the first thousand: nobody was told that it is
    /// recorded, and nothing is wrong.
    pub unacknowledged: Vec<AuditPlace>,
}

/// A record's number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Its number.
    pub sequence: u64,
    /// Its hash, which depends on every record before it.
    pub hash: AuditHash,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPlace {
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes, where that can be said.
    pub offset: Option<u64>,
}

/// A place where the log is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditBreak {
    /// Where.
    pub place: AuditPlace,
    /// From which record on, where that can be said.
    pub sequence: Option<u64>,
    /// What is wrong.
    pub what: AuditBreakKind,
}

/// What is wrong with the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditBreakKind {
    /// Records are not there.
    Missing {
        /// The last of them.
        through: u64,
    },
    /// The log ends before the record that `audit.head` names.
    TailMissing {
        /// The record that it names.
        through: u64,
    },
    /// A record's hash is not the one of its content.
    Hash,
    /// A record names another one as the one before it.
    Previous,
    /// A record stands behind later ones.
    Order {
        /// The record that belongs here.
        expected: u64,
    },
    /// Bytes that cannot be read, or are no record.
    Unreadable(String),
    /// `audit.head` names another hash for this record.
    HeadDiffers,
    /// There is no `audit.head`.
    HeadMissing,
    /// `audit.head` cannot be used.
    HeadDamaged(String),
    /// `audit.mark` names another hash for this record.
    MarkDiffers,
    /// There is no `audit.mark`, and files were archived.
    MarkMissing,
    /// `audit.mark` cannot be used.
    MarkDamaged(String),
}

impl AuditReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.breaks.is_empty()
    }
}

/// Reads the whole audit log of a store, what was archived of it included, and verifies every hash
/// and every number in it. Where what was archived has been taken away, it begins behind that, and
/// says so. The store may be in use; what is written meanwhile may or may not be looked at. Memory
/// holds one file of the log at a time.
///
/// # Errors
///
/// When there is no store, or its folder cannot be read. What is wrong with the log is in the
/// report.
pub fn verify_audit(store_folder: &Path) -> Result<AuditReport, AuditError> {
    Ok(verify_all(walk(store_folder, None)?))
}

/// As [`verify_audit`], from the first record on: what was archived and then taken away is looked for
/// in this folder, and where it is not there either, that is a break.
///
/// # Errors
///
/// As [`verify_audit`].
pub fn verify_audit_with_archive(
    store_folder: &Path,
    archive: &Path,
) -> Result<AuditReport, AuditError> {
    Ok(verify_all(walk(store_folder, Some(archive))?))
}

fn verify_all(walk: Walk) -> AuditReport {
    verify(walk, &mut |_| true).expect("it goes on to the end")
}

/// Verifies what is walked through, for as long as `each`, which is told of every record, says so;
/// `None` when it was given up.
pub(super) fn verify(
    mut walk: Walk,
    each: &mut dyn FnMut(&AuditRecord) -> bool,
) -> Option<AuditReport> {
    let mut report = AuditReport { behind: walk.behind(), ..AuditReport::default() };
    for found in &mut walk {
        match found {
            Found::Record(record) => {
                report.records += 1;
                report.first.get_or_insert(record.time);
                report.last = Some(record.time);
                if !each(&record) {
                    return None;
                }
            }
            Found::Break(it) if report.breaks.len() < LISTED_MAX => report.breaks.push(it),
            Found::Break(_) => report.more_breaks += 1,
            Found::Unacknowledged(place) if report.unacknowledged.len() < LISTED_MAX => {
                report.unacknowledged.push(place);
            }
            Found::Unacknowledged(_) => {}
        }
    }
    let last = walk.followed().last();
    report.head = last.map(|(sequence, hash)| AuditHead { sequence, hash });
    Some(report)
}

impl fmt::Display for AuditPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.offset.map_or(Ok(()), |offset| write!(f, " at offset {offset}"))
    }
}

impl fmt::Display for AuditBreak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text())
    }
}

impl AuditBreak {
    /// What is wrong, in words, without the place.
    #[must_use]
    pub fn text(&self) -> String {
        let from = self.sequence.unwrap_or_default();
        let records = |through: u64| match through == from {
            true => format!("record {from} is missing"),
            false => format!("records {from} to {through} are missing"),
        };
        match &self.what {
            AuditBreakKind::Missing { through } => records(*through),
            AuditBreakKind::TailMissing { through } => {
                format!("the log ends here, but audit.head says more: {}", records(*through))
            }
            AuditBreakKind::Hash => format!("record {from} was changed: its hash is wrong"),
            AuditBreakKind::Previous => {
                format!("record {from} was written behind another record than the one before it")
            }
            AuditBreakKind::Order { expected } => {
                format!("record {from} stands where record {expected} belongs")
            }
            AuditBreakKind::Unreadable(why) => format!("it cannot be read: {why}"),
            AuditBreakKind::HeadDiffers => {
                format!("record {from} is not the one that audit.head names")
            }
            AuditBreakKind::HeadMissing => {
                "it is gone, so nobody can say how far the log reached".to_owned()
            }
            AuditBreakKind::MarkDiffers => {
                format!("record {from} is not the one that audit.mark names")
            }
            AuditBreakKind::MarkMissing => {
                "it is gone, so nobody can say what was archived".to_owned()
            }
            AuditBreakKind::MarkDamaged(why) => {
                format!("it is damaged, so nobody can say what was archived: {why}")
            }
            AuditBreakKind::HeadDamaged(why) => {
                format!("it is damaged, so nobody can say how far the log reached: {why}")
            }
        }
    }
}
