//! Lengths that differ a little, so that processes don't act in step.

use std::time::Duration;

/// A source of such lengths; the same seed gives the same ones.
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A length that differs from this one by up to a tenth.
    pub(super) fn around(&mut self, length: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = (mixed >> 40) as f64 / (1u64 << 24) as f64;
        length.mul_f64(0.9 + 0.2 * share)
    }
}
