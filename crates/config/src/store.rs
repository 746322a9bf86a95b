//! The memory of a gate: a configuration while it is read, and the policies, one for each root context.
//!
//! A policy is a range of whole blocks: first its fields, in one block, then the configuration that it was read from, with
//! its texts, and behind that its lists, its keys, and the table in which a request finds one of them. Ranges lie one behind
//! the other. An index into an array is masked, so that it is always inside, and no access can fail.

use header_gate_decision::hash::mix;
use header_gate_decision::sha256::{self, SCRATCH, digest_words};

use crate::text::Text;
use crate::{field, limits};

/// The most root contexts with a policy.
pub const ROOTS: usize = 64;
/// No root, no value.
pub const NONE: u32 = u32::MAX;

/// Bytes of all policies.
pub const BYTES: usize = 512 << 10;
/// Bytes of a block: room for the fields.
pub const BLOCK: usize = 1 << 10;
/// Bytes for what a request says.
pub const ROOM: usize = 4 << 10;
/// Words for the image of a value, the next power of two.
const IMAGE: usize = 1 << 10;
/// Words of the longest value's image.
const LONGEST_IMAGE: u32 = image_words(limits::VALUES_SIZE as u32);
/// Words of the image of a value that is hashed, and of its digest.
pub(crate) const HASHED_IMAGE: u32 = image_words(limits::CLIENT_VALUE as u32);
pub(crate) const DIGEST: u32 = 4;
/// The most slots that a key may be away from its own.
pub(crate) const PROBES: u32 = 16;
/// Texts of lists, and values: more than the limits allow, a power of two.
const RECORDS: usize = 1 << 12;
const ITEMS: usize = 1 << 10;

/// Words of an image: the bytes, padding, and a size of four bytes.
pub(crate) const fn image_words(size: u32) -> u32 {
    (size + 4).div_ceil(8)
}

/// What the reader of a configuration knows.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Where the next token begins, or blanks before it.
    pub at: u32,
    /// Where the text ends: there is a NUL, which no token has.
    pub end: u32,
    /// The element that is read.
    pub key: u32,
    /// The first error, or 0; and where it was, and in which element.
    pub reason: u32,
    pub failed_at: u32,
    pub failed_key: u32,
    /// Where the draft begins, behind all policies.
    pub draft: u32,
    /// How many texts of lists and how many values there are.
    pub records: u32,
    pub items: u32,
}

impl Reader {
    /// A reader of nothing.
    pub const NEW: Self = Self {
        at: 0,
        end: 0,
        key: 0,
        reason: 0,
        failed_at: 0,
        failed_key: 0,
        draft: 0,
        records: 0,
        items: 0,
    };
}

/// All of it. It is zero at the start, so that a module has no data for it.
#[derive(Debug)]
#[repr(C)]
pub struct Store {
    // Small things first: their addresses take fewer bytes.
    pub(crate) reader: Reader,
    pub(crate) sha256: [u32; SCRATCH],
    count: u32,
    /// The root contexts, and where their policies begin.
    roots: [u32; ROOTS],
    bases: [u32; 2 * ROOTS],
    /// A request's value as an image.
    pub image: [u64; IMAGE],
    /// The values or clients of a configuration, and other texts of its lists.
    pub(crate) items: [u64; ITEMS],
    pub(crate) records: [u64; RECORDS],
    /// What a request says.
    pub text: [u8; ROOM],
    /// The policies, and a configuration behind them.
    pub bytes: [u8; BYTES],
}

