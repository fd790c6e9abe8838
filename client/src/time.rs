//! Instants and durations as protobuf has them.

/// The instant so many seconds and nanoseconds after 1970.
#[must_use]
pub fn instant(seconds: i64, nanos: u32) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: nanos as i32 }
}

/// A stretch of time.
#[must_use]
pub fn duration(duration: std::time::Duration) -> prost_types::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: duration.subsec_nanos() as i32 }
}
