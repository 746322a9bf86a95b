//! Contracts other than the plain one: which one a policy asks for, and what each allows.

use std::path::Path;

use header_gate_config::PAGES;
use header_gate_policy::Policy;

use super::properties;
use crate::Contract;

#[test]
fn the_contract_of_a_policy_allows_what_its_options_need() {
    let values = "values = [\"true\"]";
    let client = "client_header = \"x-id\"\n[[client]]\nid = \"a\"\nvalue = \"1\"";
    for (options, expected) in [
        (values.to_owned(), "abi"),
        (format!("{values}\nremove = true"), "abi+remove"),
        (format!("{values}\ncount = true"), "abi+count"),
        (format!("{values}\nenforce = false"), "abi+dry-run"),
        (format!("{values}\n[except]\npreflight = true"), "abi"),
        (client.to_owned(), "abi+replace"),
        // A request that passes without a client loses the header that would name one.
        (format!("enforce = false\n{client}"), "abi+dry-run+replace+remove"),
        (format!("{client}\n[except]\npaths = [\"/a\"]"), "abi+replace+remove"),
    ] {
        let text = format!("header = \"allow\"\n{options}\n[deny]\nstatus = 403");
        let policy = Policy::parse(&text, Path::new("policy.toml")).unwrap();
        assert_eq!(Contract::of(&policy, false), expected.parse().unwrap(), "{options}");
        let log = format!("{expected}+log").parse().unwrap();
        assert_eq!(Contract::of(&policy, true), log, "{options}");
    }
    let mut text = "header = \"allow\"\ndeny.status = 403".to_owned();
    for n in 0..5000 {
        text += &format!("\n[[client]]\nid = \"{n}\"\nvalue = \"{n:036}\"");
    }
    let policy = Policy::parse(&text, Path::new("policy.toml")).unwrap();
    let pages = policy.pages();
    assert!(pages > 1);
    assert_eq!(Contract::of(&policy, false), format!("abi+pages={pages}").parse().unwrap());
}

#[test]
fn the_name_of_a_contract_sets_one_field_for_each_part() {
    let plain = Contract::default();
    for (name, expected) in [
        ("abi", plain),
        ("abi+log", Contract { log: true, ..plain }),
        ("abi+dry-run", Contract { dry_run: true, ..plain }),
        ("abi+remove", Contract { remove: true, ..plain }),
        ("abi+replace", Contract { replace: true, ..plain }),
        ("abi+count", Contract { count: true, ..plain }),
        ("abi+nginx", Contract { nginx: true, ..plain }),
        ("abi+pages=3", Contract { pages: 3, ..plain }),
    ] {
        assert_eq!(name.parse::<Contract>().unwrap(), expected, "{name}");
    }
    for name in ["", "abi+", "abi+loop", "abi+config", "config+log", "abi+pages=", "abi+pages=x"] {
        assert!(name.parse::<Contract>().is_err(), "{name}");
    }
}

/// What a good module for a contract has, with one thing replaced, and how the violations begin.
type Cases<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];

#[track_caller]
fn violate(good: &str, contract: Contract, cases: Cases<'_>) {
    for (from, to, expected) in cases {
        assert!(good.contains(from), "{from}");
        let found = properties(&good.replacen(from, to, 1)).violations(&contract);
        assert_eq!(found.len(), expected.len(), "{from:?} by {to:?}: {found:?}");
        for (found, expected) in found.iter().zip(*expected) {
            assert!(found.starts_with(expected), "{from:?} by {to:?}: {found:?}");
        }
    }
}

