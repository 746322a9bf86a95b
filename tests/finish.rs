//! The rules of `tools/cli/src/finish.rs` change no result: a function with each kind of condition, before
//! and after, with every number that a rule could take for another.

use header_gate_tools::finish::finish;
use wasmtime::{Engine, Linker, Module, Store, TypedFunc};

/// What a status, an address and a word are, and what a host answers to a denial.
const NUMBERS: [i32; 8] = [0, 1, 2, 7, 8, i32::MAX, i32::MIN, -1];
const WORDS: [i64; 6] = [0, 1, 0x4_6575_7274, 0x1_0000_0000, i64::MIN, -1];

/// A gate that is told everything: the status and the word that a host delivers, and what it answers to a denial.
fn gate(condition: &str) -> String {
    format!(
        "(module
           (import \"env\" \"send\" (func $send (param i32) (result i32)))
           (memory (export \"memory\") 1 1)
           (func (export \"decide\") (param $status i32) (param $word i64) (param $answer i32) (result i32)
             (i64.store (i32.const 8) (local.get $word))
             (if (result i32) {condition}
               (then (drop (call $send (local.get $answer))) (i32.const 1))
               (else (i32.const 0)))))"
    )
}

/// What comes of each combination: the action, and how often an answer was sent.
fn outcomes(wasm: &[u8]) -> Vec<(i32, u32)> {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    let send = |mut caller: wasmtime::Caller<'_, u32>, answer: i32| {
        *caller.data_mut() += 1;
        answer
    };
    linker.func_wrap("env", "send", send).unwrap();
    let mut store = Store::new(&engine, 0);
    let module = Module::new(&engine, wasm).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let decide: TypedFunc<(i32, i64, i32), i32> =
        instance.get_typed_func(&mut store, "decide").unwrap();
    let mut outcomes = Vec::new();
    for status in NUMBERS {
        for word in WORDS {
            for answer in NUMBERS {
                *store.data_mut() = 0;
                let action = decide.call(&mut store, (status, word, answer)).unwrap();
                outcomes.push((action, *store.data()));
            }
        }
    }
    outcomes
}

#[test]
fn a_finished_module_decides_as_before_in_fewer_bytes() {
    let word = "(i64.load (i32.const 8))";
    let accepted = "(i64.const 0x465757274)";
    for (condition, fewer) in [
        (format!("(i32.or (local.get $status) (i64.ne {word} {accepted}))"), 4),
        (format!("(i32.or (i64.ne {word} {accepted}) (local.get $status))"), 3),
        (format!("(i32.eqz (i64.eq {word} {accepted}))"), 5),
        ("(local.get $status)".to_owned(), 3),
    ] {
        let before = wat::parse_str(gate(&condition)).unwrap();
        let after = finish(&before).unwrap();
        assert_eq!(before.len() - after.len(), fewer, "{condition}");
        let outcomes = (outcomes(&before), outcomes(&after));
        assert_eq!(outcomes.0, outcomes.1, "{condition}");
        let some = |action| outcomes.0.iter().any(|outcome| *outcome == (action, action as u32));
        assert!(some(0) && some(1), "{condition}: nothing passes, or all does");
    }
}
