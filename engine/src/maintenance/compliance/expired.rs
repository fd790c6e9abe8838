//! What expired, in a period and ever: pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::report::instant;
use crate::retention::{Expired, ExpiredBy};

/// What a report says of what expired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Expiry {
    /// By cause, within the hours that the period touches.
    pub(super) in_period: Vec<Gone>,
    /// By cause, since the catalog was made.
    pub(super) ever: Vec<Gone>,
    /// Of those, by cause, segments that went before it was noted when.
    pub(super) at_unknown_times: Vec<Undated>,
}

/// What went for one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Gone {
    pub(super) cause: &'static str,
    pub(super) segments: u64,
    pub(super) packets: u64,
    pub(super) packet_bytes: u64,
    /// The earliest packet's time.
    pub(super) first: String,
    /// The latest packet's time.
    pub(super) last: String,
}

/// What went for one cause, nobody knows when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Undated {
    pub(super) cause: &'static str,
    pub(super) segments: u64,
    pub(super) packets: u64,
    pub(super) packet_bytes: u64,
}

impl Expiry {
    /// From what expired in the period's hours, in all hours, and ever.
    pub(super) fn of(
        in_period: impl Iterator<Item = Expired>,
        in_all_hours: impl Iterator<Item = Expired>,
        ever: &[Expired],
    ) -> Expiry {
        let dated = by_cause(in_all_hours);
        let undated = ever.iter().filter_map(|ever| {
            let dated = dated.get(&ever.by);
            let rest = |of: fn(&Expired) -> u64| of(ever).saturating_sub(dated.map_or(0, of));
            let segments = rest(|it| it.segments);
            (segments > 0).then(|| Undated {
                cause: ever.by.name(),
                segments,
                packets: rest(|it| it.packets),
                packet_bytes: rest(|it| it.packet_bytes),
            })
        });
        Expiry {
            in_period: by_cause(in_period).values().map(Gone::of).collect(),
            ever: ever.iter().map(Gone::of).collect(),
            at_unknown_times: undated.collect(),
        }
    }
}

impl Gone {
    fn of(it: &Expired) -> Gone {
        Gone {
            cause: it.by.name(),
            segments: it.segments,
            packets: it.packets,
            packet_bytes: it.packet_bytes,
            first: instant(it.first),
            last: instant(it.last),
        }
    }
}

fn by_cause(expired: impl Iterator<Item = Expired>) -> BTreeMap<ExpiredBy, Expired> {
    let mut all: BTreeMap<ExpiredBy, Expired> = BTreeMap::new();
    for it in expired {
        let sum = all.get(&it.by).map_or(it, |before| before.and(it));
        all.insert(it.by, sum);
    }
    all
}

#[cfg(test)]
mod tests {
    use tapstone_packet::time::Timestamp;

    use super::*;

    #[test]
    fn what_is_not_dated_is_told_apart() {
        let expired = |by, segments, second| Expired {
            by,
            packets: 10 * segments,
            packet_bytes: 100 * segments,
            segments,
            first: Timestamp::from_secs_nanos(second, 0),
            last: Timestamp::from_secs_nanos(second + 1, 0),
        };
        let (age, size) = (ExpiredBy::Age, ExpiredBy::Size);
        let in_period = [expired(age, 1, 5), expired(age, 2, 3)];
        let in_all = [expired(age, 1, 5), expired(age, 2, 3), expired(age, 4, 9)];
        let ever = [expired(age, 8, 1), expired(size, 3, 1)];
        let expiry = Expiry::of(in_period.into_iter(), in_all.into_iter(), &ever);
        let period = &expiry.in_period;
        assert_eq!(period.len(), 1);
        assert_eq!((period[0].cause, period[0].segments, period[0].packets), ("age", 3, 30));
        assert_eq!(period[0].first, "1970-01-01T00:00:03.000000000Z");
        let undated = |cause, segments| Undated {
            cause,
            segments,
            packets: 10 * segments,
            packet_bytes: 100 * segments,
        };
        assert_eq!(expiry.at_unknown_times, [undated("age", 1), undated("size", 3)]);
        assert_eq!(expiry.ever.len(), 2);
    }
}
