//! Which of a store's files are part of a backup: a pure function of their names.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::SegmentId;

/// A file that is taken while packets come: it is never written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Within the store's folder, and within the backup's.
    pub(super) path: String,
    /// Whether it may be shared. What a crash left is written to when the store is opened next.
    pub(super) may_share: bool,
    /// The segment that it is or belongs to.
    pub(super) segment: Option<SegmentId>,
}

/// The names that were found.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) segments: Vec<String>,
    pub(super) splits: Vec<String>,
    pub(super) logs: Vec<String>,
    /// But for the last file, which is written on.
    pub(super) audit: Vec<String>,
}

/// What is to be taken, the oldest segments first: they are the ones that retention wants gone.
///
/// What was begun as number `first` or later holds nothing that had been acknowledged before, unless
/// it is sealed. Of what is older, all that is not sealed is what crashes and failed writes left: such a file
/// and its log are taken as they are.
pub(super) fn parts(names: &Names, first: u32) -> Vec<Part> {
    let mut segments: BTreeMap<SegmentId, Vec<Part>> = BTreeMap::new();
    let mut sealed = BTreeSet::new();
    for name in &names.segments {
        let Some((id, extension)) = split(name) else { continue };
        let may_share = match extension {
            "seg" => sealed.insert(id.sequence()),
            "open" if id.sequence() < first => false,
            _ => continue,
        };
        let part = Part { path: format!("segments/{name}"), may_share, segment: Some(id) };
        segments.entry(id).or_default().push(part);
    }
    for name in &names.splits {
        if let Some((id, "split")) = split(name)
            && let Some(parts) = segments.get_mut(&id)
            && sealed.contains(&id.sequence())
        {
            let path = format!("splits/{name}");
            parts.push(Part { path, may_share: true, segment: Some(id) });
        }
    }
    let is_left = |name: &&String| {
        sequence_of_log(name).is_some_and(|it| it < first && !sealed.contains(&it))
    };
    let plain = |path, may_share| Part { path, may_share, segment: None };
    let logs = names.logs.iter().filter(is_left).map(|name| plain(format!("wal/{name}"), false));
    let audit = names.audit.iter().map(|name| plain(format!("audit/{name}"), true));
    segments.into_values().flatten().chain(logs).chain(audit).collect()
}

fn split(name: &str) -> Option<(SegmentId, &str)> {
    let (id, extension) = name.split_once('.')?;
    Some((id.parse().ok()?, extension))
}

/// The number of the segment that a log is about: `wal-<shard>-<first lsn>.log`.
fn sequence_of_log(name: &str) -> Option<u32> {
    let (_, first) = name.strip_suffix(".log")?.rsplit_once('-')?;
    u32::try_from(first.parse::<u64>().ok()? >> 32).ok()
}

#[cfg(test)]
mod tests {
    use tapstone_wal::file_name;

    use super::*;
    use crate::id::StoreId;
    use crate::shard::first_record;

    fn id(sequence: u32) -> SegmentId {
        SegmentId::new(StoreId([1; 16]), sequence, u64::from(sequence))
    }

    fn log(sequence: u32) -> String {
        file_name(3, first_record(sequence))
    }

    #[test]
    fn what_is_sealed_is_taken_and_of_the_rest_what_was_left_with_its_log() {
        let names = Names {
            segments: vec![
                format!("{}.seg", id(1)),
                format!("{}.open", id(2)),
                format!("{}.seg", id(7)),
                format!("{}.open", id(8)),
                "something.else".into(),
            ],
            splits: vec![
                format!("{}.split", id(1)),
                format!("{}.split", id(3)),
                format!("{}.split.new", id(7)),
            ],
            logs: vec![log(0), log(1), log(2), log(8)],
            audit: vec!["00000001.log".into()],
        };
        let parts = parts(&names, 8);
        let paths: Vec<&str> = parts.iter().map(|it| it.path.as_str()).collect();
        let expected = [
            format!("segments/{}.seg", id(1)),
            format!("splits/{}.split", id(1)),
            format!("segments/{}.open", id(2)),
            format!("segments/{}.seg", id(7)),
            // The file that it vouches for is gone: it is all that tells of that.
            format!("wal/{}", log(0)),
            format!("wal/{}", log(2)),
            "audit/00000001.log".to_owned(),
        ];
        assert_eq!(paths, expected);
        let shared = parts.iter().map(|it| it.may_share).collect::<Vec<_>>();
        assert_eq!(shared, [true, true, false, true, false, false, true]);
    }

    #[test]
    fn a_log_says_which_segment_it_is_about() {
        for sequence in [0, 1, 77, u32::MAX] {
            assert_eq!(sequence_of_log(&log(sequence)), Some(sequence));
        }
        assert_eq!(sequence_of_log("wal-0-x.log"), None);
        assert_eq!(sequence_of_log("00000001.log"), None);
    }
}
