//! From a draft to a policy: its lists, its keys as images, and the table in which a request finds one of them.

use header_gate_decision::sha256::SCRATCH;

use crate::field;
use crate::keys::{
    CLIENT, CONTENT, ENFORCE, GRPC_STATUS, HEADERS, METHOD, METHODS, NAME, OWN_VALUE, PATH, PATHS,
    ROOT, STATUS, VALUES,
};
use crate::limits;
use crate::read::IS_DIGEST;
use crate::reason::Reason;
use crate::store::{BLOCK, BYTES, DIGEST, HASHED_IMAGE, PROBES, ROOM, Reader, Store, image_words};
use crate::text::Text;

impl Store {
    /// Begins to read a configuration of so many bytes; returns whether there is room for it, at [`Store::start`]. All
    /// bytes behind the policies are 0.
    pub fn begin(&mut self, size: u32) -> bool {
        let draft = self.free();
        let (at, end) = (BLOCK as u32, size.wrapping_add(BLOCK as u32));
        self.reader = Reader { at, end, draft, key: ROOT, ..Reader::NEW };
        self.fail_unless(size > 0, Reason::Missing);
        self.fail_unless(size <= limits::TEXT as u32, Reason::Long);
        // With a NUL behind it, and as far from the end as `text` is before the beginning.
        let fits = !self.is_full() && draft.wrapping_add(end) < (BYTES - ROOM) as u32;
        self.fail_unless(fits, Reason::Memory);
        self.reader.reason == 0
    }

    /// Takes the configuration of a root context over, whole or not at all: the bytes at [`Store::start`]. Returns whether
    /// it did; otherwise `write_refusal` has the line for the log.
    pub fn take(&mut self, root: u32) -> bool {
        self.set(ENFORCE, 1);
        self.set(GRPC_STATUS, u32::MAX);
        self.read();
        if self.reader.reason == 0 {
            self.make(root);
        }
        self.clear_image();
        self.reader.reason == 0
    }

    /// Makes the policy.
    fn make(&mut self, root: u32) {
        let at = self.make_lists();
        self.measure();
        let (keys, size) = ((at + 7) & !7, self.get(field::KEY));
        let slots = keys + (8 + size) * self.reader.items;
        self.set(field::SLOTS, slots);
        let base = self.reader.draft;
        let end = base + slots + 4 + self.get(field::MASK);
        let end = (end + BLOCK as u32 - 1) & !(BLOCK as u32 - 1);
        self.fail_unless(end <= BYTES as u32, Reason::Memory);
        let (mut number, mut at) = (0, keys);
        while number < self.reader.items && self.reader.reason == 0 {
            let item = self.items[number as usize % self.items.len()];
            self.make_image(item as u32);
            self.put_slot(at + 8);
            self.set(at >> 2, (item >> 32) as u32);
            at += 8;
            let mut byte = 0;
            while byte < size {
                let half = self.image_word(byte) >> (8 * (byte & 4));
                self.set((at + byte) >> 2, half as u32);
                byte += 4;
            }
            at += size;
            number += 1;
        }
        if self.reader.reason == 0 {
            self.add(root, end);
        }
    }

    /// Writes the lists that a request needs behind the configuration; returns where they end.
    fn make_lists(&mut self) -> u32 {
        let (mut at, mut list) = (self.reader.end + 1, METHODS);
        while list <= HEADERS {
            at = (at + 3) & !3;
            let start = at;
            if list == HEADERS {
                at = self.put_sizes(at);
            }
            let mut place = 0;
            while place < self.reader.records {
                let record = self.record(place);
                let text = record.text();
                let mut from = text.at();
                if is_of(list, record.number()) {
                    while from < text.end() {
                        self.set_byte(at, self.byte(from));
                        (at, from) = (at + 1, from + 1);
                    }
                    self.set_byte(at, record.ending().into());
                    at += 1;
                }
                place += 1;
            }
            let size = at - start;
            self.relate(size <= limits::HEADERS as u32, list, Reason::Long);
            if list != STATUS {
                self.set(list, Text::new(start, size).0);
            }
            list += 1;
        }
        at
    }

