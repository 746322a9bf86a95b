//! JSON (RFC 8259), token by token. A string is decoded where it stands: what it means is never longer than how it is
//! written. What was read is cleared, but for blanks and truths: of strings there is only left what they mean.
//!
//! An error is kept, and puts the reader to the end of the text, where every token is missing: so a step needs no result,
//! and every loop ends.

use crate::keys::{FALSE, NONE, WORDS};
use crate::limits;
use crate::reason::Reason;
use crate::store::Store;
use crate::text::Text;

/// No character.
const BROKEN: u32 = u32::MAX;

/// What a letter behind a backslash stands for.
static ESCAPES: [u8; 16] = *b"\"\"\\\\//b\x08f\x0cn\nr\rt\t";

impl Store {
    /// A field of the draft; or another half of a word of it.
    #[inline(never)]
    pub(crate) fn get(&self, field: u32) -> u32 {
        self.half(self.reader.draft + 4 * field)
    }

    #[inline(never)]
    pub(crate) fn set(&mut self, field: u32, value: u32) {
        let (halves, _) = self.bytes.as_chunks_mut();
        if let Some(half) = halves.get_mut(((self.reader.draft >> 2) + field) as usize) {
            *half = value.to_le_bytes();
        }
    }

    /// Whether a bit of the draft is set: the least of what this returns.
    #[inline(never)]
    pub(crate) fn has_bit(&self, bit: u32) -> u32 {
        self.get(bit >> 5) >> (bit & 31)
    }

    /// Sets a bit of the draft.
    #[inline(never)]
    pub(crate) fn set_bit(&mut self, bit: u32) {
        let field = bit >> 5;
        self.set(field, self.get(field) | 1 << (bit & 31));
    }

    /// A byte of the draft.
    #[inline(never)]
    pub(crate) fn byte(&self, at: u32) -> u32 {
        self.own_byte(self.reader.draft + at).into()
    }

    #[inline(never)]
    pub(crate) fn set_byte(&mut self, at: u32, byte: u32) {
        if let Some(place) = self.bytes.get_mut((self.reader.draft + at) as usize) {
            *place = byte as u8;
        }
    }

    /// The byte at the place.
    #[inline(never)]
    fn next(&self) -> u32 {
        self.byte(self.reader.at)
    }

    /// Passes over the byte at the place.
    #[inline(never)]
    fn pass(&mut self) -> u32 {
        let byte = self.next();
        self.set_byte(self.reader.at, 0);
        self.reader.at += 1;
        byte
    }

    /// Passes over `byte` if that is the next one.
    #[inline(never)]
    fn has(&mut self, byte: u8) -> bool {
        let found = self.next() == byte.into();
        if found {
            self.pass();
        }
        found
    }

    /// Passes over blanks.
    #[inline(never)]
    pub(crate) fn blanks(&mut self) {
        // A blank, a tab, a line feed or a carriage return.
        while self.next() < 64 && 1_u64 << self.next() & 0x1_0000_2600 != 0 {
            self.reader.at += 1;
        }
    }

    /// Passes over blanks, and over `byte` if that is the next one.
    #[inline(never)]
    pub(crate) fn takes(&mut self, byte: u8) -> bool {
        self.blanks();
        self.has(byte)
    }

    /// Passes over this byte, or fails.
    #[inline(never)]
    pub(crate) fn expect(&mut self, byte: u8, reason: Reason) {
        let found = self.takes(byte);
        self.fail_unless(found, reason);
    }

    /// Reads a string.
    #[inline(never)]
    pub(crate) fn string(&mut self, otherwise: Reason) -> Text {
        self.expect(b'"', otherwise);
        let start = self.reader.at;
        let mut end = start;
        loop {
            let first = self.pass();
            if first == u32::from(b'"') {
                break;
            }
            let character =
                if first == u32::from(b'\\') { self.escape() } else { self.character(first) };
            let is_whole = character < 0x11_0000 && character >> 11 != 0xd800 >> 11;
            if !is_whole {
                self.fail(Reason::Syntax);
                break;
            }
            end = self.put_character(end, character);
        }
        let size = end - start;
        self.fail_unless(size <= limits::BODY as u32, Reason::Long);
        Text::new(start, size)
    }

