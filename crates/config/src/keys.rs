//! The keys of a policy, by the table that they are in: each list is one text, and a key is known by its place in it.

/// The policy itself.
pub const POLICY: &str =
    "header values client client_header secret remove count enforce except deny";
/// A client.
pub const CLIENT: &str = "id value sha256 size";
/// What passes without the header.
pub const EXCEPT: &str = "preflight methods paths";
/// The answer to every other request.
pub const DENY: &str = "status headers body details missing_details grpc_status";

/// What is not in a list.
pub(crate) const NONE: u8 = u8::MAX;

/// The place of `key` in a list, or [`NONE`]. With `folded`, the key is in any case and the list in lower case.
#[inline(never)]
pub(crate) fn place(list: &str, key: &[u8], folded: bool) -> u8 {
    let (list, mut place, mut start) = (list.as_bytes(), 0, 0);
    while start < list.len() {
        let mut size = 0;
        let mut same = true;
        while let Some(&byte) = list.get(start + size).filter(|byte| **byte != b' ') {
            let own = key.get(size).copied().unwrap_or_default();
            same &= byte == if folded { own.to_ascii_lowercase() } else { own };
            size += 1;
        }
        if same && size == key.len() {
            return place;
        }
        (place, start) = (place + 1, start + size + 1);
    }
    NONE
}

/// The item at a place in a list.
pub(crate) fn name(list: &'static str, place: u8, separator: u8) -> &'static str {
    let (mut left, mut start, mut at) = (place, 0, 0);
    while at < list.len() {
        if list.as_bytes().get(at) == Some(&separator) {
            if left == 0 {
                break;
            }
            left -= 1;
            start = at + 1;
        }
        at += 1;
    }
    list.get(start..at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_place_and_a_place_has_a_key() {
        for list in [POLICY, CLIENT, EXCEPT, DENY] {
            for (number, key) in (0..).zip(list.split(' ')) {
                assert_eq!(place(list, key.as_bytes(), false), number);
                assert_eq!(name(list, number, b' '), key);
            }
            for key in ["", " ", "head", "headers_", "values client", "heade\0", "deny "] {
                assert_eq!(place(list, key.as_bytes(), false), NONE, "{key}");
            }
        }
        assert_eq!(place("a bc", b"BC", true), 1);
        assert_eq!([place("a bc", b"BC", false), place("a bc", b"B", true)], [NONE; 2]);
    }
}
