//! What an answer lacks, and why.

use std::fmt;

use tapstone_packet::interface::LinkType;
use tapstone_packet::time::Timestamp;

use super::instant::format_instant;
use crate::capture::loss::Loss;
use crate::id::SegmentId;
use crate::retention::Expired;

/// What an answer lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// Stretches of time of which packets are missing.
    pub missing: Vec<Missing>,
    /// Link types of which the filter cannot be asked: their packets do not match.
    pub refused: Vec<Refused>,
}

impl Completeness {
    /// Whether nothing that matches is missing against anybody's wish. Link types that the filter
    /// cannot be asked of hold nothing that matches.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.iter().all(|missing| missing.asked_for)
    }
}

/// A stretch of time of which packets are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The segment that holds them, when there is one.
    pub segment: Option<SegmentId>,
    /// Time of the earliest.
    pub first: Timestamp,
    /// Time of the latest.
    pub last: Timestamp,
    /// How many packets may be missing, matching or not.
    pub packets: u64,
    /// Why, with file and offset.
    pub reason: String,
    /// Whether they are missing because that was asked for: nobody wanted them stored.
    pub asked_for: bool,
}

/// A link type of which a filter cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The link type.
    pub link_type: LinkType,
    /// What libpcap says.
    pub reason: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { segment, first, last, packets, reason, asked_for: _ } = self;
        if let Some(segment) = segment {
            write!(f, "segment {segment}, ")?;
        }
        if (*first, *last) == (Timestamp::MIN, Timestamp::MAX) {
            return write!(f, "an unknown number of packets: {reason}");
        }
        let (first, last) = (format_instant(*first), format_instant(*last));
        write!(f, "up to {packets} packets between {first} and {last}: {reason}")
    }
}

impl Missing {
    pub(super) fn segment(
        segment: SegmentId,
        times: (Timestamp, Timestamp),
        packets: u64,
        reason: &dyn fmt::Display,
    ) -> Missing {
        let (segment, reason) = (Some(segment), reason.to_string());
        Missing { segment, first: times.0, last: times.1, packets, reason, asked_for: false }
    }

    /// Packets that were stored, and were let go.
    pub(crate) fn expired(expired: &Expired) -> Missing {
        let Expired { packets, first, last, by, .. } = *expired;
        let reason = by.to_string();
        Missing { segment: None, first, last, packets, reason, asked_for: false }
    }

    /// A segment of which nothing is known but that it is there.
    pub(crate) fn whole(segment: SegmentId, reason: &dyn fmt::Display) -> Missing {
        Missing::segment(segment, (Timestamp::MIN, Timestamp::MAX), 0, reason)
    }

    pub(crate) fn unindexed(segment: SegmentId, times: (Timestamp, Timestamp)) -> Missing {
        Missing::segment(segment, times, 0, &"it is not indexed yet; ask again in a while")
    }

    /// Packets that were never stored.
    pub(crate) fn lost(segment: Option<SegmentId>, loss: &Loss) -> Missing {
        let Loss { cause, packets, first, last } = *loss;
        let (reason, asked_for) = (cause.to_string(), cause.is_asked_for());
        Missing { segment, first, last, packets, reason, asked_for }
    }

    pub(crate) fn index(
        segment: SegmentId,
        times: (Timestamp, Timestamp),
        reason: &dyn fmt::Display,
    ) -> Missing {
        let reason = format!("the index cannot be asked: {reason}; run: tapstone rebuild");
        Missing::segment(segment, times, 0, &reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::loss::LossCause;

    #[test]
    fn what_was_shed_is_missing_against_everybody_s_wish() {
        let time = |secs| Timestamp::from_secs_nanos(secs, 0);
        let loss = Loss { cause: LossCause::Shed, packets: 7, first: time(1), last: time(2) };
        let missing = Missing::lost(None, &loss);
        let text = missing.to_string();
        assert!(text.starts_with("up to 7 packets between 1970-01-01T00:00:01"), "{text}");
        assert!(text.contains("they were shed on arrival: not everything could be"), "{text}");
        let completeness = Completeness { missing: vec![missing], refused: Vec::new() };
        assert!(!completeness.is_complete());
    }
}
