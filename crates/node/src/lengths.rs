//! Lengths and moments as JavaScript has them: milliseconds in rows and options, seconds in status and stats.

use std::time::Duration;

use concurrency_limit::moment::Moment;

/// A length from milliseconds.
pub(crate) fn length(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1_000.0)
}

/// A length in milliseconds.
pub(crate) fn ms(length: Duration) -> f64 {
    length.as_secs_f64() * 1_000.0
}

/// A moment in milliseconds on the local clock.
pub(crate) fn ms_at(moment: Moment) -> f64 {
    ms(moment.since_start())
}

/// A length in seconds, rounded down to a millisecond.
pub(crate) fn seconds(length: Duration) -> f64 {
    length.as_millis() as f64 / 1_000.0
}
