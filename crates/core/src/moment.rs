//! The local clock: one that goes on counting while the machine is suspended (R10).
//!
//! Not `std::time::Instant`: on Linux and macOS that clock stops while the machine is suspended, and a lease judged by
//! it would seem valid afterwards. A moment has no meaning outside this machine and never reaches Redis (R7).

use std::ops::{Add, Sub};
use std::time::Duration;

/// A length as Redis and the wire have it: in whole milliseconds, what is over is left out.
pub const fn whole_ms(length: Duration) -> u64 {
    length.as_millis() as u64
}

/// A point on the local clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The moment that lies `since_start` after the clock's own start; for virtual time.
    pub const fn at(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// This moment as a length since the clock's own start.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Now, by the machine's clock.
    #[cfg(unix)]
    #[allow(unsafe_code)]
    pub fn now() -> Self {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
        // Elsewhere CLOCK_MONOTONIC counts suspended time (macOS documents it so).
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid timespec that the call may fill; CLOCK is a clock of this platform.
        let status = unsafe { libc::clock_gettime(CLOCK, &mut time) };
        assert_eq!(status, 0, "the machine has no clock that counts suspended time");
        Self(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    /// Now, by the machine's clock (Windows: the performance counter runs on through suspend).
    #[cfg(not(unix))]
    pub fn now() -> Self {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        Self(START.get_or_init(Instant::now).elapsed())
    }

    /// How much time passed since `earlier`; zero if none did.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(length))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_forward_and_an_endless_length_does_not_overflow() {
        let first = Moment::now();
        assert!(Moment::now() >= first);
        assert!(first + Duration::MAX > first);
        assert_eq!(first.saturating_since(first + Duration::from_secs(1)), Duration::ZERO);
    }
}
