//! The log's files, read in order: records, and what is wrong between them.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tapstone_runtime::ALIGNMENT;
use tapstone_runtime::file::FileError;
use tapstone_wal::{Commit, Commits, Piece};

use super::archive::mark::Mark;
use super::chain::Chain;
use super::head::Saved;
use super::places::{Loaded, LogFile, Places};
use super::record::AuditRecord;
use super::verify::{AuditBreak, AuditBreakKind, AuditHead, AuditPlace};
use crate::id::StoreId;
use crate::layout::Layout;
use crate::log_files::NO_SHARD;

/// What a walk comes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Record(AuditRecord),
    Break(AuditBreak),
    /// Something that a crash or a failed write left: nobody was told that it is recorded.
    Unacknowledged(AuditPlace),
}

/// A walk through files; one of them is in memory at a time.
#[derive(Debug)]
pub(super) struct Walk {
    store: StoreId,
    folder: PathBuf,
    head: Option<AuditHead>,
    mark: Mark,
    /// What it begins behind, where the files before it are not there.
    behind: Option<AuditHead>,
    files: VecDeque<LogFile>,
    current: Option<Current>,
    chain: Chain,
    ready: VecDeque<Found>,
    /// Ends that are not whole. Whether anybody was promised what stood there shows by the number
    /// of the next record.
    torn: Vec<AuditPlace>,
    last_commit: Option<(PathBuf, Range<u64>)>,
    failure: Option<FileError>,
    is_over: bool,
}

#[derive(Debug)]
struct Current {
    path: PathBuf,
    commits: Commits,
    /// The next file begins with this number: what stands here from there on was not
    /// acknowledged.
    until: Option<u64>,
}

impl Walk {
    /// Through all files, from the first record on; behind the archive mark, where what was archived
    /// has been taken away. Where a `folder` is named, it is looked for there too, and all must be
    /// there.
    pub(super) fn through_all(
        layout: &Layout,
        store: StoreId,
        folder: Option<&Path>,
    ) -> Result<Walk, FileError> {
        // The head first: what it says is in the files by then, even while they grow.
        let saved = super::head::read(&layout.audit_head(), store)?;
        let places = Places::find(layout, store, folder)?;
        let mark = places.marked();
        let first = places.files.first().map(|it| it.number);
        let behind = if folder.is_none() { mark.behind(first) } else { None };
        let chain = match behind {
            Some(head) => Chain::behind(store, head),
            None => Chain::from_the_first(store),
        };
        let mut walk = Self::new(layout, chain, store, places.files.clone().into(), &saved);
        walk.tell_of_mark(layout, &places);
        (walk.mark, walk.behind) = (mark, behind);
        Ok(walk)
    }

    /// Through these files.
    pub(super) fn new(
        layout: &Layout,
        chain: Chain,
        store: StoreId,
        files: VecDeque<LogFile>,
        saved: &Saved<AuditHead>,
    ) -> Walk {
        let mut walk = Walk {
            store,
            folder: layout.audit(),
            head: None,
            mark: Mark::default(),
            behind: None,
            files,
            current: None,
            chain,
            ready: VecDeque::new(),
            torn: Vec::new(),
            last_commit: None,
            failure: None,
            is_over: false,
        };
        let head = layout.audit_head();
        match saved {
            Saved::Head(head) => walk.head = Some(*head),
            Saved::Damaged(why) => {
                walk.tell_of_file(head, AuditBreakKind::HeadDamaged((*why).to_owned()));
            }
            // It is there before the first file is.
            Saved::Nothing if !walk.files.is_empty() => {
                walk.tell_of_file(head, AuditBreakKind::HeadMissing);
            }
            Saved::Nothing => {}
        }
        walk
    }

    fn tell_of_mark(&mut self, layout: &Layout, places: &Places) {
        let path = layout.audit_mark();
        match &places.mark {
            Saved::Damaged(why) => {
                self.tell_of_file(path, AuditBreakKind::MarkDamaged((*why).to_owned()));
            }
            // It is there before the first file is archived.
            Saved::Nothing if places.has_archived() => {
                self.tell_of_file(path, AuditBreakKind::MarkMissing);
            }
            Saved::Head(_) | Saved::Nothing => {}
        }
    }

    /// What it begins behind, where the files before it are not there.
    pub(super) fn behind(&self) -> Option<AuditHead> {
        self.behind
    }

    /// How far the chain was followed.
    pub(super) fn followed(&self) -> &Chain {
        &self.chain
    }

    /// Where the last commit is.
    pub(super) fn last_commit(&self) -> Option<&(PathBuf, Range<u64>)> {
        self.last_commit.as_ref()
    }

    /// The first failure to read a file.
    pub(super) fn failure(&self) -> Option<&FileError> {
        self.failure.as_ref()
    }

    fn tell_of_file(&mut self, path: PathBuf, what: AuditBreakKind) {
        let place = AuditPlace { path, offset: None };
        self.ready.push_back(Found::Break(AuditBreak { place, sequence: None, what }));
    }

