//! The reader of configurations: it never traps, natively and as a finished module; an error is one line; and it accepts
//! nothing that the reader of policy files refuses, and makes the same of what it accepts.

use std::cell::RefCell;
use std::fs;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_config::{NONE, Store, Text, field, limits};
use header_gate_host::{Plugin, ROOT, Vm};
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

    fn bytes(&self, text: Text) -> Vec<u8> {
        let start = (self.store.base(ROOT) + text.at()) as usize;
        self.store.policies()[start..start + text.size() as usize].to_vec()
    }

    /// Whether both let a request with this value pass.
    fn accepts(&mut self, header: &str, value: &[u8]) -> bool {
        let base = self.store.base(ROOT);
        let mut found = false;
        if self.store.accepts_size(base, value.len() as u32) {
            self.store.image.fill(0);
            let words = self.store.image_size(base) as usize / 8;
            header_gate::decision::write_image(&mut self.store.image[..words], value);
            self.store.make_key(base, value.len() as u32);
            found = self.store.find(base) != 0;
        }
        let outcome = self.vm.request_of(&[(header, value)]).unwrap();
        assert_eq!(outcome.passes(), found || self.passes_all(), "{value:?}");
        found
    }

    /// Whether the policy denies nothing.
    fn passes_all(&self) -> bool {
        !self.store.is(self.store.base(ROOT), header_gate_config::flag::ENFORCE)
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
        assert_ne!(gates.store.base(ROOT), NONE);
        let policy = reference(input).expect("what the reader of files accepts");
        compare(gates, &policy);
        Some(policy)
    })
}

fn compare(gates: &mut Gates, policy: &Policy) {
    let base = gates.store.base(ROOT);
    let deny = &policy.deny;
    for (text, expected) in [
        (field::HEADER, policy.header.as_bytes()),
        (field::CLIENT_HEADER, policy.client_header.as_deref().unwrap_or_default().as_bytes()),
        (field::HEADERS, &policy.serialized_headers()),
        (field::BODY, deny.body.as_bytes()),
        (field::DETAILS, deny.details.as_bytes()),
        (field::MISSING_DETAILS, deny.missing_details.as_deref().unwrap_or_default().as_bytes()),
    ] {
        assert_eq!(gates.bytes(gates.store.text_of(base, text)), expected);
    }
    assert_eq!(gates.store.field(base, field::STATUS), u32::from(deny.status));
    let sizes = policy.sizes();
    for value in policy.accepted() {
        let mut other = value.as_bytes().to_vec();
        other[0] ^= 1;
        for value in [value.as_bytes(), &value.as_bytes()[1..], &other] {
            let fits = sizes.is_empty() || sizes.contains(&value.len());
            assert_eq!(gates.accepts(&policy.header, value), fits && policy.accepts(value));
        }
    }
}
