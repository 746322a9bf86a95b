//! Every value of four bytes against the committed policy: exactly one passes.

use header_gate::RULE;
use header_gate::decision::Value;

#[test]
fn of_all_four_byte_values_one_passes() {
    let passing: Vec<[u8; 4]> = std::thread::scope(|scope| {
        let quarters = [0u32, 1, 2, 3].map(|quarter| {
            scope.spawn(move || {
                let numbers = (quarter << 30)..=(quarter << 30 | u32::MAX >> 2);
                let accepted = |bytes: &[u8; 4]| RULE.accepts(&Value::of(bytes));
                numbers.map(u32::to_le_bytes).filter(accepted).collect::<Vec<_>>()
            })
        });
        quarters.into_iter().flat_map(|quarter| quarter.join().unwrap()).collect()
    });
    assert_eq!(passing, [*b"true"]);
}
