//! What the default front promises of its artifact.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use header_gate_policy::Policy;

use super::{Function, Properties};

/// Up to so many words of an image and so many values, `src/decision.rs` compares without a loop.
const UNROLLED: usize = 8;

const GET: (&str, &str) = ("env.proxy_get_header_map_value", "(i32, i32, i32, i32, i32) -> i32");
const SEND: (&str, &str) =
    ("env.proxy_send_local_response", "(i32, i32, i32, i32, i32, i32, i32, i32) -> i32");
const LOG: (&str, &str) = ("env.proxy_log", "(i32, i32, i32) -> i32");

const EXPORTS: [(&str, &str); 4] = [
    ("memory", "memory"),
    ("malloc", "(i32) -> i32"),
    ("proxy_abi_version_0_2_1", "()"),
    (DECISION, "(i32, i32, i32) -> i32"),
];

/// The callback that decides.
const DECISION: &str = "proxy_on_request_headers";

/// Bytes of the one page of memory.
const PAGE: u64 = 64 * 1024;

/// What a module on the default front has to keep to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// Whether it may write to the host's log.
    pub log: bool,
    /// Whether it may loop: over constant data, or the digits of a context's number.
    pub loops: bool,
}

impl Contract {
    /// The contract of a gate with this policy, with feature `log` or without.
    #[must_use]
    pub fn of(policy: &Policy, log: bool) -> Self {
        let longest = policy.values.iter().map(String::len).max().unwrap_or_default();
        let words = (longest + size_of::<u32>()).div_ceil(size_of::<u64>());
        Self { log, loops: log || words > UNROLLED || policy.values.len() > UNROLLED }
    }
}

impl FromStr for Contract {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        match name {
            "abi" => Ok(Self::default()),
            "abi+loops" => Ok(Self { log: false, loops: true }),
            "abi+log" => Ok(Self { log: true, loops: true }),
            _ => anyhow::bail!(
                "--contract: there is no contract `{name}`; `abi`, `abi+loops` and `abi+log` are"
            ),
        }
    }
}

impl Properties {
    /// Everything of the module that is outside `contract`, each item named.
    #[must_use]
    pub fn violations(&self, contract: &Contract) -> Vec<String> {
        let mut found = Vec::new();
        let mut imports = vec![GET, SEND];
        if contract.log {
            imports.push(LOG);
        }
        compare("import", &self.imports, &imports, &mut found);
        compare("export", &self.exports, &EXPORTS, &mut found);
        match self.memories[..] {
            [(1, Some(1))] => {}
            [(minimum, Some(maximum))] => {
                found.push(format!("memory of {minimum} to {maximum} pages, not 1 to 1"));
            }
            [(minimum, None)] => found.push(format!("memory of {minimum} pages and no maximum")),
            _ => found.push(format!("{} memories, not 1", self.memories.len())),
        }
        found.extend(self.custom_sections.iter().map(|name| format!("custom section `{name}`")));
        found.extend(self.beyond_mvp.iter().map(|what| format!("not WebAssembly 1.0: {what}")));
        found.extend(self.mutable_globals.iter().map(|index| format!("mutable global {index}")));
        if self.tables.0 > 0 {
            found.push(format!("{} tables, not 0", self.tables.0));
        }
        if self.tables.1 > 0 {
            found.push(format!("{} element segments, not 0", self.tables.1));
        }
        found.extend(self.start.map(|index| format!("function {index} runs at the start")));
        match self.data_end {
            Some(end) if end <= PAGE => {}
            Some(end) => found.push(format!("data up to {end}, past the one page of {PAGE} bytes")),
            None => found.push("data at a computed address".to_owned()),
        }
        let reached = self.reached(DECISION);
        for (name, _) in imports {
            let mut named = (0..).zip(&self.imported_functions).filter(|(_, other)| *other == name);
            if named.next().is_some_and(|(index, _)| !reached.contains(&index)) {
                found.push(format!("import {name}, which {DECISION} never calls"));
            }
        }
        for function in &self.functions {
            let Function { loops, grows, traps, indirect, recursive, .. } = function;
            let mut refuse = |refused: bool, what: &str| {
                if refused {
                    found.push(format!("{what} in {function}"));
                }
            };
            refuse(*grows > 0, "memory.grow");
            // wasm-opt puts one that nothing reaches behind a loop that only jumps leave.
            refuse(*traps > 0 && !contract.loops, "unreachable");
            refuse(*indirect > 0, "indirect call");
            refuse(*recursive, "recursion");
            refuse(*loops > 0 && !contract.loops, "loop");
        }
        found
    }

    /// The functions that an exported one calls, imported ones included, and those that they call.
    fn reached(&self, export: &str) -> BTreeSet<u32> {
        let by_index: BTreeMap<_, _> = self.functions.iter().map(|f| (f.index, f)).collect();
        let mut open: Vec<_> =
            self.functions.iter().filter(|f| f.name.as_deref() == Some(export)).collect();
        let mut reached = BTreeSet::new();
        while let Some(function) = open.pop() {
            let new = function.calls.iter().filter(|&&index| reached.insert(index));
            open.extend(new.filter_map(|index| by_index.get(index).copied()));
        }
        reached
    }
}

fn compare(
    what: &str,
    found: &[(String, String)],
    wanted: &[(&str, &str)],
    violations: &mut Vec<String>,
) {
    for (i, (name, kind)) in found.iter().enumerate() {
        match wanted.iter().find(|(wanted, _)| wanted == name) {
            None => violations.push(format!("{what} {name}, which is not in the contract")),
            Some((_, wanted)) if wanted != kind => {
                violations.push(format!("{what} {name} is {kind}, not {wanted}"));
            }
            Some(_) if found[..i].iter().any(|(earlier, _)| earlier == name) => {
                violations.push(format!("{what} {name} twice"));
            }
            Some(_) => {}
        }
    }
    for (name, _) in wanted {
        if !found.iter().any(|(found, _)| found == name) {
            violations.push(format!("{what} {name} is missing"));
        }
    }
}
