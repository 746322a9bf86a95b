//! From a draft to a policy: its texts, its keys as images, and the table in which a request finds one of them.

use crate::limits;
use crate::read::Item;
use crate::reason::Reason;
use crate::store::{DIGEST, HASHED_IMAGE, PREFIX, PROBES, Store, field, flag, image_words};
use crate::text::Text;

impl Store {
    /// Takes the configuration of a root context over, whole or not at all: the first `size` bytes of `text`, behind
    /// which is a NUL. Returns whether it did; otherwise `refusal` has the line for the log.
    pub fn take(&mut self, root: u32, size: u32) -> bool {
        self.begin(size);
        let (base, mut at) = (self.free(), self.free());
        while (at as usize) < self.words.len() {
            self.words[at as usize % self.words.len()] = 0;
            at += 1;
        }
        self.fail_unless(base + field::COUNT <= self.words.len() as u32, Reason::Memory);
        self.fail_unless(!self.is_full(), Reason::Memory);
        if self.reader.reason != 0 {
            return false;
        }
        self.set(field::FLAGS, flag::ENFORCE.into());
        self.set(field::GRPC_STATUS, u32::MAX.into());
        self.read();
        let end = if self.reader.reason == 0 { self.make(base) } else { 0 };
        let taken = self.reader.reason == 0;
        if taken {
            self.add(root, end >> 3);
        }
        taken
    }

    /// Writes a byte to the place; returns the next place.
    #[inline(never)]
    fn put(&mut self, at: u32, byte: u32) -> u32 {
        if let Some(word) = self.words.get_mut(at as usize >> 3) {
            *word |= u64::from(byte & 0xff) << (8 * (at & 7));
        }
        at + 1
    }

    fn put_word(&mut self, at: u32, word: u64) -> u32 {
        if let Some(place) = self.words.get_mut(at as usize >> 3) {
            *place = word;
        }
        at + 8
    }

    fn put_number(&mut self, mut at: u32, number: u32) -> u32 {
        let mut shift = 0;
        while shift < 32 {
            at = self.put(at, number >> shift);
            shift += 8;
        }
        at
    }

    /// Copies a text of the configuration.
    #[inline(never)]
    fn put_text(&mut self, mut at: u32, text: Text) -> u32 {
        let mut from = text.at();
        while from < text.end() {
            at = self.put(at, self.byte(from).into());
            from += 1;
        }
        at
    }

    /// Makes the policy; returns where it ends, in bytes.
    fn make(&mut self, base: u32) -> u32 {
        let mut at = 8 * (base + field::COUNT);
        for field in 0..field::TEXTS {
            let text = Text(self.get(field));
            let start = at;
            if field == field::HEADERS {
                at = self.put_sizes(at, text);
            }
            at = self.put_text(at, text);
            self.set(field, Text::new(start - 8 * base, at - start).0);
        }
        let mut name = at;
        for number in 0..self.count() {
            at = self.put_text(at, self.item(number).id());
        }
        at = (at + 7) & !7;
        self.measure();
        let (keys, size) = (at, self.get(field::KEY) as u32);
        let slots = keys + size * self.count();
        self.set(field::KEYS, u64::from((keys >> 3) - base));
        self.set(field::SLOTS, u64::from((slots >> 3) - base));
        at = slots + 8 * (self.get(field::MASK) as u32 + 1);
        self.fail_unless((at >> 3) < self.words.len() as u32, Reason::Memory);
        for number in 0..self.count() {
            self.put_key(base, number);
            self.put_slot(base, number, name);
            let mut byte = 0;
            while byte < size {
                let word = self.image[byte as usize >> 3 & (self.image.len() - 1)];
                self.put_word(keys + size * number + byte, word);
                byte += 8;
            }
            name += self.item(number).id().size();
        }
        at
    }

    fn count(&self) -> u32 {
        (self.get(field::ITEMS) as u32).min(limits::ITEMS as u32)
    }

    fn item(&self, number: u32) -> Item {
        Item(self.items[number as usize % self.items.len()])
    }

