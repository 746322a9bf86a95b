//! JSON (RFC 8259), token by token. A string is decoded where it stands: what it means is never longer than how it is
//! written. Nothing recurs: a caller knows what it expects.

use crate::keys::{NONE, place};
use crate::reason::Reason;

/// A range of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Where it begins.
    pub at: u32,
    /// How many bytes it has.
    pub size: u32,
}

impl Text {
    /// The bytes from one place to another.
    pub(crate) fn between(start: usize, end: usize) -> Self {
        Self { at: start as u32, size: end.saturating_sub(start) as u32 }
    }

    /// The bytes themselves.
    #[expect(clippy::inline_always, reason = "a slice would be returned on the stack")]
    #[inline(always)]
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        let (at, size) = (self.at as usize, self.size as usize);
        bytes.get(at..).and_then(|rest| rest.get(..size)).unwrap_or_default()
    }
}

pub(crate) type Step = Result<(), Reason>;

/// Reads a text from its beginning to its end. What a step finds is left in a field, so that a step returns a byte.
pub(crate) struct Json<'a> {
    pub text: &'a mut [u8],
    /// Where the next token begins, or blanks before it.
    pub at: usize,
    /// The string that was read last.
    pub string: Text,
    /// Likewise the number.
    pub number: u32,
    /// Likewise `true` or `false`.
    pub truth: bool,
    /// The place of the member that was read last in its list of keys.
    pub member: u8,
    /// Whether there is another item, and whether it is the first.
    pub more: bool,
    is_first: bool,
}

impl<'a> Json<'a> {
    pub fn new(text: &'a mut [u8]) -> Self {
        Self {
            text,
            at: 0,
            string: Text::default(),
            number: 0,
            truth: false,
            member: NONE,
            more: false,
            is_first: false,
        }
    }

    /// The byte at the place, or NUL at the end, which no token has.
    fn byte(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or_default()
    }

    /// Passes over the byte at the place.
    fn pass(&mut self) -> u8 {
        let byte = self.byte();
        self.at += usize::from(self.at < self.text.len());
        byte
    }