    fn tell(&mut self, place: AuditPlace, sequence: u64, what: AuditBreakKind) {
        let sequence = Some(sequence);
        self.ready.push_back(Found::Break(AuditBreak { place, sequence, what }));
    }

    fn open(&mut self, file: &LogFile) {
        let Loaded { path, bytes, failure } = file.load();
        if let Some(failure) = failure {
            let place = AuditPlace { path: path.clone(), offset: failure.offset };
            let what = AuditBreakKind::Unreadable(failure.source.to_string());
            self.tell(place, self.chain.expected(), what);
            self.failure.get_or_insert(failure);
        }
        let is_begun = bytes.len() > ALIGNMENT;
        let commits = Commits::new(bytes, self.store.0, NO_SHARD);
        if let Err(error) = commits.first() {
            let place = AuditPlace { path: path.clone(), offset: Some(0) };
            match is_begun {
                true => {
                    let what = AuditBreakKind::Unreadable(error.to_string());
                    self.tell(place, self.chain.expected(), what);
                }
                // A crash can leave a file without a whole header, but nothing behind it.
                false => self.torn.push(place),
            }
        }
        let own = commits.first().map_or(0, |first| first.0);
        let until = self.next_first().filter(|until| *until >= own);
        self.current = Some(Current { path, commits, until });
    }

    /// The number that the next file begins with; of those that do not say it, the one after.
    fn next_first(&mut self) -> Option<u64> {
        for file in &self.files {
            match file.first(self.store) {
                Ok(Some(first)) => return Some(first),
                Ok(None) => {}
                Err(failure) => {
                    self.failure.get_or_insert(failure);
                }
            }
        }
        None
    }

    fn take(&mut self, path: &Path, commit: Commit) {
        let place = AuditPlace { path: path.to_owned(), offset: Some(commit.place.start) };
        for bytes in &commit.records {
            let link = self.chain.take(bytes);
            let missing =
                link.breaks.iter().any(|(_, what)| matches!(what, AuditBreakKind::Missing { .. }));
            let mut torn = std::mem::take(&mut self.torn).into_iter();
            let before = if missing { torn.next() } else { None };
            if !missing {
                self.ready.extend(torn.map(Found::Unacknowledged));
            }
            for (sequence, what) in link.breaks {
                let at = match what {
                    AuditBreakKind::Missing { .. } => before.as_ref().unwrap_or(&place),
                    _ => &place,
                };
                self.tell(at.clone(), sequence, what);
            }
            if let Some(record) = link.record {
                let differs =
                    |head: AuditHead| head.sequence == record.sequence && head.hash != record.hash;
                if self.head.is_some_and(differs) {
                    self.tell(place.clone(), record.sequence, AuditBreakKind::HeadDiffers);
                }
                if self.mark.hash_of(record.sequence).is_some_and(|hash| hash != record.hash) {
                    self.tell(place.clone(), record.sequence, AuditBreakKind::MarkDiffers);
                }
                self.ready.push_back(Found::Record(record));
            }
        }
        self.last_commit = Some((path.to_owned(), commit.place));
    }

    /// Reads on; false when there is nothing more.
    fn read_on(&mut self) -> bool {
        let Some(mut current) = self.current.take() else {
            match self.files.pop_front() {
                Some(file) => self.open(&file),
                None if self.is_over => return false,
                None => self.end(),
            }
            return true;
        };
        let Some(piece) = current.commits.next() else { return true };
        let place = |range: Range<u64>| AuditPlace {
            path: current.path.clone(),
            offset: Some(range.start),
        };
        match piece {
            Piece::Commit(commit) if current.until.is_some_and(|it| commit.first.0 >= it) => {
                self.ready.push_back(Found::Unacknowledged(place(commit.place)));
            }
            Piece::Commit(commit) => self.take(&current.path, commit),
            Piece::Damaged(range) => {
                let why = format!("{} bytes are no record", range.end - range.start);
                let what = AuditBreakKind::Unreadable(why);
                self.tell(place(range), self.chain.expected(), what);
            }
            Piece::Torn(range) => self.torn.push(place(range)),
        }
        self.current = Some(current);
        true
    }

    /// Compares the end with what head and mark say.
    fn end(&mut self) {
        self.is_over = true;
        let torn = std::mem::take(&mut self.torn);
        let expected = self.chain.expected();
        let said = self.head.into_iter().chain(self.mark.last());
        let reached = said.map(|it| it.sequence).max();
        match reached.filter(|reached| *reached >= expected) {
            Some(through) => {
                let last = self.last_commit.as_ref();
                let end = || match last {
                    Some((path, place)) => {
                        AuditPlace { path: path.clone(), offset: Some(place.end) }
                    }
                    None => AuditPlace { path: self.folder.clone(), offset: None },
                };
                let place = torn.into_iter().next().unwrap_or_else(end);
                let what = AuditBreakKind::TailMissing { through };
                self.tell(place, expected, what);
            }
            None => self.ready.extend(torn.into_iter().map(Found::Unacknowledged)),
        }
    }
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Some(found);
            }
            if !self.read_on() {
                return None;
            }
        }
    }
}
