//! From a configuration to a draft: the fields of a policy behind all others, whose texts are still in the configuration.
//!
//! A policy is a tree of fixed depth: each of its tables is a function here.

use crate::check::{TOKEN, VISIBLE};
use crate::fields::{Denial, denial_field, is_owned, may_repeat};
use crate::json::hexadecimal;
use crate::keys;
use crate::limits;
use crate::reason::Reason;
use crate::store::{PREFIX, Store, WHOLE, field, flag};
use crate::text::Text;

/// The tables, as the reader names them.
pub(crate) const POLICY: u8 = 0;
pub(crate) const CLIENT: u8 = 1;
pub(crate) const EXCEPT: u8 = 2;
pub(crate) const DENY: u8 = 3;

/// Bytes of a SHA-256.
const DIGEST: u32 = 32;

/// A value or client: where its value and its name are in the configuration, their sizes, and whether the value is that
/// of a digest, which has a size only if it is known.
#[derive(Clone, Copy)]
pub(crate) struct Item(pub u64);

impl Item {
    fn new(value: Text, size: u32, id: Text, is_digest: bool) -> Self {
        let place = u64::from(value.at()) | u64::from(size) << 17;
        let id = u64::from(id.at()) << 31 | u64::from(id.size()) << 48;
        Self(place | id | u64::from(is_digest) << 63)
    }

    pub fn value(self) -> Text {
        Text::new(self.0 as u32 & 0x1_ffff, self.size())
    }

    pub fn size(self) -> u32 {
        (self.0 >> 17) as u32 & 0x3fff
    }

    pub fn id(self) -> Text {
        Text::new((self.0 >> 31) as u32 & 0x1_ffff, (self.0 >> 48) as u32 & 0xff)
    }

    pub fn is_digest(self) -> bool {
        self.0 >> 63 != 0
    }
}

impl Store {
    /// Reads a whole configuration.
    pub(crate) fn read(&mut self) {
        let mut seen = 0;
        self.open(b'{');
        while self.member(POLICY, keys::POLICY, &mut seen) {
            match self.reader.key {
                0 => self.read_name(field::HEADER),
                1 => self.read_values(),
                2 => self.read_clients(),
                3 => self.read_name(field::CLIENT_HEADER),
                4 => drop(self.truth()),
                5 => self.read_truth(flag::REMOVE),
                6 => self.read_truth(flag::COUNT),
                7 => self.read_truth(flag::ENFORCE),
                8 => self.read_except(),
                _ => self.read_deny(),
            }
        }
        self.blanks();
        self.fail_unless(self.reader.at == self.reader.end, Reason::Syntax);
        self.relations(seen);
    }

    /// Reads a truth that is kept as a flag.
    #[inline(never)]
    fn read_truth(&mut self, flag: u32) {
        let truth = self.truth();
        self.set_flag(flag, truth);
    }

    #[inline(never)]
    pub(crate) fn set_flag(&mut self, flag: u32, truth: bool) {
        let flags = self.flags();
        self.set(field::FLAGS, if truth { flags | flag } else { flags & !flag }.into());
    }

    /// What is true of the draft.
    pub(crate) fn flags(&self) -> u32 {
        self.get(field::FLAGS) as u32
    }

    /// Reads a field name of the request, which is kept in lower case.
    #[inline(never)]
    fn read_name(&mut self, field: u32) {
        let name = self.string(Reason::Type);
        let mut at = name.at();
        while at < name.end() {
            self.set_byte(at, self.byte(at).to_ascii_lowercase());
            at += 1;
        }
        self.check(name, &TOKEN, 1, limits::NAME as u32);
        self.fail_unless(!is_owned(self.named(name)), Reason::Owned);
        self.set(field, name.0);
    }

    fn read_values(&mut self) {
        self.open(b'[');
        while self.next(b']') {
            let value = self.string(Reason::Type);
            self.check_value(value, 1, limits::VALUES_SIZE as u32);
            self.push(Item::new(value, value.size(), Text::new(0, 0), false), false);
        }
    }

    /// Keeps an item. There are only values, or only clients.
    #[inline(never)]
    fn push(&mut self, item: Item, is_client: bool) {
        let count = self.get(field::ITEMS) as u32;
        let has_clients = self.flags() & flag::CLIENTS != 0;
        self.fail_unless(count == 0 || has_clients == is_client, Reason::Conflict);
        let most = if is_client { limits::ITEMS } else { limits::VALUES };
        self.fail_unless(count < most as u32, Reason::Many);
        self.set_flag(flag::CLIENTS, is_client);
        self.items[count as usize % self.items.len()] = item.0;
        self.set(field::ITEMS, u64::from(count) + 1);
    }

