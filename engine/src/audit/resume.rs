//! Where the chain goes on when a store is opened. Nothing is changed here.

use std::ops::Range;
use std::path::PathBuf;

use tapstone_runtime::file::FileError;

use super::chain::Chain;
use super::head::{self, Saved};
use super::places::Places;
use super::record::AuditHash;
use super::verify::{AuditBreak, AuditHead};
use super::walk::{Found, Walk};
use crate::id::StoreId;
use crate::layout::Layout;

/// What was found of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resumed {
    /// The last number that was given out, and the hash of the last record that is there.
    pub(super) last: AuditHead,
    /// The number that the head file says; none when it must be written.
    pub(super) saved: Option<u64>,
    /// The number of the last file.
    pub(super) file: u64,
    /// A commit that can be read, and of which nobody knows whether it would survive a power cut.
    pub(super) doubtful: Option<(PathBuf, Range<u64>)>,
    /// What is wrong with the end of the log.
    pub(super) breaks: Vec<AuditBreak>,
}

impl Default for Resumed {
    /// No log.
    fn default() -> Self {
        let last = AuditHead { sequence: 0, hash: AuditHash::NONE };
        Resumed { last, saved: None, file: 0, doubtful: None, breaks: Vec::new() }
    }
}

/// Looks at the end of the log.
///
/// A record that cannot be read for now must not be taken for one that was never there: its number
/// would be given out again. So a file that cannot be read is a failure, and one that is damaged is
/// not.
pub(super) fn resume(layout: &Layout, store: StoreId) -> Result<Resumed, FileError> {
    let saved = head::read(&layout.audit_head(), store)?;
    let places = Places::find(layout, store, None)?;
    let files = places.live();
    let archived = places.marked().last();
    // Files are archived when others go on behind them; so without any that is what went on.
    let chain = match archived.filter(|_| files.is_empty()) {
        Some(last) => Chain::behind(store, last),
        None => Chain::from_the_middle(store),
    };
    let mut walk = Walk::new(layout, chain, store, [].into(), &saved);
    let mut breaks = Vec::new();
    let mut count = 0;
    // Files that were begun and hold no record are passed over.
    while count < files.len() && walk.followed().last().is_none() {
        count = (2 * count).clamp(1, files.len());
        let ends = files[files.len() - count..].iter().cloned().collect();
        walk = Walk::new(layout, Chain::from_the_middle(store), store, ends, &saved);
        breaks = (&mut walk).filter_map(wrong).collect();
        if let Some(failure) = walk.failure() {
            return Err(failure.clone());
        }
    }
    if files.is_empty() {
        breaks = (&mut walk).filter_map(wrong).collect();
    }
    let last = walk.followed().last().or(archived.map(|it| (it.sequence, it.hash)));
    let (sequence, hash) = last.unwrap_or((0, AuditHash::NONE));
    let saved = match saved {
        Saved::Head(head) => Some(head.sequence),
        Saved::Nothing | Saved::Damaged(_) => None,
    };
    // Numbers that were given out are not given out again.
    let sequence = sequence.max(saved.unwrap_or(0));
    Ok(Resumed {
        last: AuditHead { sequence, hash },
        saved,
        file: places.files.last().map_or(0, |it| it.number).max(places.marked().last_file()),
        doubtful: walk.last_commit().cloned(),
        breaks,
    })
}

fn wrong(found: Found) -> Option<AuditBreak> {
    match found {
        Found::Break(it) => Some(it),
        Found::Record(_) | Found::Unacknowledged(_) => None,
    }
}
