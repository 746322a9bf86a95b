//! What a text of a configuration may contain. `crates/policy` says the same in more words; a test compares the two.

use crate::field;
use crate::fields::{Denial, Field, GRPC_STATUS, SMALL, denial_field, is_owned, may_repeat};
use crate::json::hexadecimal;
use crate::keys::{ANY, CONTENT, CONTENTS, Element, METHOD, NAME, PATH, PLAIN, SHA256, TOKEN};
use crate::limits;
use crate::reason::Reason;
use crate::store::{PREFIX, Store, WHOLE};
use crate::text::Text;

/// Adds characters to a set: a bit for each that is ASCII.
const fn set(mut set: [u32; 4], bytes: &[u8]) -> [u32; 4] {
    let mut at = 0;
    while at < bytes.len() {
        set[bytes[at] as usize / 32] |= 1 << (bytes[at] % 32);
        at += 1;
    }
    set
}

/// Letters and digits.
const ALPHANUMERIC: [u32; 4] = [0, 0x03ff_0000, 0x07ff_fffe, 0x07ff_fffe];

/// The sets, as [`crate::keys`] has their places.
static SETS: [[u32; 4]; 3] = [
    // A field name and a method are tokens: RFC 9110, sections 5.1, 5.6.2 and 9.1.
    set(ALPHANUMERIC, b"!#$%&'*+-.^_`|~"),
    // A path: unreserved characters (RFC 3986, section 2.3).
    set(ALPHANUMERIC, b"/-._~"),
    // Details are visible ASCII. A field value (RFC 9110, section 5.5) also has what is beyond ASCII, and blanks, but not at
    // an end.
    [0, !1, !0, !0 >> 1],
];

/// Bytes of a SHA-256.
const DIGEST: u32 = 32;

impl Store {
    /// Reads a text, and checks what is true of it alone. What is in a list is kept.
    pub(crate) fn read_text(&mut self, number: u32, element: Element) -> u32 {
        let mut text = self.string(Reason::Type);
        let before_end = |back: u32| self.byte(text.end().wrapping_sub(back));
        let mut ending = WHOLE;
        if number == PATH {
            let size = self.get(field::PATHS_SIZE) + text.size();
            if text.size() > 1 && before_end(1) == b'*' && before_end(2) == b'/' {
                ending = PREFIX;
                text = Text::new(text.at(), text.size() - 1);
            }
            self.set(field::PATHS_SIZE, size);
            self.fail_unless(size <= limits::PATHS as u32, Reason::Long);
        }
        self.fail_unless(text.size() >= element.least() + u32::from(ending), Reason::Empty);
        self.fail_unless(text.size() <= element.longest(), Reason::Long);
        let kind = element.kind();
        if kind != ANY {
            self.check(text, kind);
        }
        if kind == PLAIN {
            self.check_path(text);
        }
        let mut may_repeat = number == CONTENT;
        if kind == TOKEN {
            may_repeat = self.check_name(text, number);
        }
        if number == SHA256 {
            self.read_digest(text);
        }
        if may_repeat && self.get(field::LAST) == GRPC_STATUS {
            self.check_grpc_status(text);
        }
        if element.most() > 0 {
            let record = Record::new(text, number, ending);
            self.count(number, element.most());
            let is_free = may_repeat || !self.is_known(record);
            self.fail_unless(is_free, Reason::Duplicate);
            self.keep(record);
        }
        text.0
    }

    /// Fails unless all bytes are in a set.
    fn check(&mut self, text: Text, kind: u8) {
        let (mut at, mut holds) = (text.at(), true);
        while at < text.end() {
            let byte = self.byte(at);
            let is_end = at == text.at() || at + 1 == text.end();
            let bits = SETS.as_flattened().get(usize::from(kind & !1) + usize::from(byte >> 5));
            let is_in = byte < 0x80 && bits.is_some_and(|bits| bits >> (byte & 31) & 1 != 0);
            let is_blank = byte == b' ' || byte == b'\t';
            holds &= is_in || kind == CONTENTS && (byte > 0x7f || is_blank && !is_end);
            at += 1;
        }
        self.fail_unless(holds, Reason::Character);
    }

    /// Fails unless a path is plain: it begins with `/`, and has no empty segment but the last, and none that begins with
    /// two dots or is one.
    fn check_path(&mut self, path: Text) {
        let (mut at, mut last) = (path.at(), 0_u32);
        let mut holds = self.byte(at) == b'/';
        while at <= path.end() {
            // Behind a dot that is a segment, at the end, this makes two of it.
            let byte = if at < path.end() { self.byte(at) } else { b'.' };
            last = last << 8 | u32::from(byte);
            // `//`; `/..` or `/./`, as `.` and `/` differ by one.
            holds &= last & 0xffff != 0x2f2f && last & 0xff_ffff | 1 != 0x2f_2e2f;
            at += 1;
        }
        self.fail_unless(holds, Reason::Character);
    }

