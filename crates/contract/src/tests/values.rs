//! What is known of the numbers that a function calculates.

use super::properties;
use crate::Bound;
use crate::interval::Interval;

const ANY_32: (u64, u64) = (0, u32::MAX as u64);
const ANY: (u64, u64) = (0, u64::MAX);

/// The results of a function with this body and these locals: an i32 (0) and an i64 (1).
#[track_caller]
fn returns(kind: &str, body: &str, (lo, hi): (u64, u64)) {
    let module = format!(
        "(module (memory 1 1) (global (mut i32) (i32.const 0)) \
         (func (export \"f\") (param i32 i64) (result {kind}) {body}))"
    );
    let properties = properties(&module);
    let bounded = matches!(properties.paths["f"], Bound::Instructions(_));
    assert!(bounded && properties.traps.is_empty(), "{body}: {properties}");
    assert_eq!(properties.executions["f"].result, Some(Interval { lo, hi }), "{kind} {body}");
}

#[test]
fn operators_on_constants_have_one_result() {
    for kind in ["i32", "i64"] {
        for (operator, a, b, expected) in [
            ("add", 6, 3, 9),
            ("sub", 6, 3, 3),
            ("mul", 6, 3, 18),
            ("and", 6, 3, 2),
            ("or", 6, 3, 7),
            ("xor", 6, 3, 5),
            ("shl", 3, 4, 48),
            ("shl", 3, 65, 6),
            ("shr_u", 48, 4, 3),
            ("shr_u", 48, 65, 24),
            ("div_u", 7, 4, 1),
            ("rem_u", 7, 4, 3),
        ] {
            let body = format!("({kind}.{operator} ({kind}.const {a}) ({kind}.const {b}))");
            returns(kind, &body, (expected, expected));
        }
    }
}

#[test]
fn comparisons_of_constants_have_one_result_unless_signed_ones_are_large() {
    for (kind, largest) in [("i32", i64::from(i32::MAX)), ("i64", i64::MAX)] {
        for (operator, of_1_2, of_2_2, of_2_1) in
            [("lt", 1, 0, 0), ("le", 1, 1, 0), ("gt", 0, 0, 1), ("ge", 0, 1, 1)]
        {
            let compare = |sign: &str, a: i64, b: i64, expected| {
                let sides = format!("({kind}.const {a}) ({kind}.const {b})");
                returns("i32", &format!("({kind}.{operator}_{sign} {sides})"), expected);
            };
            for sign in ["s", "u"] {
                compare(sign, 1, 2, (of_1_2, of_1_2));
                compare(sign, 2, 2, (of_2_2, of_2_2));
                compare(sign, 2, 1, (of_2_1, of_2_1));
                compare(sign, largest, largest, (of_2_2, of_2_2));
            }
            compare("s", -1, 1, (0, 1));
            compare("s", 1, -largest - 1, (0, 1));
        }
    }
}

#[test]
fn operators_that_are_not_calculated_have_any_result() {
    for operator in ["shr_s", "rotl", "rotr"] {
        returns("i32", &format!("(i32.{operator} (i32.const 4) (i32.const 1))"), ANY_32);
        returns("i64", &format!("(i64.{operator} (i64.const 4) (i64.const 1))"), ANY);
    }
    for operator in ["clz", "ctz", "popcnt"] {
        returns("i32", &format!("(i32.{operator} (i32.const 4))"), ANY_32);
        returns("i64", &format!("(i64.{operator} (i64.const 4))"), ANY);
    }
    returns("i64", "(i64.extend_i32_s (i32.const 4))", ANY);
    returns("i32", "(memory.grow (i32.const 4))", ANY_32);
    returns("i32", "(memory.size)", ANY);
    returns("i32", "(global.get 0)", ANY);
    returns("i32", "(global.set 0 (i32.const 4)) (i32.const 5)", (5, 5));
}

#[test]
fn a_conversion_or_an_access_has_the_numbers_that_fit() {
    for (kind, body, expected) in [
        ("i32", "(i32.wrap_i64 (i64.const 0xffffffff))", (0xffff_ffff, 0xffff_ffff)),
        ("i32", "(i32.wrap_i64 (i64.const 0x100000000))", ANY_32),
        ("i32", "(i32.wrap_i64 (local.get 1))", ANY_32),
        ("i64", "(i64.extend_i32_u (local.get 0))", ANY_32),
        ("i32", "(i32.load (i32.const 65532))", ANY_32),
        ("i32", "(i32.load8_u (i32.const 65535))", (0, 0xff)),
        ("i32", "(i32.load16_u (i32.const 65534))", (0, 0xffff)),
        ("i32", "(i32.load8_s (i32.const 65535))", ANY_32),
        ("i32", "(i32.load16_s (i32.const 65534))", ANY_32),
        ("i64", "(i64.load8_u (i32.const 65535))", (0, 0xff)),
        ("i64", "(i64.load16_u (i32.const 65534))", (0, 0xffff)),
        ("i64", "(i64.load32_u (i32.const 65532))", ANY_32),
        ("i64", "(i64.load8_s (i32.const 65535))", ANY),
        ("i64", "(i64.load16_s (i32.const 65534))", ANY),
        ("i64", "(i64.load32_s (i32.const 65532))", ANY),
        ("i64", "(i64.load (i32.const 65528))", ANY),
        ("i32", "(i32.store8 (i32.const 65535) (i32.const 1)) (i32.const 2)", (2, 2)),
        ("i32", "(i32.store16 (i32.const 65534) (i32.const 1)) (i32.const 2)", (2, 2)),
        ("i32", "(i64.store8 (i32.const 65535) (i64.const 1)) (i32.const 2)", (2, 2)),
        ("i32", "(i64.store16 (i32.const 65534) (i64.const 1)) (i32.const 2)", (2, 2)),
        ("i32", "(i64.store32 (i32.const 65532) (i64.const 1)) (i32.const 2)", (2, 2)),
        ("i32", "(i64.store (i32.const 65528) (i64.const 1)) (i32.const 2)", (2, 2)),
    ] {
        returns(kind, body, expected);
    }
}

