//! The image of a header's value.

/// The image of a header's value, in `WORDS` words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Value<const WORDS: usize> {
    // INVARIANT: what `write_image` writes, or what a host wrote.
    pub(crate) words: [u64; WORDS],
}

impl<const WORDS: usize> Value<WORDS> {
    /// No value: a header that is missing or empty.
    pub const NONE: Self = Self { words: [0; WORDS] };

    /// Size of the longest value that an image holds.
    pub const CAPACITY: usize = capacity(WORDS);

    /// The image of `bytes`.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> Self {
        let mut words = [0; WORDS];
        write_image(&mut words, bytes);
        Self { words }
    }

    /// Makes no value the image of `bytes`.
    #[inline]
    pub fn fill(&mut self, bytes: &[u8]) {
        write_image(&mut self.words, bytes);
    }

    /// The size of the value.
    #[inline]
    #[must_use]
    pub fn size(&self) -> u32 {
        (self.words[WORDS - 1] >> 32) as u32
    }

    #[inline]
    pub(crate) fn equals(&self, other: &Self) -> bool {
        let mut difference = 0;
        for_each!(i < WORDS, difference |= self.words[i] ^ other.words[i]);
        difference == 0
    }
}

const fn capacity(words: usize) -> usize {
    size_of::<u64>() * words - size_of::<u32>()
}

/// Writes the image of `bytes` to `words`, which are zero: in little-endian order, the bytes, then zeros, then the size
/// as a u32. A value that does not fit has a size that no accepted value has, and no bytes.
pub const fn write_image(words: &mut [u64], bytes: &[u8]) {
    let fits = bytes.len() <= capacity(words.len());
    if fits {
        let (whole, rest) = bytes.as_chunks();
        let mut i = 0;
        while i < whole.len() {
            words[i] = u64::from_le_bytes(whole[i]);
            i += 1;
        }
        if !rest.is_empty() {
            words[i] = partial(rest);
        }
    }
    let size = if fits { bytes.len() as u32 } else { u32::MAX };
    let last = words.len() - 1;
    words[last] |= (size as u64) << 32;
}

/// Fewer than eight bytes as a word, in little-endian order. Loads overlap where they have to, instead of a loop.
#[inline]
#[must_use]
pub const fn partial(bytes: &[u8]) -> u64 {
    let n = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return first as u64 | (last as u64) << (8 * (n - size_of::<u32>()));
    }
    if n == 0 {
        return 0;
    }
    let middle = n / 2;
    bytes[0] as u64
        | (bytes[middle] as u64) << (8 * middle)
        | (bytes[n - 1] as u64) << (8 * (n - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_than_eight_bytes_are_a_word() {
        for n in 0..8 {
            let bytes = &[0x81, 2, 0xc3, 4, 5, 0xf6, 7][..n];
            let mut word = [0; 8];
            word[..n].copy_from_slice(bytes);
            assert_eq!(partial(bytes), u64::from_le_bytes(word), "{bytes:?}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_has_no_image() {
        assert_eq!((Value::<1>::CAPACITY, Value::<2>::CAPACITY), (4, 12));
        let too_long = Value::<1> { words: [u64::from(u32::MAX) << 32] };
        assert_eq!(Value::of(b"12345"), too_long);
        assert_eq!(Value::of(&[b'1'; 100]), too_long);
    }

    #[test]
    fn an_image_is_the_bytes_and_the_size() {
        let image = Value::<2>::of(b"nine byte");
        assert_eq!(image.words, [u64::from_le_bytes(*b"nine byt"), u64::from(b'e') | 9 << 32]);
        assert_eq!((image.size(), Value::<2>::NONE.size()), (9, 0));
    }
}
