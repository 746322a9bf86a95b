//! The table in which a gate finds a key: a perfect hash, made without a heap.

use header_gate_decision::hash::{bucket, slot};

/// No key.
const NONE: u16 = u16::MAX;

/// Buckets of a table: two keys each, on average.
#[must_use]
pub const fn buckets(keys: usize) -> usize {
    keys.div_ceil(2)
}

/// Memory for a table.
pub struct Table<'a> {
    /// The displacement of each bucket.
    pub displacements: &'a mut [u16],
    /// The key in each slot.
    pub slots: &'a mut [u16],
    /// The first key of each bucket, and for each key the next one of its bucket.
    pub first: &'a mut [u16],
    /// As many as there are keys.
    pub next: &'a mut [u16],
}

impl Table<'_> {
    /// Finds a displacement for each bucket, so that each key has a slot of its own. Whether it succeeds depends on
    /// the seed of the hashes.
    pub fn place(&mut self, hashes: &[u64]) -> bool {
        self.displacements.fill(0);
        self.slots.fill(NONE);
        self.first.fill(NONE);
        for (key, &hash) in hashes.iter().enumerate().rev() {
            let bucket = bucket(hash, self.first.len().max(1));
            if let (Some(first), Some(next)) = (self.first.get_mut(bucket), self.next.get_mut(key))
            {
                *next = core::mem::replace(first, key as u16);
            }
        }
        // The largest buckets first, while there is room.
        let mut size = (0..self.first.len()).map(|bucket| self.size(bucket)).max().unwrap_or(0);
        while size > 0 {
            for bucket in 0..self.first.len() {
                if self.size(bucket) == size && !self.fill(bucket, hashes) {
                    return false;
                }
            }
            size -= 1;
        }
        true
    }

    fn first(&self, bucket: usize) -> u16 {
        self.first.get(bucket).copied().unwrap_or(NONE)
    }

    fn after(&self, key: u16) -> u16 {
        self.next.get(usize::from(key)).copied().unwrap_or(NONE)
    }

    /// The number of keys in a bucket.
    fn size(&self, bucket: usize) -> usize {
        let (mut size, mut key) = (0, self.first(bucket));
        while key != NONE {
            (size, key) = (size + 1, self.after(key));
        }
        size
    }

    /// Finds the displacement of a bucket.
    fn fill(&mut self, bucket: usize, hashes: &[u64]) -> bool {
        for displacement in 0..=self.slots.len() as u16 {
            if self.fits(bucket, displacement, hashes) {
                if let Some(place) = self.displacements.get_mut(bucket) {
                    *place = displacement;
                }
                return true;
            }
        }
        false
    }

    /// Puts the keys of a bucket to their slots, if all of these are free.
    fn fits(&mut self, bucket: usize, displacement: u16, hashes: &[u64]) -> bool {
        let mut key = self.first(bucket);
        while key != NONE {
            match self.slot(key, displacement, hashes) {
                Some(slot) if *slot == NONE => *slot = key,
                _ => break,
            }
            key = self.after(key);
        }
        // Those that were put before one that has no place leave theirs.
        let (stuck, mut placed) = (key, self.first(bucket));
        while stuck != NONE && placed != stuck {
            if let Some(slot) = self.slot(placed, displacement, hashes) {
                *slot = NONE;
            }
            placed = self.after(placed);
        }
        stuck == NONE
    }

    fn slot(&mut self, key: u16, displacement: u16, hashes: &[u64]) -> Option<&mut u16> {
        let hash = hashes.get(usize::from(key)).copied().unwrap_or_default();
        let slots = self.slots.len().max(1);
        self.slots.get_mut(slot(hash, displacement, slots))
    }
}
