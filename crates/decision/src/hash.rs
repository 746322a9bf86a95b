//! The hash that picks the one key to compare with.
//!
//! A key hashes to a bucket; the bucket has a displacement, which the policy's builder chose so that each key has a
//! slot of its own. It protects nothing: who knows it finds keys with the same slot, and is denied by the comparison.

/// Mixes a word of the key into the hash, which begins as the seed.
#[inline]
#[must_use]
pub const fn mix(hash: u64, word: u64) -> u64 {
    // An odd number without a pattern: the golden ratio's digits.
    let hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 32
}

/// The bucket of a key, one of `buckets`.
#[inline]
#[must_use]
pub const fn bucket(hash: u64, buckets: usize) -> usize {
    (hash as u32 % buckets as u32) as usize
}

/// The slot of a key, one of `slots`, in a bucket with this displacement.
#[inline]
#[must_use]
pub const fn slot(hash: u64, displacement: u16, slots: usize) -> usize {
    (((hash >> 32) as u32).wrapping_add(displacement as u32) % slots as u32) as usize
}
