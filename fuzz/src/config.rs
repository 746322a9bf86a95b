//! The reader of configurations: it never traps, natively and as a finished module; an error is one line; and it accepts
//! nothing that the reader of policy files refuses, and makes the same of what it accepts.

use std::cell::RefCell;
use std::fs;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_config::{Store, limits};
use header_gate_host::{Plugin, ROOT, Vm, gate};
use header_gate_policy::Policy;
use serde_json::Value;

use crate::root;

/// The reader, natively and in a virtual machine.
struct Gates {
    store: Box<Store>,
    vm: Vm,
}

impl Gates {
    fn new() -> Self {
        let wasm = fs::read(artifact(root(), &Variant::config()).unwrap()).unwrap();
        let vm = Plugin::new(&wasm).unwrap().start().unwrap();
        Self { store: Box::new(Store::new()), vm }
    }

    /// Configures both; an error is the line for the log.
    fn configure(&mut self, input: &[u8]) -> Result<(), String> {
        let Self { store, vm } = self;
        let free = store.free() as usize;
        store.bytes[free..].fill(0);
        if store.begin(input.len() as u32) {
            let start = store.start() as usize;
            store.bytes[start..start + input.len()].copy_from_slice(input);
        }
        let taken = store.take(ROOT);
        let size = if taken { 0 } else { store.write_refusal() as usize };
        let line = String::from_utf8_lossy(&store.text[..size]).into_owned();
        if !input.is_empty() {
            assert_eq!(vm.configure(ROOT, input).unwrap(), taken, "{line}");
            assert_eq!(vm.log(), if taken { &[][..] } else { std::slice::from_ref(&line) });
        }
        store.retain(|_| true);
        if taken { Ok(()) } else { Err(line) }
    }
}

thread_local! {
    static GATES: RefCell<Option<Gates>> = const { RefCell::new(None) };
}

/// Whole numbers in place of doubles, which the reader of files does not take.
fn whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let double = number.as_f64().filter(|double| double.fract() == 0.0 && *double >= 0.0);
            if let Some(double) = double.filter(|double| *double < 1e9) {
                *value = (double as u64).into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole),
        Value::Object(members) => members.values_mut().for_each(whole),
        _ => {}
    }
}

/// Reads a configuration as the reader of files would.
fn reference(input: &[u8]) -> Result<Policy, String> {
    let mut value: Value = serde_json::from_slice(input).map_err(|error| error.to_string())?;
    whole(&mut value);
    Policy::of(value)
}

/// Checks how a configuration is read; returns the policy if it is accepted.
pub fn check(input: &[u8]) -> Option<Policy> {
    if input.len() > limits::TEXT {
        return None;
    }
    GATES.with_borrow_mut(|gates| {
        let gates = gates.get_or_insert_with(Gates::new);
        let before = (gates.store.base(ROOT), gates.store.policies().to_vec());
        if let Err(line) = gates.configure(input) {
            let printable = line.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
            assert!(printable && line.starts_with("header-gate: configuration refused at byte "));
            assert!(before == (gates.store.base(ROOT), gates.store.policies().to_vec()));
            return None;
        }
        let policy = reference(input).expect("what the reader of files accepts");
        gate::decides(&mut gates.vm, &policy).expect("the decisions and answers of the policy");
        Some(policy)
    })
}