    /// Passes over blanks, and over `byte` if that is the next one.
    #[inline(never)]
    fn takes(&mut self, byte: u8) -> bool {
        while matches!(self.byte(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let found = self.byte() == byte;
        self.at += usize::from(found);
        found
    }

    /// Checks that nothing but blanks is left.
    pub fn end(&mut self) -> Step {
        self.takes(b' ');
        if self.at == self.text.len() { Ok(()) } else { Err(Reason::Syntax) }
    }

    /// Opens an object or an array.
    pub fn open(&mut self, with: u8) -> Step {
        self.is_first = true;
        if self.takes(with) { Ok(()) } else { Err(Reason::Type) }
    }

    /// Goes to the next item of what ends with `close`: sets `more`.
    #[inline(never)]
    pub fn next(&mut self, close: u8) -> Step {
        self.more = !self.takes(close);
        if self.more && !core::mem::take(&mut self.is_first) && !self.takes(b',') {
            return Err(Reason::Syntax);
        }
        self.is_first = false;
        Ok(())
    }

    /// Goes to the value of the next member of an object: sets `more` and `member`. `seen` has a bit for each member.
    #[inline(never)]
    pub fn member(&mut self, keys: &str, seen: &mut u32) -> Step {
        self.next(b'}')?;
        if !self.more {
            return Ok(());
        }
        self.member = NONE;
        self.string().map_err(|_| Reason::Syntax)?;
        self.member = place(keys, self.string.of(self.text), false);
        if self.member == NONE {
            return Err(Reason::Unknown);
        }
        let bit = 1 << (self.member & 31);
        if *seen & bit != 0 {
            return Err(Reason::Twice);
        }
        *seen |= bit;
        if self.takes(b':') { Ok(()) } else { Err(Reason::Syntax) }
    }

    /// Reads a string.
    #[inline(never)]
    pub fn string(&mut self) -> Step {
        if !self.takes(b'"') {
            return Err(Reason::Type);
        }
        let (start, mut end) = (self.at, self.at);
        loop {
            let character = match self.pass() {
                b'"' => break,
                b'\\' => self.escape(),
                byte => self.character(byte),
            };
            if character == BROKEN {
                return Err(Reason::Syntax);
            }
            end = self.put(end, character);
        }
        self.string = Text::between(start, end);
        Ok(())
    }

    /// A character that begins with this byte, which may be the first of a sequence (RFC 3629).
    fn character(&mut self, first: u8) -> u32 {
        let (rest, mut character) = match first {
            b' '..=0x7f => (0, u32::from(first)),
            0xc2..=0xdf => (1, u32::from(first & 0x1f)),
            0xe0..=0xef => (2, u32::from(first & 0x0f)),
            0xf0..=0xf4 => (3, u32::from(first & 0x07)),
            _ => return BROKEN,
        };
        for _ in 0..rest {
            let byte = self.pass();
            if byte & 0xc0 != 0x80 {
                return BROKEN;
            }
            character = character << 6 | u32::from(byte & 0x3f);
        }
        // No longer than needed, and no half of a pair.
        let least = if rest < 2 { 0 } else { 1 << (5 * rest + 1) };
        if character >= least && is_whole(character) { character } else { BROKEN }
    }

    /// What an escape stands for.
    fn escape(&mut self) -> u32 {
        match self.pass() {
            byte @ (b'"' | b'\\' | b'/') => byte.into(),
            b'b' => 8,
            b'f' => 12,
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            b'u' => {
                let unit = self.unit();
                if unit >> 10 != 0xd800 >> 10 {
                    return if is_whole(unit) { unit } else { BROKEN };
                }
                let is_pair = self.pass() == b'\\' && self.pass() == b'u';
                let second = self.unit() ^ 0xdc00;
                if is_pair && second < 0x400 {
                    0x1_0000 + (((unit & 0x3ff) << 10) | second)
                } else {
                    BROKEN
                }
            }
            _ => BROKEN,
        }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> u32 {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = hexadecimal(self.pass());
            unit = if digit > 15 { BROKEN } else { unit << 4 | u32::from(digit) | unit & !0xffff };
        }
        unit
    }

    /// Writes a character in UTF-8, which ends before what is not read yet.
    fn put(&mut self, mut at: usize, character: u32) -> usize {
        let rest = match character {
            ..0x80 => 0,
            0x80..0x800 => 1,
            0x800..0x1_0000 => 2,
            _ => 3,
        };
        let mark = if rest == 0 { 0 } else { 0xff00 >> (rest + 1) & 0xff };
        let mut byte = character >> (6 * rest) | mark;
        for left in (0..=rest).rev() {
            if let Some(place) = self.text.get_mut(at) {
                *place = byte as u8;
            }
            at += 1;
            byte = character >> (6 * u32::saturating_sub(left, 1)) & 0x3f | 0x80;
        }
        at
    }

    /// Reads a whole number, which a double may hold: `403.0`.
    pub fn number(&mut self) -> Step {
        self.takes(b' ');
        let (start, mut number) = (self.at, 0_u32);
        while let digit @ b'0'..=b'9' = self.byte() {
            number = number.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
            self.at += 1;
        }
        let begins_with_0 = self.text.get(start) == Some(&b'0');
        if self.at == start || begins_with_0 && self.at > start + 1 {
            return Err(Reason::Type);
        }
        if self.byte() == b'.' {
            let point = self.at;
            self.at += 1;
            while self.byte() == b'0' {
                self.at += 1;
            }
            if self.at == point + 1 {
                return Err(Reason::Type);
            }
        }
        self.number = number;
        // What follows has to be the end of the number.
        if matches!(self.byte(), b'0'..=b'9' | b'e' | b'E' | b'.') {
            return Err(Reason::Type);
        }
        Ok(())
    }

    /// Reads `true` or `false`.
    pub fn truth(&mut self) -> Step {
        self.truth = self.takes(b't');
        let rest: &[u8] = if self.truth { b"rue" } else { b"false" };
        for &byte in rest {
            if self.pass() != byte {
                return Err(Reason::Type);
            }
        }
        Ok(())
    }
}

/// No character.
const BROKEN: u32 = u32::MAX;

/// Whether a number is that of a character: not half of a pair, and not too large.
fn is_whole(character: u32) -> bool {
    character < 0x11_0000 && character >> 11 != 0xd800 >> 11
}

/// The value of a hexadecimal digit; more than 15 for any other byte.
pub(crate) fn hexadecimal(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' | b'A'..=b'F' => (digit | b' ') - b'a' + 10,
        _ => u8::MAX,
    }
}