#[test]
fn a_condition_narrows_the_local_that_it_is_about() {
    let [zero_or_less, less] = ["(i32.le_u (local.get 0) (i32.const 4))", LESS_THAN_5];
    let choose = |condition: &str, then: &str, otherwise: &str| {
        format!("(if (result i32) {condition} (then {then}) (else {otherwise}))")
    };
    let local = "(local.get 0)";
    let same = choose(less, local, local);
    let few = "(local.set 0 (i32.and (local.get 0) (i32.const 7)))";
    let tee = "(i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 5))";
    for (body, expected) in [
        (choose(less, local, "(i32.const 3)"), (0, 4)),
        (choose(zero_or_less, local, "(i32.const 3)"), (0, 4)),
        (choose(&format!("(i32.eqz {less})"), "(i32.const 3)", local), (0, 4)),
        (choose(&format!("(i32.ne {less} (i32.const 0))"), local, "(i32.const 3)"), (0, 4)),
        // Only a comparison with 0 is followed.
        (choose(&format!("(i32.eq {less} (i32.const 1))"), local, "(i32.const 9)"), ANY_32),
        (choose(tee, local, "(i32.const 3)"), (0, 4)),
        // The same local on both ways, and after them.
        (choose(&format!("(i32.lt_u {same} (i32.const 10))"), local, "(i32.const 3)"), (0, 9)),
        (few.to_owned() + &choose("(i32.ne (local.get 0) (i32.const 7))", local, "(i32.const 3)"), (0, 6)),
        ("(i32.rem_u (local.get 0) (i32.const 10))".to_owned(), (0, 9)),
        ("(select (i32.const 7) (i32.const 9) (local.get 0))".to_owned(), (7, 9)),
        // What was known of a local before it was set.
        ("local.get 0 (local.set 0 (i32.const 5))".to_owned(), ANY_32),
        (format!("{less} (local.set 0 (i32.const 9)) {}", choose("", "(i32.const 1)", "(i32.const 2)")), (1, 2)),
        (
            format!("{less} (local.set 1 (i64.const 9)) {}", choose("", local, "(i32.const 3)")),
            (0, 4),
        ),
        (
            format!(
                "(i32.lt_u {local} {local}) (local.set 0 (i32.const 9)) {}",
                choose("", "(i32.const 1)", "(i32.const 2)")
            ),
            (1, 2),
        ),
        (
            "(block (block (i32.sub (local.get 0) (i32.const 6)) (local.set 0 (i32.const 3)) br_table 0 1)\n\
             (return (i32.const 1))) (i32.const 2)".to_owned(),
            (1, 2),
        ),
        // Below the last target, and beyond.
        (table("(i32.and (local.get 0) (i32.const 1))"), (1, 2)),
        (table("(i32.const 0)"), (1, 1)),
        (table("(i32.const 1)"), (2, 2)),
    ] {
        returns("i32", &body, expected);
    }
}

const LESS_THAN_5: &str = "(i32.lt_u (local.get 0) (i32.const 5))";

/// Returns 1 if a number is 0, and 2 if not.
fn table(number: &str) -> String {
    format!("(block (block (br_table 0 1 {number})) (return (i32.const 1))) (i32.const 2)")
}

#[test]
fn functions_that_every_path_calls_are_known_by_number() {
    let module = "(module (import \"\" \"a\" (func)) (import \"\" \"b\" (func)) \
        (func (export \"f\") (param i32) (call 1) (if (local.get 0) (then (call 0)))))";
    let execution = &properties(module).executions["f"];
    assert_eq!(execution.reached, [0, 1].into());
    assert_eq!(execution.always_reached, [1].into());
}

#[test]
fn the_limits_of_a_function_are_inclusive() {
    for (locals, operands, is_bounded) in
        [(999, 0, true), (1000, 0, false), (0, 1000, true), (0, 1001, false)]
    {
        let (locals, push) = ("i32 ".repeat(locals), "i32.const 0 ".repeat(operands));
        let drop = "drop ".repeat(operands);
        let function = format!("(func (export \"f\") (param i32) (local {locals}) {push} {drop})");
        let bound = &properties(&format!("(module {function})")).paths["f"];
        assert_eq!(matches!(bound, Bound::Instructions(_)), is_bounded, "{bound:?}");
    }
}
