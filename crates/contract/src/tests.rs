use super::*;

/// A module that keeps to the contract. Each test breaks one item of it.
const GOOD: &str = r#"(module
  (import "env" "proxy_get_header_map_value"
    (func (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1 1)
  (func (export "malloc") (param i32) (result i32)
    (select (i32.const 8) (i32.const 65536) (i32.eq (local.get 0) (i32.const 4))))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (result i32)
      (call 0 (i32.const 0) (i32.const 20) (i32.const 5) (i32.const 16) (i32.const 12))
      (then
        (drop (call 1 (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
        (i32.const 1))
      (else (i32.const 0))))
  (data (i32.const 20) "allow"))"#;

fn of(wat: &str) -> Properties {
    inspect(&wat::parse_str(wat).unwrap()).unwrap()
}

/// `GOOD` with `from` replaced, which has to be there.
fn changed(from: &str, to: &str) -> Properties {
    assert!(GOOD.contains(from), "{from}");
    of(&GOOD.replacen(from, to, 1))
}

/// `GOOD` with something more at its end.
fn with(more: &str) -> Properties {
    of(&format!("{}\n{more})", GOOD.strip_suffix(')').unwrap()))
}

fn violations(properties: &Properties) -> Vec<String> {
    properties.violations(&Contract::default())
}

#[test]
fn a_module_that_keeps_to_the_contract_has_no_violations() {
    assert_eq!(violations(&of(GOOD)), Vec::<String>::new());
}

#[test]
fn each_item_outside_the_contract_is_named() {
    let log = r#"(import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))"#;
    let get = format!("(import \"env\" \"proxy_get_header_map_value\" {GET})");
    let global = r#"(import "env" "g" (global i32))"#;
    // Imports come first in a module.
    let imported = |import: &str| changed("(memory", &format!("{import} (memory"));
    for (properties, expected) in [
        (
            changed("env\" \"proxy_send", "wasi\" \"proxy_send"),
            &[
                "import wasi.proxy_send_local_response, which is not in the contract",
                "import env.proxy_send_local_response is missing",
            ][..],
        ),
        (imported(log), &["import env.proxy_log, which is not in the contract"]),
        (imported(global), &["import env.g, which is not in the contract"]),
        (imported(&get), &["import env.proxy_get_header_map_value twice"]),
        (
            of(&GOOD
                .replace("(param i32 i32 i32 i32 i32 i32 i32 i32)", "(param i32)")
                .replace(SEND, "(drop (call 1 (i32.const 0)))")),
            &["import env.proxy_send_local_response is (i32) -> i32, not \
               (i32, i32, i32, i32, i32, i32, i32, i32) -> i32"],
        ),
        (
            with("(func (export \"proxy_on_log\"))"),
            &["export proxy_on_log, which is not in the contract"],
        ),
        (
            with("(global (export \"__heap_base\") i32 (i32.const 9))"),
            &["export __heap_base, which is not in the contract"],
        ),
        (changed("(export \"memory\")", ""), &["export memory is missing"]),
        (
            changed("(export \"proxy_abi_version_0_2_1\")", ""),
            &["export proxy_abi_version_0_2_1 is missing"],
        ),
        (
            changed("\"proxy_abi_version_0_2_1\")", "\"proxy_abi_version_0_2_1\") (param i32)"),
            &["export proxy_abi_version_0_2_1 is (i32), not ()"],
        ),
        (changed("\"memory\") 1 1", "\"memory\") 1 2"), &["memory of 1 to 2 pages, not 1 to 1"]),
        (changed("\"memory\") 1 1", "\"memory\") 0 1"), &["memory of 0 to 1 pages, not 1 to 1"]),
        (changed("\"memory\") 1 1", "\"memory\") 1"), &["memory of 1 pages and no maximum"]),
        (with("(@custom \"producers\" \"x\")"), &["custom section `producers`"]),
        (with("(global (mut i32) (i32.const 0))"), &["mutable global 0"]),
        (with("(table 1 funcref)"), &["1 tables, not 0"]),
        (
            with("(table 1 funcref) (elem (i32.const 0) 2)"),
            &["1 tables, not 0", "1 element segments, not 0"],
        ),
        (with("(start 3)"), &["function 3 runs at the start"]),
        (
            changed("(data (i32.const 20)", "(data (i32.const 65532)"),
            &["data up to 65537, past the one page of 65536 bytes"],
        ),
        (
            of(&GOOD
                .replace("(memory", &format!("{global} (memory"))
                .replace("(data (i32.const 20)", "(data (global.get 0)")),
            &["import env.g, which is not in the contract", "data at a computed address"],
        ),
        (
            changed(SEND, "(drop (i32.const 0))"),
            &["import env.proxy_send_local_response, which proxy_on_request_headers never calls"],
        ),
        (changed("(i32.const 1))\n", "unreachable)\n"), &["unreachable in function 4"]),
        (with("(func (drop (memory.grow (i32.const 1))))"), &["memory.grow in function 5"]),
        (
            with("(table 1 funcref) (func (call_indirect (i32.const 0)))"),
            &["1 tables, not 0", "indirect call in function 5"],
        ),
        (with("(func (call 5))"), &["recursion in function 5"]),
        (
            with("(func (call 6)) (func (call 5))"),
            &["recursion in function 5", "recursion in function 6"],
        ),
        (with("(func (loop (br 0)))"), &["loop in function 5"]),
        (
            changed("(func (export \"malloc\") (param i32) (result i32)", LOOPING),
            &["loop in function 2 (malloc)"],
        ),
        (
            with("(func (drop (i32.extend8_s (i32.const 1))))"),
            &["not WebAssembly 1.0: sign extension operations support is not enabled"],
        ),
        (
            with("(func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))"),
            &["not WebAssembly 1.0: bulk memory support is not enabled"],
        ),
    ] {
        let found = violations(&properties);
        assert_eq!(found.len(), expected.len(), "{found:?} {expected:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found:?} {expected:?}");
        }
    }
}

const GET: &str = "(func (param i32 i32 i32 i32 i32) (result i32))";
const SEND: &str = "(drop (call 1 (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) \
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))";
const LOOPING: &str = "(func (export \"malloc\") (param i32) (result i32) (loop (br_if 0 \
                       (local.get 0)))";

#[test]
fn log_and_loops_are_for_those_who_have_them() {
    let log = Contract { log: true, loops: true };
    assert_eq!(of(GOOD).violations(&log), ["import env.proxy_log is missing"]);
    let looping = with("(func (loop (br 0)))");
    assert!(looping.violations(&Contract { log: false, loops: true }).is_empty());
    assert!("abi+loop".parse::<Contract>().is_err());
    assert_eq!("abi+log".parse::<Contract>().unwrap(), log);
}

fn bound(body: &str) -> Bound {
    let module = format!(
        "(module (import \"\" \"\" (func)) (table 1 funcref) \
         (func (export \"malloc\") (param i32) {body}) \
         (func nop nop nop) (func (call 3)) (func (loop (br 0))))"
    );
    of(&module).paths["malloc"].clone()
}

#[test]
fn the_longest_path_is_the_dearest_of_all_that_can_be_taken() {
    for (body, expected) in [
        ("", 0),
        ("nop nop", 2),
        ("(block nop (block nop))", 2),
        // The condition, the `if` and the longer side.
        ("(if (local.get 0) (then nop) (else nop nop nop))", 5),
        ("(if (local.get 0) (then nop nop nop) (else nop))", 5),
        ("(if (local.get 0) (then nop)) nop", 4),
        // The jump leaves out what follows, unless it is not taken.
        ("(block br 0 nop nop nop) nop", 2),
        ("(block (br_if 0 (local.get 0)) nop nop) nop", 5),
        ("(block (block (br_if 1 (local.get 0)) nop) nop) nop", 5),
        ("(block (block (br_table 0 1 (local.get 0))) nop nop) nop", 5),
        ("(if (local.get 0) (then return)) nop", 3),
        ("(if (local.get 0) (then nop nop nop return)) nop", 6),
        ("unreachable nop nop nop", 1),
        ("(block (block (br 1)) nop nop nop) nop", 2),
        // Callees count, the host's own work does not; nor does a loop that nothing leads to.
        ("(call 0)", 1),
        ("(call 2) (call 2)", 8),
        ("return (loop (br 0))", 1),
        ("return (call 3)", 1),
    ] {
        assert_eq!(bound(body), Bound::Instructions(expected), "{body}");
    }
}

#[test]
fn a_path_without_end_names_its_reason() {
    for (body, expected) in [
        ("(loop (br 0))", "loop in function 1 (malloc)"),
        ("(call 4)", "loop in function 4"),
        ("(call 1 (i32.const 0))", "recursion in function 1 (malloc)"),
        ("(call_indirect (i32.const 0))", "indirect call in function 1 (malloc)"),
    ] {
        assert_eq!(bound(body), Bound::Unbounded(expected.to_owned()), "{body}");
    }
}

#[test]
fn a_long_chain_of_calls_is_no_trouble() {
    let chain: String = (2..20_000).map(|next| format!("(func (call {next}))")).collect();
    let properties =
        of(&format!("(module (func (export \"malloc\") (call 1)) {chain} (func nop))"));
    assert_eq!(properties.paths["malloc"], Bound::Instructions(20_000));
    assert!(properties.functions.iter().all(|function| !function.recursive));
}

#[test]
fn what_is_no_module_is_one_error() {
    let good = wat::parse_str(GOOD).unwrap();
    for (bytes, expected) in [
        (&b""[..], "not a WebAssembly module"),
        (b"# text", "not a WebAssembly module"),
        (&good[..6], "not a valid WebAssembly module"),
        (&good[..good.len() - 3], "not a valid WebAssembly module"),
        (&wat::parse_str("(component)").unwrap(), "a WebAssembly component, not a module"),
        (
            &wat::parse_str("(module (type (struct)))").unwrap(),
            "a type that no Proxy-Wasm host takes",
        ),
    ] {
        let error = format!("{:#}", inspect(bytes).unwrap_err());
        assert!(error.starts_with(expected) && !error.contains('\n'), "{error}");
    }
    let nonsense = wat::parse_str("(module (func (result i32)))").unwrap();
    let error = inspect(&nonsense).unwrap_err().to_string();
    assert!(error.starts_with("not a valid WebAssembly module: type mismatch"), "{error}");
}

#[test]
fn the_table_tells_numbers_and_names() {
    let table = of(GOOD).to_string();
    for line in [
        "imports             env.proxy_get_header_map_value\n",
        "                    env.proxy_send_local_response\n",
        "memory              1 to 1 pages of 64 KiB\n",
        "data                5 bytes\n",
        "loops               none\n",
        "WebAssembly         1.0 (MVP) only\n",
        "instructions, most  malloc: 6\n",
        "                    proxy_on_request_headers: 18\n",
    ] {
        assert!(table.contains(line), "{line}{table}");
    }
    let table = with("(func (loop (br 0)) (loop (br 0)))").to_string();
    assert!(table.contains("loops               2 in function 5\n"), "{table}");
}
