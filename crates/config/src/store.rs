//! The memory of a gate: a configuration while it is read, and the policies, one for each root context.
//!
//! A policy is a range of words: first its fields, then its texts, its keys, and the table in which a request finds one
//! of them. Ranges lie one behind the other. An index into an array is masked, so that it is always inside, and no
//! access can fail.

use header_gate_decision::hash::mix;
use header_gate_decision::sha256::{self, SCRATCH, digest_words};

use crate::json::Reader;
use crate::limits;
use crate::text::Text;

/// The most root contexts with a policy.
pub const ROOTS: usize = 64;
/// No root, no value.
pub const NONE: u32 = u32::MAX;

/// Words of all policies: 512 KiB.
const WORDS: usize = 1 << 16;
/// Bytes for a configuration, and a NUL behind it.
const TEXT: usize = limits::TEXT << 1;
pub(crate) const TEXT_MASK: usize = TEXT - 1;
/// Words for the image of a value, the next power of two.
const IMAGE: usize = 1 << 10;
/// Words of the longest value's image.
const LONGEST_IMAGE: u32 = image_words(limits::VALUES_SIZE as u32);
/// Words of the image of a value that is hashed, and of its digest.
pub(crate) const HASHED_IMAGE: u32 = image_words(limits::CLIENT_VALUE as u32);
pub(crate) const DIGEST: u32 = 4;
/// The most slots that a key may be away from its own.
pub(crate) const PROBES: u32 = 16;

/// Words of an image: the bytes, padding, and a size of four bytes.
pub(crate) const fn image_words(size: u32) -> u32 {
    (size + 4).div_ceil(8)
}

/// The fields of a policy. The texts come first: where they begin, in bytes from the policy on, and their sizes.
pub mod field {
    /// The header's name, in lower case.
    pub const HEADER: u32 = 0;
    /// The header that names a client; empty if the policy has none.
    pub const CLIENT_HEADER: u32 = 1;
    /// The denial's headers, in the ABI's serialized form.
    pub const HEADERS: u32 = 2;
    /// The denial's body.
    pub const BODY: u32 = 3;
    /// Response code details.
    pub const DETAILS: u32 = 4;
    /// The same where the header is missing.
    pub const MISSING_DETAILS: u32 = 5;
    /// Exempt methods, as a list.
    pub const METHODS: u32 = 6;
    /// Exempt paths, as a list.
    pub const PATHS: u32 = 7;
    pub(crate) const TEXTS: u32 = 8;
    /// Status of the denial.
    pub const STATUS: u32 = 8;
    /// gRPC status of the denial; -1 if the host derives it.
    pub const GRPC_STATUS: u32 = 9;
    /// What is true of the policy, a bit each.
    pub const FLAGS: u32 = 10;
    /// Bytes of a value's image, and of a key: whole words.
    pub(crate) const IMAGE: u32 = 11;
    pub(crate) const KEY: u32 = 12;
    /// Where keys and slots begin, in words from the policy on.
    pub(crate) const KEYS: u32 = 13;
    pub(crate) const SLOTS: u32 = 14;
    /// The number of slots less one, and how many are looked at.
    pub(crate) const MASK: u32 = 15;
    pub(crate) const PROBES: u32 = 16;
    /// The number of values.
    pub(crate) const ITEMS: u32 = 17;
    /// A bit for each size that an accepted value has.
    pub(crate) const SIZES: u32 = 18;
    pub(crate) const COUNT: u32 = SIZES + (crate::limits::VALUES_SIZE as u32 / 64 + 1);
}

