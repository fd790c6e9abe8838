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
    /// As it is written: `age`, `size`, `space`.
    #[must_use]
    pub const fn name(self) -> &'static str {
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
    /// When it was begun, in nanoseconds since the epoch, as the clock said then.
    pub(super) begun: u64,
    /// Bytes of segment and split.
    pub(super) bytes: u64,
}

/// What retention would let go, and holds keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldBack {
    /// How many segments.
    pub segments: u64,
    /// Bytes of these and their splits.
    pub bytes: u64,
    /// Whether for this reason less of the disk is free, or the store is larger, than retention
    /// asks for.
    pub falls_short: bool,
}

/// What has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The segments, the oldest first, and why.
    pub(crate) segments: Vec<(SegmentId, ExpiredBy)>,
    pub(crate) held_back: HeldBack,
}

/// The segments that have to go. Those that are held are stepped over, and newer ones go in their
/// place; it is asked of none that need not go anyway.
pub(super) fn due(
    candidates: &[Candidate],
    space: Option<Space>,
    now: u64,
    retention: &Retention,
    mut is_held: impl FnMut(SegmentId) -> bool,
) -> Due {
    let candidates = in_order(candidates, now);
    let mut kept: u64 = candidates.iter().map(|it| it.bytes).sum();
    let mut free = space.map(|space| space.free);
    let wanted = space.zip(retention.keep_free).map(|(space, keep)| keep.of(space.total));
    let oldest = retention
        .keep_for
        .map(|age| now.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)));
    let is_too_large = |kept: u64| retention.max_size.is_some_and(|most| kept > most);
    let is_too_full = |free: Option<u64>| free.zip(wanted).is_some_and(|(free, it)| free < it);
    let mut due = Due { segments: Vec::new(), held_back: HeldBack::default() };
    for Candidate { id, begun, bytes } in candidates {
        let why = if oldest.is_some_and(|oldest| begun < oldest) {
            ExpiredBy::Age
        } else if is_too_large(kept) {
            ExpiredBy::Size
        } else if is_too_full(free) {
            ExpiredBy::Space
        } else {
            break;
        };
        if is_held(id) {
            due.held_back.segments += 1;
            due.held_back.bytes += bytes;
            continue;
        }
        due.segments.push((id, why));
        kept -= bytes;
        free = free.map(|free| free + bytes);
    }
    let aim_is_missed = is_too_large(kept) || is_too_full(free);
    due.held_back.falls_short = aim_is_missed && due.held_back.segments > 0;
    due
}

