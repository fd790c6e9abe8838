//! Which files go to the archive: pure.

use std::time::Duration;

use tapstone_packet::time::Timestamp;

use super::super::verify::AuditHead;
use super::mark::{Archived, NONE};

/// What is known of a file that the archive mark does not tell of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) file: u64,
    /// Whether it is in the log's folder; it may have a copy in the archive, where a crash came in
    /// between.
    pub(super) is_live: bool,
    /// Its last record, and when that was recorded; none when it holds none.
    pub(super) last: Option<(AuditHead, Timestamp)>,
}

/// The files to be archived: the oldest, whose last record is as old as that. Neither the newest
/// goes, nor the newest that holds a record, which the chain goes on behind.
pub(super) fn due(known: &[Known], now: Timestamp, after: Duration) -> Vec<u64> {
    let live: Vec<&Known> = known.iter().filter(|it| it.is_live).collect();
    let newest_with_a_record = live.iter().rposition(|it| it.last.is_some()).unwrap_or(0);
    let may_go = newest_with_a_record.min(live.len().saturating_sub(1));
    let is_due = |it: &&&Known| it.last.is_none_or(|(_, time)| is_as_old(time, now, after));
    live[..may_go].iter().take_while(is_due).map(|it| it.file).collect()
}

fn is_as_old(time: Timestamp, now: Timestamp, after: Duration) -> bool {
    let age = now.attos().saturating_sub(time.attos());
    let nanos = i128::try_from(after.as_nanos()).unwrap_or(i128::MAX);
    age >= nanos.saturating_mul(1_000_000_000)
}

/// What the mark says of files once they are in the archive, behind what it said before.
pub(super) fn marked(before: Option<AuditHead>, known: &[Known]) -> Vec<Archived> {
    let mut last = before.unwrap_or(NONE);
    let known = known.iter().map(|it| {
        last = it.last.map_or(last, |(head, _)| head);
        Archived { file: it.file, last }
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::record::AuditHash;
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn head(sequence: u64) -> AuditHead {
        AuditHead { sequence, hash: AuditHash([sequence as u8; 32]) }
    }

    fn day(day: i64) -> Timestamp {
        Timestamp::from_secs_nanos(day * 86_400, 0)
    }

    /// File by file, the day of its last record.
    fn live(days: &[Option<i64>]) -> Vec<Known> {
        let known = |(file, of): (u64, &Option<i64>)| Known {
            file,
            is_live: true,
            last: of.map(|of| (head(file), day(of))),
        };
        (1..).zip(days).map(known).collect()
    }

    #[test]
    fn what_is_old_goes_and_never_the_newest() {
        let days = [Some(1), Some(2), Some(5), Some(9)];
        let gone = |now, after| due(&live(&days), day(now), after);
        assert_eq!(gone(10, 8 * DAY), [1, 2]);
        assert_eq!(gone(10, 10 * DAY), [0; 0]);
        assert_eq!(gone(10, Duration::ZERO), [1, 2, 3]);
        assert_eq!(gone(100, Duration::ZERO), [1, 2, 3]);
        assert_eq!(gone(100, Duration::MAX), [0; 0]);
        assert_eq!(due(&[], day(1), DAY), [0; 0]);
        assert_eq!(due(&live(&[Some(1)]), day(100), DAY), [0; 0]);
        assert_eq!(due(&live(&[None]), day(100), DAY), [0; 0]);
    }

    #[test]
    fn what_comes_behind_one_that_stays_stays() {
        let set_back = [Some(1), Some(50), Some(2), Some(3)];
        assert_eq!(due(&live(&set_back), day(60), 20 * DAY), [1]);
        assert_eq!(due(&live(&set_back), day(0), Duration::ZERO), [0; 0], "it is yet to come");
    }

    #[test]
    fn files_without_records_go_along_but_not_the_last_record() {
        let days = [None, Some(1), None, Some(2), None, None];
        assert_eq!(due(&live(&days), day(9), DAY), [1, 2, 3]);
        assert_eq!(due(&live(&[None, None, Some(9)]), day(9), DAY), [1, 2]);
        assert_eq!(due(&live(&[Some(1), None, None]), day(9), DAY), [0; 0]);
        assert_eq!(due(&live(&[None, None]), day(9), DAY), [0; 0]);
    }

    #[test]
    fn the_mark_says_the_last_record_up_to_the_end_of_each_file() {
        let known = live(&[None, Some(1), None]);
        let ends = |before| marked(before, &known).into_iter().map(|it| it.last.sequence);
        assert!(ends(None).eq([0, 2, 2]));
        let known = live(&[None]);
        assert_eq!(marked(Some(head(9)), &known), [Archived { file: 1, last: head(9) }]);
    }
}
