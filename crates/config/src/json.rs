//! JSON (RFC 8259), token by token. A string is decoded where it stands: what it means is never longer than how it is
//! written. Nothing recurs: the caller knows what it expects.
//!
//! An error is kept, and puts the reader to the end of the text, where every token is missing: so a step needs no result,
//! and every loop ends.

use crate::keys::NONE;
use crate::reason::Reason;
use crate::store::{Store, TEXT_MASK};
use crate::text::Text;

/// No character.
const BROKEN: u32 = u32::MAX;

/// What the reader of a configuration knows.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Where the next token begins, or blanks before it.
    pub at: u32,
    /// Where the text ends: there is a NUL, which no token has.
    pub end: u32,
    /// The table, and the place of the key in its list.
    pub table: u8,
    pub key: u8,
    /// The first error, or 0; and where it was, and with which key.
    pub reason: u8,
    pub failed_at: u32,
    pub failed_table: u8,
    pub failed_key: u8,
    /// Whether the next item is the first one.
    is_first: bool,
    /// Where the draft begins, behind all policies.
    pub draft: u32,
}

impl Reader {
    /// A reader of nothing.
    pub const NEW: Self = Self {
        at: 0,
        end: 0,
        table: 0,
        key: 0,
        reason: 0,
        failed_at: 0,
        failed_table: 0,
        failed_key: 0,
        is_first: false,
        draft: 0,
    };
}

impl Store {
    /// Begins to read so many bytes.
    pub(crate) fn begin(&mut self, end: u32) {
        let draft = self.free();
        self.reader = Reader { end, draft, key: NONE, ..Reader::NEW };
    }

    /// Keeps the first error.
    #[inline(never)]
    pub(crate) fn fail(&mut self, reason: Reason) {
        let reader = &mut self.reader;
        if reader.reason == 0 {
            (reader.reason, reader.failed_at) = (reason as u8, reader.at);
            (reader.failed_table, reader.failed_key) = (reader.table, reader.key);
        }
        reader.at = reader.end;
    }

    /// Keeps an error unless this holds.
    #[inline(never)]
    pub(crate) fn fail_unless(&mut self, holds: bool, reason: Reason) {
        if !holds {
            self.fail(reason);
        }
    }

    /// A byte of the configuration.
    #[inline(never)]
    pub(crate) fn byte(&self, at: u32) -> u8 {
        self.text[at as usize & TEXT_MASK]
    }

    #[inline(never)]
    pub(crate) fn set_byte(&mut self, at: u32, byte: u8) {
        self.text[at as usize & TEXT_MASK] = byte;
    }

    /// Passes over the byte at the place.
    #[inline(never)]
    fn pass(&mut self) -> u8 {
        let byte = self.byte(self.reader.at);
        self.reader.at += 1;
        byte
    }

