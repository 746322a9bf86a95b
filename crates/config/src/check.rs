//! What a text of a configuration may contain. `crates/policy` says the same in more words; a test compares the two.

use crate::keys;
use crate::limits;
use crate::reason::Reason;
use crate::store::{PREFIX, Store};
use crate::text::Text;

/// A set of ASCII characters, a bit for each.
pub(crate) type Set = [u64; 2];

const fn set(bytes: &[u8]) -> Set {
    let (mut set, mut at) = ([0; 2], 0);
    while at < bytes.len() {
        set[bytes[at] as usize / 64] |= 1 << (bytes[at] % 64);
        at += 1;
    }
    set
}

/// A field name and a method are tokens: RFC 9110, sections 5.1, 5.6.2 and 9.1.
pub(crate) static TOKEN: Set =
    set(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&'*+-.^_`|~");
/// A field value has no control bytes: RFC 9110, section 5.5.
pub(crate) static VALUE: Set = [u64::MAX << 32 | 1 << b'\t', u64::MAX >> 1];
/// Details are visible ASCII.
pub(crate) static VISIBLE: Set = [u64::MAX << 33, u64::MAX >> 1];
/// A path: unreserved characters (RFC 3986, section 2.3).
pub(crate) static PATH: Set =
    set(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/-._~");

impl Store {
    /// The place of a text of the configuration in a list, in any case if `folded`.
    #[inline(never)]
    pub(crate) fn place(&self, list: &str, text: Text, folded: bool) -> u8 {
        keys::place(list, text.size(), |at| {
            let byte = self.byte(text.at() + at);
            if folded { byte.to_ascii_lowercase() } else { byte }
        })
    }

    pub(crate) fn named(&self, text: Text) -> impl Fn(&str) -> bool {
        move |list| self.place(list, text, true) != keys::NONE
    }

    /// Fails unless all bytes are in a set, or of a value beyond ASCII, and the size is between two.
    #[inline(never)]
    pub(crate) fn check(&mut self, text: Text, set: &'static Set, least: u32, most: u32) {
        let (mut at, mut holds) = (text.at(), true);
        while at < text.end() {
            let byte = self.byte(at);
            let is_in = set[usize::from(byte) / 64 % 2] >> (byte % 64) & 1 != 0;
            holds &= if byte < 128 { is_in } else { core::ptr::eq(set, &raw const VALUE) };
            at += 1;
        }
        self.fail_unless(holds, Reason::Character);
        self.fail_unless(text.size() >= least, Reason::Empty);
        self.fail_unless(text.size() <= most, Reason::Long);
    }

    /// Fails unless it is a field value: hosts strip whitespace around it.
    #[inline(never)]
    pub(crate) fn check_value(&mut self, text: Text, least: u32, most: u32) {
        self.check(text, &VALUE, least, most);
        let is_blank = |byte| byte == b' ' || byte == b'\t';
        let (start, end) = (self.byte(text.at()), self.byte(text.end().wrapping_sub(1)));
        let is_stripped = text.size() > 0 && (is_blank(start) || is_blank(end));
        self.fail_unless(!is_stripped, Reason::Blank);
    }

    /// Fails if the last entry of a list is there twice. Of `every` entries, the first is compared; `folded`, in any case.
    #[inline(never)]
    pub(crate) fn check_entry(&mut self, list: Text, entry: u32, every: u32, folded: bool) {
        let (mut number, mut start, mut at, mut same) = (0, entry, list.at(), true);
        while at < entry {
            let (mut byte, mut own) = (self.byte(at), self.byte(start));
            let is_end = byte <= PREFIX;
            if folded {
                (byte, own) = (byte.to_ascii_lowercase(), own.to_ascii_lowercase());
            }
            same &= byte == own;
            (start, at) = (start + 1, at + 1);
            if is_end {
                let is_twice = same && number % every == 0;
                self.fail_unless(!is_twice, Reason::Duplicate);
                (number, start, same) = (number + 1, entry, true);
            }
        }
    }

    /// Fails unless a plain path can match: segments of unreserved characters, none empty but the last, and none that
    /// begins with two dots or is one. A prefix comes without its `*`, and is not all paths.
    pub(crate) fn check_path(&mut self, path: Text, ending: u8) {
        self.check(path, &PATH, 1 + u32::from(ending), limits::PATHS as u32);
        let mut holds = self.byte(path.at()) == b'/';
        // What stands before a byte in its segment.
        let (mut at, mut is_first, mut is_dot) = (path.at() + 1, true, false);
        while at < path.end() {
            let byte = self.byte(at);
            holds &= if byte == b'/' { !is_first && !is_dot } else { !(is_dot && byte == b'.') };
            is_dot = is_first && byte == b'.';
            is_first = byte == b'/';
            at += 1;
        }
        self.fail_unless(holds && !is_dot, Reason::Path);
    }

    /// Whether two texts of the configuration are the same: from the end, where names differ.
    #[inline(never)]
    pub(crate) fn is_same(&self, a: Text, b: Text) -> bool {
        let mut left = a.size();
        if left != b.size() {
            return false;
        }
        while left > 0 {
            left -= 1;
            if self.byte(a.at() + left) != self.byte(b.at() + left) {
                return false;
            }
        }
        true
    }
}