/// The candidates in the order in which they were begun, and none with a time that is before the
/// time of the one in front of it, or still to come. The clock may have been set since, so it is
/// their numbers that say what the order was; one whose time does not fit it counts as begun when
/// the next one was, so that nothing seems older than it can be.
fn in_order(candidates: &[Candidate], now: u64) -> Vec<Candidate> {
    let mut candidates = candidates.to_vec();
    candidates.sort_by_key(|it| it.id.sequence());
    let mut latest = 0;
    let fits = candidates.iter().map(|it| {
        let fits = (latest..=now).contains(&it.begun);
        latest = if fits { it.begun } else { latest };
        fits
    });
    let fits: Vec<bool> = fits.collect();
    let mut next = now;
    for (it, fits) in candidates.iter_mut().zip(fits).rev() {
        next = if fits { it.begun } else { next };
        it.begun = next;
    }
    candidates
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
        let due = holding(&[], retention, space);
        assert_eq!(due.held_back, HeldBack::default());
        due.segments.into_iter().map(|(id, why)| (id.sequence(), why)).collect()
    }

    fn holding(held: &[u32], retention: Retention, space: Option<Space>) -> Due {
        let is_held = |id: SegmentId| held.contains(&id.sequence());
        due(&candidates(5), space, 110 * SECOND, &retention, is_held)
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

    /// 15 % of the disk were cleaned up where one file was enough.
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

    #[test]
    fn what_is_held_is_stepped_over_and_newer_ones_go_in_its_place() {
        let old = Retention { keep_for: Some(Duration::from_secs(7)), ..Retention::default() };
        let large = Retention { max_size: Some(25), ..Retention::default() };
        let full = Retention { keep_free: Some(Free::Bytes(100)), ..Retention::default() };
        let space = Some(Space { free: 75, total: 1000 });
        let back = |segments, bytes| HeldBack { segments, bytes, falls_short: false };
        // Age is of each by itself: nothing goes in its place.
        for (retention, why, gone) in [
            (old, ExpiredBy::Age, &[0, 2][..]),
            (large, ExpiredBy::Size, &[0, 2, 3]),
            (full, ExpiredBy::Space, &[0, 2, 3]),
        ] {
            let due = holding(&[1], retention, space);
            let expected: Vec<_> = gone.iter().map(|it| (id(*it), why)).collect();
            assert_eq!((due.segments, due.held_back), (expected, back(1, 10)));
        }
    }

    #[test]
    fn an_aim_that_holds_keep_from_being_reached_is_told() {
        let large = Retention { max_size: Some(25), ..Retention::default() };
        let due = holding(&[0, 2, 4], large, None);
        assert_eq!(due.segments.len(), 2);
        assert_eq!(due.held_back, HeldBack { segments: 3, bytes: 30, falls_short: true });
        let full = Retention { keep_free: Some(Free::Bytes(100)), ..Retention::default() };
        let due = holding(&[0, 1, 2, 3, 4], full, Some(Space { free: 99, total: 1000 }));
        assert_eq!(due.held_back, HeldBack { segments: 5, bytes: 50, falls_short: true });
        // Without holds it is the disk that is too small, which its own alarms tell.
        let due = holding(&[], full, Some(Space { free: 0, total: 1000 }));
        assert_eq!(due.held_back, HeldBack::default());
        // Age has no aim but each segment itself.
        let old = Retention { keep_for: Some(Duration::from_secs(1)), ..Retention::default() };
        assert!(!holding(&[0, 1], old, None).held_back.falls_short);
    }

    #[test]
    fn nobody_asks_about_what_need_not_go() {
        let mut asked = Vec::new();
        let retention = Retention { max_size: Some(45), ..Retention::default() };
        let is_held = |id: SegmentId| {
            asked.push(id.sequence());
            false
        };
        due(&candidates(5), None, 110 * SECOND, &retention, is_held);
        assert_eq!(asked, [0]);
    }

    /// What goes, at second 1000, of segments that were begun at these seconds, one after the other.
    fn gone(begun: &[u64], retention: Retention) -> Vec<u32> {
        let candidate = |(number, begun): (usize, &u64)| Candidate {
            id: id(number as u32),
            begun: begun * SECOND,
            bytes: 10,
        };
        let candidates: Vec<_> = begun.iter().enumerate().map(candidate).collect();
        let due = due(&candidates, None, 1000 * SECOND, &retention, |_| false);
        due.segments.into_iter().map(|(id, _)| id.sequence()).collect()
    }

    #[test]
    fn a_clock_that_was_set_makes_nothing_old() {
        let keep_for = Some(Duration::from_secs(100));
        let retention = Retention { keep_for, ..Retention::default() };
        for (begun, expected) in [
            (&[800, 850, 950][..], &[0, 1][..]),
            // It stood at 1970 for a while.
            (&[950, 0, 5, 960], &[]),
            (&[800, 0, 5, 960], &[0]),
            // It was ahead, and was set right.
            (&[5000, 5100, 800, 950], &[0, 1, 2]),
            (&[5000, 5100, 950], &[]),
            (&[5000, 5100], &[]),
            // Set back by an hour, which it had been wrong by before.
            (&[800, 5000, 850, 5100, 950], &[0, 1, 2]),
        ] {
            assert_eq!(gone(begun, retention), expected, "{begun:?}");
        }
    }

    #[test]
    fn the_first_recorded_go_for_room_whatever_the_clock_said() {
        let retention = Retention { max_size: Some(25), ..Retention::default() };
        for begun in [&[100, 200, 300, 400][..], &[900, 950, 10, 20], &[5000, 7, 6000, 3]] {
            assert_eq!(gone(begun, retention), [0, 1], "{begun:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_left_is_within_bounds_and_newer(
            sizes in proptest::collection::vec((0u64..1000, 0u64..50), 0..40),
            held in proptest::collection::btree_set(0u32..40, 0..10),
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
            let is_held = |id: SegmentId| held.contains(&id.sequence());
            let due = due(&all, Some(space), 1000, &retention, is_held);
            let gone = |it: &&Candidate| due.segments.iter().any(|(id, _)| *id == it.id);
            let (gone, kept): (Vec<&Candidate>, Vec<&Candidate>) = all.iter().partition(gone);
            let freed: u64 = gone.iter().map(|it| it.bytes).sum();
            let size: u64 = kept.iter().map(|it| it.bytes).sum();
            let reached = size <= most && free + freed >= keep;
            prop_assert!(!gone.iter().any(|it| is_held(it.id)));
            let left: Vec<_> = kept.into_iter().filter(|it| !is_held(it.id)).collect();
            prop_assert!(left.is_empty() || reached);
            prop_assert!(!due.held_back.falls_short || !reached);
            // Times are in no order here, as if the clock had been set again and again.
            let fits = |it: &&&Candidate| {
                all[..it.id.sequence() as usize].iter().all(|before| before.begun <= it.begun)
            };
            prop_assert!(left.iter().filter(fits).all(|it| it.begun >= 1000 - age.min(1000)));
            for (gone, left) in gone.iter().flat_map(|gone| left.iter().map(move |it| (gone, it))) {
                prop_assert!(gone.id.sequence() < left.id.sequence());
            }
        }
    }
}