    /// Passes over blanks.
    #[inline(never)]
    pub(crate) fn blanks(&mut self) {
        while matches!(self.byte(self.reader.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.reader.at += 1;
        }
    }

    /// Passes over blanks, and over `byte` if that is the next one.
    #[inline(never)]
    fn takes(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.byte(self.reader.at) == byte;
        self.reader.at += u32::from(found);
        found
    }

    /// Passes over this byte, or fails.
    #[inline(never)]
    pub(crate) fn expect(&mut self, byte: u8, reason: Reason) {
        if !self.takes(byte) {
            self.fail(reason);
        }
    }

    /// Opens an object or an array.
    pub(crate) fn open(&mut self, with: u8) {
        self.expect(with, Reason::Type);
        self.reader.is_first = true;
    }

    /// Goes to the next item of what ends with `close`: whether there is one.
    #[inline(never)]
    pub(crate) fn next(&mut self, close: u8) -> bool {
        let is_first = core::mem::take(&mut self.reader.is_first);
        if self.takes(close) {
            return false;
        }
        if !is_first {
            self.expect(b',', Reason::Syntax);
        }
        self.reader.reason == 0
    }

    /// Goes to the value of the next member of an object: whether there is one. `seen` has a bit for each member.
    #[inline(never)]
    pub(crate) fn member(&mut self, table: u8, keys: &str, seen: &mut u32) -> bool {
        (self.reader.table, self.reader.key) = (table, NONE);
        if !self.next(b'}') {
            return false;
        }
        let key = self.string(Reason::Syntax);
        let key = self.place(keys, key, false);
        self.fail_unless(key != NONE, Reason::Unknown);
        let bit = 1 << (key & 31);
        self.fail_unless(*seen & bit == 0, Reason::Twice);
        *seen |= bit;
        self.expect(b':', Reason::Syntax);
        self.reader.key = key;
        self.reader.reason == 0
    }

    /// Reads a string.
    #[inline(never)]
    pub(crate) fn string(&mut self, otherwise: Reason) -> Text {
        self.expect(b'"', otherwise);
        let start = self.reader.at;
        let mut end = start;
        loop {
            let character = match self.pass() {
                b'"' => return Text::new(start, end - start),
                b'\\' => self.escape(),
                byte => self.character(byte),
            };
            if character == BROKEN {
                self.fail(Reason::Syntax);
                return Text::new(0, 0);
            }
            end = self.put_character(end, character);
        }
    }

    /// A character that begins with this byte, which may be the first of a sequence (RFC 3629).
    fn character(&mut self, first: u8) -> u32 {
        let rest = match first {
            b' '..=0x7f => return first.into(),
            0xc2..=0xdf => 1,
            0xe0..=0xef => 2,
            0xf0..=0xf4 => 3,
            _ => return BROKEN,
        };
        let mut character = u32::from(first & (0x3f >> rest));
        for _ in 0..rest {
            let byte = self.pass();
            if byte & 0xc0 != 0x80 {
                return BROKEN;
            }
            character = character << 6 | u32::from(byte & 0x3f);
        }
        // No longer than needed, and no half of a pair.
        if character < 1 << (5 * rest + 1) { BROKEN } else { whole(character) }
    }

    /// What an escape stands for.
    fn escape(&mut self) -> u32 {
        let byte = self.pass();
        match byte {
            b'"' | b'\\' | b'/' => return byte.into(),
            b'b' => return 8,
            b'f' => return 12,
            b'n' => return 10,
            b'r' => return 13,
            b't' => return 9,
            b'u' => {}
            _ => return BROKEN,
        }
        let unit = self.unit();
        if unit >> 10 != 0xd800 >> 10 {
            return whole(unit);
        }
        let is_pair = self.pass() == b'\\' && self.pass() == b'u';
        let second = self.unit() ^ 0xdc00;
        if is_pair && second < 0x400 { 0x1_0000 + ((unit & 0x3ff) << 10 | second) } else { BROKEN }
    }

    /// Four hexadecimal digits.
    #[inline(never)]
    fn unit(&mut self) -> u32 {
        let (mut unit, mut left) = (0, 4);
        while left > 0 {
            let digit = hexadecimal(self.pass());
            if digit > 15 {
                return BROKEN;
            }
            unit = unit << 4 | digit;
            left -= 1;
        }
        unit
    }

    /// Writes a character in UTF-8, which ends before what is not read yet.
    fn put_character(&mut self, at: u32, character: u32) -> u32 {
        if character < 0x80 {
            self.set_byte(at, character as u8);
            return at + 1;
        }
        let mut rest = 1 + u32::from(character >= 0x800) + u32::from(character >= 0x1_0000);
        let next = at + rest + 1;
        let mark = 0xff00 >> (rest + 1);
        let mut place = at;
        self.set_byte(place, (character >> (6 * rest) | mark) as u8);
        while rest > 0 {
            (rest, place) = (rest - 1, place + 1);
            self.set_byte(place, (character >> (6 * rest) & 0x3f | 0x80) as u8);
        }
        next
    }

    /// Reads a whole number between two, which a double may hold: `403.0`.
    #[inline(never)]
    pub(crate) fn number(&mut self, least: u32, most: u32) -> u32 {
        self.blanks();
        let (start, mut number) = (self.reader.at, 0_u32);
        loop {
            let digit = u32::from(self.pass()).wrapping_sub(u32::from(b'0'));
            if digit > 9 {
                break;
            }
            number = number.saturating_mul(10).saturating_add(digit);
        }
        // The first byte that is no digit was passed, too.
        let behind = self.byte(self.reader.at - 1);
        let digits = self.reader.at - 1 - start;
        let mut is_number = digits > 0 && (self.byte(start) != b'0' || digits == 1);
        if behind == b'.' {
            is_number &= self.byte(self.reader.at) == b'0';
            while self.pass() == b'0' {}
        }
        self.reader.at -= 1;
        let next = self.byte(self.reader.at);
        is_number &= !next.is_ascii_alphanumeric() && next != b'.';
        self.fail_unless(is_number, Reason::Type);
        self.fail_unless(least <= number && number <= most, Reason::Range);
        number
    }

    /// Reads `true` or `false`.
    pub(crate) fn truth(&mut self) -> bool {
        self.blanks();
        let truth = self.byte(self.reader.at) == b't';
        let word: &[u8] = if truth { b"true" } else { b"false" };
        for &byte in word {
            let next = self.pass();
            self.fail_unless(next == byte, Reason::Type);
        }
        truth
    }
}

/// A number if it is that of a character: not half of a pair, and not too large.
fn whole(character: u32) -> u32 {
    let is_whole = character < 0x11_0000 && character >> 11 != 0xd800 >> 11;
    if is_whole { character } else { BROKEN }
}

/// The value of a hexadecimal digit; more than 15 for any other byte.
#[inline(never)]
pub(crate) fn hexadecimal(digit: u8) -> u32 {
    let number = u32::from(digit).wrapping_sub(u32::from(b'0'));
    let letter = u32::from(digit | b' ').wrapping_sub(u32::from(b'a'));
    if number <= 9 {
        number
    } else if letter < 6 {
        letter + 10
    } else {
        BROKEN
    }
}
