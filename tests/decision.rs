//! The rule of the committed policy.

use header_gate::RULE;
use header_gate::decision::Value;
use header_gate::policy::{LONGEST, VALUES};

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
