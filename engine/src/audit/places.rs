//! Where the log's files are: in its folder, and in the archive.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tapstone_runtime::ALIGNMENT;
use tapstone_runtime::blocking::ReadFile;
use tapstone_runtime::file::FileError;
use tapstone_wal::Commits;

use super::archive::mark::{self, Mark};
use crate::head_file::Saved;
use crate::id::StoreId;
use crate::layout::Layout;
use crate::log_files::{self, NO_SHARD};

/// The log's files, wherever they are, and what the archive mark says.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) mark: Saved<Mark>,
    /// In the order of their numbers.
    pub(super) files: Vec<LogFile>,
}

/// One file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogFile {
    pub(super) number: u64,
    /// Where it may be, the log's folder first: it is moved to the archive while others read.
    paths: Vec<PathBuf>,
    /// Whether it was in the log's folder when that was listed.
    pub(super) is_live: bool,
}

impl Places {
    /// Looks for the files; in one more folder, where that is named.
    pub(super) fn find(
        layout: &Layout,
        store: StoreId,
        folder: Option<&Path>,
    ) -> Result<Places, FileError> {
        // In this order: what is moved away meanwhile is found in its old place or in its new one.
        let live = log_files::files(&layout.audit())?;
        let mark = mark::read(&layout.audit_mark(), store)?;
        let named = match &mark {
            Saved::Head(mark) => &mark.folders[..],
            Saved::Nothing | Saved::Damaged(_) => &[],
        };
        let mut archives = vec![layout.audit_archive()];
        for folder in named.iter().map(PathBuf::as_path).chain(folder) {
            if !archives.iter().any(|it| it == folder) {
                archives.push(folder.to_owned());
            }
        }
        let mut found: BTreeMap<u64, LogFile> = BTreeMap::new();
        let mut add = |(number, path): (u64, PathBuf), is_live: bool| {
            let paths = archives.iter().map(|archive| log_files::file(archive, number));
            let file = found.entry(number).or_insert_with(|| LogFile {
                number,
                paths: paths.collect(),
                is_live: false,
            });
            file.is_live |= is_live;
            if !file.paths.contains(&path) {
                file.paths.insert(0, path);
            }
        };
        live.into_iter().for_each(|it| add(it, true));
        for archive in &archives {
            log_files::files(archive)?.into_iter().for_each(|it| add(it, false));
        }
        Ok(Places { mark, files: found.into_values().collect() })
    }

    /// The files that are in the log's folder.
    pub(super) fn live(&self) -> Vec<LogFile> {
        self.files.iter().filter(|it| it.is_live).cloned().collect()
    }

    /// Whether files are in the archive, and in the log's folder no more.
    pub(super) fn has_archived(&self) -> bool {
        self.files.iter().any(|it| !it.is_live)
    }

    /// What the mark says; nothing where there is none that can be used.
    pub(super) fn marked(&self) -> Mark {
        match &self.mark {
            Saved::Head(mark) => mark.clone(),
            Saved::Nothing | Saved::Damaged(_) => Mark::default(),
        }
    }
}

/// A file that was read.
pub(super) struct Loaded {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) failure: Option<FileError>,
}

impl LogFile {
    /// Reads it, from the first place where it is: what is in the log's folder counts, and a copy of
    /// it that a crash left in the archive does not yet.
    pub(super) fn load(&self) -> Loaded {
        let load = |path: &PathBuf| {
            let (bytes, failure) = log_files::load(path);
            Loaded { path: path.clone(), bytes, failure }
        };
        let mut all = self.paths.iter().map(load);
        let is_there = |it: &Loaded| !it.failure.as_ref().is_some_and(is_absent);
        // Where none is there, it was removed since it was found.
        let first = all.next().expect("it was found in some place");
        if is_there(&first) { first } else { all.find(is_there).unwrap_or(first) }
    }

    /// The number of the record that it begins with, where it says so.
    pub(super) fn first(&self, store: StoreId) -> Result<Option<u64>, FileError> {
        for path in &self.paths {
            match first_of(path, store) {
                Err(failure) if is_absent(&failure) => {}
                first => return first,
            }
        }
        Ok(None)
    }
}

fn is_absent(failure: &FileError) -> bool {
    failure.source.kind() == ErrorKind::NotFound
}

fn first_of(path: &Path, store: StoreId) -> Result<Option<u64>, FileError> {
    let file = ReadFile::open(path)?;
    let length = file.length()?.min(ALIGNMENT as u64);
    let commits = Commits::new(file.read_at(0, length as usize)?, store.0, NO_SHARD);
    Ok(commits.first().ok().map(|first| first.0))
}
