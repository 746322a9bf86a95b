//! Why a configuration is refused: a key, a reason and a place, and nothing of what it says.

use crate::json::Reader;
use crate::keys;
use crate::read::{CLIENT, DENY, EXCEPT};
use crate::store::Store;

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
    /// There is no room for it.
    Memory,
    /// The host did not hand it over.
    Delivery,
}

/// The words for each, in their order.
const REASONS: &str = "|is not followed by valid JSON|has the wrong type|has an unknown key|has a key twice\
    |has a duplicate|is missing|is empty|is too long|has too many items|contains what is not allowed there\
    |begins or ends with whitespace|is a field that gateways write|is out of range\
    |does not go with another key|is not a plain path|does not fit into memory|was not delivered";

/// What stands before a key of each table.
const TABLES: &str = "|client.|except.|deny.";

impl Store {
    /// Keeps the reason why a configuration is not read at all.
    pub fn refuse(&mut self, reason: Reason) {
        self.begin(0);
        self.fail(reason);
    }

    /// Writes the line for the log to `text`; returns its size.
    pub fn write_refusal(&mut self) -> u32 {
        let Reader { failed_table: table, failed_key: key, reason, failed_at, .. } = self.reader;
        let mut at = self.put_item(0, "header-gate: configuration refused at byte ", 0);
        let (mut power, mut number) = (100_000, failed_at);
        while power > 0 {
            if number >= power || power == 1 || failed_at > number {
                self.set_byte(at, b'0' + (number / power % 10) as u8);
                at += 1;
            }
            (number, power) = (number % power, power / 10);
        }
        at = self.put_item(at, ": ", 0);
        if key == keys::NONE {
            at = self.put_item(at, "the configuration", 0);
        } else {
            let list = match table {
                CLIENT => keys::CLIENT,
                EXCEPT => keys::EXCEPT,
                DENY => keys::DENY,
                _ => keys::POLICY,
            };
            at = self.put_item(at, TABLES, table);
            // Blanks separate keys, and are part of everything else.
            at = self.put_separated(at, list, key, b' ');
        }
        at = self.put_item(at, " ", 0);
        self.put_item(at, REASONS, reason)
    }

    fn put_item(&mut self, at: u32, list: &str, number: u8) -> u32 {
        self.put_separated(at, list, number, b'|')
    }

    /// Writes an item of a list to `text`; returns where it ends.
    #[inline(never)]
    fn put_separated(&mut self, mut at: u32, list: &str, mut number: u8, separator: u8) -> u32 {
        for &byte in list.as_bytes() {
            if byte == separator {
                number = number.wrapping_sub(1);
            } else if number == 0 {
                self.set_byte(at, byte);
                at += 1;
            }
        }
        at
    }
}