/// The imports of a gate with every option.
const IMPORTS: &str = r#"
  (import "env" "proxy_get_header_map_value" (func (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func (param i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func (param i32 i64) (result i32)))
  (import "env" "proxy_define_metric" (func (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))"#;

/// Calls of two of them.
const DEFINE: &str = "(call 5 (i32.const 0) (i32.const 20) (i32.const 5) (i32.const 8))";
const LOG: &str = "(drop (call 6 (i32.const 2) (i32.const 20) (i32.const 5)))";

/// A decision that calls each of the others.
const DECISION: &str = r#"
  (func (export "malloc") (export "proxy_abi_version_0_2_1") (param i32) (result i32)
    (i32.const 8))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (;first;)
    (drop (call 2 (i32.const 0) (i32.const 20) (i32.const 5)))
    (drop (call 3 (i32.const 0) (i32.const 20) (i32.const 5) (i32.const 20) (i32.const 5)))
    (drop (call 4 (i32.const 0) (i64.const 1)))
    (if (call 0 (i32.const 0) (i32.const 20) (i32.const 5) (i32.const 16) (i32.const 12))
      (then (return (i32.const 0))))
    (drop (call 1 (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
    (i32.const 1))
  (data (i32.const 20) "allow")"#;

#[test]
fn only_the_callback_that_starts_defines_counters() {
    let good = format!(
        r#"(module {IMPORTS} (memory (export "memory") 1 1) {DECISION}
          (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
            (drop {DEFINE})
            (i32.const 1))
          (;end;))"#
    );
    let good = good.replace("(;first;)", LOG);
    let contract = "abi+log+remove+replace+count".parse().unwrap();
    violate(
        &good,
        contract,
        &[
            ("", "", &[]),
            (
                "proxy_on_vm_start",
                "proxy_on_done",
                &[
                    "unexpected export proxy_on_done",
                    "missing export proxy_on_vm_start",
                    "proxy_on_done calls the host",
                ],
            ),
            (
                "(i32.const 8))",
                &format!("{DEFINE})"),
                &["malloc calls the host", "proxy_abi_version_0_2_1 calls the host"],
            ),
            (DEFINE, "(i32.const 8)", &[]),
            (LOG, "", &["import env.proxy_log is never called"]),
        ],
    );
    let without = Contract { count: false, ..contract };
    violate(
        &good,
        without,
        &[(
            "",
            "",
            &[
                "unexpected import env.proxy_increment_metric",
                "unexpected import env.proxy_define_metric",
                "unexpected export proxy_on_vm_start",
                "proxy_on_vm_start calls the host",
            ],
        )],
    );
}

#[test]
fn a_gate_that_reads_its_policy_does_so_in_one_callback() {
    let good = format!(
        r#"(module {IMPORTS}
          (import "env" "proxy_get_buffer_bytes" (func (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_set_effective_context" (func (param i32) (result i32)))
          (memory (export "memory") {PAGES} {PAGES}) {DECISION}
          (func (export "proxy_on_context_create") (param i32 i32) (;create;))
          (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (;configure;)
            (call 7 (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 8) (i32.const 12)))
          (;end;))"#
    );
    let wrong = "memory of 1 to 1 pages of 64 KiB";
    violate(
        &good,
        Contract::configured(),
        &[
            ("", "", &[]),
            ("(;configure;)", "(loop (br 0))", &[]),
            ("(;configure;)", &format!("(drop (i32.load (i32.const -1))) {LOG}"), &[]),
            ("(;create;)", "(loop (br 0))", &["proxy_on_context_create is unbounded"]),
            ("(;create;)", "unreachable", &["unreachable in "]),
            ("(;create;)", LOG, &["proxy_on_context_create calls the host"]),
            // It is not known whose request it is.
            ("(;first;)", "(if (local.get 0) (then (return (i32.const 1))))", &[]),
            ("(;first;)", LOG, &[]),
            ("(;end;)", "(global (mut i32) (i32.const 0))", &["mutable global 0"]),
            (&format!("{PAGES} {PAGES}"), "1 1", &[wrong]),
            (
                "\"proxy_on_configure\"",
                "\"proxy_on_vm_start\"",
                &["unexpected export proxy_on_vm_start", "missing export proxy_on_configure"],
            ),
            (
                "(call 4 (i32.const 0) (i64.const 1))",
                "(i32.const 0)",
                &["import env.proxy_increment_metric is never called"],
            ),
        ],
    );
    for (contract, missing) in [
        (Contract { remove: false, ..Contract::configured() }, "remove_header_map_value"),
        (Contract { replace: false, ..Contract::configured() }, "replace_header_map_value"),
    ] {
        let found = properties(&good).violations(&contract);
        assert_eq!(found, [format!("unexpected import env.proxy_{missing}")]);
    }
}