    fn read_clients(&mut self) {
        self.open(b'[');
        while self.next(b']') {
            self.read_client();
        }
    }

    fn read_client(&mut self) {
        let (mut seen, mut size) = (0, 0);
        let (mut id, mut value) = (Text::new(0, 0), Text::new(0, 0));
        self.open(b'{');
        while self.member(CLIENT, keys::CLIENT, &mut seen) {
            match self.reader.key {
                0 => {
                    id = self.string(Reason::Type);
                    self.check_value(id, 1, limits::ID as u32);
                }
                1 => {
                    value = self.string(Reason::Type);
                    self.check_value(value, 1, limits::CLIENT_VALUE as u32);
                    size = value.size();
                }
                2 => value = self.read_digest(),
                _ => size = self.number(1, limits::CLIENT_VALUE as u32),
            }
        }
        // Of a value and a digest there is one, and a size only beside a digest.
        let is_digest = seen & 0b0100 != 0;
        self.reader.key = 1;
        self.fail_unless(seen & 0b0110 != 0, Reason::Missing);
        self.fail_unless(seen & 0b0010 == 0 || seen & 0b1100 == 0, Reason::Conflict);
        self.reader.key = 0;
        self.fail_unless(seen & 0b0001 != 0, Reason::Missing);
        (self.reader.table, self.reader.key) = (POLICY, 2);
        self.push(Item::new(value, size, id, is_digest), true);
    }

    /// Reads a digest: makes bytes of its digits, in their place.
    fn read_digest(&mut self) -> Text {
        let text = self.string(Reason::Type);
        let mut holds = text.size() == 2 * DIGEST;
        let mut byte = 0;
        while byte < DIGEST {
            let digit = |at: u32| hexadecimal(self.byte(text.at() + at));
            let (high, low) = (digit(2 * byte), digit(2 * byte + 1));
            holds &= high | low < 16;
            self.set_byte(text.at() + byte, (high << 4 | low) as u8);
            byte += 1;
        }
        self.fail_unless(holds, Reason::Range);
        text
    }

    /// Writes a string that was read, and the byte that ends it, to the end of a list. It fits: the string stood between
    /// two quotes.
    #[inline(never)]
    fn append(&mut self, list: Text, string: Text, ending: u8) -> Text {
        let (mut end, mut at) = (list.end(), string.at());
        while at < string.end() {
            self.set_byte(end, self.byte(at));
            (end, at) = (end + 1, at + 1);
        }
        self.set_byte(end, ending);
        Text::new(list.at(), end + 1 - list.at())
    }

    fn read_except(&mut self) {
        let mut seen = 0;
        self.open(b'{');
        while self.member(EXCEPT, keys::EXCEPT, &mut seen) {
            match self.reader.key {
                0 => self.read_truth(flag::PREFLIGHT),
                key => self.read_entries(key == 1),
            }
        }
        (self.reader.table, self.reader.key) = (POLICY, 8);
    }

    /// Reads the exempt methods, or the exempt paths.
    fn read_entries(&mut self, methods: bool) {
        self.open(b'[');
        let mut list = Text::new(self.reader.at, 0);
        let (mut count, mut sizes) = (0, 0);
        while self.next(b']') {
            let mut string = self.string(Reason::Type);
            (count, sizes) = (count + 1, sizes + string.size());
            self.fail_unless(count <= limits::EXCEPT, Reason::Many);
            let mut ending = WHOLE;
            if methods {
                self.check(string, &TOKEN, 1, limits::METHOD as u32);
                if self.place("OPTIONS", string, false) == 0 {
                    self.set_flag(flag::OPTIONS, true);
                }
            } else {
                self.fail_unless(sizes <= limits::PATHS as u32, Reason::Long);
                let before_end = |back: u32| self.byte(string.end().wrapping_sub(back));
                if string.size() > 1 && before_end(1) == b'*' && before_end(2) == b'/' {
                    ending = PREFIX;
                    string = Text::new(string.at(), string.size() - 1);
                }
                self.check_path(string, ending);
            }
            let start = list.end();
            list = self.append(list, string, ending);
            self.check_entry(list, start, 1, false);
        }
        self.set(if methods { field::METHODS } else { field::PATHS }, list.0);
    }

