//! What belongs to nothing: pure.

use std::collections::BTreeSet;

use crate::id::SegmentId;
use crate::shard::sequence_of;

/// What is known of segments, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Those that the catalog knows.
    pub(super) catalogued: BTreeSet<u32>,
    /// Others that have a file: those that are open, and those that a crash left.
    pub(super) others: BTreeSet<u32>,
    /// Those of which acknowledged packets are missing: their logs tell of that.
    pub(super) lost: BTreeSet<u32>,
    /// The largest number that was let go.
    pub(super) last_expired: Option<u32>,
}

impl Known {
    /// Whether an index of this name belongs to no segment.
    pub(super) fn is_split_unneeded(&self, name: &str) -> bool {
        let id = name.strip_suffix(".split").and_then(|id| id.parse::<SegmentId>().ok());
        id.is_some_and(|id| !self.has(id.sequence()))
    }

    /// Whether a log of this name tells of nothing that is not told elsewhere: its segment is indexed,
    /// or was let go.
    pub(super) fn is_log_unneeded(&self, name: &str) -> bool {
        let Some(sequence) = sequence_of(name) else { return false };
        let was_let_go =
            !self.has(sequence) && self.last_expired.is_some_and(|last| sequence <= last);
        (self.catalogued.contains(&sequence) || was_let_go) && !self.lost.contains(&sequence)
    }

    fn has(&self, sequence: u32) -> bool {
        self.catalogued.contains(&sequence) || self.others.contains(&sequence)
    }
}

/// Whether a file of the store's folder is left of something that a crash cut off. What other threads
/// may be making right now is not looked at: it is replaced by whoever makes it next.
pub(super) fn is_leftover(name: &str) -> bool {
    name == "probe" || name == "catalog.new" || name.ends_with(".tmp")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StoreId;
    use crate::shard::first_record;

    #[test]
    fn an_index_is_needed_while_its_segment_is_there() {
        let known = Known {
            catalogued: [1].into(),
            others: [2].into(),
            last_expired: Some(3),
            ..Known::default()
        };
        let split = |sequence| format!("{}.split", SegmentId::new(StoreId([1; 16]), sequence, 0));
        let unneeded = |name: &str| known.is_split_unneeded(name);
        assert_eq!([1, 2, 3, 4].map(|it| unneeded(&split(it))), [false, false, true, true]);
        assert!(!unneeded("readme.split") && !unneeded(&(split(3) + ".new")));
    }

    #[test]
    fn a_log_is_needed_while_it_alone_tells_of_something() {
        let known = Known {
            catalogued: [1, 2].into(),
            others: [3].into(),
            lost: [2, 4].into(),
            last_expired: Some(5),
        };
        let log = |sequence| tapstone_wal::file_name(7, first_record(sequence));
        let unneeded = [1, 2, 3, 4, 5, 6].map(|it| known.is_log_unneeded(&log(it)));
        assert_eq!(unneeded, [true, false, false, false, true, false]);
        assert!(!known.is_log_unneeded("other.log"));
    }

    #[test]
    fn leftovers_are_known_by_their_names() {
        let leftovers = ["probe", "catalog.new", "x.tmp"];
        assert!(leftovers.into_iter().all(is_leftover));
        let others = ["store", "catalog.redb", "catalog.damaged", "audit.head.new", "socket"];
        assert!(!others.into_iter().any(is_leftover));
    }
}
