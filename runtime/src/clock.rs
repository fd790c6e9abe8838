//! Time. Nothing else in the workspace asks the system for it.

use std::time::{Duration, Instant, SystemTime};

use crate::simulation;

/// The wall clock: nanoseconds since the Unix epoch (0 when the clock stands before it).
#[must_use]
pub fn unix_nanos() -> u64 {
    if let Some(world) = simulation::world() {
        return world.unix_nanos();
    }
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Lets this thread wait.
pub fn wait(duration: Duration) {
    if simulation::world().is_none() {
        std::thread::sleep(duration);
    }
}

/// A clock that measures how long something takes.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[must_use]
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
