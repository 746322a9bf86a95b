//! What a module on the default front may contain.

use std::collections::BTreeSet;
use std::str::FromStr;

use header_gate_config::PAGES;
use header_gate_policy::{Except, Policy};

use crate::interval::{BOOL, Interval};
use crate::module::{Bound, Item, PAGE_SIZE, Pages, Properties};

const GET: (&str, &str) =
    ("env.proxy_get_header_map_value", "(func (param i32 i32 i32 i32 i32) (result i32))");
const SEND: (&str, &str) = (
    "env.proxy_send_local_response",
    "(func (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32))",
);
const LOG: (&str, &str) = ("env.proxy_log", "(func (param i32 i32 i32) (result i32))");
const REMOVE: (&str, &str) =
    ("env.proxy_remove_header_map_value", "(func (param i32 i32 i32) (result i32))");
const REPLACE: (&str, &str) =
    ("env.proxy_replace_header_map_value", "(func (param i32 i32 i32 i32 i32) (result i32))");
const COUNT: (&str, &str) = ("env.proxy_increment_metric", "(func (param i32 i64) (result i32))");
const DEFINE: (&str, &str) =
    ("env.proxy_define_metric", "(func (param i32 i32 i32 i32) (result i32))");

const BUFFER: (&str, &str) =
    ("env.proxy_get_buffer_bytes", "(func (param i32 i32 i32 i32 i32) (result i32))");
const CONTEXT: (&str, &str) =
    ("env.proxy_set_effective_context", "(func (param i32) (result i32))");

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

/// What feature `config` adds: the callback that reads a policy, and the one that says whose a request is.
const CONFIGURE: &str = "proxy_on_configure";
const CONFIGURED: [(&str, &str); 2] = [
    (CONFIGURE, "(func (param i32 i32) (result i32))"),
    ("proxy_on_context_create", "(func (param i32 i32))"),
];

/// A callback that returns a constant, or nothing.
struct Constant {
    name: &'static str,
    kind: &'static str,
    value: Option<u64>,
}

const fn constant(name: &'static str, kind: &'static str, value: Option<u64>) -> Constant {
    Constant { name, kind, value }
}

/// The callbacks that feature `nginx` adds; the first one also defines counters.
const CONSTANTS: [Constant; 9] = [
    constant(START, "(func (param i32 i32) (result i32))", Some(1)),
    constant("proxy_on_context_create", "(func (param i32 i32))", None),
    constant("proxy_on_configure", "(func (param i32 i32) (result i32))", Some(1)),
    constant("proxy_on_request_body", "(func (param i32 i32 i32) (result i32))", Some(0)),
    constant("proxy_on_response_headers", "(func (param i32 i32 i32) (result i32))", Some(0)),
    constant("proxy_on_response_body", "(func (param i32 i32 i32) (result i32))", Some(0)),
    constant("proxy_on_done", "(func (param i32) (result i32))", Some(1)),
    constant("proxy_on_log", "(func (param i32))", None),
    constant("proxy_on_delete", "(func (param i32))", None),
];

/// What a module on the default front has to keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Pages of memory, which never grows.
    pub pages: u64,
    /// Whether the decision writes to the host's log.
    pub log: bool,
    /// Whether it never answers a request.
    pub dry_run: bool,
    /// Whether it takes the header off a request.
    pub remove: bool,
    /// Whether it writes a header of the request.
    pub replace: bool,
    /// Whether it counts in the host's statistics.
    pub count: bool,
    /// Whether it has the callbacks that nginx calls in any case.
    pub nginx: bool,
    /// Whether it reads its policy from the plugin's configuration. The callback that does so loops over what it reads: it
    /// is not followed, and may trap. A request is as in any other gate.
    pub config: bool,
}

impl Contract {
    /// The contract of a gate that reads its policy from the plugin's configuration.
    #[must_use]
    pub fn configured() -> Self {
        let [remove, replace, count, config] = [true; 4];
        Self { pages: PAGES as u64, remove, replace, count, config, ..Self::default() }
    }

    /// The contract of a gate with this policy, with feature `log` or without.
    #[must_use]
    pub fn of(policy: &Policy, log: bool) -> Self {
        let &Policy { count, enforce, .. } = policy;
        let replace = policy.client_header.is_some();
        let passes_others = !enforce || policy.except != Except::default();
        let remove = policy.remove || replace && passes_others;
        let pages = policy.pages() as u64;
        Self { pages, log, dry_run: !enforce, remove, replace, count, ..Self::default() }
    }
}

impl Default for Contract {
    fn default() -> Self {
        let [log, dry_run, remove, replace, count, nginx, config] = [false; 7];
        Self { pages: 1, log, dry_run, remove, replace, count, nginx, config }
    }
}

const NAMES: &str = "`abi`, and any of `+log`, `+dry-run`, `+remove`, `+replace`, `+count`, `+nginx`, \
    `+pages=N`, or `config`";

