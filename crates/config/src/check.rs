//! What a text of a configuration may contain. `crates/policy` says the same in more words; a test compares the two.

use header_gate_decision::path::plain;

use crate::field;
use crate::fields::{Denial, Field, GRPC_STATUS, SMALL, denial_field, is_owned, may_repeat};
use crate::json::hexadecimal;
use crate::keys::{
    ANY, BEYOND, BLANK, CONTENT, Element, METHOD, NAME, PATH, PLAIN, SHA256, TOKEN, VISIBLE,
};
use crate::limits;
use crate::read::IS_DIGEST;
use crate::reason::Reason;
use crate::store::{PREFIX, Store, WHOLE};
use crate::text::Text;

/// What each character is a part of, and all that are beyond ASCII: a bit for each kind of text.
static KINDS: [u8; 129] = {
    let (mut kinds, mut at) = ([ANY; 129], 0);
    while at < 0x80 {
        let byte = at as u8;
        if byte.is_ascii_alphanumeric() {
            kinds[at] |= TOKEN | PLAIN;
        }
        // Details are visible. So is a field value (RFC 9110, section 5.5), but for blanks that are not at an end, and what
        // is beyond ASCII.
        if byte.is_ascii_graphic() {
            kinds[at] |= VISIBLE;
        }
        if byte == b' ' || byte == b'\t' {
            kinds[at] |= BLANK;
        }
        at += 1;
    }
    kinds[0x80] |= BEYOND;
    // A field name and a method are tokens: RFC 9110, sections 5.1, 5.6.2 and 9.1. A path has unreserved characters: RFC
    // 3986, section 2.3.
    with(with(kinds, TOKEN, b"!#$%&'*+-.^_`|~"), PLAIN, b"/-._~")
};

/// Adds characters to a kind.
const fn with(mut kinds: [u8; 129], kind: u8, bytes: &[u8]) -> [u8; 129] {
    let mut at = 0;
    while at < bytes.len() {
        kinds[bytes[at] as usize] |= kind;
        at += 1;
    }
    kinds
}

/// Bytes of a SHA-256.
const DIGEST: u32 = 32;

impl Store {
    /// Reads a text, and checks what is true of it alone. What is in a list is kept.
    pub(crate) fn read_text(&mut self, number: u32, element: Element) -> u32 {
        let mut text = self.string(Reason::Type);
        let mut ending = WHOLE;
        if number == PATH {
            let size = self.get(field::PATHS_SIZE) + text.size();
            if text.size() > 0 && self.byte(text.end() - 1) == b'*'.into() {
                ending = PREFIX;
                text = Text::new(text.at(), text.size() - 1);
            }
            self.set(field::PATHS_SIZE, size);
            self.fail_unless(size <= limits::PATHS as u32, Reason::Long);
        }
        self.fail_unless(text.size() >= element.least() + u32::from(ending), Reason::Empty);
        self.fail_unless(text.size() <= element.longest(), Reason::Long);
        let kind = element.kind();
        self.check(text, kind);
        if kind == PLAIN {
            self.check_path(text, ending);
        }
        let mut may_repeat = number == CONTENT;
        if kind == TOKEN {
            may_repeat = self.check_name(text, number);
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
        if number == SHA256 { self.read_digest(text) } else { text.0 }
    }

    /// Fails unless all characters are a part of this kind of text.
    fn check(&mut self, text: Text, kind: u8) {
        let (mut at, mut holds) = (text.at(), true);
        while at < text.end() {
            let is_end = at == text.at() || at + 1 == text.end();
            let kind = if is_end { kind & !BLANK } else { kind };
            holds &= KINDS[self.byte(at).min(0x80) as usize] & kind != 0;
            at += 1;
        }
        self.fail_unless(holds, Reason::Character);
    }

    /// Fails unless a path is plain, and what stands for all that begin so ends in `/`.
    fn check_path(&mut self, path: Text, ending: u8) {
        let start = (self.reader.draft + path.at()) as usize;
        let bytes = self.bytes.get(start..start + path.size() as usize).unwrap_or_default();
        let is_plain = plain(bytes) == bytes.len();
        let holds = ending == WHOLE || self.byte(path.end() - 1) == b'/'.into();
        self.fail_unless(is_plain && holds, Reason::Character);
    }

    /// Checks a name or method, and remembers what gateways do with it; returns whether it may be there twice.
    fn check_name(&mut self, name: Text, number: u32) -> bool {
        let is_method = number == METHOD;
        let small = if is_method { 0 } else { SMALL.into() };
        let field = Field::new(name.size(), |at| self.byte(name.at() + at) | small);
        let is_owned = match number {
            METHOD => false,
            NAME => matches!(denial_field(field), Denial::Owned),
            _ => {
                let mut at = name.at();
                while at < name.end() {
                    self.set_byte(at, lower(self.byte(at)));
                    at += 1;
                }
                is_owned(field)
            }
        };
        self.fail_unless(!is_owned, Reason::Owned);
        self.set_bit(field::named(number, field.0));
        self.set(field::LAST, field.0);
        may_repeat(field) && !is_method
    }

    /// Fails unless it is an error of gRPC: 1 to 16.
    fn check_grpc_status(&mut self, text: Text) {
        let (mut number, mut at) = (0_u32, text.at());
        let mut holds = text.size() <= 2 && self.byte(at) != b'0'.into();
        while at < text.end() {
            let digit = self.byte(at).wrapping_sub(b'0'.into());
            holds &= digit <= 9;
            number = (number * 10).wrapping_add(digit) & 0xff;
            at += 1;
        }
        self.fail_unless(holds && number.wrapping_sub(1) < 16, Reason::Range);
    }

    /// Reads a digest: makes bytes of its digits, in their place, and returns the value of an item.
    fn read_digest(&mut self, text: Text) -> u32 {
        let (mut byte, mut holds) = (0, text.size() == 2 * DIGEST);
        while byte < DIGEST {
            let digit = |at: u32| hexadecimal(self.byte(text.at() + at));
            let both = digit(2 * byte) << 4 | digit(2 * byte + 1);
            holds &= both < 0x100;
            self.set_byte(text.at() + byte, both);
            byte += 1;
        }
        self.fail_unless(holds, Reason::Range);
        text.at() | IS_DIGEST
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
                (one, other) = (lower(one), lower(other));
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

/// A character in lower case.
fn lower(character: u32) -> u32 {
    (character as u8).to_ascii_lowercase().into()
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
