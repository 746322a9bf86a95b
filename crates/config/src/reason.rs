//! Why a configuration is refused: a key, a reason and a place, and nothing of what it says.

use crate::keys::{ELEMENTS, LINE, REASONS, ROOT, SEPARATOR, WORDS};
use crate::store::{BLOCK, ROOM, Store};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// What follows is no JSON.
    Syntax = 1,
    /// It is no string, number, ...
    Type,
    /// There is no such key.
    Unknown,
    /// It is there twice.
    Duplicate,
    /// It is missing.
    Missing,
    /// It is empty.
    Empty,
    /// It has too many bytes.
    Long,
    /// It has too many items.
    Many,
    /// It contains what its kind must not.
    Character,
    /// Gateways write, merge or remove it.
    Owned,
    /// It is none of the numbers or digits that are possible.
    Range,
    /// Another key excludes it.
    Conflict,
    /// There is no room for it.
    Memory,
    /// The host did not hand it over.
    Delivery,
}

impl Store {
    /// Keeps the first error: nothing is read any more.
    #[inline(never)]
    pub fn fail(&mut self, reason: Reason) {
        let reader = &mut self.reader;
        if reader.reason == 0 {
            (reader.reason, reader.failed_at) = (reason as u32, reader.at);
            reader.failed_key = reader.key;
        }
        reader.at = reader.end;
    }

    /// Keeps an error unless this holds.
    #[inline(never)]
    pub fn fail_unless(&mut self, holds: bool, reason: Reason) {
        if !holds {
            self.fail(reason);
        }
    }

    /// Writes the line for the log to `text`; returns its size.
    pub fn write_refusal(&mut self) -> u32 {
        self.reader.at = 0;
        self.put_word(LINE);
        let (place, mut power) = (self.reader.failed_at - BLOCK as u32, 100_000);
        while power > 0 {
            let digit = place / power;
            if digit > 0 || power == 1 {
                self.put(b'0' + (digit % 10) as u8);
            }
            power /= 10;
        }
        self.put_word(SEPARATOR);
        let key = keyed(self.reader.failed_key);
        let owner = keyed(owner(key));
        if owner < ROOT {
            self.put_word(owner);
            self.put(b'.');
        }
        self.put_word(key);
        self.put_word(SEPARATOR);
        self.put_word(REASONS + self.reader.reason);
        self.reader.at
    }

    #[inline(never)]
    fn put(&mut self, byte: u8) {
        let at = self.reader.at;
        self.text[at as usize % ROOM] = byte;
        self.reader.at = at + 1;
    }

    /// Writes one of the words.
    #[inline(never)]
    fn put_word(&mut self, mut number: u32) {
        for &byte in WORDS.as_bytes() {
            if byte == b'|' {
                number = number.wrapping_sub(1);
            } else if number == 0 {
                self.put(byte);
            }
        }
    }
}

/// The element itself if it has a key, or the one that it is an item of.
#[inline(never)]
fn keyed(mut element: u32) -> u32 {
    while element > ROOT {
        element = owner(element);
    }
    element
}

/// The object or list that an element is in.
pub(crate) fn owner(element: u32) -> u32 {
    ELEMENTS[element as usize % ELEMENTS.len()].owner()
}