    /// Writes what stands before the denial's headers in the form in which the Proxy-Wasm specification serializes maps:
    /// the number of pairs, then the sizes of each name and value, all u32 in little-endian order. Each name and each
    /// value is followed by a zero byte.
    fn put_sizes(&mut self, start: u32, pairs: Text) -> u32 {
        let (mut at, mut from, mut size, mut entries) = (start + 4, pairs.at(), 0, 0);
        while from < pairs.end() {
            if self.byte(from) > PREFIX {
                size += 1;
            } else {
                at = self.put_number(at, size);
                (size, entries) = (0, entries + 1);
            }
            from += 1;
        }
        self.put_number(start, entries / 2);
        at
    }

    /// Finds out how long images and keys are, which sizes values have, and how many slots there are.
    fn measure(&mut self) {
        let (mut longest, mut is_known) = (0, true);
        let count = self.count();
        for number in 0..count {
            let item = self.item(number);
            is_known &= item.size() > 0;
            longest = longest.max(item.size());
            self.accept_size(item.size());
            if item.is_digest() {
                self.set_flag(flag::HASHED, true);
            }
        }
        if !is_known {
            longest = limits::CLIENT_VALUE as u32;
            for size in 1..=longest {
                self.accept_size(size);
            }
        }
        let is_clients = self.flags() & flag::CLIENTS != 0;
        let fits = is_clients || longest * count <= limits::VALUES_SIZE as u32;
        (self.reader.table, self.reader.key) = (0, 1 + u8::from(is_clients));
        self.fail_unless(fits, Reason::Long);
        let is_hashed = self.flags() & flag::HASHED != 0;
        let image = if is_hashed { HASHED_IMAGE } else { image_words(longest) };
        self.set(field::IMAGE, u64::from(8 * image));
        let key = if is_hashed { DIGEST } else { image };
        self.set(field::KEY, u64::from(8 * key));
        self.set(field::MASK, u64::from((8 * count).next_power_of_two() - 1));
    }

    fn accept_size(&mut self, size: u32) {
        // Size 0 is that of none.
        if size > 0 {
            let place = field::SIZES + (size >> 6);
            self.set(place, self.get(place) | 1 << (size & 63));
        }
    }

    /// Leaves the key of an item in the image, an image or a digest.
    fn put_key(&mut self, base: u32, number: u32) {
        let item = self.item(number);
        let value = item.value();
        let mut word = 0;
        while word < self.image.len() {
            self.image[word] = 0;
            word += 1;
        }
        let size = if item.is_digest() { DIGEST * 8 } else { value.size() };
        let mut byte = 0;
        while byte < size {
            // The words of a digest are big-endian.
            let shift = if item.is_digest() { !byte } else { byte } & 7;
            let own = u64::from(self.byte(value.at() + byte)) << (8 * shift);
            self.image[(byte >> 3) as usize % self.image.len()] |= own;
            byte += 1;
        }
        if !item.is_digest() {
            let last = self.image_size(base) as usize / 8 - 1;
            self.image[last % self.image.len()] |= u64::from(size) << 32;
            self.make_key(base, size);
        }
    }

    /// Puts the item whose key is in the image to a slot, or fails if another one has its key or its name.
    fn put_slot(&mut self, base: u32, number: u32, name: u32) {
        let id = self.item(number).id();
        let mut is_twice = self.find(base) != 0;
        for other in 0..number {
            is_twice |= id.size() > 0 && self.is_same(self.item(other).id(), id);
        }
        self.fail_unless(!is_twice, Reason::Duplicate);
        let (mut place, mut probes) = (self.hash(base), 1);
        while self.slot(base, place) != 0 && probes <= PROBES {
            (place, probes) = (place.wrapping_add(1), probes + 1);
        }
        self.fail_unless(probes <= PROBES, Reason::Memory);
        let slot = u64::from(name - 8 * base) << 32 | u64::from(id.size() << 16 | (number + 1));
        self.put_word(8 * self.slot_at(base, place), slot);
        let most = self.get(field::PROBES).max(probes.into());
        self.set(field::PROBES, most);
    }
}
