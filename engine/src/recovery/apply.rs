//! Doing what was planned.

use std::path::Path;
use std::sync::Arc;

use tapstone_runtime::blocking;

use super::gather::{Facts, SegmentFile};
use super::plan::Step;
use super::{RecoverError, Recovered};
use crate::builder::{Builder, Job};
use crate::id::SegmentId;
use crate::replay::replay;
use crate::segment::reader::{self, Segment};
use crate::segment::scan::Scanned;
use crate::segment::writer::{Finished, footer_and_trailer, totals};

pub(crate) fn apply(
    builder: &Builder,
    mut facts: Facts,
    steps: Vec<Step>,
) -> Result<Recovered, RecoverError> {
    let known = facts.segments.keys().chain(&facts.catalogued);
    let last = known.map(|id| id.sequence()).max();
    let mut recovered =
        Recovered { next_sequence: last.map_or(0, |last| last + 1), ..Recovered::default() };
    for step in steps {
        match step {
            Step::Report(text) => recovered.tell([text]),
            Step::Lost(missing) => {
                recovered.tell([missing.to_string()]);
                recovered.lost.push(missing);
            }
            Step::Remove(path) => {
                // Logs of segments that could not be finished are still needed.
                if recovered.unfinished.is_empty() {
                    blocking::remove(&path)?;
                }
            }
            Step::Leave(id) => {
                if let Some((segment, _)) = take_open(&mut facts, id) {
                    recovered.unfinished.push(segment);
                }
            }
            Step::Finish(id) => {
                let Some((segment, end)) = take_open(&mut facts, id) else { continue };
                match finish(builder, &segment, end) {
                    Ok(damaged) => recovered.tell(damaged),
                    Err(error) => {
                        let path = segment.path.display();
                        let text = "could not be finished and is read as it is";
                        recovered.tell([format!("{path} {text}: {error}")]);
                        recovered.unfinished.push(segment);
                    }
                }
            }
            Step::Index(id) => match index_sealed(builder, id) {
                Ok(damaged) => recovered.tell(damaged),
                Err(error) => {
                    let path = builder.layout.segment(id);
                    let text = format!("{} could not be indexed: {error}", path.display());
                    recovered.tell([text]);
                }
            },
        }
    }
    Ok(recovered)
}

/// An open segment as it was found, and where it ends.
fn take_open(facts: &mut Facts, id: SegmentId) -> Option<(Arc<Segment>, u64)> {
    let SegmentFile::Open { path, opened, scanned } = facts.segments.remove(&id)? else {
        return None;
    };
    let Scanned { map, end } = scanned;
    let segment = Segment {
        path,
        opened: Arc::new(*opened),
        interfaces: map.interfaces().cloned().collect(),
        map,
        totals: None,
        damage: Vec::new(),
    };
    Some((Arc::new(segment), end))
}

/// Seals what verified of an open segment. Footer and trailer are written behind it before the
/// name changes, and sealed under a salt of their own, so doing it again repeats no nonce.
fn finish(builder: &Builder, segment: &Segment, end: u64) -> Result<Vec<String>, RecoverError> {
    let replayed = replay(segment)?;
    let flows = replayed.table.len() as u32;
    let pages = footer_and_trailer(&segment.opened, &segment.map, flows, end);
    blocking::cut(&segment.path, end)?;
    blocking::write_at(&segment.path, end, &pages)?;
    let path = builder.layout.segment(segment.id());
    blocking::rename(&segment.path, &path)?;
    let stored_bytes = end + pages.len() as u64;
    index(builder, segment, &path, replayed, stored_bytes)
}

fn index_sealed(builder: &Builder, id: SegmentId) -> Result<Vec<String>, RecoverError> {
    let path = builder.layout.segment(id);
    let segment = reader::open_sealed(&path, &builder.keys, builder.store)?;
    let replayed = replay(&segment)?;
    let stored_bytes = blocking::file_len(&path)?.unwrap_or(0);
    index(builder, &segment, &path, replayed, stored_bytes)
}

/// Makes split and catalog row; gives what could not be read of the segment.
fn index(
    builder: &Builder,
    segment: &Segment,
    path: &Path,
    replayed: crate::replay::Replayed,
    stored_bytes: u64,
) -> Result<Vec<String>, RecoverError> {
    let tell = |(offset, what)| format!("{} at offset {offset}: {what}", path.display());
    let damaged = replayed.damaged.into_iter().map(tell).collect();
    let opened = &segment.opened;
    let finished = Finished {
        owner: opened.owner,
        created_nanos: opened.created_nanos,
        secret: opened.secret.clone(),
        totals: totals(&segment.map, replayed.table.len() as u32),
        map: segment.map.clone(),
        stored_bytes,
    };
    builder.build(Job {
        finished,
        shard: opened.shard,
        bucket: opened.bucket,
        table: replayed.table,
        answers: replayed.answers,
        wal: None,
        done: None,
    })?;
    Ok(damaged)
}