    fn read_deny(&mut self) {
        let mut seen = 0;
        self.open(b'{');
        while self.member(DENY, keys::DENY, &mut seen) {
            match self.reader.key {
                0 => {
                    let status = self.number(200, 599);
                    self.set(field::STATUS, status.into());
                }
                1 => self.read_headers(),
                5 => {
                    let status = self.number(1, 16);
                    self.set(field::GRPC_STATUS, status.into());
                }
                key => {
                    let text = self.string(Reason::Type);
                    if key == 2 {
                        self.fail_unless(text.size() <= limits::BODY as u32, Reason::Long);
                    } else {
                        self.check(text, &VISIBLE, 0, limits::NAME as u32);
                    }
                    // Keys and fields have one order.
                    self.set(u32::from(key) + field::BODY - 2, text.0);
                }
            }
        }
        self.reader.key = 0;
        self.fail_unless(seen & 1 != 0, Reason::Missing);
        if seen & 1 << 4 != 0 {
            self.set_flag(flag::MISSING_DETAILS, true);
        }
        (self.reader.table, self.reader.key) = (POLICY, 9);
    }

    /// Reads the headers of the denial: pairs, each as two entries of a list.
    fn read_headers(&mut self) {
        self.open(b'[');
        let mut list = Text::new(self.reader.at, 0);
        // Four bytes for the number of pairs, and for each size.
        let mut size = 4;
        while self.next(b']') {
            self.open(b'[');
            let more = self.next(b']');
            self.fail_unless(more, Reason::Type);
            let name = self.string(Reason::Type);
            self.check(name, &TOKEN, 1, limits::NAME as u32);
            let (kind, repeats) = (denial_field(self.named(name)), may_repeat(self.named(name)));
            self.fail_unless(!matches!(kind, Denial::Owned), Reason::Owned);
            let start = list.end();
            list = self.append(list, name, WHOLE);
            if !repeats {
                self.check_entry(list, start, 2, true);
            }
            let more = self.next(b']');
            self.fail_unless(more, Reason::Type);
            let value = self.string(Reason::Type);
            self.check_value(value, 0, limits::HEADERS as u32);
            if matches!(kind, Denial::ContentType) {
                self.set_flag(flag::CONTENT_TYPE, true);
            }
            if matches!(kind, Denial::GrpcStatus) {
                self.set_flag(flag::GRPC_HEADER, true);
                let is_error = self.place(GRPC_ERRORS, value, false) != keys::NONE;
                self.fail_unless(is_error, Reason::Range);
            }
            list = self.append(list, value, WHOLE);
            let more = self.next(b']');
            self.fail_unless(!more, Reason::Type);
            size += 8;
            self.fail_unless(list.size() + size <= limits::HEADERS as u32, Reason::Long);
        }
        self.set(field::HEADERS, list.0);
    }

    /// Checks what concerns more than one key.
    fn relations(&mut self, seen: u32) {
        let text = |field: u32| Text(self.get(field));
        let (header, client_header) = (text(field::HEADER), text(field::CLIENT_HEADER));
        let has_body = text(field::BODY).size() > 0;
        let status = self.get(field::STATUS);
        let has_grpc_status = self.get(field::GRPC_STATUS) <= 16;
        let has_items = self.get(field::ITEMS) > 0;
        let flags = self.flags();
        let is = |flag| flags & flag != 0;
        let is_host = |name| self.place("host", name, false) == 0;
        let removes_host = is(flag::REMOVE) && is_host(header);
        let names_clients = client_header.size() == 0
            || is(flag::CLIENTS) && !is_host(client_header) && !self.is_same(header, client_header);
        let is_bodiless = matches!(status, 204 | 205 | 304);
        self.relate(seen & 1 != 0, POLICY, 0, Reason::Missing);
        self.relate(seen & 1 << 9 != 0, POLICY, 9, Reason::Missing);
        self.relate(has_items, POLICY, 1, Reason::Missing);
        self.relate(names_clients, POLICY, 3, Reason::Conflict);
        self.relate(!removes_host, POLICY, 5, Reason::Conflict);
        let preflights = flag::PREFLIGHT | flag::OPTIONS;
        self.relate(flags & preflights != preflights, EXCEPT, 1, Reason::Conflict);
        self.relate(!has_body || !is_bodiless, DENY, 2, Reason::Conflict);
        self.relate(has_body || !is(flag::CONTENT_TYPE), DENY, 1, Reason::Conflict);
        self.relate(!has_grpc_status || !is(flag::GRPC_HEADER), DENY, 5, Reason::Conflict);
    }

    /// Fails with a key unless this holds.
    #[inline(never)]
    fn relate(&mut self, holds: bool, table: u8, key: u8, reason: Reason) {
        if !holds && self.reader.reason == 0 {
            (self.reader.table, self.reader.key) = (table, key);
            self.fail(reason);
        }
    }
}

/// The values that a `grpc-status` of the denial may have.
const GRPC_ERRORS: &str = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16";