    /// Checks a name or method, and remembers what gateways do with it; returns whether it may be there twice.
    fn check_name(&mut self, name: Text, number: u32) -> bool {
        let is_method = number == METHOD;
        let small = if is_method { 0 } else { SMALL };
        let field = Field::new(name.size(), |at| self.byte(name.at() + at) | small);
        let is_owned = match number {
            METHOD => false,
            NAME => matches!(denial_field(field), Denial::Owned),
            _ => {
                let mut at = name.at();
                while at < name.end() {
                    self.set_byte(at, self.byte(at).to_ascii_lowercase());
                    at += 1;
                }
                is_owned(field)
            }
        };
        self.fail_unless(!is_owned, Reason::Owned);
        let places = field::PLACES + number;
        self.set(places, self.get(places) | 1 << (field.0 & 31));
        self.set(field::LAST, field.0);
        may_repeat(field) && !is_method
    }

    /// Fails unless it is an error of gRPC: 1 to 16.
    fn check_grpc_status(&mut self, text: Text) {
        let (mut number, mut at, mut holds) = (0, text.at(), text.size() <= 2);
        while at < text.end() {
            let digit = u32::from(self.byte(at)).wrapping_sub(u32::from(b'0'));
            holds &= digit <= 9;
            number = (number * 10 + digit) & 0xff;
            at += 1;
        }
        self.fail_unless(holds && number.wrapping_sub(1) < 16, Reason::Range);
    }

    /// Reads a digest: makes bytes of its digits, in their place.
    fn read_digest(&mut self, text: Text) {
        let (mut byte, mut holds) = (0, text.size() == 2 * DIGEST);
        while byte < DIGEST {
            let digit = |at: u32| hexadecimal(self.byte(text.at() + at));
            let both = digit(2 * byte) << 4 | digit(2 * byte + 1);
            holds &= both < 0x100;
            self.set_byte(text.at() + byte, both as u8);
            byte += 1;
        }
        self.fail_unless(holds, Reason::Range);
    }

    /// Whether a text is in its list already; the names of fields in any case.
    fn is_known(&self, own: Record) -> bool {
        let folded = own.number() == NAME;
        let mut place = self.reader.records;
        while place > 0 {
            place -= 1;
            let other = self.record(place);
            let is_same_kind = (other.0 ^ own.0) >> 32 == 0;
            if is_same_kind && self.is_same(other.text(), own.text(), folded) {
                return true;
            }
        }
        false
    }

    /// Whether two texts of the configuration are the same, in any case if `folded`.
    #[inline(never)]
    pub(crate) fn is_same(&self, a: Text, b: Text, folded: bool) -> bool {
        let mut left = a.size();
        if left != b.size() {
            return false;
        }
        while left > 0 {
            left -= 1;
            let (mut one, mut other) = (self.byte(a.at() + left), self.byte(b.at() + left));
            if folded {
                (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
            }
            if one != other {
                return false;
            }
        }
        true
    }

    /// Counts a text of a list, of which there are so many at most.
    fn count(&mut self, number: u32, most: u32) {
        let counter = field::COUNTS + number;
        let count = self.get(counter) + 1;
        self.set(counter, count);
        self.fail_unless(count <= most, Reason::Many);
    }

    /// Keeps a text of a list.
    fn keep(&mut self, record: Record) {
        let place = self.reader.records as usize % self.records.len();
        self.records[place] = record.0;
        self.reader.records += 1;
    }

    /// A text that is kept.
    #[inline]
    pub(crate) fn record(&self, place: u32) -> Record {
        Record(self.records[place as usize % self.records.len()])
    }
}

/// A text of a list, its element, and what ends it.
#[derive(Clone, Copy)]
pub(crate) struct Record(u64);

impl Record {
    fn new(text: Text, number: u32, ending: u8) -> Self {
        Self(u64::from(text.0) | u64::from(number) << 32 | u64::from(ending) << 40)
    }

    pub fn text(self) -> Text {
        Text(self.0 as u32)
    }

    pub fn number(self) -> u32 {
        (self.0 >> 32) as u32 & 0xff
    }

    pub fn ending(self) -> u8 {
        (self.0 >> 40) as u8
    }
}
