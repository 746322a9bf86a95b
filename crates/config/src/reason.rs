//! Why a configuration is refused: a key, a reason and a place, and nothing of what it says.

use crate::keys::{self, name};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// What follows is no JSON.
    Syntax,
    /// It is no string, number, ...
    Type,
    /// There is no such key.
    Unknown,
    /// It is there twice.
    Twice,
    /// An item is there twice.
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
    /// It begins or ends with whitespace.
    Blank,
    /// Gateways write, merge or remove it.
    Owned,
    /// It is none of the numbers or digits that are possible.
    Range,
    /// Another key excludes it.
    Conflict,
    /// No path can match.
    Path,
    /// No seed tells the keys apart.
    Apart,
    /// There is no room for it.
    Memory,
    /// The host did not hand it over.
    Delivery,
}

/// The words for each, in their order.
const REASONS: &str = "is not followed by valid JSON|has the wrong type|has an unknown key|has a key twice|has a duplicate|is missing\
    |is empty|is too long|has too many items|contains what is not allowed there|begins or ends with whitespace\
    |is a field that gateways write, merge or remove|is out of range|does not go with another key\
    |is not a plain path|has keys that nothing tells apart|does not fit into memory|was not delivered";

/// The tables of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Table {
    /// The policy itself.
    Policy,
    /// A client.
    Client,
    /// What passes without the header.
    Except,
    /// The answer to every other request.
    Deny,
}

/// A configuration that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The table of the key.
    pub table: Table,
    /// The place of the key in it.
    pub key: u8,
    /// What is wrong with it.
    pub reason: Reason,
    /// Where the reader was, in bytes.
    pub at: u32,
}

/// Digits of the largest number.
const DIGITS: usize = 10;

impl Refusal {
    /// Writes the line for the log; returns its size.
    pub fn write(&self, line: &mut [u8]) -> usize {
        let mut digits = [b'0'; DIGITS];
        let (mut left, mut first) = (self.at, DIGITS - 1);
        while left > 9 && first > 0 {
            if let Some(digit) = digits.get_mut(first) {
                *digit += (left % 10) as u8;
            }
            (left, first) = (left / 10, first - 1);
        }
        if let Some(digit) = digits.get_mut(first) {
            *digit += left as u8;
        }
        let (table, list) = match self.table {
            _ if self.key == keys::NONE => ("", "the configuration"),
            Table::Policy => ("", keys::POLICY),
            Table::Client => ("client.", keys::CLIENT),
            Table::Except => ("except.", keys::EXCEPT),
            Table::Deny => ("deny.", keys::DENY),
        };
        let separator = if self.key == keys::NONE { b'|' } else { b' ' };
        let key = name(list, self.key, separator);
        let digits = digits.get(first..).unwrap_or_default();
        let parts: [&[u8]; 7] = [
            b"header-gate: configuration refused at byte ",
            digits,
            b": ",
            table.as_bytes(),
            key.as_bytes(),
            b" ",
            name(REASONS, self.reason as u8, b'|').as_bytes(),
        ];
        let mut size = 0;
        for &byte in parts.iter().copied().flatten() {
            if let Some(place) = line.get_mut(size) {
                *place = byte;
                size += 1;
            }
        }
        size
    }
}
