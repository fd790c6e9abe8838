//! Which segments have to go: a pure function.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tapstone_runtime::blocking::Space;

use crate::id::SegmentId;

/// How long, and how much, is kept. Whichever is reached first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// So much of the file system stays free.
    pub keep_free: Option<Free>,
    /// Segments that were begun longer ago go.
    pub keep_for: Option<Duration>,
    /// Segments and splits take no more bytes than this.
    pub max_size: Option<u64>,
}

impl Retention {
    /// Whether nothing ever goes.
    #[must_use]
    pub fn keeps_everything(&self) -> bool {
        *self == Retention::default()
    }
}

/// A part of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// So many hundredths of it.
    Percent(u8),
    /// So many bytes.
    Bytes(u64),
}

impl Free {
    /// In bytes.
    #[must_use]
    pub fn of(self, total: u64) -> u64 {
        match self {
            Free::Percent(percent) => total / 100 * u64::from(percent.min(100)),
            Free::Bytes(bytes) => bytes,
        }
    }
}

/// Why a segment went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpiredBy {
    /// It was older than what is kept.
    Age,
    /// Everything together was larger than what is kept.
    Size,
    /// The file system had too little room.
    Space,
}

impl ExpiredBy {
    /// As it is written, in the catalog.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            ExpiredBy::Age => "age",
            ExpiredBy::Size => "size",
            ExpiredBy::Space => "space",
        }
    }
}

impl fmt::Display for ExpiredBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExpiredBy::Age => "they expired: they were older than what is kept",
            ExpiredBy::Size => "they expired: the store was larger than what is kept",
            ExpiredBy::Space => "they expired: the disk had too little room",
        })
    }
}

/// A sealed segment that could go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) id: SegmentId,
    /// When it was begun, in nanoseconds since the epoch.
    pub(super) begun: u64,
    /// Bytes of segment and split.
    pub(super) bytes: u64,
}

/// The segments that have to go, the oldest first, and why.
pub(super) fn due(
    candidates: &[Candidate],
    space: Option<Space>,
    now: u64,
    retention: &Retention,
) -> Vec<(SegmentId, ExpiredBy)> {
    let mut candidates = candidates.to_vec();
    candidates.sort_by_key(|it| (it.begun, it.id));
    let mut held: u64 = candidates.iter().map(|it| it.bytes).sum();
    let mut free = space.map(|space| space.free);
    let wanted = space.zip(retention.keep_free).map(|(space, keep)| keep.of(space.total));
    let oldest = retention
        .keep_for
        .map(|age| now.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)));
    let mut due = Vec::new();
    for Candidate { id, begun, bytes } in candidates {
        let why = if oldest.is_some_and(|oldest| begun < oldest) {
            ExpiredBy::Age
        } else if retention.max_size.is_some_and(|most| held > most) {
            ExpiredBy::Size
        } else if free.zip(wanted).is_some_and(|(free, wanted)| free < wanted) {
            ExpiredBy::Space
        } else {
            break;
        };
        due.push((id, why));
        held -= bytes;
        free = free.map(|free| free + bytes);
    }
    due
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::StoreId;

    const SECOND: u64 = 1_000_000_000;

    fn id(number: u32) -> SegmentId {
        SegmentId::new(StoreId([1; 16]), number, 0)
    }

    /// Begun at second 100, 101, ..., ten bytes each.
    fn candidates(count: u32) -> Vec<Candidate> {
        let candidate = |number: u32| Candidate {
            id: id(number),
            begun: (100 + u64::from(number)) * SECOND,
            bytes: 10,
        };
        (0..count).map(candidate).collect()
    }

    fn numbers(retention: Retention, space: Option<Space>) -> Vec<(u32, ExpiredBy)> {
        let due = due(&candidates(5), space, 110 * SECOND, &retention);
        due.into_iter().map(|(id, why)| (id.sequence(), why)).collect()
    }

    #[test]
    fn nothing_goes_when_nothing_is_said() {
        let full = Some(Space { free: 0, total: 1000 });
        assert_eq!(numbers(Retention::default(), full), []);
    }

    #[test]
    fn what_is_old_goes() {
        let keep_for = Some(Duration::from_secs(8));
        let retention = Retention { keep_for, ..Retention::default() };
        assert_eq!(numbers(retention, None), [(0, ExpiredBy::Age), (1, ExpiredBy::Age)]);
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let retention = Retention { max_size: Some(25), ..Retention::default() };
        let expected = [0, 1, 2].map(|it| (it, ExpiredBy::Size));
        assert_eq!(numbers(retention, None), expected);
        let retention = Retention { max_size: Some(50), ..Retention::default() };
        assert_eq!(numbers(retention, None), []);
    }

    /// stenographer#189: 15 % of the disk were cleaned up where one file was enough.
    #[test]
    fn no_more_goes_than_the_disk_needs() {
        let space = |free| Some(Space { free, total: 1000 });
        let retention = Retention { keep_free: Some(Free::Percent(10)), ..Retention::default() };
        assert_eq!(numbers(retention, space(100)), []);
        assert_eq!(numbers(retention, space(99)), [(0, ExpiredBy::Space)]);
        assert_eq!(numbers(retention, space(85)).len(), 2);
        assert_eq!(numbers(retention, space(0)).len(), 5, "all that there is");
        let retention = Retention { keep_free: Some(Free::Bytes(100)), ..Retention::default() };
        assert_eq!(numbers(retention, space(90)).len(), 1);
        assert_eq!(numbers(retention, None), []);
    }

    proptest! {
        #[test]
        fn what_is_left_is_within_bounds_and_newer(
            sizes in proptest::collection::vec((0u64..1000, 0u64..50), 0..40),
            free in 0u64..500, keep in 0u64..500, most in 0u64..1000, age in 0u64..1000,
        ) {
            let candidate = |(number, (begun, bytes)): (usize, &(u64, u64))| Candidate {
                id: id(number as u32),
                begun: *begun,
                bytes: *bytes,
            };
            let all: Vec<Candidate> = sizes.iter().enumerate().map(candidate).collect();
            let retention = Retention {
                keep_free: Some(Free::Bytes(keep)),
                keep_for: Some(Duration::from_nanos(age)),
                max_size: Some(most),
            };
            let space = Space { free, total: 10_000 };
            let due = due(&all, Some(space), 1000, &retention);
            let gone = |it: &&Candidate| due.iter().any(|(id, _)| *id == it.id);
            let (gone, left): (Vec<&Candidate>, Vec<&Candidate>) = all.iter().partition(gone);
            let freed: u64 = gone.iter().map(|it| it.bytes).sum();
            let held: u64 = left.iter().map(|it| it.bytes).sum();
            prop_assert!(left.is_empty() || (held <= most && free + freed >= keep));
            prop_assert!(left.iter().all(|it| it.begun >= 1000 - age.min(1000)));
            for (gone, left) in gone.iter().flat_map(|gone| left.iter().map(move |it| (gone, it))) {
                prop_assert!(gone.begun <= left.begun);
            }
        }
    }
}
