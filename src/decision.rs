//! The rule: whether the value that a host delivered is an accepted one.
//!
//! A value is compared as an image ([`Value`]): its bytes, zero padding, its size. [`Rule`] compares a
//! whole image with the image of each accepted value, word by word and without a branch, so the time
//! depends on the policy alone: not on where a value differs, nor on which accepted value matches.
//!
//! Nothing here depends on the policy of this crate: [`crate::RULE`] is made of that.

/// The image of a header's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Value<const WORDS: usize> {
    // INVARIANT: in little-endian order, the value's bytes, then zeros, then its size as a u32. A value
    // longer than CAPACITY has a size that no accepted value has, and no bytes.
    words: [u64; WORDS],
}

impl<const WORDS: usize> Value<WORDS> {
    /// No value: a header that is missing or empty.
    pub const NONE: Self = Self { words: [0; WORDS] };

    /// Size of the longest value that an image holds.
    pub const CAPACITY: usize = size_of::<Self>() - size_of::<u32>();

    /// The image of `bytes`.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> Self {
        let mut words = [0; WORDS];
        let size = if bytes.len() > Self::CAPACITY { u32::MAX } else { bytes.len() as u32 };
        if bytes.len() <= Self::CAPACITY {
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

    /// The size of the value.
    #[inline]
    #[must_use]
    pub fn size(&self) -> u32 {
        (self.words[WORDS - 1] >> 32) as u32
    }

    #[inline]
    fn equals(&self, other: &Self) -> bool {
        let mut difference = 0;
        for_each!(i < WORDS, difference |= self.words[i] ^ other.words[i]);
        difference == 0
    }
}

/// The accepted values of a policy, `N` images of `WORDS` words each.
#[derive(Debug)]
pub struct Rule<const WORDS: usize, const N: usize> {
    // INVARIANT: images of values with 1 to CAPACITY bytes.
    accepted: [Value<WORDS>; N],
}

impl<const WORDS: usize, const N: usize> Rule<WORDS, N> {
    /// The rule that accepts `values`.
    ///
    /// # Panics
    /// A value is empty, or longer than an image of `WORDS` words holds.
    #[must_use]
    pub const fn new(values: &[&[u8]; N]) -> Self {
        let (mut accepted, mut i) = ([Value::NONE; N], 0);
        while i < N {
            assert!(!values[i].is_empty() && values[i].len() <= Value::<WORDS>::CAPACITY);
            accepted[i] = Value::of(values[i]);
            i += 1;
        }
        Self { accepted }
    }

    /// Whether `value` is exactly an accepted one.
    #[inline]
    #[must_use]
    pub fn accepts(&self, value: &Value<WORDS>) -> bool {
        let mut found = false;
        for_each!(i < N, found |= value.equals(&self.accepted[i]));
        found
    }

    /// Whether some accepted value has this many bytes.
    #[inline]
    #[must_use]
    pub fn accepts_size(&self, size: usize) -> bool {
        let mut found = false;
        for_each!(i < N, found |= self.accepted[i].size() as usize == size);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RULE;
    use crate::policy::{LONGEST, VALUES};
    use std::vec::Vec;

    fn accepts(value: &[u8]) -> bool {
        RULE.accepts(&Value::of(value))
    }

    #[test]
    fn each_accepted_value_passes() {
        assert!(VALUES.iter().all(|value| accepts(value)));
    }

    #[test]
    fn a_value_that_differs_in_one_byte_is_denied() {
        for value in VALUES {
            for at in 0..value.len() {
                for byte in 0..=u8::MAX {
                    let mut other = value.to_vec();
                    other[at] = byte;
                    assert_eq!(accepts(&other), VALUES.contains(&&other[..]), "{other:?}");
                }
            }
        }
    }

    #[test]
    fn two_equal_differences_do_not_cancel_out() {
        for value in VALUES {
            for (one, two) in (0..value.len()).flat_map(|two| (0..two).map(move |one| (one, two))) {
                let mut other = value.to_vec();
                other[one] ^= 1;
                other[two] ^= 1;
                assert_eq!(accepts(&other), VALUES.contains(&&other[..]), "{other:?}");
            }
        }
    }

    #[test]
    fn a_shorter_or_longer_value_is_denied() {
        for value in VALUES {
            for len in (0..value.len()).filter(|&n| !VALUES.contains(&&value[..n])) {
                assert!(!accepts(&value[..len]), "{len} bytes");
            }
            for tail in [0, b' ', b'e', 0xff] {
                let longer: Vec<u8> = value.iter().copied().chain([tail]).collect();
                assert!(!accepts(&longer), "{longer:?}");
            }
            assert!(!accepts(&value.repeat(10_000)));
        }
        assert!(!RULE.accepts(&Value::NONE));
    }

    #[test]
    fn only_the_sizes_of_accepted_values_are_accepted() {
        for size in 0..LONGEST + 100 {
            let some = VALUES.iter().any(|value| value.len() == size);
            assert_eq!(RULE.accepts_size(size), some, "{size}");
        }
        assert!(!RULE.accepts_size(usize::MAX));
    }

    #[test]
    fn a_rule_of_several_values_accepts_each_and_nothing_in_between() {
        const RULE: Rule<2, 3> = Rule::new(&[b"a", b"eleven byte", b"twelve bytes"]);
        for value in ["a", "eleven byte", "twelve bytes"] {
            assert!(RULE.accepts(&Value::of(value.as_bytes())), "{value}");
        }
        for value in ["", "b", "aa", "eleven byt", "eleven bytes", "twelve byte", "twelve bytes!"] {
            assert!(!RULE.accepts(&Value::of(value.as_bytes())), "{value}");
        }
        assert_eq!(
            (0..20).filter(|&size| RULE.accepts_size(size)).collect::<Vec<_>>(),
            [1, 11, 12]
        );
    }

    #[test]
    fn a_value_that_does_not_fit_has_no_image() {
        assert_eq!((Value::<1>::CAPACITY, Value::<2>::CAPACITY), (4, 12));
        let too_long = Value::<1> { words: [u64::from(u32::MAX) << 32] };
        assert_eq!(Value::of(b"12345"), too_long);
        assert_eq!(Value::of(&[b'1'; 100]), too_long);
    }

    #[test]
    #[should_panic(expected = "assertion failed")]
    fn a_rule_never_accepts_an_empty_value() {
        let _ = Rule::<1, 1>::new(&[b""]);
    }
}
