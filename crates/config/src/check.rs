//! What a text of a policy may contain. `crates/policy` says the same in more words; a test compares the two.

use crate::json::Step;
use crate::limits;
use crate::reason::Reason;

/// Ends an entry of a list: all of it has to match, or the beginning.
pub(crate) const WHOLE: u8 = 0;
pub(crate) const PREFIX: u8 = 1;

/// A field name and a method are tokens: RFC 9110, sections 5.1, 5.6.2 and 9.1.
#[inline(never)]
pub(crate) fn token(text: &[u8]) -> Step {
    if text.is_empty() {
        return Err(Reason::Empty);
    }
    if text.len() > limits::NAME {
        return Err(Reason::Long);
    }
    for byte in text {
        let is_mark = b"!#$%&'*+-.^_`|~".contains(byte);
        if !byte.is_ascii_alphanumeric() && !is_mark {
            return Err(Reason::Character);
        }
    }
    Ok(())
}

/// A field value has no control bytes, and hosts strip whitespace around it: RFC 9110, section 5.5.
#[inline(never)]
pub(crate) fn field_value(text: &[u8]) -> Step {
    for byte in text {
        if *byte != b'\t' && byte.is_ascii_control() {
            return Err(Reason::Character);
        }
    }
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_blank(text.first()) || is_blank(text.last()) { Err(Reason::Blank) } else { Ok(()) }
}

/// A value that a request may bring.
#[inline(never)]
pub(crate) fn value(text: &[u8], longest: usize) -> Step {
    if text.is_empty() {
        return Err(Reason::Empty);
    }
    if text.len() > longest {
        return Err(Reason::Long);
    }
    field_value(text)
}

/// Details are visible ASCII.
pub(crate) fn details(text: &[u8]) -> Step {
    if text.len() > limits::NAME {
        return Err(Reason::Long);
    }
    if text.iter().all(u8::is_ascii_graphic) { Ok(()) } else { Err(Reason::Character) }
}

/// A path that a plain one can match: segments of unreserved characters, none empty but the last, and none that
/// begins with two dots or is one. A prefix comes without its `*`.
pub(crate) fn path(path: &[u8], is_prefix: bool) -> Step {
    let is_everything = is_prefix && path.len() < 2;
    if path.first() != Some(&b'/') || is_everything {
        return Err(Reason::Path);
    }
    let (mut size, mut is_dot) = (0, false);
    for byte in path.get(1..).unwrap_or_default() {
        let is_bad = match byte {
            b'/' => size == 0 || is_dot,
            b'.' => is_dot,
            b'-' | b'_' | b'~' => false,
            byte => !byte.is_ascii_alphanumeric(),
        };
        if is_bad {
            return Err(Reason::Path);
        }
        is_dot = *byte == b'.' && size == 0;
        size = if *byte == b'/' { 0 } else { size + 1 };
    }
    if is_dot { Err(Reason::Path) } else { Ok(()) }
}

/// A `grpc-status` of the denial: 1 to 16.
pub(crate) fn is_grpc_error(text: &[u8]) -> bool {
    matches!(text, [b'1'..=b'9'] | [b'1', b'0'..=b'6'])
}

/// Whether an entry, with the byte that ends it, is in a list. Of `every` entries, the first is compared; `folded`, in
/// any case.
#[inline(never)]
pub(crate) fn has_entry(list: &[u8], entry: &[u8], every: u32, folded: bool) -> bool {
    let fold = |byte: u8| if folded { byte.to_ascii_lowercase() } else { byte };
    let (mut number, mut at, mut same) = (0, 0, true);
    for &byte in list {
        let own = entry.get(at).copied().unwrap_or(u8::MAX);
        same &= fold(byte) == fold(own);
        at += 1;
        if byte <= PREFIX {
            if same && number % every == 0 {
                return true;
            }
            (number, at, same) = (number + 1, 0, true);
        }
    }
    false
}

/// Whether a text is one of a list, or begins as one that is a prefix.
#[inline(never)]
#[must_use]
pub fn is_listed(list: &[u8], text: &[u8]) -> bool {
    let (mut found, mut at, mut same) = (false, 0, true);
    for &byte in list {
        if byte <= PREFIX {
            found |= same && (byte == PREFIX || at == text.len());
            (at, same) = (0, true);
        } else {
            same &= text.get(at) == Some(&byte);
            at += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_compared_whole_and_paths_by_their_beginning() {
        let list = b"/a\0/b/\x01";
        for text in ["/a", "/b/", "/b/c"] {
            assert!(is_listed(list, text.as_bytes()), "{text}");
        }
        for text in ["", "/", "/a/", "/aa", "/b", "/c", "a", "/a\0"] {
            assert!(!is_listed(list, text.as_bytes()), "{text}");
        }
        assert!(has_entry(list, b"/a\0", 1, false) && has_entry(list, b"/b/\x01", 1, false));
        for entry in [&b"/b/\0"[..], b"/a\x01", b"/A\0", b"/\0"] {
            assert!(!has_entry(list, entry, 1, false));
        }
        assert!(has_entry(list, b"/A\0", 2, true) && !has_entry(list, b"/b/\x01", 2, true));
    }
}
