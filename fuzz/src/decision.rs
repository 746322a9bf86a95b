//! The decision core against the rule in one line: a value passes if it is one of the accepted ones.

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use header_gate::decision::{Rule, Value};
use header_gate::{RULE, policy};
use header_gate_policy::Policy;

/// More and longer values than the core compares without a loop.
static SEVERAL: LazyLock<Policy> =
    LazyLock::new(|| Policy::read(&crate::root().join("fuzz/several.toml")).expect("valid"));

/// What a header carries: any bytes, or a changed accepted value.
#[derive(Arbitrary, Clone, Debug)]
pub enum Bytes {
    /// The n-th accepted value, with bytes appended.
    Accepted(u8, Vec<u8>),
    /// The n-th accepted value, with bits of the byte at a position flipped.
    Flipped(u8, u8, u8),
    /// The first bytes of the n-th accepted value.
    Cut(u8, u8),
    /// The n-th accepted value, repeated.
    Repeated(u8, u16),
    /// Any bytes.
    Raw(Vec<u8>),
}

impl Bytes {
    /// The bytes, for a gate that accepts `accepted`.
    pub fn resolve<T: AsRef<[u8]>>(&self, accepted: &[T]) -> Vec<u8> {
        let value = |n: u8| accepted[usize::from(n) % accepted.len()].as_ref();
        match self {
            Self::Accepted(n, tail) => [value(*n), tail].concat(),
            Self::Flipped(n, at, bits) => {
                let mut bytes = value(*n).to_vec();
                let at = usize::from(*at) % bytes.len();
                bytes[at] ^= bits;
                bytes
            }
            Self::Cut(n, size) => value(*n)[..usize::from(*size) % value(*n).len()].to_vec(),
            Self::Repeated(n, times) => value(*n).repeat(usize::from(*times)),
            Self::Raw(bytes) => bytes.clone(),
        }
    }
}

/// Checks the rules of the committed policy and of `several.toml` with a value, and a size that a host
/// may allocate.
pub fn fuzz(input: &[u8]) {
    let Some((bytes, size)) = crate::parse(input) else { return };
    check(&RULE, &policy::VALUES, &bytes, size);
    let values: Vec<_> = SEVERAL.values.iter().map(String::as_bytes).collect();
    let values: &[_; 13] = values.as_slice().try_into().expect("the number of values");
    check(&Rule::<14, 13>::new(values), values, &bytes, size);
}

fn check<const WORDS: usize, const N: usize>(
    rule: &Rule<WORDS, N>,
    accepted: &[&[u8]; N],
    bytes: &Bytes,
    size: usize,
) {
    let value = bytes.resolve(accepted);
    assert_eq!(rule.accepts(&Value::of(&value)), accepted.contains(&&value[..]), "{value:?}");
    for size in [size, value.len()] {
        let some = accepted.iter().any(|value| value.len() == size);
        assert_eq!(rule.accepts_size(size), some, "{size}");
    }
}
