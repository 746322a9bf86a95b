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

/// The place in a list of a key that has `size` bytes, or [`NONE`]. An item that ends in `*` stands for all that begin so.
pub(crate) fn place(list: &str, size: u32, key: impl Fn(u32) -> u8) -> u8 {
    let (mut place, mut at, mut same) = (0, 0, true);
    for &byte in list.as_bytes() {
        if byte == b'*' && same {
            return place;
        }
        if byte == b' ' {
            if same && at == size {
                return place;
            }
            (place, at, same) = (place + 1, 0, true);
        } else {
            same &= key(at) == byte;
            at += 1;
        }
    }
    if same && at == size { place } else { NONE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_place() {
        let place = |list, key: &str| {
            let byte = |at: u32| key.as_bytes().get(at as usize).copied().unwrap_or_default();
            super::place(list, key.len() as u32, byte)
        };
        for list in [POLICY, CLIENT, EXCEPT, DENY] {
            for (number, key) in (0..).zip(list.split(' ')) {
                assert_eq!(place(list, key), number);
            }
            for key in ["", " ", "head", "headers_", "values client", "heade\0", "deny ", "Deny"] {
                assert_eq!(place(list, key), NONE, "{key}");
            }
        }
    }
}
