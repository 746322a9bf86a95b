//! What a module on the default front may contain.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use header_gate_policy::{Except, Policy};

use crate::functions::Function;
use crate::module::{Item, Pages, Properties};

/// Up to this many words of an image and this many values, `src/decision.rs` compares without a loop
/// (`src/unroll.rs`).
const UNROLLED: usize = 8;

const GET: (&str, &str) =
    ("env.proxy_get_header_map_value", "(func (param i32 i32 i32 i32 i32) (result i32))");
const SEND: (&str, &str) = (
    "env.proxy_send_local_response",
    "(func (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32))",
);
const LOG: (&str, &str) = ("env.proxy_log", "(func (param i32 i32 i32) (result i32))");
const REMOVE: (&str, &str) =
    ("env.proxy_remove_header_map_value", "(func (param i32 i32 i32) (result i32))");
const COUNT: (&str, &str) = ("env.proxy_increment_metric", "(func (param i32 i64) (result i32))");
const DEFINE: (&str, &str) =
    ("env.proxy_define_metric", "(func (param i32 i32 i32 i32) (result i32))");

/// A function of any type.
const ANY: &str = "(func ...)";

const EXPORTS: [(&str, &str); 4] = [
    ("memory", "memory"),
    ("malloc", "(func (param i32) (result i32))"),
    // Hosts look for the export and never call it, so it may share the function of another one.
    ("proxy_abi_version_0_2_1", ANY),
    (DECISION, "(func (param i32 i32 i32) (result i32))"),
];

/// The callback that decides, and the one that defines counters.
const DECISION: &str = "proxy_on_request_headers";
const START: &str = "proxy_on_vm_start";

const MEMORY: Pages = Pages { minimum: 1, maximum: Some(1) };
const PAGE_SIZE: u64 = 64 * 1024;

/// What a module on the default front has to keep to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// Whether it may write to the host's log.
    pub log: bool,
    /// Whether it never answers a request.
    pub dry_run: bool,
    /// Whether it takes the header off a request.
    pub remove: bool,
    /// Whether it counts in the host's statistics.
    pub count: bool,
    /// Whether it may loop: over constant data, a path, or the digits of a context's number.
    pub loops: bool,
}

impl Contract {
    /// The contract of a gate with this policy, with feature `log` or without.
    #[must_use]
    pub fn of(policy: &Policy, log: bool) -> Self {
        let &Policy { remove, count, .. } = policy;
        let excepts = policy.except != Except::default();
        let long = policy.words() > UNROLLED || policy.values.len() > UNROLLED;
        Self { log, dry_run: !policy.enforce, remove, count, loops: log || excepts || long }
    }
}

const NAMES: &str = "`abi`, and any of `+log`, `+loops`, `+dry-run`, `+remove`, `+count`";

impl FromStr for Contract {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let mut contract = Self::default();
        let mut parts = name.split('+');
        anyhow::ensure!(parts.next() == Some("abi"), "unknown contract `{name}`, expected {NAMES}");
        for part in parts {
            match part {
                "log" => (contract.log, contract.loops) = (true, true),
                "loops" => contract.loops = true,
                "dry-run" => contract.dry_run = true,
                "remove" => contract.remove = true,
                "count" => contract.count = true,
                _ => anyhow::bail!("unknown contract `{name}`, expected {NAMES}"),
            }
        }
        Ok(contract)
    }
}

impl Properties {
    /// Each item of the module that breaks `contract`, in words.
    #[must_use]
    pub fn violations(&self, contract: &Contract) -> Vec<String> {
        let (mut imports, mut exports) = (vec![GET], EXPORTS.to_vec());
        let Contract { log, dry_run, remove, count, .. } = *contract;
        let more = [(!dry_run, SEND), (log, LOG), (remove, REMOVE), (count, COUNT)];
        imports.extend(more.into_iter().filter_map(|(used, import)| used.then_some(import)));
        let reached = self.reached_by_decision();
        let mut found = Vec::new();
        for (index, Item { name, .. }) in (0..).zip(self.imports.iter().filter(|i| i.is_function()))
        {
            if imports.iter().any(|(wanted, _)| wanted == name) && !reached.contains(&index) {
                found.push(format!("import {name} is never called by {DECISION}"));
            }
        }
        if count {
            imports.push(DEFINE);
            exports.push((START, "(func (param i32 i32) (result i32))"));
        }
        found.extend(compare("import", &self.imports, &imports));
        found.extend(compare("export", &self.exports, &exports));
        found.extend(self.sections());
        for function in &self.functions {
            for (refused, what) in [
                (function.grows > 0, "memory.grow"),
                // wasm-opt puts an `unreachable` behind a loop that only jumps leave.
                (function.traps > 0 && !contract.loops, "unreachable"),
                (function.indirect_calls > 0, "indirect call"),
                (function.recursive, "recursion"),
                (function.loops > 0 && !contract.loops, "loop"),
            ] {
                if refused {
                    found.push(format!("{what} in {function}"));
                }
            }
        }
        found
    }

    fn sections(&self) -> Vec<String> {
        let mut found = Vec::new();
        match self.memories[..] {
            [MEMORY] => {}
            [memory] => found.push(format!("memory of {memory}, expected {MEMORY}")),
            _ => found.push(format!("{} memories, expected 1", self.memories.len())),
        }
        found.extend(self.custom_sections.iter().map(|name| format!("custom section `{name}`")));
        found.extend(self.beyond_mvp.iter().map(|what| format!("not WebAssembly 1.0: {what}")));
        found.extend(self.mutable_globals.iter().map(|index| format!("mutable global {index}")));
        for (count, what) in [(self.tables, "tables"), (self.element_segments, "element segments")]
        {
            if count > 0 {
                found.push(format!("{count} {what}, expected 0"));
            }
        }
        found.extend(self.start.map(|index| format!("start function {index}")));
        match self.data_end {
            Some(end) if end <= PAGE_SIZE => {}
            Some(end) => {
                found.push(format!("data ends at {end}, expected at most {PAGE_SIZE} (one page)"));
            }
            None => found.push("data segment at a computed address".to_owned()),
        }
        found
    }

    /// The functions that the deciding callback calls, directly or not, imported ones included.
    fn reached_by_decision(&self) -> BTreeSet<u32> {
        let by_index: BTreeMap<_, _> = self.functions.iter().map(|f| (f.index, f)).collect();
        let mut open: Vec<&Function> = self.exported(DECISION).into_iter().collect();
        let mut reached = BTreeSet::new();
        while let Some(function) = open.pop() {
            let new = function.calls.iter().filter(|&&index| reached.insert(index));
            open.extend(new.filter_map(|index| by_index.get(index).copied()));
        }
        reached
    }
}

fn compare(what: &str, found: &[Item], expected: &[(&str, &str)]) -> Vec<String> {
    let mut violations = Vec::new();
    for (i, item) in found.iter().enumerate() {
        let Item { name, kind } = item;
        match expected.iter().find(|(expected, _)| expected == name) {
            None => violations.push(format!("unexpected {what} {name}")),
            Some((_, ANY)) if item.is_function() => {}
            Some((_, expected)) if expected != kind => {
                violations.push(format!("{what} {name} is {kind}, expected {expected}"));
            }
            Some(_) if found[..i].iter().any(|earlier| earlier.name == *name) => {
                violations.push(format!("duplicate {what} {name}"));
            }
            Some(_) => {}
        }
    }
    let missing = expected.iter().filter(|(name, _)| !found.iter().any(|item| item.name == *name));
    violations.extend(missing.map(|(name, _)| format!("missing {what} {name}")));
    violations
}
