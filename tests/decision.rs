//! The rule of the committed policy.

use header_gate::RULE;
use header_gate::decision::Value;
use header_gate::policy::{LONGEST, VALUES};

fn accepts(value: &[u8]) -> bool {
    RULE.accepts(&Value::of(value))
}

#[test]
fn of_all_four_byte_values_one_passes() {
    let passing: Vec<[u8; 4]> = std::thread::scope(|scope| {
        let quarters = [0u32, 1, 2, 3].map(|quarter| {
            scope.spawn(move || {
                let numbers = (quarter << 30)..=(quarter << 30 | u32::MAX >> 2);
                numbers.map(u32::to_le_bytes).filter(|bytes| accepts(bytes)).collect::<Vec<_>>()
            })
        });
        quarters.into_iter().flat_map(|quarter| quarter.join().unwrap()).collect()
    });
    assert_eq!(passing, [*b"true"]);
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
