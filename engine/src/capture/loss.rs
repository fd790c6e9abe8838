//! Packets that came and could not be stored: counted by cause, with the time in which it happened.

use std::fmt;

use serde::{Deserialize, Serialize};
use tapstone_packet::time::Timestamp;

use crate::catalog::attos;

/// Losses of a segment that are told apart.
const LOSSES_MAX: usize = 64;

/// Why packets were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossCause {
    /// The ring that the kernel puts packets into was full: the core did not keep up.
    RingFull,
    /// The same, because the disk did not keep up, and everything between was full.
    DiskBehind,
    /// The disk refused them: it is full, or fails.
    DiskRefused,
    /// Their flows had spent what is stored of such flows: nobody wants them.
    CutOff,
    /// The same bytes were stored a moment before.
    Duplicate,
    /// Not everything could be stored, and their flows matter less than others.
    Shed,
}

impl LossCause {
    /// All there are.
    pub const ALL: [LossCause; 6] = [
        LossCause::RingFull,
        LossCause::DiskBehind,
        LossCause::DiskRefused,
        LossCause::CutOff,
        LossCause::Duplicate,
        LossCause::Shed,
    ];

    /// Whether they are left out because that was asked for (see [`Thinning`](crate::Thinning)).
    #[must_use]
    pub const fn is_asked_for(self) -> bool {
        match self {
            LossCause::RingFull
            | LossCause::DiskBehind
            | LossCause::DiskRefused
            | LossCause::Shed => false,
            LossCause::CutOff | LossCause::Duplicate => true,
        }
    }

    /// As it is written, in files and in names of metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            LossCause::RingFull => "ring-full",
            LossCause::DiskBehind => "disk-behind",
            LossCause::DiskRefused => "disk-refused",
            LossCause::CutOff => "cut-off",
            LossCause::Duplicate => "duplicate",
            LossCause::Shed => "shed",
        }
    }

    /// By what number segments name it (docs/format/segment.md).
    pub(crate) const fn number(self) -> u8 {
        match self {
            LossCause::RingFull => 1,
            LossCause::DiskBehind => 2,
            LossCause::DiskRefused => 3,
            LossCause::CutOff => 4,
            LossCause::Duplicate => 5,
            LossCause::Shed => 6,
        }
    }

    pub(crate) fn of_number(number: u8) -> Option<LossCause> {
        Self::ALL.into_iter().find(|cause| cause.number() == number)
    }
}

impl fmt::Display for LossCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LossCause::RingFull => "they were lost on arrival: the ring was full",
            LossCause::DiskBehind => "they were lost on arrival: the disk was behind",
            LossCause::DiskRefused => "they were lost: the disk did not take them",
            LossCause::CutOff => "they were cut off on arrival, as asked",
            LossCause::Duplicate => "they were left out on arrival, as asked: they came twice",
            LossCause::Shed => {
                "they were shed on arrival: not everything could be stored, and their flows are of \
                 no critical class"
            }
        })
    }
}

/// Packets that were lost within some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Why.
    pub cause: LossCause,
    /// How many.
    pub packets: u64,
    /// Not before.
    #[serde(with = "attos")]
    pub first: Timestamp,
    /// Not after.
    #[serde(with = "attos")]
    pub last: Timestamp,
}

impl Loss {
    fn with(self, other: Loss) -> Loss {
        Loss {
            cause: self.cause,
            packets: self.packets + other.packets,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

/// The same losses, told more coarsely where there are many.
pub(crate) fn condense(losses: impl Iterator<Item = Loss>) -> Vec<Loss> {
    let mut losses: Vec<Loss> = losses.collect();
    losses.sort_by_key(|loss| (loss.cause, loss.first));
    // Those that touch each other are one; then the nearest become one until few are left.
    let mut gap = 0;
    loop {
        losses = joined(&losses, gap);
        let Some(nearest) = gaps(&losses).min().filter(|_| losses.len() > LOSSES_MAX) else {
            return losses;
        };
        gap = nearest.max(gap * 2);
    }
}

/// Between each loss and the next of the same cause, in attoseconds.
fn gaps(losses: &[Loss]) -> impl Iterator<Item = i128> {
    let pairs = losses.windows(2).filter(|pair| pair[0].cause == pair[1].cause);
    pairs.map(|pair| pair[1].first.attos() - pair[0].last.attos())
}

fn joined(losses: &[Loss], gap: i128) -> Vec<Loss> {
    let mut joined: Vec<Loss> = Vec::new();
    for loss in losses {
        match joined.last_mut() {
            Some(before)
                if before.cause == loss.cause
                    && loss.first.attos() - before.last.attos() <= gap =>
            {
                *before = before.with(*loss);
            }
            _ => joined.push(*loss),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(cause: LossCause, packets: u64, secs: (i64, i64)) -> Loss {
        let time = |secs| Timestamp::from_secs_nanos(secs, 0);
        Loss { cause, packets, first: time(secs.0), last: time(secs.1) }
    }

    #[test]
    fn losses_that_touch_become_one() {
        use LossCause::{DiskBehind, RingFull};
        let losses = [
            loss(RingFull, 1, (0, 1)),
            loss(DiskBehind, 10, (1, 2)),
            loss(RingFull, 2, (1, 3)),
            loss(RingFull, 4, (5, 6)),
        ];
        let expected =
            [loss(RingFull, 3, (0, 3)), loss(RingFull, 4, (5, 6)), loss(DiskBehind, 10, (1, 2))];
        assert_eq!(condense(losses.into_iter()), expected);
    }

    #[test]
    fn many_become_few_and_no_packet_is_forgotten() {
        for count in [64, 65, 1000, 5000] {
            let losses = (0..count).map(|at| loss(LossCause::RingFull, 3, (at * at, at * at)));
            let condensed = condense(losses);
            assert!(condensed.len() <= LOSSES_MAX, "{} of {count}", condensed.len());
            assert_eq!(condensed.iter().map(|loss| loss.packets).sum::<u64>(), 3 * count as u64);
            let last = condensed.last().unwrap().last;
            assert_eq!(last, loss(LossCause::RingFull, 0, (0, (count - 1) * (count - 1))).last);
        }
    }

    #[test]
    fn causes_are_told_by_their_numbers() {
        for cause in LossCause::ALL {
            assert_eq!(LossCause::of_number(cause.number()), Some(cause));
        }
        assert_eq!(LossCause::of_number(0), None);
    }
}
