//! Since when a source has been what it is.

use std::time::Duration;

use super::reading::{Level, Reading};

/// The levels that something is at least, or is below.
const FLOORS: [Level; 3] = [Level::Easing, Level::High, Level::Exhausted];

/// A source, watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    pub(super) reading: Reading,
    /// When it rose to each of the floors, or fell below it.
    crossed: [Duration; FLOORS.len()],
}

impl Watch {
    pub(super) fn new(reading: Reading) -> Watch {
        Watch { reading, crossed: [Duration::ZERO; FLOORS.len()] }
    }

    /// Takes a reading.
    pub(super) fn read(&mut self, reading: Reading, at: Duration) {
        for (floor, crossed) in FLOORS.into_iter().zip(&mut self.crossed) {
            if (self.reading.level >= floor) != (reading.level >= floor) {
                *crossed = at;
            }
        }
        self.reading = reading;
    }

    /// Since when it has been at least this, without a break; `None` when it is below.
    pub(super) fn at_least(&self, floor: Level) -> Option<Duration> {
        (self.reading.level >= floor).then(|| self.crossed(floor))
    }

    /// Since when it has been below this, without a break; `None` when it is not.
    pub(super) fn below(&self, floor: Level) -> Option<Duration> {
        (self.reading.level < floor).then(|| self.crossed(floor))
    }

    fn crossed(&self, floor: Level) -> Duration {
        let crossed = FLOORS.into_iter().zip(self.crossed).find(|(it, _)| *it == floor);
        crossed.map_or(Duration::ZERO, |(_, at)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::Readings;
    use super::*;

    #[test]
    fn times_count_without_a_break() {
        let second = Duration::from_secs;
        let mut watch = Watch::new(Readings::default().memory);
        let levels = [Level::Calm, Level::High, Level::Exhausted, Level::Easing, Level::High];
        for (at, level) in levels.into_iter().enumerate() {
            watch.read(Reading { level, ..watch.reading }, second(at as u64));
        }
        assert_eq!(watch.at_least(Level::Calm), Some(Duration::ZERO));
        assert_eq!(watch.at_least(Level::Easing), Some(second(1)), "it was never calm since");
        assert_eq!(watch.at_least(Level::High), Some(second(4)));
        assert_eq!(watch.at_least(Level::Exhausted), None);
        assert_eq!(watch.below(Level::Exhausted), Some(second(3)));
        assert_eq!(watch.below(Level::High), None);
    }
}
