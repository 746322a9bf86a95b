//! The decision core against its rule in one line: a value passes if it is among the accepted ones.

use arbitrary::Arbitrary;
use header_gate::{decision, policy};

use crate::several;

/// What a header may carry: any bytes, or an accepted value that something was done to.
#[derive(Arbitrary, Clone, Debug)]
pub enum Bytes {
    /// The accepted value of this number, with that appended.
    Accepted(u8, Vec<u8>),
    /// One whose byte of that number has these bits the other way.
    Flipped(u8, u8, u8),
    /// Its first bytes.
    Cut(u8, u8),
    /// It, so many times over.
    Repeated(u8, u16),
    /// Any.
    Raw(Vec<u8>),
}

impl Bytes {
    /// The bytes, of a gate that accepts `accepted`.
    pub fn of<T: AsRef<[u8]>>(&self, accepted: &[T]) -> Vec<u8> {
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

/// What the target takes: a value, and a size that a host may ask room for.
#[derive(Arbitrary, Debug)]
pub struct Input {
    bytes: Bytes,
    size: usize,
}

/// Checks the core with the committed policy, and with many long values.
///
/// # Panics
/// The core does not decide as the rule says.
pub fn fuzz(input: &[u8]) {
    let Some(Input { bytes, size }) = crate::parse(input) else { return };
    let value = bytes.of(&policy::VALUES);
    let accepted = decision::Value::of(&value).is_accepted();
    assert_eq!(accepted, policy::VALUES.contains(&&value[..]), "{value:?}");
    let value = bytes.of(&several::policy::VALUES);
    let accepted = several::decision::Value::of(&value).is_accepted();
    assert_eq!(accepted, several::policy::VALUES.contains(&&value[..]), "{value:?}");

    for size in [size, value.len()] {
        let some = policy::VALUES.iter().any(|value| value.len() == size);
        assert_eq!(decision::is_accepted_size(size), some, "{size}");
        let some = several::policy::VALUES.iter().any(|value| value.len() == size);
        assert_eq!(several::decision::is_accepted_size(size), some, "{size}");
    }
}