    /// A character that begins with this byte, which may be the first of a sequence (RFC 3629).
    fn character(&mut self, first: u32) -> u32 {
        let ones = (first << 24).leading_ones();
        let mut character = first & 0x7f >> ones;
        let (mut left, mut broken) = (ones, first < 0x20);
        while left > 1 {
            let more = self.pass() ^ 0x80;
            broken |= more > 0x3f;
            character = character << 6 | more;
            left -= 1;
        }
        let more = more_bytes(character);
        // No longer than needed, and with a first byte.
        broken |= more + u32::from(more > 0) != ones;
        if broken { BROKEN } else { character }
    }

    /// What an escape stands for.
    fn escape(&mut self) -> u32 {
        let byte = self.pass();
        if byte != b'u'.into() {
            let (mut at, mut found) = (ESCAPES.len(), BROKEN);
            while at > 0 {
                at -= 2;
                if u32::from(ESCAPES[at]) == byte {
                    found = ESCAPES[at + 1].into();
                }
            }
            return found;
        }
        let unit = self.unit();
        if unit >> 10 != 0xd800 >> 10 {
            return unit;
        }
        let is_pair = self.has(b'\\') && self.has(b'u');
        let second = self.unit() ^ 0xdc00;
        if is_pair && second < 0x400 { 0x1_0000 + ((unit & 0x3ff) << 10 | second) } else { BROKEN }
    }

    /// Four hexadecimal digits.
    #[inline(never)]
    fn unit(&mut self) -> u32 {
        let (mut unit, mut left) = (0, 4);
        while left > 0 {
            unit = unit << 4 | hexadecimal(self.pass());
            left -= 1;
        }
        if unit > 0xffff { BROKEN } else { unit }
    }

    /// Writes a character in UTF-8, which ends before what is not read yet; returns where it ends.
    fn put_character(&mut self, mut at: u32, character: u32) -> u32 {
        let mut more = more_bytes(character);
        // The bits that mark the first of so many bytes.
        let mut byte = 0xf0e0_c000 >> (8 * more) | character >> (6 * more);
        loop {
            self.set_byte(at, byte);
            at += 1;
            if more == 0 {
                return at;
            }
            more -= 1;
            byte = character >> (6 * more) & 0x3f | 0x80;
        }
    }

    /// Reads a whole number, which a double may hold: `403.0`. More than 1000 is 1000.
    pub(crate) fn number(&mut self) -> u32 {
        self.blanks();
        let mut number = 0;
        let mut is_number = self.next().wrapping_sub(b'1'.into()) < 9;
        loop {
            let digit = self.next().wrapping_sub(b'0'.into());
            if digit > 9 {
                break;
            }
            number = (number * 10 + digit).min(1000);
            self.pass();
        }
        if self.has(b'.') {
            is_number &= self.has(b'0');
            while self.has(b'0') {}
        }
        // What follows a member of an object, or blanks.
        let next = self.next();
        is_number &= next <= b','.into() || next == b'}'.into();
        self.fail_unless(is_number, Reason::Type);
        number
    }

    /// Reads `true` or `false`, as 1 or 0.
    pub(crate) fn truth(&mut self) -> u32 {
        self.blanks();
        let truth = u32::from(self.next() == b't'.into());
        let (start, end) = (self.reader.at, self.reader.at + 5 - truth);
        let is_truth = self.find_word(start, end) == FALSE + truth;
        self.fail_unless(is_truth, Reason::Type);
        if is_truth {
            self.reader.at = end;
        }
        truth
    }

    /// The place of what is between two places among the words, or [`NONE`].
    #[inline(never)]
    pub(crate) fn find_word(&self, start: u32, end: u32) -> u32 {
        let (mut number, mut at, mut same) = (0, start, true);
        for &byte in WORDS.as_bytes() {
            if byte != b'|' {
                same &= self.byte(at) == byte.into();
                at += 1;
            } else if same && at == end {
                return number;
            } else {
                (number, at, same) = (number + 1, start, true);
            }
        }
        NONE
    }
}

/// How many bytes a character has more than one.
#[inline(never)]
fn more_bytes(character: u32) -> u32 {
    u32::from(character >= 0x80) + u32::from(character >= 0x800) + u32::from(character >= 0x1_0000)
}

/// The value of a hexadecimal digit; more than 16 bits for any other byte.
#[inline(never)]
pub(crate) fn hexadecimal(digit: u32) -> u32 {
    let number = digit.wrapping_sub(b'0'.into());
    let letter = (digit | 0x20).wrapping_sub(b'a'.into());
    if number <= 9 {
        number
    } else if letter < 6 {
        letter + 10
    } else {
        1 << 16
    }
}