impl Store {
    /// No policies.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            reader: Reader::NEW,
            sha256: [0; SCRATCH],
            count: 0,
            roots: [0; ROOTS],
            bases: [0; 2 * ROOTS],
            image: [0; IMAGE],
            items: [0; ITEMS],
            records: [0; RECORDS],
            text: [0; ROOM],
            bytes: [0; BYTES],
        }
    }

    /// Where the policy behind all others would begin.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.bases[self.count as usize % (2 * ROOTS)]
    }

    /// Where a configuration is written to: behind the fields of its policy.
    #[must_use]
    pub fn start(&self) -> u32 {
        self.free() + BLOCK as u32
    }

    /// A byte of all policies.
    #[inline]
    pub(crate) fn own_byte(&self, at: u32) -> u8 {
        self.bytes[at as usize % BYTES]
    }

    /// A word of all policies.
    #[inline]
    pub(crate) fn word(&self, at: u32) -> u64 {
        let (words, _) = self.bytes.as_chunks();
        u64::from_le_bytes(words[at as usize % (BYTES / 8)])
    }

    /// Half of a word.
    #[inline]
    pub(crate) fn half(&self, at: u32) -> u32 {
        let (halves, _) = self.bytes.as_chunks();
        u32::from_le_bytes(halves[(at >> 2) as usize % (BYTES / 4)])
    }

    /// A field of the policy at `base`.
    #[inline]
    #[must_use]
    pub fn field(&self, base: u32, field: u32) -> u32 {
        let (blocks, _) = self.bytes.as_chunks::<BLOCK>();
        let (fields, _) = blocks[base as usize / BLOCK % (BYTES / BLOCK)].as_chunks();
        u32::from_le_bytes(fields[field as usize % (BLOCK / 4)])
    }

    /// Whether this is true of a policy.
    #[inline]
    #[must_use]
    pub fn is(&self, base: u32, flag: u32) -> bool {
        self.field(base, flag) != 0
    }

    /// A text of a policy, from where that begins.
    #[inline]
    #[must_use]
    pub fn text_of(&self, base: u32, text: u32) -> Text {
        Text(self.field(base, text))
    }

    /// The bytes of all policies.
    #[must_use]
    pub fn policies(&self) -> &[u8] {
        self.bytes.get(..self.free() as usize).unwrap_or_default()
    }

    /// Where the policy of a root context begins, or [`NONE`].
    #[inline(never)]
    #[must_use]
    pub fn base(&self, root: u32) -> u32 {
        let mut number = self.count as usize % (2 * ROOTS);
        while number > 0 {
            number -= 1;
            if self.roots[number % ROOTS] == root && root != NONE {
                return self.bases[number];
            }
        }
        NONE
    }

    /// Whether there is no place for another root context.
    pub(crate) fn is_full(&self) -> bool {
        self.count as usize >= ROOTS
    }

    /// Adds the policy behind all others, which ends there. The one that the root context had is nobody's.
    pub(crate) fn add(&mut self, root: u32, end: u32) {
        let number = self.count as usize % ROOTS;
        for own in &mut self.roots {
            if *own == root {
                *own = NONE;
            }
        }
        self.roots[number] = root;
        self.bases[(number + 1) % (2 * ROOTS)] = end;
        self.count += 1;
    }

    /// Keeps the policies of the root contexts that live; [`NONE`] does not.
    #[inline(never)]
    pub fn retain(&mut self, mut lives: impl FnMut(u32) -> bool) {
        let (mut kept, mut to) = (0, 0);
        let mut number = 0;
        while number < self.count as usize {
            let root = self.roots[number % ROOTS];
            let mut from = self.bases[number % (2 * ROOTS)];
            number += 1;
            let end = self.bases[number % (2 * ROOTS)];
            if root != NONE && lives(root) {
                self.roots[kept % ROOTS] = root;
                while from < end {
                    let word = self.word(from >> 3).to_le_bytes();
                    let (words, _) = self.bytes.as_chunks_mut();
                    words[(to >> 3) as usize % (BYTES / 8)] = word;
                    (from, to) = (from + 8, to + 8);
                }
                kept += 1;
                self.bases[kept % (2 * ROOTS)] = to;
            }
        }
        self.count = kept as u32;
    }

    /// Whether some accepted value has this many bytes.
    #[inline]
    #[must_use]
    pub fn accepts_size(&self, base: u32, size: u32) -> bool {
        size <= limits::VALUES_SIZE as u32
            && self.field(base, field::SIZES + (size >> 5)) >> (size & 31) & 1 != 0
    }

    /// The size of a value's image.
    #[inline]
    #[must_use]
    pub fn image_size(&self, base: u32) -> u32 {
        self.field(base, field::IMAGE).clamp(8, 8 * LONGEST_IMAGE)
    }

    /// A word of the image, by its place in bytes.
    #[inline]
    pub(crate) fn image_word(&self, at: u32) -> u64 {
        self.image[at as usize >> 3 & (IMAGE - 1)]
    }

    /// Makes the key of the image, which has a value of `size` bytes: itself, or its digest.
    #[inline(never)]
    pub fn make_key(&mut self, base: u32, size: u32) {
        if !self.is(base, field::HASHED) {
            return;
        }
        if let Some(words) = self.image.first_chunk::<{ HASHED_IMAGE as usize }>() {
            digest_words(words, size as usize, &mut self.sha256);
        }
        for word in 0..DIGEST as usize {
            self.image[word] = sha256::word(&self.sha256, word);
        }
    }

    /// The hash of the key that is in the image. Its last two bits are not used: a slot has four bytes.
    // Loops on the path of a request count down to 0, and bytes rather than words, and each is in a function that two
    // call: then `gate build` can follow them.
    #[inline(never)]
    pub(crate) fn hash(&self, base: u32) -> u32 {
        let (mut hash, mut left) = (0, self.key_size(base));
        while left >= 8 {
            left -= 8;
            hash = mix(hash, self.image_word(left));
        }
        // Once more, so that the last bytes of a key reach the lower half of this.
        (mix(hash, 0) >> 32) as u32
    }

    #[inline]
    fn key_size(&self, base: u32) -> u32 {
        self.field(base, field::KEY).min(8 * LONGEST_IMAGE)
    }

    /// The slot of the value whose key is in the image, or 0. Its size has to be one that is accepted. The time depends on
    /// sizes alone: so many keys are compared as the most that share a slot.
    #[inline(never)]
    #[must_use]
    pub fn find(&self, base: u32) -> u32 {
        let (first, size) = (self.hash(base), self.key_size(base));
        let mut probe = self.field(base, field::PROBES).min(4 * PROBES);
        let mut found = 0;
        while probe >= 4 {
            probe -= 4;
            let slot = self.slot(base, first.wrapping_add(probe));
            // Words: so the loop below counts as it is written.
            let key = base.wrapping_add(slot) >> 3;
            let (mut difference, mut left) = (u64::from(slot == 0), size);
            while left >= 8 {
                left -= 8;
                difference |= self.image_word(left) ^ self.word(key.wrapping_add(left >> 3));
            }
            found |= slot & u32::from(difference == 0).wrapping_neg();
        }
        found
    }

    /// What a slot holds: where a key is in the policy; 0 if it is empty.
    #[inline(never)]
    pub(crate) fn slot(&self, base: u32, hash: u32) -> u32 {
        self.half(self.slot_at(base, hash))
    }

    #[inline]
    pub(crate) fn slot_at(&self, base: u32, hash: u32) -> u32 {
        base.wrapping_add(self.field(base, field::SLOTS))
            .wrapping_add(hash & self.field(base, field::MASK))
    }

    /// The name of the client that a slot holds, from where the policy begins.
    #[inline]
    #[must_use]
    pub fn id(&self, base: u32, slot: u32) -> Text {
        Text(self.half(base.wrapping_add(slot).wrapping_sub(8)))
    }

    /// Whether a text of a request is one of a list of a policy, or begins as one that is a prefix.
    #[inline(never)]
    #[must_use]
    pub fn is_listed(&self, base: u32, list: u32, size: u32) -> bool {
        let list = self.text_of(base, list);
        let (mut found, mut at, mut same) = (false, 0, true);
        let (mut place, mut left) = (base.wrapping_add(list.at()), list.size() & (LISTS - 1));
        while left > 0 {
            let byte = self.own_byte(place);
            if byte <= PREFIX {
                found |= same && (byte == PREFIX || at == size);
                (at, same) = (0, true);
            } else {
                same &= at < size && self.text[at as usize % ROOM] == byte;
                at = at.wrapping_add(1);
            }
            (place, left) = (place.wrapping_add(1), left - 1);
        }
        found
    }
}

/// Ends an entry of a list: all of it has to match, or the beginning.
pub(crate) const WHOLE: u8 = 0;
pub(crate) const PREFIX: u8 = 1;
/// Lists are shorter: this is a power of two.
const LISTS: u32 = 1 << 13;

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(LONGEST_IMAGE as usize <= IMAGE && limits::ITEMS <= ITEMS);
const _: () = assert!(limits::PATHS + limits::EXCEPT < LISTS as usize);
const _: () = assert!(field::END as usize <= BLOCK / 4);
