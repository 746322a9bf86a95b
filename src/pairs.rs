//! Header pairs in the ABI's serialized form, made at compile time.
//!
//! The form is that of the Proxy-Wasm specification ("Serialization", maps): the number of pairs,
//! then the sizes of each name and value, all u32 in little-endian order; then each name and each
//! value, every one followed by a zero byte.

/// Names and values in order.
pub type Pairs<'a> = [(&'a str, &'a str)];

/// Bytes of the serialized form of `pairs`.
#[must_use]
pub const fn serialized_size(pairs: &Pairs<'_>) -> usize {
    let (mut size, mut i) = (4, 0);
    while i < pairs.len() {
        size += 8 + pairs[i].0.len() + 1 + pairs[i].1.len() + 1;
        i += 1;
    }
    size
}

/// The serialized form of `pairs`; `N` is its [`serialized_size`].
///
/// # Panics
/// At compile time, if `N` is too small.
#[must_use]
pub const fn serialize<const N: usize>(pairs: &Pairs<'_>) -> [u8; N] {
    let (form, mut at) = put([0; N], 0, &(pairs.len() as u32).to_le_bytes());
    let (mut form, mut i) = (form, 0);
    while i < pairs.len() {
        (form, at) = put(form, at, &(pairs[i].0.len() as u32).to_le_bytes());
        (form, at) = put(form, at, &(pairs[i].1.len() as u32).to_le_bytes());
        i += 1;
    }
    i = 0;
    while i < pairs.len() {
        (form, at) = put(form, at, pairs[i].0.as_bytes());
        (form, at) = put(form, at + 1, pairs[i].1.as_bytes());
        at += 1;
        i += 1;
    }
    form
}

/// `form` with `bytes` at `at`, and where they end.
const fn put<const N: usize>(mut form: [u8; N], at: usize, bytes: &[u8]) -> ([u8; N], usize) {
    let mut i = 0;
    while i < bytes.len() {
        form[at + i] = bytes[i];
        i += 1;
    }
    (form, at + i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_laid_out_as_the_specification_says() {
        const PAIRS: &Pairs<'_> = &[("a", "bc"), ("def", "")];
        assert_eq!(serialized_size(&[]), 4);
        assert_eq!(serialize(&[]), [0; 4]);
        assert_eq!(
            serialize::<{ serialized_size(PAIRS) }>(PAIRS),
            *b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0a\0bc\0def\0\0"
        );
    }
}
