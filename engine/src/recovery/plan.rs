//! What to do about what was found: a pure function.

use std::path::PathBuf;

use super::gather::{Facts, Log, SegmentFile};
use crate::id::SegmentId;
use crate::journal::StoredUnit;
use crate::query::Missing;

/// One step; doing it twice is doing it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Cut an open segment behind what verifies, seal it, and index it.
    Finish(SegmentId),
    /// Read an open segment as it is: acknowledged units of it are missing, and what stands behind
    /// them must not be cut off.
    Leave(SegmentId),
    /// Index a sealed segment.
    Index(SegmentId),
    /// Remove the files of segments that had expired.
    Expire(Vec<SegmentId>),
    /// Remove a file that means nothing.
    Remove(PathBuf),
    /// Tell, now and in every answer, that acknowledged packets are missing.
    Lost(Missing),
    /// Tell that something is wrong.
    Report(String),
}

pub(crate) fn plan(facts: &Facts) -> Vec<Step> {
    let mut steps = Vec::new();
    if !facts.expiring.is_empty() {
        steps.push(Step::Expire(facts.expiring.clone()));
    }
    for log in &facts.logs {
        steps.extend(log.damaged_at.map(|offset| {
            Step::Report(format!(
                "{}: damaged at offset {offset} after it had been written; what it vouched for \
                 from there on cannot be checked",
                log.path.display()
            ))
        }));
        let lost = log.stored.iter().filter(|unit| !is_there(facts, unit));
        steps.extend(lost.map(|unit| Step::Lost(lost_unit(unit))));
    }
    for (id, file) in &facts.segments {
        match file {
            SegmentFile::Open { .. } if misses_units(facts, *id) => steps.push(Step::Leave(*id)),
            SegmentFile::Open { scanned, path, .. } if scanned.map.units.is_empty() => {
                steps.push(Step::Remove(path.clone()));
            }
            SegmentFile::Open { .. } => steps.push(Step::Finish(*id)),
            SegmentFile::Sealed => {
                if !facts.catalogued.contains(id) || !facts.split.contains(id) {
                    steps.push(Step::Index(*id));
                }
            }
            SegmentFile::Unreadable { path, why, has_content: true } => {
                let reason = format!("{} cannot be read: {why}", path.display());
                // Units that the log knows are told one by one.
                let known = facts.logs.iter().flat_map(|log| &log.stored);
                steps.push(match known.into_iter().any(|unit| unit.segment() == *id) {
                    true => Step::Report(reason),
                    false => Step::Lost(Missing::whole(*id, &reason)),
                });
            }
            // It was begun when the crash came.
            SegmentFile::Unreadable { path, .. } => steps.push(Step::Remove(path.clone())),
        }
    }
    for id in facts.catalogued.iter().filter(|id| !facts.segments.contains_key(id)) {
        steps.push(Step::Report(format!(
            "segment {id} is in the catalog, but its file is gone; put it back, or run: \
             tapstone rebuild"
        )));
    }
    // Logs go last: until everything that they speak of is in its place, they are needed.
    let done = facts.logs.iter().filter(|log| !is_needed(facts, log));
    steps.extend(done.map(|log| Step::Remove(log.path.clone())));
    steps.extend(facts.leftovers.iter().cloned().map(Step::Remove));
    steps
}

/// Whether a log vouches for packets that are not in their place: then it is all that tells of
/// them, and stays.
fn is_needed(facts: &Facts, log: &Log) -> bool {
    log.stored.iter().any(|unit| !is_there(facts, unit))
}

fn misses_units(facts: &Facts, id: SegmentId) -> bool {
    let mut stored = facts.logs.iter().flat_map(|log| &log.stored);
    stored.any(|unit| unit.segment() == id && !is_there(facts, unit))
}

fn is_there(facts: &Facts, unit: &StoredUnit) -> bool {
    if facts.expiring.contains(&unit.segment()) {
        return true;
    }
    match facts.segments.get(&unit.segment()) {
        Some(SegmentFile::Sealed) => true,
        Some(SegmentFile::Open { scanned, .. }) => {
            let found = scanned.map.units.get(unit.end.unit.get() as usize);
            found.is_some_and(|found| {
                found.offset == unit.end.offset.get()
                    && found.blocks_crc() == unit.end.blocks_crc.get()
            })
        }
        Some(SegmentFile::Unreadable { .. }) | None => false,
    }
}

fn lost_unit(unit: &StoredUnit) -> Missing {
    let (first, last) = unit.end.times();
    let (number, offset) = (unit.end.unit.get(), unit.end.offset.get());
    Missing {
        segment: Some(unit.segment()),
        first,
        last,
        packets: unit.end.packets.get().into(),
        asked_for: false,
        reason: format!("acknowledged packets are gone (unit {number} at offset {offset})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StoreId;
    use crate::journal::tests::stored;
    use crate::segment::footer::SegmentMap;
    use crate::segment::scan::Scanned;

    fn id(sequence: u32) -> SegmentId {
        SegmentId::new(StoreId([1; 16]), sequence, 0)
    }

    #[test]
    fn a_store_in_order_needs_nothing() {
        let mut facts = Facts::default();
        facts.segments.insert(id(1), SegmentFile::Sealed);
        facts.catalogued.insert(id(1));
        facts.split.insert(id(1));
        assert_eq!(plan(&facts), []);
    }

    #[test]
    fn a_sealed_segment_that_is_not_known_is_indexed_before_its_log_goes() {
        let mut facts = Facts::default();
        facts.segments.insert(id(1), SegmentFile::Sealed);
        facts.split.insert(id(1));
        let path = PathBuf::from("wal-1.log");
        facts.logs.push(Log {
            path: path.clone(),
            segment: Some(id(1)),
            stored: vec![stored(id(1), 0)],
            ..Log::default()
        });
        assert_eq!(plan(&facts), [Step::Index(id(1)), Step::Remove(path)]);
    }

    #[test]
    fn acknowledged_packets_that_are_gone_are_told() {
        let mut facts = Facts::default();
        let why = "gone".to_owned();
        let unreadable = |has_content| SegmentFile::Unreadable {
            path: "s.open".into(),
            why: why.clone(),
            has_content,
        };
        facts.segments.insert(id(2), unreadable(true));
        facts.logs.push(Log {
            path: "wal-2.log".into(),
            segment: Some(id(2)),
            stored: vec![stored(id(2), 0)],
            ..Log::default()
        });
        let steps = plan(&facts);
        // They are told of as long as they are not back: neither the file nor its log is touched.
        let [Step::Lost(lost), Step::Report(_)] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!((lost.segment, lost.packets), (Some(id(2)), 10));

        let opened = crate::segment::reader::tests::opened(id(2));
        let scanned = Scanned { map: SegmentMap::default(), end: 4096, doubtful: 4096 };
        let open = SegmentFile::Open { path: "s.open".into(), opened: Box::new(opened), scanned };
        facts.segments.insert(id(2), open);
        assert_eq!(plan(&facts)[1..], [Step::Leave(id(2))]);

        facts.logs.clear();
        facts.segments.insert(id(2), unreadable(false));
        assert_eq!(plan(&facts), [Step::Remove("s.open".into())]);
    }
}
