//! What `gate verify` finds in random functions is what they do in an engine.

use header_gate_contract::{Bound, Contract, inspect};
use wasmtime::{Config, Engine, Instance, Module, Store};

const DECISION: &str = "proxy_on_request_headers";

/// Writes random functions: most run without a trap, some do not.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        // xorshift
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn constant(&mut self) -> i32 {
        let near = [0, 1, 2, 3, 7, 10, 31, 65_530, 65_536, i32::MAX, i32::MIN, -1];
        self.of(&near)
    }

    /// An i32 that is made of the parameters, and of locals 3 and 4.
    fn value(&mut self, depth: u32) -> String {
        let kinds = if depth == 0 { 2 } else { 12 };
        match self.below(kinds) {
            0 => format!("(local.get {})", self.below(5)),
            1 => format!("(i32.const {})", self.constant()),
            kind => {
                let (a, b, c) =
                    (self.value(depth - 1), self.value(depth - 1), self.value(depth - 1));
                let operators = [
                    "add", "sub", "mul", "and", "or", "xor", "shl", "shr_u", "shr_s", "rotl", "eq",
                    "ne", "lt_u", "lt_s", "gt_u", "gt_s", "le_u", "le_s", "ge_u", "ge_s",
                ];
                match kind {
                    2..=4 => format!("(i32.{} {a} {b})", self.of(&operators)),
                    5 => {
                        let divide = self.of(&["div_u", "rem_u"]);
                        let by = self.of(&[&b, "(i32.const 10)", "(i32.const 3)"]).to_owned();
                        format!("(i32.{divide} {a} {by})")
                    }
                    6 => format!("(i32.{} {a})", self.of(&["eqz", "clz", "ctz", "popcnt"])),
                    7 => format!(
                        "(i32.wrap_i64 (i64.{} (i64.extend_i32_u {a}) (i64.extend_i32_s {b})))",
                        self.of(&operators[..10])
                    ),
                    8 => format!("(select {a} {b} {c})"),
                    9 => format!("(if (result i32) {a} (then {b}) (else {c}))"),
                    10 => format!("(local.tee {} {a})", 3 + self.below(2)),
                    _ => {
                        let load = self.of(&["load", "load8_u", "load8_s", "load16_u", "load16_s"]);
                        let mask = self.of(&[255, 65_535, -1]);
                        format!("(i32.{load} (i32.and {a} (i32.const {mask})))")
                    }
                }
            }
        }
    }

    /// What a function does. The locals from 5 on count the rounds of its loops.
    fn statements(&mut self, depth: u32) -> String {
        let mut text = String::new();
        for _ in 0..=self.below(3) {
            let kinds = if depth == 0 { 3 } else { 9 };
            text += &match self.below(kinds) {
                0 => format!("(local.set {} {})\n", self.below(5), self.value(3)),
                1 => format!("(drop {})\n", self.value(3)),
                2 => format!("(i32.store8 (i32.const {}) {})\n", self.below(65_540), self.value(2)),
                3 => format!("(if {} (then (return {})))\n", self.value(2), self.value(2)),
                4 => {
                    let (yes, no) = (self.statements(depth - 1), self.statements(depth - 1));
                    format!("(if {} (then {yes}) (else {no}))\n", self.value(2))
                }
                5 => {
                    let (start, end) = (self.statements(depth - 1), self.statements(depth - 1));
                    format!("(block {start} (br_if 0 {}) {end})\n", self.value(2))
                }
                6 => {
                    let inner = self.statements(depth - 1);
                    format!("(block (block (br_table 0 1 0 {})) {inner})\n", self.value(2))
                }
                7 => format!("(if (i32.eq {} (i32.const 3)) (then unreachable))\n", self.value(2)),
                _ => {
                    let (counter, rounds) = (5 + depth, 1 + self.below(9));
                    let inner = self.statements(depth - 1);
                    let next = format!(
                        "(local.tee {counter} (i32.sub (local.get {counter}) (i32.const 1)))"
                    );
                    format!(
                        "(local.set {counter} (i32.const {rounds}))\n\
                         (block (loop {inner} (br_if 1 {}) (br_if 0 {next})))\n",
                        self.value(1)
                    )
                }
            };
        }
        text
    }
}

#[test]
fn what_is_found_in_random_functions_is_what_they_do() {
    let mut config = Config::new();
    let engine = Engine::new(config.consume_fuel(true)).unwrap();
    let mut random = Random(1);
    let (mut untrapped, mut known) = (0, 0);
    for _ in 0..400 {
        let body = format!("{} {}", random.statements(3), random.value(3));
        let module = format!(
            "(module (memory 1 1) (func (export {DECISION:?}) (param i32 i32 i32) (result i32) \
             (local i32 i32 i32 i32 i32 i32)\n{body}))"
        );
        let wasm = wat::parse_str(&module).unwrap();
        let properties = inspect(&wasm).unwrap();
        let Bound::Instructions(most) = properties.paths[DECISION] else { panic!("{module}") };
        let violations = properties.violations(&Contract::default()).join("; ");
        let traps = !properties.traps.is_empty();
        let always = |n: i32| {
            violations.contains(&format!("{DECISION} always returns {}", n.cast_unsigned()))
        };
        let may_be_other = violations.contains("may return");
        untrapped += usize::from(!traps);
        known += usize::from(!may_be_other);
        let compiled = Module::new(&engine, &wasm).unwrap();
        for _ in 0..8 {
            let mut store = Store::new(&engine, ());
            store.set_fuel(u64::MAX).unwrap();
            let instance = Instance::new(&mut store, &compiled, &[]).unwrap();
            let call =
                instance.get_typed_func::<(i32, i32, i32), i32>(&mut store, DECISION).unwrap();
            let parameters = (random.constant(), random.constant(), random.constant());
            let result = call.call(&mut store, parameters);
            // One of them for the call itself.
            let fuel = u64::MAX - store.get_fuel().unwrap();
            assert!(fuel <= most + 1, "{parameters:?} {fuel} > {most} {module}");
            assert!(result.is_ok() || traps, "{parameters:?} {result:?} {module}");
            if let Ok(result) = result {
                let one = violations.contains("always returns");
                let holds =
                    if one { always(result) } else { may_be_other || (0..=1).contains(&result) };
                assert!(holds, "{parameters:?} {result} {violations} {module}");
            }
        }
    }
    // Some results and the absence of some traps are known.

    assert!(untrapped >= 100 && known >= 50, "{untrapped} {known}");
}
