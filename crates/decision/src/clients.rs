//! Rules for any number of clients: a perfect hash picks one key, which is compared in constant time.

use crate::hash::{bucket, mix, slot};
use crate::sha256::{SCRATCH, digest, word};
use crate::value::Value;

/// The keys of `N` clients, each `WORDS` words, and the `SIZES` sizes that their values have.
#[derive(Debug)]
pub struct Clients<const WORDS: usize, const N: usize, const BUCKETS: usize, const SIZES: usize> {
    /// What the hash begins with.
    pub seed: u64,
    /// For each bucket, what leads its keys to their slots.
    pub displacements: [u16; BUCKETS],
    /// Key by slot: the image of a value.
    pub keys: [[u64; WORDS]; N],
    /// The sizes of accepted values.
    pub sizes: [u32; SIZES],
}

impl<const WORDS: usize, const N: usize, const BUCKETS: usize, const SIZES: usize>
    Clients<WORDS, N, BUCKETS, SIZES>
{
    /// The client whose key has these words.
    #[inline]
    fn client(&self, word: impl Fn(usize) -> u64) -> Option<usize> {
        let (mut hash, mut difference) = (self.seed, 0);
        for_each!(i < WORDS, hash = mix(hash, word(i)));
        let displacement = self.displacements[bucket(hash, BUCKETS)];
        let slot = slot(hash, displacement, N);
        let key = &self.keys[slot];
        for_each!(i < WORDS, difference |= word(i) ^ key[i]);
        (difference == 0).then_some(slot)
    }

    /// The client whose value this is.
    #[inline]
    #[must_use]
    pub fn find<const S: usize>(
        &self,
        value: &Value<WORDS>,
        _scratch: &mut [u32; S],
    ) -> Option<usize> {
        self.client(|i| value.words[i])
    }

    /// Whether some client's value has this many bytes.
    #[inline]
    #[must_use]
    pub fn accepts_size(&self, size: usize) -> bool {
        let mut found = false;
        for_each!(i < SIZES, found |= self.sizes[i] as usize == size);
        found
    }
}

/// The SHA-256 digests of `N` clients' values.
#[derive(Debug)]
pub struct Digests<const N: usize, const BUCKETS: usize, const SIZES: usize> {
    /// The digests as keys. Without sizes, a value may have any up to `longest`.
    pub clients: Clients<4, N, BUCKETS, SIZES>,
    /// Size of the longest value that is looked at.
    pub longest: u32,
}

impl<const N: usize, const BUCKETS: usize, const SIZES: usize> Digests<N, BUCKETS, SIZES> {
    /// The client whose value has this digest. It is computed only for a size that fits.
    #[inline]
    #[must_use]
    pub fn find<const WORDS: usize>(
        &self,
        value: &Value<WORDS>,
        scratch: &mut [u32; SCRATCH],
    ) -> Option<usize> {
        if !self.accepts_size(value.size() as usize) {
            return None;
        }
        digest(value, scratch);
        self.clients.client(|i| word(scratch, i))
    }

    /// Whether a value of this many bytes may be a client's.
    #[inline]
    #[must_use]
    pub fn accepts_size(&self, size: usize) -> bool {
        if SIZES == 0 {
            size.wrapping_sub(1) < self.longest as usize
        } else {
            self.clients.accepts_size(size)
        }
    }
}