    /// Writes what stands before the denial's headers in the form in which the Proxy-Wasm specification serializes maps:
    /// the number of pairs, then the sizes of each name and value, all u32 in little-endian order. Each name and each
    /// value is followed by a zero byte.
    fn put_sizes(&mut self, mut at: u32) -> u32 {
        let count = self.get(field::COUNTS + NAME);
        self.set(at >> 2, count);
        let mut place = 0;
        while place < self.reader.records {
            let record = self.record(place);
            if is_of(HEADERS, record.number()) {
                at += 4;
                self.set(at >> 2, record.text().size());
            }
            place += 1;
        }
        at + 4
    }

    /// Finds out how long images and keys are, which sizes values have, and how many slots there are.
    fn measure(&mut self) {
        let (mut longest, mut is_known, mut is_hashed, mut place) = (0, true, false, 0);
        let count = self.reader.items;
        while place < count {
            let value = self.items[place as usize % self.items.len()] as u32;
            let size = Text(value & !IS_DIGEST).size();
            is_hashed |= value & IS_DIGEST != 0;
            is_known &= size > 0;
            longest = longest.max(size);
            self.accept_size(size);
            place += 1;
        }
        if !is_known {
            longest = limits::CLIENT_VALUE as u32;
            let mut size = longest;
            while size > 0 {
                self.accept_size(size);
                size -= 1;
            }
        }
        let values = self.get(field::COUNTS + OWN_VALUE);
        let fits = longest * values <= limits::VALUES_SIZE as u32;
        // What is wrong from here on is wrong with the values, or with the clients, which is the next key.
        self.relate(fits, VALUES + u32::from(values == 0), Reason::Long);
        let image = if is_hashed { HASHED_IMAGE } else { image_words(longest) };
        self.set(field::HASHED, is_hashed.into());
        self.set(field::IMAGE, 8 * image);
        self.set(field::KEY, 8 * if is_hashed { DIGEST } else { image });
        self.set(field::MASK, 4 * (8 * count).next_power_of_two() - 4);
    }

    #[inline(never)]
    fn accept_size(&mut self, size: u32) {
        // Size 0 is that of none.
        if size > 0 {
            self.set_bit(field::sized(size));
        }
    }

    /// Clears the image of a value, and what its digest was made in; returns the words of the image.
    #[inline(never)]
    fn clear_image(&mut self) -> u32 {
        let words = self.image_size(self.reader.draft) / 8;
        let mut word = 0;
        while word < words {
            self.image[word as usize % self.image.len()] = 0;
            self.sha256[word as usize % self.sha256.len()] = 0;
            word += 1;
        }
        words
    }

    /// Leaves the key of a value in the image, an image or a digest, and nothing of it in the configuration.
    fn make_image(&mut self, value: u32) {
        let (text, is_digest) = (Text(value & !IS_DIGEST), value & IS_DIGEST != 0);
        let words = self.clear_image();
        let size = if is_digest { DIGEST * 8 } else { text.size() };
        let mut byte = 0;
        while byte < size {
            // The words of a digest are big-endian.
            let shift = if is_digest { !byte } else { byte } & 7;
            let own = u64::from(self.byte(text.at() + byte)) << (8 * shift);
            self.image[(byte >> 3) as usize % self.image.len()] |= own;
            self.set_byte(text.at() + byte, 0);
            byte += 1;
        }
        if !is_digest {
            self.image[(words - 1) as usize % self.image.len()] |= u64::from(size) << 32;
            self.make_key(self.reader.draft, size);
        }
    }

