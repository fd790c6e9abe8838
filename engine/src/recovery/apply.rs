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
            Step::Report(text) => {
                tracing::error!("{text}");
                recovered.damage.push(text);
            }
            Step::Remove(path) => {
                // Logs of segments that could not be finished are still needed.
                if recovered.unfinished.is_empty() {
                    blocking::remove(&path)?;
                }
            }
            Step::Finish(id) => {
                let Some(SegmentFile::Open { path, opened, scanned }) = facts.segments.remove(&id)
                else {
                    continue;
                };
                let Scanned { map, end } = scanned;
                let segment = Arc::new(Segment {
                    path,
                    opened: Arc::new(*opened),
                    interfaces: map.interfaces().cloned().collect(),
                    map,
                    totals: None,
                });
                if let Err(error) = finish(builder, &segment, end) {
                    let path = segment.path.display();
                    let text =
                        format!("{path} could not be finished and is read as it is: {error}");
                    tracing::error!("{text}");
                    recovered.damage.push(text);
                    recovered.unfinished.push(segment);
                }
            }
            Step::Index(id) => {
                if let Err(error) = index_sealed(builder, id) {
                    let path = builder.layout.segment(id);
                    let text = format!("{} could not be indexed: {error}", path.display());
                    tracing::error!("{text}");
                    recovered.damage.push(text);
                }
            }
        }
    }
    Ok(recovered)
}

/// Seals what verified of an open segment. Footer and trailer are written behind it before the
/// name changes, and sealed under a salt of their own, so doing it again repeats no nonce.
fn finish(builder: &Builder, segment: &Segment, end: u64) -> Result<(), RecoverError> {
    let replayed = replay(segment)?;
    let flows = replayed.table.len() as u32;
    let opened = &segment.opened;
    let pages = footer_and_trailer(opened.owner, &opened.secret, &segment.map, flows, end);
    blocking::cut(&segment.path, end)?;
    blocking::write_at(&segment.path, end, &pages)?;
    let path = builder.layout.segment(segment.id());
    blocking::rename(&segment.path, &path)?;
    let stored_bytes = end + pages.len() as u64;
    index(builder, segment, &path, replayed, stored_bytes)
}

fn index_sealed(builder: &Builder, id: SegmentId) -> Result<(), RecoverError> {
    let path = builder.layout.segment(id);
    let segment = reader::open_sealed(&path, &builder.keys, builder.store)?;
    let replayed = replay(&segment)?;
    let stored_bytes = blocking::file_len(&path)?.unwrap_or(0);
    index(builder, &segment, &path, replayed, stored_bytes)
}

fn index(
    builder: &Builder,
    segment: &Segment,
    path: &Path,
    replayed: crate::replay::Replayed,
    stored_bytes: u64,
) -> Result<(), RecoverError> {
    for (offset, error) in &replayed.damaged {
        tracing::error!("{} at offset {offset}: {error}", path.display());
    }
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
    Ok(())
}
