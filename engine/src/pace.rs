//! Work that may take long and must not be felt: it rests after each piece, and ends when something
//! matters more.

use std::time::Duration;

use tapstone_runtime::clock::{self, Stopwatch};

/// A piece that takes less is counted with the next.
const PIECE: Duration = Duration::from_millis(5);
/// How long it may take until a rest is broken off.
const SLICE: Duration = Duration::from_millis(50);

/// Something came that matters more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was given up")]
pub struct GivenUp;

/// How fast somebody works.
pub(crate) struct Pace<'a> {
    /// Hundredths of the time.
    share: u8,
    go_on: &'a dyn Fn() -> bool,
    since: Stopwatch,
}

impl Pace<'static> {
    /// As fast as it goes, to the end.
    pub(crate) fn unbounded() -> Pace<'static> {
        Pace::new(100, &|| true)
    }
}

impl<'a> Pace<'a> {
    /// At work for `share` hundredths of the time, as long as `go_on` says so.
    pub(crate) fn new(share: u8, go_on: &'a dyn Fn() -> bool) -> Pace<'a> {
        Pace { share, go_on, since: Stopwatch::start() }
    }

    /// A piece is done: rests as long as it asks for.
    pub(crate) fn rest(&mut self) -> Result<(), GivenUp> {
        let worked = self.since.elapsed();
        let mut left = match worked >= PIECE {
            true => rest_after(worked, self.share),
            false => Duration::ZERO,
        };
        loop {
            if !(self.go_on)() {
                return Err(GivenUp);
            }
            if left.is_zero() {
                break;
            }
            let slice = left.min(SLICE);
            clock::wait(slice);
            left -= slice;
        }
        if worked >= PIECE {
            self.since = Stopwatch::start();
        }
        Ok(())
    }
}

/// How long to rest after so much work, to be at work for a share of the time.
fn rest_after(worked: Duration, share: u8) -> Duration {
    let share = u32::from(share.clamp(1, 100));
    worked * (100 - share) / share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_make_the_share() {
        let worked = Duration::from_millis(10);
        for (share, rest) in [(100, 0), (50, 10), (10, 90), (1, 990), (0, 990), (200, 0)] {
            assert_eq!(rest_after(worked, share), Duration::from_millis(rest), "{share}");
        }
    }

    #[test]
    fn a_rest_is_broken_off_when_something_matters_more() {
        let began = Stopwatch::start();
        let soon = || began.elapsed() < Duration::from_millis(120);
        let mut pace = Pace::new(1, &soon);
        clock::wait(Duration::from_millis(60));
        // The rest alone is six seconds.
        assert_eq!(pace.rest(), Err(GivenUp));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(pace.rest(), Err(GivenUp));
        assert_eq!(Pace::unbounded().rest(), Ok(()));
    }
}
