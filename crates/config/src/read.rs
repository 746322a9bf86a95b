//! From a configuration to a draft: the fields of a policy behind all others, whose texts are still in the configuration.
//!
//! A policy is a tree of fixed depth. What the reader is in is one number: each object or list is an element, and its
//! owner is known.

use crate::fields::{CONTENT_TYPE, GRPC_STATUS, HOST, OPTIONS};
use crate::keys::{
    CLIENT, CLIENT_HEADER, CONTENT, ELEMENTS, HEADER, HEADERS, ID, LIST, METHOD, METHODS, NAME,
    NUMBER, OWN_CLIENT, OWN_VALUE, PAIR, REMOVE, ROOT, SHA256, SIZE, STATUS, TABLE, TRUTH, VALUE,
    VALUES,
};
use crate::reason::{Reason, owner};
use crate::store::Store;
use crate::text::Text;
use crate::{field, flag};

/// An item whose value is that of a digest: its text has another bit.
pub(crate) const IS_DIGEST: u32 = 1 << 31;

impl Store {
    /// Reads a whole configuration.
    pub(crate) fn read(&mut self) {
        let (mut number, mut inside, mut seen) = (ROOT, ROOT, 0_u32);
        while self.reader.reason == 0 {
            self.reader.key = number;
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
                    seen = self.end_client(seen);
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
                self.member(inside, &mut seen)
            } else if inside == PAIR && !is_first {
                self.fail_unless(number == NAME, Reason::Type);
                CONTENT
            } else {
                list.detail()
            };
        }
    }

    /// Goes to the value of the next member of an object; returns its element. `seen` has a bit for each one.
    fn member(&mut self, inside: u32, seen: &mut u32) -> u32 {
        let key = self.string(Reason::Syntax);
        let number = self.find_word(key.at(), key.end());
        let is_known = number < ROOT && owner(number) == inside;
        self.fail_unless(is_known, Reason::Unknown);
        let bit = 1 << (number & 31);
        self.fail_unless(*seen & bit == 0, Reason::Duplicate);
        *seen |= bit;
        self.expect(b':', Reason::Syntax);
        number & 31
    }

    /// Keeps a client; returns what was seen outside of it.
    fn end_client(&mut self, seen: u32) -> u32 {
        let has = |number: u32| seen >> number & 1 != 0;
        let (is_value, is_digest) = (has(VALUE), has(SHA256));
        // Of a value and a digest there is one, and a size only beside a digest.
        self.relate(is_value || is_digest, VALUE, Reason::Missing);
        self.relate(!is_value || !is_digest && !has(SIZE), VALUE, Reason::Conflict);
        self.relate(has(ID), ID, Reason::Missing);
        let mut value = self.get(VALUE);
        if is_digest {
            let size = if has(SIZE) { self.get(SIZE) } else { 0 };
            value = Text::new(Text(self.get(SHA256)).at(), size).0 | IS_DIGEST;
        }
        self.add_item(value, self.get(ID));
        seen & !(1 << ID | 1 << VALUE | 1 << SHA256 | 1 << SIZE)
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
        let is = |store: &Self, field: u32| store.get(field) != 0;
        let count = |store: &Self, number: u32| store.get(field::COUNTS + number) != 0;
        let names = |store: &Self, number: u32, place: u32| {
            store.get(field::PLACES + number) >> place & 1 != 0
        };
        let (header, client_header) = (Text(self.get(HEADER)), Text(self.get(CLIENT_HEADER)));
        self.relate(is(self, HEADER), HEADER, Reason::Missing);
        self.relate(is(self, STATUS), STATUS, Reason::Missing);
        self.relate(self.reader.items > 0, VALUES, Reason::Missing);
        let has_clients = count(self, ID);
        self.relate(!has_clients || !count(self, OWN_VALUE), CLIENT, Reason::Conflict);
        let names_clients = client_header.0 == 0
            || has_clients
                && !names(self, CLIENT_HEADER, HOST)
                && !self.is_same(header, client_header, false);
        self.relate(names_clients, CLIENT_HEADER, Reason::Conflict);
        let removes_host = is(self, REMOVE) && names(self, HEADER, HOST);
        self.relate(!removes_host, REMOVE, Reason::Conflict);
        let has_preflights = is(self, flag::PREFLIGHT) && names(self, METHOD, OPTIONS);
        self.relate(!has_preflights, METHODS, Reason::Conflict);
        let has_body = Text(self.get(field::BODY)).size() > 0;
        let is_bodiless = matches!(self.get(STATUS), 204 | 205 | 304);
        self.relate(!has_body || !is_bodiless, field::BODY, Reason::Conflict);
        self.relate(has_body || !names(self, NAME, CONTENT_TYPE), HEADERS, Reason::Conflict);
        let has_status = self.get(field::GRPC_STATUS) <= 16;
        let conflicts = has_status && names(self, NAME, GRPC_STATUS);
        self.relate(!conflicts, field::GRPC_STATUS, Reason::Conflict);
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