    /// Puts the place of the key that is in the image to a slot, or fails if another one is the same.
    fn put_slot(&mut self, key: u32) {
        let base = self.reader.draft;
        let is_new = self.find(base) == 0;
        self.fail_unless(is_new, Reason::Duplicate);
        let (mut hash, mut probes) = (self.hash(base), 4);
        while self.slot(base, hash) != 0 && probes <= 4 * PROBES {
            (hash, probes) = (hash.wrapping_add(4), probes + 4);
        }
        self.fail_unless(probes <= 4 * PROBES, Reason::Memory);
        let slot = self.get(field::SLOTS) + (hash & self.get(field::MASK));
        self.set(slot >> 2, key);
        let most = self.get(field::PROBES).max(probes);
        self.set(field::PROBES, most);
    }
}

/// Whether an element is an item of a list, or of its items. Items have the numbers of their lists, and so much more.
fn is_of(list: u32, number: u32) -> bool {
    number.wrapping_sub(list + METHOD - METHODS) <= u32::from(list == HEADERS)
}

const _: () = assert!(PATH - PATHS == METHOD - METHODS && NAME - HEADERS == METHOD - METHODS);
const _: () = assert!(CONTENT == NAME + 1 && CLIENT == VALUES + 1);
const _: () = assert!(SCRATCH <= HASHED_IMAGE as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::string::String;

    #[test]
    fn nothing_of_a_value_is_left_where_its_key_is_made() {
        let client = |id: &str, rest: &str| std::format!(r#"{{"id":"{id}",{rest}}}"#);
        let sha256 = std::format!(r#""sha256":"{:064}""#, 1);
        let (a, b) = (
            client("a", &sha256),
            client("b", r#""value":"a secret of many more bytes than a digest has""#),
        );
        for (clients, taken) in [([&a, &b], true), ([&b, &b], false)] {
            let clients = clients.map(String::as_str).join(",");
            let text =
                std::format!(r#"{{"header":"a","client":[{clients}],"deny":{{"status":403}}}}"#);
            let mut store = Box::new(Store::new());
            assert!(store.begin(text.len() as u32));
            let start = store.start() as usize;
            store.bytes[start..start + text.len()].copy_from_slice(text.as_bytes());
            assert_eq!(store.take(1), taken);
            assert!(store.image.iter().all(|&word| word == 0));
            assert_eq!(store.sha256, [0; SCRATCH]);
        }
    }

    fn configured(values: &[u32]) -> Box<Store> {
        let values: std::vec::Vec<_> = values.iter().map(|n| std::format!("\"{n:08}\"")).collect();
        let values = values.join(",");
        let text = std::format!(r#"{{"header":"a","values":[{values}],"deny":{{"status":403}}}}"#);
        let mut store = Box::new(Store::new());
        assert!(store.begin(text.len() as u32));
        let start = store.start() as usize;
        store.bytes[start..start + text.len()].copy_from_slice(text.as_bytes());
        store.take(1);
        store
    }

    fn set_image(store: &mut Store, value: u32) {
        header_gate_decision::write_image(
            &mut store.image[..2],
            std::format!("{value:08}").as_bytes(),
        );
    }

    #[test]
    fn as_many_keys_may_have_the_same_slot_as_are_compared() {
        let mut store = configured(&[0]);
        // 17 values have 256 slots, and 16 have 128.
        let mut bucket = |&value: &u32| {
            set_image(&mut store, value);
            store.hash(0) >> 2 & 0xff == 7
        };
        let values: std::vec::Vec<_> = (0..100_000).filter(&mut bucket).take(17).collect();
        let (most, all) = (&values[..16], &values[..]);
        let mut store = configured(most);
        assert_eq!(store.reader.reason, 0);
        assert_eq!(store.field(0, field::PROBES), 4 * PROBES);
        for value in all {
            set_image(&mut store, *value);
            assert_eq!(store.find(0) != 0, most.contains(value), "{value}");
        }
        assert_eq!(configured(all).reader.reason, Reason::Memory as u32);
    }
}
