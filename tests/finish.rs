//! The rules of `tools/cli/src/finish.rs` change nothing: gates with each kind of condition, before and
//! after, with every number that a rule could take for another.

use header_gate_tools::finish::finish;
use wasmtime::{Caller, Engine, Linker, Module, Store};

/// What a status is, and what a host answers to a denial.
const NUMBERS: [i32; 8] = [0, 1, 2, 7, 8, i32::MAX, i32::MIN, -1];
/// What is delivered.
const WORDS: [i64; 6] = [0, 1, 0x4_6575_7274, 0x1_0000_0000, i64::MIN, -1];

/// The word that is delivered, and the one that is accepted.
const WORD: &str = "(i64.load (i32.const 8))";
const ACCEPTED: &str = "(i64.const 0x465757274)";

/// A gate that is told the status and the word that a host delivers, and what it answers to a denial;
/// it returns `results`.
fn gate(results: &str, before: &str, condition: &str, denial: &str) -> Vec<u8> {
    let text = format!(
        "(module
           (import \"env\" \"send\" (func $send (param i32) (result i32)))
           (import \"env\" \"wide\" (func $wide (result i64)))
           (memory (export \"memory\") 1 1)
           (func $add (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
           (func (export \"marker\") nop)
           (func (export \"decide\")
             (param $status i32) (param $word i64) (param $answer i32) (result {results})
             {before}
             nop
             (i64.store (i32.const 8) (local.get $word))
             (if (result i32) {condition}
               (then {denial} (i32.const 1))
               (else (i32.const 0)))))"
    );
    wat::parse_str(text).unwrap()
}

/// What comes of each combination: the results, what was sent, and the memory's first bytes.
fn outcomes(wasm: &[u8]) -> Vec<(Vec<i32>, Vec<i32>, Vec<u8>)> {
    let engine = Engine::default();
    let mut linker = Linker::<Vec<i32>>::new(&engine);
    let send = |mut caller: Caller<'_, Vec<i32>>, answer: i32| {
        caller.data_mut().push(answer);
        answer
    };
    linker.func_wrap("env", "send", send).unwrap();
    linker.func_wrap("env", "wide", || -1_i64).unwrap();
    let mut store = Store::new(&engine, Vec::new());
    let module = Module::new(&engine, wasm).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let decide = instance.get_func(&mut store, "decide").unwrap();
    let results = decide.ty(&store).results().len();
    let mut outcomes = Vec::new();
    for status in NUMBERS {
        for word in WORDS {
            for answer in NUMBERS {
                let mut returned = vec![0.into(); results];
                let told = [status.into(), word.into(), answer.into()];
                decide.call(&mut store, &told, &mut returned).unwrap();
                let returned = returned.iter().map(wasmtime::Val::unwrap_i32).collect();
                let sent = std::mem::take(store.data_mut());
                outcomes.push((returned, sent, memory.data(&store)[..64].to_vec()));
            }
        }
    }
    outcomes
}

/// Finishes a gate; that changes nothing but the number of its bytes, and returns how many fewer.
fn fewer(wasm: &[u8]) -> usize {
    let finished = finish(wasm).unwrap();
    let (before, after) = (outcomes(wasm), outcomes(&finished));
    let action = |action| before.iter().any(|(results, ..)| results.last() == Some(&action));
    assert!(action(0) && action(1), "nothing passes, or all does");
    assert!(before == after, "another decision, answer or memory");
    wasm.len() - finished.len()
}

const SEND: &str = "(drop (call $send (local.get $answer)))";
/// A `nop` in each of two functions.
const NOPS: usize = 2;

#[test]
fn a_finished_gate_decides_as_before_in_fewer_bytes() {
    for (condition, expected) in [
        (format!("(i32.or (local.get $status) (i64.ne {WORD} {ACCEPTED}))"), 4),
        (format!("(i32.or (i64.ne {WORD} {ACCEPTED}) (local.get $status))"), 3),
        (format!("(i32.eqz (i64.eq {WORD} {ACCEPTED}))"), 5),
        ("(local.get $status)".to_owned(), 3),
    ] {
        assert_eq!(fewer(&gate("i32", "", &condition, SEND)), NOPS + expected, "{condition}");
    }
}

#[test]
fn jumps_and_blocks_before_the_choice_stay_right() {
    let condition = "(local.get $status)";
    for before in [
        "(br_if 0 (i32.const 1) (i32.eq (local.get $answer) (i32.const 7))) drop",
        "(if (i32.eq (local.get $answer) (i32.const 8)) (then (return (i32.const 1))))",
        "(block (loop (br_if 1 (local.get $status)) (local.set $status (i32.const 2)) (br 0)))
         (local.set $status (i32.and (local.get $answer) (i32.const 1)))",
    ] {
        assert_eq!(fewer(&gate("i32", before, condition, SEND)), NOPS + 3, "{before}");
    }
}

#[test]
fn everything_that_a_denial_may_do_stays_right() {
    // What the lines of feature `log` take.
    let denial = "(drop (call $send (i32.add (local.tee $status
                    (call $add (i32.const 7) (local.get $status))) (i32.const 3))))
                  (local.set $answer (i32.sub (i32.const 46) (local.get $answer)))
                  (drop (call $send (local.get $answer)))";
    assert_eq!(fewer(&gate("i32", "", "(local.get $status)", denial)), NOPS + 3);
}

#[test]
fn what_only_looks_like_the_choice_is_left_alone() {
    let condition = "(local.get $status)";
    let wide = "(drop (call $wide))";
    let own = "(drop (call $add (i32.const 1) (i32.const 2)))";
    let jumps = format!("(if (local.get $answer) (then (nop))) {SEND}");
    for (results, before, denial, nops) in [
        ("i32 i32", "(i32.const 7)", SEND, NOPS),
        ("i32", "", wide, NOPS),
        ("i32", "", own, NOPS),
        ("i32", "", &jumps, NOPS + 1),
    ] {
        let gate = gate(results, before, condition, denial);
        assert_eq!(fewer(&gate), nops, "only what does nothing may go: {denial}");
    }
}
