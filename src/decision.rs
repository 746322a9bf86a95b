//! The rule: from what the host said of the header to pass or deny.
//!
//! A value travels as a [`Value`], a zero-padded image of its bytes with its size behind them. A
//! whole image is compared with the image of each accepted value, word by word and without a
//! branch, so time depends on the policy alone: not on where a value differs, nor on which matches.

use super::policy::VALUES;

/// Bytes of the longest accepted value: all that is ever read of a header.
pub const LONGEST: usize = {
    let (mut longest, mut i) = (0, 0);
    while i < VALUES.len() {
        if VALUES[i].len() > longest {
            longest = VALUES[i].len();
        }
        i += 1;
    }
    longest
};

/// Words of an image: the longest value, padding, and four bytes of size at the very end.
pub(crate) const WORDS: usize = (LONGEST + size_of::<u32>()).div_ceil(size_of::<u64>());

/// The accepted values, as images.
static ACCEPTED: [Value; VALUES.len()] = {
    let (mut accepted, mut i) = ([Value::NONE; VALUES.len()], 0);
    while i < VALUES.len() {
        accepted[i] = Value::of(VALUES[i]);
        i += 1;
    }
    accepted
};

/// A header's value as a host delivered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Value {
    // INVARIANT: in little-endian order, the value's bytes, then zeros, then its size as a u32. A
    // value longer than LONGEST has its true size and no bytes.
    words: [u64; WORDS],
}

impl Value {
    /// No value: a header that is missing or empty.
    pub const NONE: Self = Self { words: [0; WORDS] };

    /// The image of `bytes`.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> Self {
        let mut words = [0; WORDS];
        // A size past u32::MAX need only stay unequal to an accepted one.
        let size = if bytes.len() > LONGEST { u32::MAX } else { bytes.len() as u32 };
        if bytes.len() <= LONGEST {
            let (whole, mut rest) = bytes.as_chunks();
            let mut i = 0;
            while i < whole.len() {
                words[i] = u64::from_le_bytes(whole[i]);
                i += 1;
            }
            while let [start @ .., last] = rest {
                words[i] = words[i] << 8 | *last as u64;
                rest = start;
            }
        }
        words[WORDS - 1] |= (size as u64) << 32;
        Self { words }
    }

    /// The rule: whether this is exactly an accepted value.
    #[inline]
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.is_one_of(&ACCEPTED)
    }

    #[inline]
    fn is_one_of<const N: usize>(&self, accepted: &[Self; N]) -> bool {
        let mut found = false;
        for_each!(i < N, found |= equal(&self.words, &accepted[i].words));
        found
    }
}

#[inline]
fn equal<const N: usize>(a: &[u64; N], b: &[u64; N]) -> bool {
    let mut difference = 0;
    for_each!(i < N, difference |= a[i] ^ b[i]);
    difference == 0
}

/// Whether some accepted value has this many bytes.
#[inline]
#[must_use]
pub fn is_accepted_size(size: usize) -> bool {
    has_size(&VALUES, size)
}

#[inline]
fn has_size<const N: usize>(values: &[&[u8]; N], size: usize) -> bool {
    let mut found = false;
    for_each!(i < N, found |= values[i].len() == size);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn each_accepted_value_passes() {
        assert!(VALUES.iter().all(|value| Value::of(value).is_accepted()));
    }

    #[test]
    fn a_value_that_differs_in_one_byte_is_denied() {
        for value in VALUES {
            for at in 0..value.len() {
                for byte in 0..=u8::MAX {
                    let mut other = value.to_vec();
                    other[at] = byte;
                    let accepted = VALUES.contains(&&other[..]);
                    assert_eq!(Value::of(&other).is_accepted(), accepted, "{other:?}");
                }
            }
        }
    }

    #[test]
    fn two_differences_that_are_alike_do_not_make_up_for_each_other() {
        for value in VALUES {
            for (one, two) in (0..value.len()).flat_map(|two| (0..two).map(move |one| (one, two))) {
                let mut other = value.to_vec();
                other[one] ^= 1;
                other[two] ^= 1;
                let accepted = VALUES.contains(&&other[..]);
                assert_eq!(Value::of(&other).is_accepted(), accepted, "{other:?}");
            }
        }
    }

    #[test]
    fn a_shorter_or_longer_value_is_denied() {
        for value in VALUES {
            for len in (0..value.len()).filter(|&n| !VALUES.contains(&&value[..n])) {
                assert!(!Value::of(&value[..len]).is_accepted(), "{len} bytes");
            }
            for tail in [0, b' ', b'e', 0xff] {
                let longer: Vec<u8> = value.iter().copied().chain([tail]).collect();
                assert!(!Value::of(&longer).is_accepted(), "{longer:?}");
            }
            assert!(!Value::of(&value.repeat(10_000)).is_accepted());
        }
        assert!(!Value::NONE.is_accepted());
    }

    #[test]
    fn only_the_sizes_of_accepted_values_are_lent() {
        for size in 0..LONGEST + 100 {
            let some = VALUES.iter().any(|value| value.len() == size);
            assert_eq!(is_accepted_size(size), some, "{size}");
        }
        assert!(!is_accepted_size(usize::MAX));
    }
}
