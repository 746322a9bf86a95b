//! From a configuration to a draft: the fields of a policy behind all others, whose texts are still in the configuration.
//!
//! A policy is a tree of fixed depth. What the reader is in is one number: each object or list is an element, and its
//! owner is known.

use crate::field::{self, seen};
use crate::keys::{
    CONTENT, ELEMENTS, ID, LIST, NAME, NUMBER, OWN_CLIENT, OWN_VALUE, PAIR, ROOT, SHA256, SIZE,
    TABLE, TRUTH, VALUE,
};
use crate::reason::{Reason, owner};
use crate::store::Store;
use crate::text::Text;

/// An item whose value is that of a digest: its text has another bit.
pub(crate) const IS_DIGEST: u32 = 1 << 31;

impl Store {
    /// Reads a whole configuration.
    pub(crate) fn read(&mut self) {
        let (mut number, mut inside) = (ROOT, ROOT);
        while self.reader.reason == 0 {
            self.reader.key = number;
            self.set_bit(seen(number));
            let element = ELEMENTS[number as usize % ELEMENTS.len()];
            let mut is_first = false;
            match element.kind() {
                opening @ (TABLE | LIST) => {
                    self.expect(opening, Reason::Type);
                    (inside, is_first) = (number, true);
                }
                TRUTH => {
                    let truth = self.truth();
                    self.set(number, truth);
                }
                NUMBER => {
                    let value = self.number();
                    let holds = element.detail() <= value && value <= element.most();
                    self.fail_unless(holds, Reason::Range);
                    self.set(number, value);
                }
                _ => {
                    let text = self.read_text(number, element);
                    self.set(number, text);
                    if number == OWN_VALUE {
                        self.add_item(text, 0);
                    }
                }
            }
            // Out of what ends here.
            let mut list;
            loop {
                self.reader.key = inside;
                list = ELEMENTS[inside as usize % ELEMENTS.len()];
                // What closes is two characters behind what opens.
                if !self.takes(list.kind() + 2) {
                    break;
                }
                if inside == PAIR {
                    self.fail_unless(number == CONTENT, Reason::Type);
                }
                if inside == OWN_CLIENT {
                    self.end_client();
                }
                if inside == ROOT {
                    return self.relations();
                }
                (inside, is_first) = (list.owner(), false);
            }
            if !is_first {
                self.expect(b',', Reason::Syntax);
            }
            number = if list.kind() == TABLE {
                self.member(inside)
            } else if inside == PAIR && !is_first {
                self.fail_unless(number == NAME, Reason::Type);
                CONTENT
            } else {
                list.detail()
            };
        }
    }

    /// Goes to the value of the next member of an object; returns its element.
    fn member(&mut self, inside: u32) -> u32 {
        let key = self.string(Reason::Syntax);
        let number = self.find_word(key.at(), key.end());
        let is_known = number < ROOT && owner(number) == inside;
        self.fail_unless(is_known, Reason::Unknown);
        let is_new = self.has_bit(seen(number & 31)) & 1 == 0;
        self.fail_unless(is_new, Reason::Duplicate);
        self.expect(b':', Reason::Syntax);
        number & 31
    }

    /// Keeps a client, and forgets what it had.
    fn end_client(&mut self) {
        self.hold_client_rules();
        // Of a value and a digest one is 0, and so is the size of a digest that has none.
        let size = Text::new(0, self.get(SIZE)).0;
        let value = self.get(VALUE) + self.get(SHA256) + size;
        self.add_item(value, self.get(ID));
        let read = self.get(field::SEEN);
        self.set(field::SEEN, read & !(1 << ID | 1 << VALUE | 1 << SHA256 | 1 << SIZE));
        self.set(VALUE, 0);
        self.set(SHA256, 0);
        self.set(SIZE, 0);
    }

    /// Keeps a value, and whose it is.
    #[inline(never)]
    fn add_item(&mut self, value: u32, id: u32) {
        let place = self.reader.items as usize % self.items.len();
        self.items[place] = u64::from(id) << 32 | u64::from(value);
        self.reader.items += 1;
    }
}
