//! Reading what is in force. Nothing is changed here.

use std::path::{Path, PathBuf};

use tapstone_runtime::ALIGNMENT;
use tapstone_wal::{Commit, Commits, Lsn, Piece};

use super::head::{self, Saved};
use super::record::Record;
use super::state::State;
use super::{file_of, first_of};
use crate::check::Damage;
use crate::id::StoreId;
use crate::layout::Layout;
use crate::log_files::{self, NO_SHARD, files, load};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) state: State,
    /// The largest number that a file has or had.
    pub(super) file: u64,
    /// Whether nothing was ever recorded.
    pub(super) is_new: bool,
    pub(super) damage: Vec<Damage>,
}

/// Reads the file that the head names, as far as the head says. What else there is was never
/// promised to anybody, or is of no use any more.
///
/// What verifies is in force, whatever is damaged; but then the state is in doubt.
pub(super) fn read(layout: &Layout, store: StoreId) -> Found {
    let mut found = Found::default();
    let (folder, head) = (layout.ledger(), layout.ledger_head());
    let files = files(&folder).unwrap_or_else(|error| {
        found.tell(&folder, None, error);
        Vec::new()
    });
    found.file = files.last().map_or(0, |(number, _)| *number);
    match head::read(&head, store) {
        Ok(Saved::Head(Lsn(0))) => {}
        Ok(Saved::Head(last)) => {
            let number = file_of(last);
            found.file = found.file.max(number);
            found.follow(&log_files::file(&folder, number), store, number, Some(last));
        }
        // It is there before the first file is.
        Ok(Saved::Nothing) if files.is_empty() => found.is_new = found.damage.is_empty(),
        Ok(Saved::Nothing) => found.read_without_head(&head, &"it is missing", &files, store),
        Ok(Saved::Damaged(why)) => found.read_without_head(&head, &why, &files, store),
        Err(error) => found.read_without_head(&head, &error, &files, store),
    }
    found.state.in_doubt |= !found.damage.is_empty();
    found
}

impl Found {
    fn tell(&mut self, path: &Path, offset: Option<u64>, what: impl ToString) {
        self.damage.push(Damage { path: path.to_owned(), offset, what: what.to_string() });
    }

    /// The newest file that holds anything is the one in force, most likely.
    fn read_without_head(
        &mut self,
        head: &Path,
        why: &dyn std::fmt::Display,
        files: &[(u64, PathBuf)],
        store: StoreId,
    ) {
        self.tell(head, None, why);
        for (number, path) in files.iter().rev() {
            if self.follow(path, store, *number, None) {
                return;
            }
        }
    }

    /// Takes in what a file says, through a record or to its end; false when it says nothing.
    fn follow(&mut self, path: &Path, store: StoreId, number: u64, through: Option<Lsn>) -> bool {
        let (bytes, failure) = load(path);
        if let Some(failure) = failure {
            self.tell(path, failure.offset, failure.source);
        }
        let (length, begun) = (bytes.len() as u64, first_of(number));
        let commits = Commits::new(bytes, store.0, NO_SHARD);
        match commits.first() {
            // A crash can leave a file without a whole header, but no head names it.
            Err(_) if through.is_none() && length <= ALIGNMENT as u64 => return false,
            Err(error) => self.tell(path, Some(0), error),
            Ok(first) if first != begun => self.tell(path, Some(0), "its name is another file's"),
            Ok(_) => {}
        }
        let promised = |record: Lsn| through.is_none_or(|last| record <= last);
        let (mut next, mut bad) = (begun, None);
        for piece in commits {
            match piece {
                Piece::Commit(commit) if promised(commit.first) => {
                    if commit.first != next {
                        let at = bad.take().unwrap_or(commit.place.start);
                        self.tell(path, Some(at), missing(next, commit.first));
                    }
                    next = Lsn(commit.first.0 + commit.records.len() as u64);
                    self.take(path, &commit);
                }
                Piece::Commit(_) => break,
                Piece::Damaged(range) | Piece::Torn(range) => {
                    bad.get_or_insert(range.start);
                }
            }
        }
        if let Some(last) = through.filter(|last| *last >= next) {
            self.tell(path, Some(bad.unwrap_or(length)), missing(next, Lsn(last.0 + 1)));
        }
        next != begun
    }

    fn take(&mut self, path: &Path, commit: &Commit) {
        for bytes in &commit.records {
            match Record::decode(bytes) {
                Ok(record) => self.state.apply(record),
                Err(why) => {
                    let what = format!("a record cannot be used: {why}");
                    self.tell(path, Some(commit.place.start), what);
                }
            }
        }
    }
}

fn missing(from: Lsn, next: Lsn) -> String {
    match next.0.saturating_sub(from.0) {
        0 => "records are out of order".to_owned(),
        1 => "a record is damaged".to_owned(),
        count => format!("{count} records are damaged"),
    }
}
