//! From a configuration to a draft: the fields of a policy behind all others, whose texts are still in the configuration.
//!
//! A policy is a tree of fixed depth. What the reader is in is one number: each object or list is an element, and its
//! owner is known.

use crate::fields::{CONTENT_TYPE, GRPC_STATUS, HOST, OPTIONS};
use crate::keys::{
    BODY, CLIENT, CLIENT_HEADER, CONTENT, ELEMENTS, HEADER, HEADERS, ID, LIST, METHOD, METHODS,
    NAME, NUMBER, OWN_CLIENT, OWN_VALUE, PAIR, PREFLIGHT, REMOVE, ROOT, SHA256, SIZE, STATUS,
    TABLE, TRUTH, VALUE, VALUES,
};
use crate::reason::{Reason, owner};
use crate::store::Store;
use crate::text::Text;
use crate::{field, keys};

/// An item whose value is that of a digest: its text has another bit.
pub(crate) const IS_DIGEST: u32 = 1 << 31;

/// What must not be: two things at once, or one of them without the other. Each is a bit of the draft, and the key is the
/// one that is wrong.
static RULES: [u32; 16] = [
    // Of each client.
    missing(seen(ID), seen(ID), ID),
    missing(seen(VALUE), seen(SHA256), VALUE),
    conflict(seen(VALUE), seen(SHA256), VALUE),
    conflict(seen(VALUE), seen(SIZE), VALUE),
    // Of the policy.
    missing(seen(HEADER), seen(HEADER), HEADER),
    missing(seen(STATUS), seen(STATUS), STATUS),
    missing(seen(OWN_VALUE), seen(OWN_CLIENT), VALUES),
    conflict(seen(OWN_VALUE), seen(OWN_CLIENT), CLIENT),
    without(seen(CLIENT_HEADER), seen(OWN_CLIENT), CLIENT_HEADER),
    conflict(seen(CLIENT_HEADER), named(CLIENT_HEADER, HOST), CLIENT_HEADER),
    conflict(seen(CLIENT_HEADER), SAME_NAME, CLIENT_HEADER),
    conflict(truth(REMOVE), named(HEADER, HOST), REMOVE),
    conflict(truth(PREFLIGHT), named(METHOD, OPTIONS), METHODS),
    conflict(full(BODY), BODILESS, BODY),
    without(named(NAME, CONTENT_TYPE), full(BODY), HEADERS),
    conflict(seen(keys::GRPC_STATUS), named(NAME, GRPC_STATUS), keys::GRPC_STATUS),
];

/// The first rules are those of a client.
const CLIENT_RULES: usize = 4;

/// A bit of the draft, by its place.
const BIT: u32 = 0xfff;

const fn conflict(a: u32, b: u32, key: u32) -> u32 {
    a | b << 12 | key << 24
}

/// One without another.
const fn without(a: u32, b: u32, key: u32) -> u32 {
    conflict(a, b, key) | 1 << 30
}

/// Neither.
const fn missing(a: u32, b: u32, key: u32) -> u32 {
    without(a, b, key) | 1 << 29
}

/// There is such an element.
const fn seen(number: u32) -> u32 {
    32 * field::SEEN + number
}

/// It is a text, and not empty.
const fn full(number: u32) -> u32 {
    32 * field::FULL + number
}

/// It is true.
const fn truth(number: u32) -> u32 {
    32 * number
}

/// A name among the elements of this number is the one of this place.
const fn named(number: u32, place: u32) -> u32 {
    32 * (field::PLACES + number) + place % 32
}

/// The header names the client, too; the status is one without a body.
const SAME_NAME: u32 = 32 * field::MORE;
const BODILESS: u32 = 32 * field::MORE + 1;

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
        self.hold_rules(0, CLIENT_RULES);
        // Of a value and a digest one is 0, and so is the size of a digest that has none.
        let size = Text::new(0, self.get(SIZE)).0;
        let value = self.get(VALUE) + self.get(SHA256) + size;
        self.add_item(value, self.get(ID));
        let seen = self.get(field::SEEN);
        self.set(field::SEEN, seen & !(1 << ID | 1 << VALUE | 1 << SHA256 | 1 << SIZE));
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

    /// Checks what concerns more than one key.
    fn relations(&mut self) {
        self.blanks();
        let is_end = self.reader.at == self.reader.end;
        self.fail_unless(is_end, Reason::Syntax);
        if self.is_same(Text(self.get(HEADER)), Text(self.get(CLIENT_HEADER)), false) {
            self.set_bit(SAME_NAME);
        }
        if matches!(self.get(STATUS), 204 | 205 | 304) {
            self.set_bit(BODILESS);
        }
        self.hold_rules(CLIENT_RULES, RULES.len());
    }

    /// Fails where a rule does not hold.
    #[inline(never)]
    fn hold_rules(&mut self, mut from: usize, to: usize) {
        while from < to {
            let rule = RULES[from % RULES.len()];
            let is_broken = self.has_bit(rule & BIT) ^ rule >> 29;
            let is_broken = is_broken & (self.has_bit(rule >> 12 & BIT) ^ rule >> 30);
            let reason = if rule >> 29 & 1 == 0 { Reason::Conflict } else { Reason::Missing };
            self.relate(is_broken & 1 == 0, rule >> 24 & 31, reason);
            from += 1;
        }
    }

    /// Fails with a key unless this holds.
    #[inline(never)]
    pub(crate) fn relate(&mut self, holds: bool, key: u32, reason: Reason) {
        if self.reader.reason == 0 {
            self.reader.key = key;
        }
        self.fail_unless(holds, reason);
    }
}