impl FromStr for Contract {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let mut contract = Self::default();
        let mut parts = name.split('+');
        if name == "config" {
            return Ok(Self::configured());
        }
        anyhow::ensure!(parts.next() == Some("abi"), "unknown contract `{name}`, expected {NAMES}");
        for part in parts {
            match part {
                "log" => contract.log = true,
                "dry-run" => contract.dry_run = true,
                "remove" => contract.remove = true,
                "replace" => contract.replace = true,
                "count" => contract.count = true,
                "nginx" => contract.nginx = true,
                _ => match part.strip_prefix("pages=").map(str::parse) {
                    Some(Ok(pages)) => contract.pages = pages,
                    _ => anyhow::bail!("unknown contract `{name}`, expected {NAMES}"),
                },
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
        let Contract { pages, log, dry_run, remove, replace, count, nginx, config } = *contract;
        let more =
            [(!dry_run, SEND), (log, LOG), (remove, REMOVE), (replace, REPLACE), (count, COUNT)];
        imports.extend(more.into_iter().filter_map(|(used, import)| used.then_some(import)));
        let decision = self.decision(&imports, dry_run, !config);
        imports.extend(count.then_some(DEFINE));
        if config {
            imports.extend([LOG, BUFFER, CONTEXT]);
            exports.extend(CONFIGURED);
        }
        let constants =
            CONSTANTS.iter().filter(|constant| nginx || constant.name == START && count && !config);
        let constants: Vec<_> = constants.collect();
        exports.extend(constants.iter().map(|constant| (constant.name, constant.kind)));
        let mut found = compare("import", &self.imports, &imports);
        found.extend(compare("export", &self.exports, &exports));
        found.extend(self.sections(pages));
        found.extend(decision);
        for function in &self.functions {
            for (refused, what) in [
                (function.grows > 0, "memory.grow"),
                (function.indirect_calls > 0, "indirect call"),
                (function.recursive, "recursion"),
            ] {
                if refused {
                    found.push(format!("{what} in {function}"));
                }
            }
        }
        let followed = |name: &str| !config || name != CONFIGURE;
        for (name, execution) in self.executions.iter().filter(|(name, _)| followed(name)) {
            let calls = !execution.reached.is_empty();
            if calls && name != DECISION && (name != START || !count) {
                found.push(format!("{name} calls the host"));
            }
        }
        found.extend(constants.into_iter().filter_map(|constant| self.differs(constant)));
        let unbounded = |(name, bound): (&String, &Bound)| match bound {
            Bound::Unbounded(why) if followed(name) => Some(format!("{name} is unbounded: {why}")),
            _ => None,
        };
        found.extend(self.paths.iter().filter_map(unbounded));
        let followed = self.executions.iter().filter(|(name, _)| followed(name));
        let traps = followed.flat_map(|(_, execution)| execution.traps.values().cloned());
        found.extend(traps.collect::<BTreeSet<_>>());
        found
    }

    /// What is wrong with the deciding callback: it may not call one of `imports`, or not look at the header if it
    /// `asks` in any case, or it always returns the same.
    fn decision(&self, imports: &[(&str, &str)], dry_run: bool, asks: bool) -> Vec<String> {
        let Some(execution) = self.executions.get(DECISION) else { return Vec::new() };
        if execution.unbounded.is_some() {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (index, Item { name, .. }) in (0..).zip(self.imports.iter().filter(|i| i.is_function()))
        {
            if imports.iter().any(|(wanted, _)| wanted == name)
                && !execution.reached.contains(&index)
            {
                found.push(format!("import {name} is never called by {DECISION}"));
            } else if asks && name == GET.0 && !execution.always_reached.contains(&index) {
                found.push(format!("{DECISION} may return without a call of {name}"));
            }
        }
        let (expected, named) = if dry_run { (Interval::point(0), "0") } else { (BOOL, "0 or 1") };
        match execution.result {
            Some(result) if result == expected => {}
            Some(Interval { lo, hi }) if lo == hi => {
                found.push(format!("{DECISION} always returns {lo}"));
            }
            Some(Interval { lo, hi }) => {
                found.push(format!("{DECISION} may return {lo} to {hi}, expected {named}"));
            }
            None => found.push(format!("{DECISION} never returns")),
        }
        found
    }

    /// What is wrong with a callback that has to return a constant.
    fn differs(&self, constant: &Constant) -> Option<String> {
        let Constant { name, value, .. } = constant;
        let found = self.executions.get(*name)?.result;
        (found != value.map(Interval::point)).then(|| match value {
            Some(value) => format!("{name} does not always return {value}"),
            None => format!("{name} returns a number"),
        })
    }

    /// What is wrong outside of functions.
    fn sections(&self, pages: u64) -> Vec<String> {
        let mut found = Vec::new();
        let expected = Pages { minimum: pages, maximum: Some(pages) };
        match self.memories[..] {
            [memory] if memory == expected => {}
            [memory] => found.push(format!("memory of {memory}, expected {expected}")),
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
            Some(end) if end <= pages * PAGE_SIZE => {}
            Some(end) => {
                let most = pages * PAGE_SIZE;
                found.push(format!("data ends at {end}, expected at most {most} (the memory)"));
            }
            None => found.push("data segment at a computed address".to_owned()),
        }
        found
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
