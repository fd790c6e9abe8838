//! Doing what was planned: at once what answers depend on, and later, behind the first packets
//! that are taken in, what takes time.

use std::path::PathBuf;
use std::sync::Arc;

use tapstone_runtime::blocking;

use super::gather::{Facts, SegmentFile};
use super::plan::Step;
use super::{RecoverError, Recovered};
use crate::builder::{Builder, Job, without_panics};
use crate::erase::{self, Erased};
use crate::id::SegmentId;
use crate::pace::Pace;
use crate::query::Missing;
use crate::replay::{Replayed, replay};
use crate::retention::remove_files;
use crate::segment::reader::{self, Segment};
use crate::segment::scan::Scanned;
use crate::segment::writer::footer_and_trailer;

/// A step that can wait: the packets that it is about are found meanwhile.
#[derive(Debug)]
pub(crate) enum Later {
    /// Seal an open segment that ends there, and index it.
    Finish(Arc<Segment>, u64),
    Index(Arc<Segment>),
    /// Remove a file, unless a step before it failed: it may be a log that is still needed.
    Remove(PathBuf),
}

pub(super) fn apply(
    builder: &Builder,
    mut facts: Facts,
    steps: Vec<Step>,
) -> Result<Recovered, RecoverError> {
    let known = facts.segments.keys().chain(&facts.catalogued).map(|id| id.sequence());
    let last = known.chain(facts.last_expired).max();
    let next_sequence = last.map_or(0, |last| last + 1);
    let mut recovered = Recovered { next_sequence, ..Recovered::default() };
    let mut left = false;
    for step in steps {
        match step {
            Step::Report(text) => builder.unindexed.tell([text]),
            Step::Lost(missing) => {
                builder.unindexed.tell([missing.to_string()]);
                recovered.lost.push(missing);
            }
            // Logs of segments that are left as they are are still needed.
            Step::Remove(_) if left => {}
            Step::Expire(ids) => expire(builder, ids)?,
            Step::Remove(path) if recovered.later.is_empty() => {
                builder.unindexed.tell(erase::leftover(&path)?.damage());
            }
            Step::Remove(path) => recovered.later.push_back(Later::Remove(path)),
            Step::Leave(id) => {
                if let Some((segment, _)) = take_open(&mut facts, id) {
                    builder.unindexed.add(segment, None);
                    builder.unindexed.give_up(id);
                    left = true;
                }
            }
            Step::Finish(id) => {
                if let Some((segment, scanned)) = take_open(&mut facts, id) {
                    // Its packets count as stored from here on.
                    let doubtful = scanned.doubtful..scanned.end;
                    match blocking::write_again(&segment.path, doubtful.clone()) {
                        Ok(()) => {
                            builder.unindexed.add(Arc::clone(&segment), None);
                            recovered.later.push_back(Later::Finish(segment, scanned.end));
                        }
                        Err(error) => {
                            builder.unindexed.tell([error.to_string()]);
                            let certain = segment.up_to(doubtful.start);
                            builder.unindexed.add(Arc::new(certain), None);
                            builder.unindexed.give_up(id);
                            left = true;
                        }
                    }
                }
            }
            Step::Index(id) => {
                let path = builder.layout.segment(id);
                match reader::open_sealed(&path, &builder.keys, builder.store) {
                    Ok(segment) => {
                        let segment = Arc::new(segment);
                        builder.unindexed.add(Arc::clone(&segment), None);
                        recovered.later.push_back(Later::Index(segment));
                    }
                    Err(error) => {
                        let reason = format!("{} cannot be read: {error}", path.display());
                        builder.unindexed.tell([reason.clone()]);
                        if !facts.catalogued.contains(&id) {
                            recovered.lost.push(Missing::whole(id, &reason));
                        }
                    }
                }
            }
        }
    }
    Ok(recovered)
}

/// Removes what is left of segments that had expired; what cannot be removed is tried again later.
fn expire(builder: &Builder, ids: Vec<SegmentId>) -> Result<(), RecoverError> {
    // Some of them a catalog that was made anew may not know.
    builder.catalog.go_on_expiring(&ids)?;
    let is_gone = |id: &SegmentId| match remove_files(&builder.layout, builder.store, *id) {
        Ok(removed) => {
            builder.unindexed.tell(removed.keys_left);
            true
        }
        Err(error) => {
            builder.unindexed.tell([error.to_string()]);
            false
        }
    };
    let gone: Vec<SegmentId> = ids.into_iter().filter(is_gone).collect();
    Ok(builder.catalog.end_expiring(&gone)?)
}

/// An open segment as it was found.
fn take_open(facts: &mut Facts, id: SegmentId) -> Option<(Arc<Segment>, Scanned)> {
    let SegmentFile::Open { path, opened, scanned } = facts.segments.remove(&id)? else {
        return None;
    };
    let segment = Segment::unsealed(path, Arc::new(*opened), scanned.map.clone());
    Some((Arc::new(segment), scanned))
}

/// Does a step; gives whether it was done.
pub(crate) fn apply_later(builder: &Builder, step: Later) -> bool {
    let (segment, what, done) = match step {
        Later::Remove(path) => {
            let erased = erase::leftover(&path);
            let told = erased.as_ref().map_or_else(|error| Some(error.to_string()), Erased::damage);
            builder.unindexed.tell(told);
            return erased.is_ok();
        }
        Later::Finish(segment, end) => {
            let done = without_panics(|| finish(builder, &segment, end));
            (segment, "finished", done)
        }
        Later::Index(segment) => {
            let replayed = || replay(&segment, &mut Pace::unbounded());
            let indexed = || index(builder, Arc::clone(&segment), replayed()?);
            let done = without_panics(indexed);
            (segment, "indexed", done)
        }
    };
    let path = segment.path.display();
    match done {
        Ok(()) => true,
        Err(error) => {
            let text = format!("{path} could not be {what} and is read as it is: {error}");
            builder.unindexed.tell([text]);
            builder.unindexed.give_up(segment.id());
            false
        }
    }
}

/// Seals what verified of an open segment. Footer and trailer are written behind it before the
/// name changes, and sealed under a salt of their own, so doing it again repeats no nonce.
fn finish(builder: &Builder, segment: &Segment, end: u64) -> Result<(), RecoverError> {
    let replayed = replay(segment, &mut Pace::unbounded())?;
    let flows = replayed.table.len() as u32;
    let pages = footer_and_trailer(&segment.opened, &segment.map, flows, end);
    blocking::cut(&segment.path, end)?;
    blocking::write_at(&segment.path, end, &pages)?;
    let path = builder.layout.segment(segment.id());
    blocking::rename(&segment.path, &path)?;
    let opened = Arc::clone(&segment.opened);
    let sealed = Segment::unsealed(path, opened, segment.map.clone()).sealed(flows);
    index(builder, Arc::new(sealed), replayed)
}

/// Makes split and catalog row. What could not be read of the segment is told before it counts as
/// indexed: whoever waits for that asks next what is wrong.
fn index(builder: &Builder, segment: Arc<Segment>, replayed: Replayed) -> Result<(), RecoverError> {
    let path = segment.path.display();
    let tell = |(offset, what)| format!("{path} at offset {offset}: {what}");
    builder.unindexed.tell(replayed.damaged.into_iter().map(tell));
    let stored_bytes = blocking::file_len(&segment.path)?.unwrap_or(0);
    builder.build(&Job {
        segment: Arc::clone(&segment),
        stored_bytes,
        table: Arc::new(replayed.table),
        answers: replayed.answers,
        wal: None,
        done: None,
    })?;
    Ok(())
}
