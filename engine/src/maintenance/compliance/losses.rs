//! What was not stored, by cause and day: pure.

use std::collections::BTreeMap;

use serde::Serialize;
use tapstone_packet::time::Timestamp;

use super::period::Period;
use super::report::instant;
use crate::capture::loss::{Loss, LossCause};

const DAY_SECS: i128 = 86_400;

/// Packets that were lost for one cause within one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct DayOfLoss {
    pub(super) cause: &'static str,
    /// Whether they were left out because that was asked for.
    pub(super) asked_for: bool,
    /// In UTC.
    pub(super) day: String,
    pub(super) packets: u64,
    /// Not before.
    pub(super) first: String,
    /// Not after.
    pub(super) last: String,
}

/// Sums up what was lost within a period, by cause and by the day on which it began. What crosses the
/// period's bounds counts whole: nobody knows which packets of it were inside.
pub(super) fn by_day(losses: impl Iterator<Item = Loss>, period: &Period) -> Vec<DayOfLoss> {
    let mut days: BTreeMap<(LossCause, i128), Loss> = BTreeMap::new();
    for loss in losses.filter(|it| it.packets > 0 && period.overlaps(it.first, it.last)) {
        let day = loss.first.secs_nanos().0.div_euclid(DAY_SECS);
        let sum = days.entry((loss.cause, day)).or_insert(Loss { packets: 0, ..loss });
        sum.packets += loss.packets;
        (sum.first, sum.last) = (sum.first.min(loss.first), sum.last.max(loss.last));
    }
    let told = |((cause, day), it): ((LossCause, i128), Loss)| DayOfLoss {
        cause: cause.name(),
        asked_for: cause.is_asked_for(),
        day: day_text(day),
        packets: it.packets,
        first: instant(it.first),
        last: instant(it.last),
    };
    days.into_iter().map(told).collect()
}

fn day_text(day: i128) -> String {
    let secs = i64::try_from(day * DAY_SECS).unwrap_or(i64::MAX);
    let text = instant(Timestamp::from_secs_nanos(secs, 0));
    text.split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs_nanos(secs, 0)
    }

    #[test]
    fn what_was_lost_is_told_by_cause_and_day() {
        let loss =
            |cause, packets, first, last| Loss { cause, packets, first: at(first), last: at(last) };
        let losses = [
            loss(LossCause::Shed, 5, 86_500, 86_600),
            loss(LossCause::RingFull, 1, 10, 20),
            loss(LossCause::RingFull, 2, 15, 30),
            loss(LossCause::RingFull, 4, 86_399, 86_500),
            loss(LossCause::RingFull, 8, 86_400, 86_400),
            loss(LossCause::Duplicate, 16, 200_000, 200_001),
            loss(LossCause::RingFull, 32, 0, 4),
        ];
        let period = Period { since: at(5), until: at(200_000) };
        let days = by_day(losses.into_iter(), &period);
        let told: Vec<_> = days.iter().map(|it| (it.cause, &it.day[..], it.packets)).collect();
        let expected = [
            ("ring-full", "1970-01-01", 7),
            ("ring-full", "1970-01-02", 8),
            ("shed", "1970-01-02", 5),
        ];
        assert_eq!(told, expected);
        assert_eq!(days[0].first, "1970-01-01T00:00:10.000000000Z");
        assert_eq!(days[0].last, "1970-01-02T00:01:40.000000000Z");
        assert!(days.iter().all(|it| !it.asked_for));
    }
}
