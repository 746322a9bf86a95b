//! The policies of a virtual machine, one for each root context.

use header_gate_decision::hash::{bucket, mix, slot};

use crate::json::Text;
use crate::make::{hash, key_words, make};
use crate::policy::{HASHED, Policy};
use crate::read::Reader;
use crate::reason::{Reason, Refusal};
use crate::{Image, Scratch, WORDS, limits};

/// The most root contexts with a policy.
pub const ROOTS: usize = 64;
/// Bytes of all policies.
const BYTES: usize = 512 << 10;
/// No root, no value.
pub const NONE: usize = u16::MAX as usize;

/// A root context, and its policy.
#[derive(Clone, Copy, Debug)]
pub struct Root {
    /// The host's number of the context.
    pub id: u32,
    /// Where the policy's bytes are.
    base: u32,
    size: u32,
    /// The policy.
    pub policy: Policy,
}

/// The policies.
#[derive(Debug)]
pub struct Store {
    // INVARIANT: the policies' bytes lie one behind the other, in the order of the roots.
    bytes: [u8; BYTES],
    roots: [Root; ROOTS],
    count: usize,
}

impl Store {
    /// No policies. All zero, so that a module has no data for it.
    #[must_use]
    pub const fn new() -> Self {
        let root = Root { id: 0, base: 0, size: 0, policy: Policy::NONE };
        Self { bytes: [0; BYTES], roots: [root; ROOTS], count: 0 }
    }

    /// Takes the configuration of a root context over, whole or not at all.
    ///
    /// # Errors
    /// It is no policy, or there is no room for it.
    pub fn take(
        &mut self,
        root: u32,
        text: &mut [u8],
        image: &mut Image,
        scratch: &mut Scratch,
    ) -> Result<(), Refusal> {
        let mut reader = Reader::new(text, &mut scratch.items);
        if let Err(reason) = reader.read() {
            return Err(reader.refusal(reason));
        }
        let (mut policy, refusal) = (reader.draft, reader.refusal(Reason::Memory));
        let last = self.roots.get(self.count.wrapping_sub(1));
        let base = last.map_or(0, |last| last.base + last.size);
        let free = self.bytes.get_mut(base as usize..).unwrap_or_default();
        let made = make(&mut policy, text, free, image, scratch);
        let size = made.map_err(|reason| Refusal { reason, ..refusal })? as u32;
        let Some(place) = self.roots.get_mut(self.count) else { return Err(refusal) };
        *place = Root { id: root, base, size, policy };
        let old = self.index(root);
        self.count += 1;
        if old != NONE {
            self.remove(old);
        }
        Ok(())
    }

    /// Forgets the policies of the root contexts that do not live any more.
    pub fn retain(&mut self, mut lives: impl FnMut(u32) -> bool) {
        let mut number = 0;
        while number < self.count {
            if self.roots.get(number).is_none_or(|root| lives(root.id)) {
                number += 1;
            } else {
                self.remove(number);
            }
        }
    }

    /// Forgets a policy, and closes the gap.
    fn remove(&mut self, number: usize) {
        let Some(&Root { base, size, .. }) = self.roots.get(number) else { return };
        let (mut to, mut from) = (base as usize, (base + size) as usize);
        while from < BYTES {
            self.bytes[to] = self.bytes[from];
            (to, from) = (to + 1, from + 1);
        }
        self.count -= 1;
        for number in number..self.count {
            if let Some(&(mut next)) = self.roots.get(number + 1) {
                next.base -= size;
                self.roots[number] = next;
            }
        }
    }

    /// The place of a root context, or [`NONE`].
    #[inline]
    #[must_use]
    pub fn index(&self, root: u32) -> usize {
        let mut number = 0;
        while number < self.count.min(ROOTS) {
            if self.roots.get(number).is_some_and(|own| own.id == root) {
                return number;
            }
            number += 1;
        }
        NONE
    }

    /// The root context at a place.
    #[inline]
    #[must_use]
    pub fn root(&self, index: usize) -> Option<&Root> {
        self.roots.get(index)
    }

    /// Bytes of a policy.
    #[expect(clippy::inline_always, reason = "a slice would be returned on the stack")]
    #[inline(always)]
    #[must_use]
    pub fn text(&self, root: &Root, Text { at, size }: Text) -> &[u8] {
        Text { at: root.base.wrapping_add(at), size }.of(&self.bytes)
    }

    /// The name of a client.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    #[must_use]
    pub fn id(&self, root: &Root, client: usize) -> &[u8] {
        let Policy { ids, names, .. } = root.policy;
        let place = self.text(root, Text { at: ids.wrapping_add(4 * client as u32), size: 4 });
        let place = place.first_chunk().map_or(0, |place| u32::from_le_bytes(*place));
        self.text(root, Text { at: names.wrapping_add(place >> 8), size: place & 0xff })
    }

    /// Two bytes as a number; 0 outside the store.
    #[inline]
    fn number(&self, root: &Root, at: u32, index: usize) -> usize {
        let at = root.base.wrapping_add(at).wrapping_add(2 * index as u32) as usize;
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| usize::from(u16::from_le_bytes(*bytes)))
    }

    /// Whether some accepted value has this many bytes.
    #[inline]
    #[must_use]
    pub fn accepts_size(&self, root: &Root, size: usize) -> bool {
        let Policy { sizes, longest, .. } = root.policy;
        if sizes.size == 0 {
            return size.wrapping_sub(1) < (longest as usize).min(limits::CLIENT_VALUE);
        }
        let (mut found, mut index) = (false, 0);
        while index < (sizes.size as usize / 2).min(limits::VALUES) {
            found |= self.number(root, sizes.at, index) == size;
            index += 1;
        }
        found && size != 0
    }

    /// The number of the value whose image this is, or [`NONE`]. The image has to be one of a size that is accepted.
    #[inline]
    #[must_use]
    pub fn find(
        &self,
        root: &Root,
        size: usize,
        image: &mut Image,
        scratch: &mut Scratch,
    ) -> usize {
        let policy = &root.policy;
        if policy.is(HASHED) {
            hash(image, size, &mut scratch.sha256);
        }
        let words = key_words(policy).min(WORDS);
        let (mut key_hash, mut difference) = (policy.seed, 0);
        for word in image.iter().take(words) {
            key_hash = mix(key_hash, *word);
        }
        let bucket = bucket(key_hash, (policy.buckets as usize).max(1));
        let displacement = self.number(root, policy.displacements, bucket);
        let slot = slot(key_hash, displacement as u16, (policy.items as usize).max(1));
        let number = self.number(root, policy.slots, slot);
        let key = root.base.wrapping_add(policy.keys).wrapping_add((8 * words * number) as u32);
        let mut at = key as usize;
        for word in image.iter().take(words) {
            let own = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
            difference |= own.map_or(u64::MAX, |own| *word ^ u64::from_le_bytes(*own));
            at += size_of::<u64>();
        }
        if difference == 0 { number } else { NONE }
    }

    /// The size of an image in words.
    #[inline]
    #[must_use]
    pub fn words(root: &Root) -> usize {
        (root.policy.words as usize).min(WORDS)
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}
