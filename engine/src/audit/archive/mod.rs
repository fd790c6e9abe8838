//! The archive of the log: files that were closed long ago are moved to a folder of their own, and
//! the *archive mark* says which, and what each ends with (docs/format/audit.md, "The archive").
//!
//! ```text
//! survey ─▶ due (due.rs, pure) ─▶ mark: the folder ─▶ copy, compare, remove ─▶ mark: the files
//! ```
//!
//! A file is in one place at least at every moment, and the mark tells of it when it is in the
//! archive alone: what was archived and not marked yet when a crash came is marked by the next run.

mod due;
pub(super) mod mark;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tapstone_packet::time::Timestamp;
use tapstone_runtime::file::FileError;
use tapstone_runtime::{ALIGNMENT, blocking};
use tapstone_wal::Commits;

use super::chain::Chain;
use super::head;
use super::places::Places;
use super::verify::AuditHead;
use super::walk::{Found, Walk};
use crate::head_file::Saved;
use crate::id::StoreId;
use crate::layout::Layout;
use crate::log_files::{self, NO_SHARD, number_of};
use due::{Known, due, marked};
use mark::Mark;

/// What of the audit log goes to the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// Closed files go when their last record is as old as that.
    pub after: Duration,
    /// Where to, by an absolute path; `None` for the store's own folder for it.
    pub folder: Option<PathBuf>,
}

/// What was archived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchivedFiles {
    /// Where the files are now.
    pub files: Vec<PathBuf>,
    /// The last record in the archive, those of earlier runs included.
    pub last: Option<AuditHead>,
}

/// Why files cannot be archived.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Something came that matters more.
    #[error("it was given up; what was archived stays so")]
    GivenUp,
    /// A file cannot be read, written or removed.
    #[error("archiving the audit log: {0}")]
    File(#[from] FileError),
    /// Nobody knows what was archived.
    #[error(
        "{} is damaged ({why}), so nobody can say what was archived: restore it from a backup; or \
         put all that was archived back into the archive's folder, and remove it", path.display()
    )]
    MarkDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The archive's folder must be the same wherever a program runs.
    #[error("the archive's folder {} must be an absolute path", .0.display())]
    Relative(PathBuf),
    /// Nothing of others in the archive is written over.
    #[error(
        "{} is there and another file than {}: is it another store's? Move it away, or name another \
         folder", archived.display(), live.display()
    )]
    Differs {
        /// The one in the archive.
        archived: PathBuf,
        /// The one that should go there.
        live: PathBuf,
    },
    /// The copy is not what was copied.
    #[error("{} does not come back as it was written: look at the disk; nothing was removed", .0.display())]
    Unsound(PathBuf),
}

/// Moves closed files that are due to the archive, as long as `go_on` says so.
///
/// The log must have been brought to a point before, and one run only may be under way.
pub(super) fn archive(
    layout: &Layout,
    store: StoreId,
    options: &ArchiveOptions,
    now: Timestamp,
    go_on: &dyn Fn() -> bool,
) -> Result<ArchivedFiles, ArchiveError> {
    let folder = options.folder.clone().unwrap_or_else(|| layout.audit_archive());
    if !folder.is_absolute() && options.folder.is_some() {
        return Err(ArchiveError::Relative(folder));
    }
    let places = Places::find(layout, store, Some(&folder))?;
    let path = layout.audit_mark();
    let mut mark = match places.mark.clone() {
        Saved::Damaged(why) => return Err(ArchiveError::MarkDamaged { path, why }),
        Saved::Head(mark) => mark,
        Saved::Nothing => Mark::default(),
    };
    let known = survey(layout, store, &places, &mark)?;
    let due = due(&known, now, options.after);
    let unmarked = known.iter().take_while(|it| !it.is_live || due.contains(&it.file)).count();
    if unmarked == 0 {
        return Ok(ArchivedFiles { files: Vec::new(), last: mark.last() });
    }
    blocking::create_dir(&folder)?;
    // Before the first file is in the folder, so that it is looked for there.
    if options.folder.is_some() && !mark.folders.contains(&folder) {
        mark.folders.push(folder.clone());
    }
    mark::write(&path, store, &mark)?;
    let mut files = Vec::new();
    for number in due {
        if !go_on() {
            return Err(ArchiveError::GivenUp);
        }
        files.push(move_file(&log_files::file(&layout.audit(), number), &folder, store)?);
    }
    let last = mark.last();
    mark.files.extend(marked(last, &known[..unmarked]));
    mark::write(&path, store, &mark)?;
    Ok(ArchivedFiles { files, last: mark.last() })
}

/// What is known of the files that the mark does not tell of.
fn survey(
    layout: &Layout,
    store: StoreId,
    places: &Places,
    mark: &Mark,
) -> Result<Vec<Known>, FileError> {
    let files: Vec<_> =
        places.files.iter().filter(|it| it.number > mark.last_file()).cloned().collect();
    let known =
        |it: &super::places::LogFile| Known { file: it.number, is_live: it.is_live, last: None };
    let mut known: BTreeMap<u64, Known> = files.iter().map(|it| (it.number, known(it))).collect();
    let chain = match mark.last() {
        Some(last) => Chain::behind(store, last),
        None => Chain::from_the_first(store),
    };
    let saved = head::read(&layout.audit_head(), store)?;
    let mut walk = Walk::new(layout, chain, store, files.into(), &saved);
    while let Some(found) = walk.next() {
        // What is wrong with the log is told by those who verify it, wherever its files are.
        let Found::Record(record) = found else { continue };
        let (path, _) = walk.last_commit().expect("a record is from a commit");
        let number = number_of(path).expect("that is how the file was found");
        let (sequence, hash) = walk.followed().last().expect("there was a record");
        if let Some(known) = known.get_mut(&number) {
            known.last = Some((AuditHead { sequence, hash }, record.time));
        }
    }
    match walk.failure() {
        Some(failure) => Err(failure.clone()),
        None => Ok(known.into_values().collect()),
    }
}

/// Moves a file, through a copy: it is never in no place, whatever file systems there are.
fn move_file(live: &Path, folder: &Path, store: StoreId) -> Result<PathBuf, ArchiveError> {
    let archived = folder.join(live.file_name().unwrap_or_default());
    let bytes = read(live)?;
    match blocking::read_file(&archived)? {
        Some(there) if is_of_others(&there, store) => {
            return Err(ArchiveError::Differs { archived, live: live.to_owned() });
        }
        // A crash came before it could be removed here: that copy is not part of the log yet. What a
        // process left at the end here when it was killed may have changed since.
        Some(_) | None => blocking::replace_file(&archived, &bytes)?,
    }
    if read(&archived)? != bytes {
        return Err(ArchiveError::Unsound(archived));
    }
    blocking::remove(live)?;
    Ok(archived)
}

/// Whether a file holds something, and is none of this store's log.
fn is_of_others(bytes: &[u8], store: StoreId) -> bool {
    bytes.len() > ALIGNMENT && Commits::new(bytes.to_vec(), store.0, NO_SHARD).first().is_err()
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let absent = || FileError::new("read", path, std::io::ErrorKind::NotFound.into());
    blocking::read_file(path)?.ok_or_else(absent)
}