/// What is true of a policy, a bit each.
pub mod flag {
    /// It takes the header off.
    pub const REMOVE: u32 = 1;
    /// It counts.
    pub const COUNT: u32 = 1 << 1;
    /// It denies.
    pub const ENFORCE: u32 = 1 << 2;
    /// It exempts CORS preflights.
    pub const PREFLIGHT: u32 = 1 << 3;
    /// It has other details for a request without the header.
    pub const MISSING_DETAILS: u32 = 1 << 4;
    /// It keeps digests of values.
    pub const HASHED: u32 = 1 << 5;
    /// Its values are clients'.
    pub(crate) const CLIENTS: u32 = 1 << 6;
    /// The denial has a content type, or a gRPC status, among its headers.
    pub(crate) const CONTENT_TYPE: u32 = 1 << 7;
    pub(crate) const GRPC_HEADER: u32 = 1 << 8;
    /// `OPTIONS` is exempt.
    pub(crate) const OPTIONS: u32 = 1 << 9;
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
    /// The values or clients of a configuration.
    pub(crate) items: [u64; IMAGE],
    /// A configuration; or what a request says.
    pub text: [u8; TEXT],
    pub(crate) words: [u64; WORDS],
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
            items: [0; IMAGE],
            text: [0; TEXT],
            words: [0; WORDS],
        }
    }

    /// Where the policy behind all others would begin.
    pub(crate) fn free(&self) -> u32 {
        self.bases[self.count as usize % (2 * ROOTS)]
    }

    #[inline]
    pub(crate) fn word(&self, at: u32) -> u64 {
        self.words[at as usize % WORDS]
    }

    /// A field of the policy at `base`.
    #[inline]
    #[must_use]
    pub fn field(&self, base: u32, field: u32) -> u32 {
        self.word(base + field) as u32
    }

    /// A field of the draft.
    #[inline(never)]
    pub(crate) fn get(&self, field: u32) -> u64 {
        self.word(self.reader.draft + field)
    }

    /// Sets a field of the draft.
    #[inline(never)]
    pub(crate) fn set(&mut self, field: u32, value: u64) {
        self.words[(self.reader.draft + field) as usize % WORDS] = value;
    }

    /// Whether this is true of a policy.
    #[inline]
    #[must_use]
    pub fn is(&self, base: u32, flag: u32) -> bool {
        self.field(base, field::FLAGS) & flag != 0
    }

    /// A text of a policy, in bytes from the first policy on.
    #[inline]
    #[must_use]
    pub fn text_of(&self, base: u32, text: u32) -> Text {
        Text(self.word(base + text) + u64::from(8 * base))
    }

    /// The words of all policies.
    #[must_use]
    pub fn policies(&self) -> &[u64] {
        self.words.get(..self.free() as usize).unwrap_or_default()
    }

    /// The address of a byte of a policy.
    #[inline]
    #[must_use]
    pub fn address(&self, at: u32) -> *const u8 {
        self.words.as_ptr().cast::<u8>().wrapping_add(at as usize)
    }

    /// A byte of a policy.
    #[inline]
    fn policy_byte(&self, at: u32) -> u8 {
        (self.word(at >> 3) >> (8 * (at & 7))) as u8
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
                    self.words[to as usize % WORDS] = self.word(from);
                    (from, to) = (from + 1, to + 1);
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
            && self.word(base + field::SIZES + (size >> 6)) >> (size & 63) & 1 != 0
    }

    /// The size of a value's image.
    #[inline]
    #[must_use]
    pub fn image_size(&self, base: u32) -> u32 {
        self.field(base, field::IMAGE).clamp(8, 8 * LONGEST_IMAGE)
    }

    /// A word of the image, by its place in bytes.
    #[inline]
    fn image_word(&self, at: u32) -> u64 {
        self.image[at as usize >> 3 & (IMAGE - 1)]
    }

    /// Makes the key of the image, which has a value of `size` bytes: itself, or its digest.
    #[inline(never)]
    pub fn make_key(&mut self, base: u32, size: u32) {
        if !self.is(base, flag::HASHED) {
            return;
        }
        if let Some(words) = self.image.first_chunk::<{ HASHED_IMAGE as usize }>() {
            digest_words(words, size as usize, &mut self.sha256);
        }
        for word in 0..DIGEST as usize {
            self.image[word] = sha256::word(&self.sha256, word);
        }
    }

    /// The hash of the key that is in the image.
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
    pub fn find(&self, base: u32) -> u64 {
        let (first, size) = (self.hash(base), self.key_size(base));
        let mut probe = self.field(base, field::PROBES).min(PROBES);
        let mut found = 0;
        while probe > 0 {
            probe -= 1;
            let slot = self.slot(base, first.wrapping_add(probe));
            let number = (slot as u32 & 0xffff).wrapping_sub(1);
            let key = base.wrapping_add(self.field(base, field::KEYS));
            let key = key.wrapping_add(number.wrapping_mul(size >> 3));
            let (mut difference, mut left) = (u64::from(slot == 0), size);
            while left >= 8 {
                left -= 8;
                difference |= self.image_word(left) ^ self.word(key.wrapping_add(left >> 3));
            }
            found |= slot & u64::from(difference == 0).wrapping_neg();
        }
        found
    }

    /// What a slot holds: the number of a value and one, and where its client's name is; 0 if it is empty.
    #[inline(never)]
    pub(crate) fn slot(&self, base: u32, number: u32) -> u64 {
        self.word(self.slot_at(base, number))
    }

    pub(crate) fn slot_at(&self, base: u32, number: u32) -> u32 {
        base + self.field(base, field::SLOTS) + (number & self.field(base, field::MASK))
    }

    /// The name of the client that a slot holds.
    #[inline]
    #[must_use]
    pub fn id(&self, base: u32, slot: u64) -> Text {
        Text::new(8 * base + (slot >> 32) as u32, slot as u32 >> 16)
    }

    /// Whether a text of a request is one of a list of a policy, or begins as one that is a prefix.
    #[inline(never)]
    #[must_use]
    pub fn is_listed(&self, list: Text, size: u32) -> bool {
        let (mut found, mut at, mut same) = (false, 0, true);
        let (mut place, mut left) = (list.at(), list.size() & (LISTS - 1));
        while left > 0 {
            let byte = self.policy_byte(place);
            if byte <= PREFIX {
                found |= same && (byte == PREFIX || at == size);
                (at, same) = (0, true);
            } else {
                same &= at < size && self.byte(at) == byte;
                at += 1;
            }
            (place, left) = (place + 1, left - 1);
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

const _: () = assert!(LONGEST_IMAGE as usize <= IMAGE && limits::ITEMS <= IMAGE);
const _: () = assert!(limits::PATHS + limits::EXCEPT < LISTS as usize);
