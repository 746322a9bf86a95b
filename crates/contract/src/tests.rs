mod contracts;
mod values;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Bound, Contract, Properties, inspect};

/// A module that keeps to the contract. The comments mark where a test adds something.
const GOOD: &str = r#"(module
  (import "env" "proxy_get_header_map_value"
    (func (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (;imports;)
  (memory (export "memory") 1 1)
  (func (export "malloc") (export "proxy_abi_version_0_2_1") (param i32) (result i32)
    (select (i32.const 8) (i32.const 65536) (i32.eq (local.get 0) (i32.const 4))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (result i32)
      (call 0 (i32.const 0) (i32.const 20) (i32.const 5) (i32.const 16) (i32.const 12))
      (then
        (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)
        (call 1)
        (drop)
        (i32.const 1))
      (else (i32.const 0))))
  (data (i32.const 20) "allow")
  (;end;))"#;

const END: &str = "(;end;)";

fn properties(wat: &str) -> Properties {
    inspect(&wat::parse_str(wat).unwrap()).unwrap()
}

/// The properties of `GOOD` after one replacement, and with more at its end.
fn changed(from: &str, to: &str, end: &str) -> Properties {
    assert!(GOOD.contains(from), "{from}");
    properties(&GOOD.replacen(from, to, 1).replace(END, end))
}

/// `tests.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    bounds: BTreeMap<String, Bound>,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    contract: Option<String>,
    replace: Option<String>,
    by: String,
    #[serde(default)]
    end: String,
    violations: Vec<String>,
}

fn table() -> Table {
    toml::from_str(include_str!("tests.toml")).unwrap()
}

#[test]
fn each_violation_of_the_contract_is_named() {
    for Case { contract, replace, by, end, violations } in table().case {
        let contract = contract.as_deref().unwrap_or("abi").parse().unwrap();
        let properties = changed(replace.as_deref().unwrap_or(END), &by, &end);
        let found = properties.violations(&contract);
        assert_eq!(found.len(), violations.len(), "{by}: {found:?} {violations:?}");
        for (found, expected) in found.iter().zip(violations) {
            assert!(found.starts_with(&expected), "{by}: {found:?} {expected:?}");
        }
    }
    assert!("abi+loop".parse::<Contract>().is_err());
}

#[test]
fn the_bound_of_a_function_is_its_longest_path() {
    for (body, expected) in &table().bounds {
        let module = format!(
            "(module (import \"\" \"\" (func)) (table 1 funcref) \
             (func (export \"malloc\") (param i32) {body}) \
             (func nop nop nop) (func (call 3)) (func (loop (br 0))))"
        );
        assert_eq!(properties(&module).paths["malloc"], *expected, "{body}");
    }
}

#[test]
fn a_long_chain_of_calls_has_no_bound_and_does_not_overflow_the_stack() {
    let chain = |length: u32| {
        let chain: String = (2..length).map(|next| format!("(func (call {next}))")).collect();
        properties(&format!("(module (func (export \"malloc\") (call 1)) {chain} (func nop))"))
    };
    assert_eq!(chain(64).paths["malloc"], Bound::Instructions(64));
    let properties = chain(20_000);
    let why = "more than 1000 locals or 64 open calls in function 64".to_owned();
    assert_eq!(properties.paths["malloc"], Bound::Unbounded(why));
    assert!(properties.functions.iter().all(|function| !function.recursive));
}

/// Each would take for ever, or all memory, without a limit.
#[test]
fn the_work_is_limited() {
    let twice: String = (1..60).map(|i| format!("(func (call {i}) (call {i}))")).collect();
    let locals = "i32 ".repeat(900);
    let exports: String = (0..399).map(|i| format!("(func (export \"{i}\"))")).collect();
    for (module, expected) in [
        (format!("{twice} (func) (export \"malloc\" (func 0))"), "more than 16777216 steps, "),
        (
            format!("(func (export \"malloc\") (local {locals}) {FOR_EVER})"),
            "more than 16777216 steps, ",
        ),
        // 12000 rounds of seven instructions, each of which copies the locals twice.
        (
            format!(
                "(func (export \"malloc\") (local {locals}) (loop (br_if 0 (i32.lt_u (local.tee 0 \
                 (i32.add (local.get 0) (i32.const 1))) (i32.const 12000)))))"
            ),
            "more than 16777216 steps, ",
        ),
        (
            format!("(func (export \"malloc\") (local {locals} {locals}))"),
            "more than 1000 locals or 64 open calls in function 0",
        ),
        (
            format!(
                "(func (export \"malloc\") {} {})",
                "i32.const 0 ".repeat(2000),
                "drop ".repeat(2000)
            ),
            "more than 1000 operands in function 0",
        ),
        // Many exports share the steps of 16.
        (
            format!("{exports} (func (export \"malloc\") (local i32) {FOR_EVER})"),
            "more than 671088 steps, ",
        ),
    ] {
        let bound = &properties(&format!("(module {module})")).paths["malloc"];
        let right = matches!(bound, Bound::Unbounded(why) if why.starts_with(expected));
        assert!(right, "{expected}: {bound:?}");
    }
    let (depth, nested) = (20_000, "block ".repeat(20_000));
    let nested = format!("{nested} br {} {}", depth - 1, "end ".repeat(depth));
    let nested = properties(&format!("(module (func (export \"malloc\") {nested}))"));
    assert_eq!(nested.paths["malloc"], Bound::Instructions(1));
}

/// A counter that wraps around.
const FOR_EVER: &str = "(loop (br_if 0 (local.tee 0 (i32.add (local.get 0) (i32.const 1)))))";

#[test]
fn a_damaged_module_is_an_error_or_has_properties() {
    let good = wat::parse_str(GOOD).unwrap();
    let mut valid = 0;
    for (at, bit) in (0..good.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << bit;
        if let Ok(properties) = inspect(&bytes) {
            valid += 1;
            let _ = properties.violations(&Contract::default());
        }
    }
    assert!(valid > 100, "{valid}");
}

#[test]
fn a_file_that_is_not_a_module_is_one_clear_error() {
    let wasm = |wat| wat::parse_str(wat).unwrap();
    let good = wasm(GOOD);
    for (bytes, expected) in [
        (&b""[..], "not a WebAssembly module"),
        (b"# text", "not a WebAssembly module"),
        (&good[..6], "not a valid WebAssembly module"),
        (&good[..good.len() - 3], "not a valid WebAssembly module"),
        (&wasm("(module (func (result i32)))"), "not a valid WebAssembly module: type mismatch"),
        (&wasm("(component)"), "this is a WebAssembly component, expected a module"),
    ] {
        let error = format!("{:#}", inspect(bytes).unwrap_err());
        assert!(error.starts_with(expected) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn the_table_and_the_json_show_numbers_and_names() {
    let good = properties(GOOD);
    let table = good.to_string();
    for line in [
        "imports             env.proxy_get_header_map_value\n",
        "                    env.proxy_send_local_response\n",
        "memory              1 to 1 pages of 64 KiB\n",
        "data                5 bytes\n",
        "tables              none\n",
        "functions           2\n",
        "loops               none\n",
        "WebAssembly         1.0 (MVP) only\n",
        "most instructions   malloc: 6\n",
        "                    proxy_on_request_headers: 18\n",
    ] {
        assert!(table.contains(line), "{line}{table}");
    }
    let looping =
        changed(END, "(table 1 funcref) (func (loop (br 0)) (loop (br 0)))", "").to_string();
    assert!(looping.contains("loops               2 in function 4\n"), "{looping}");
    assert!(looping.contains("tables              1\n"), "{looping}");

    // Four functions are listed, more are counted.
    let loops = |functions: usize| {
        let functions = "(func (loop)) ".repeat(functions);
        properties(&format!("(module {functions})")).to_string()
    };
    let (few, many) = (loops(4), loops(5));
    assert!(few.contains("1 in function 3\n") && !few.contains("4 in"), "{few}");
    assert!(many.contains("loops               5 in 5 functions\n"), "{many}");

    let json = serde_json::to_value(&good).unwrap();
    assert_eq!(json["bytes"], wat::parse_str(GOOD).unwrap().len());
    assert!((100..good.bytes).contains(&good.gzip), "{}", good.gzip);
    assert_eq!(json["exports"][1]["name"], "malloc");
    assert_eq!(json["exports"][1]["type"], "(func (param i32) (result i32))");
    assert_eq!(json["memories"][0]["maximum"], 1);
    assert_eq!(json["paths"]["malloc"]["instructions"], 6);
}
