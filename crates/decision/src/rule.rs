//! The rule of few values: each is compared.

use crate::value::Value;

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

    /// As for clients, of whom there is one.
    #[inline]
    #[must_use]
    pub fn find<const S: usize>(
        &self,
        value: &Value<WORDS>,
        _scratch: &mut [u32; S],
    ) -> Option<usize> {
        self.accepts(value).then_some(0)
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
    use std::vec::Vec;

    const RULE: Rule<2, 3> = Rule::new(&[b"a", b"eleven byte", b"twelve bytes"]);

    #[test]
    fn a_rule_of_several_values_accepts_each_and_nothing_in_between() {
        for value in ["a", "eleven byte", "twelve bytes"] {
            assert!(RULE.accepts(&Value::of(value.as_bytes())), "{value}");
        }
        for value in ["", "b", "aa", "eleven byt", "eleven bytes", "twelve byte", "twelve bytes!"] {
            assert!(!RULE.accepts(&Value::of(value.as_bytes())), "{value}");
        }
        let sizes: Vec<_> = (0..20).filter(|&size| RULE.accepts_size(size)).collect();
        assert_eq!(sizes, [1, 11, 12]);
    }

    #[test]
    #[should_panic(expected = "assertion failed")]
    fn a_rule_never_accepts_an_empty_value() {
        let _ = Rule::<1, 1>::new(&[b""]);
    }
}
