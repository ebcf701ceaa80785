//! The jitter of election timeouts: a small generator, so that a seed repeats a run.

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    /// Members with the same seed must not choose the same timeouts: they would split every vote.
    pub fn new(seed: u64, id: u64) -> Random {
        Random(seed ^ id.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    /// A number in `0..limit`; `limit` is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
