//! Every build against the conformance table and its own policy, in the embedded host.

mod support;

use std::fs;

use header_gate_cli::build::toolchain::{TARGET, Toolchain};
use header_gate_cli::build::variant::Variant;
use header_gate_host::conformance::{self, Case};
use header_gate_host::{LocalResponse, Outcome, Plugin};
use support::{denial, fronts, module, policies, policy, root, start};

const HEADER: &str = "allow";

fn table() -> Vec<Case> {
    conformance::read(&root().join("tests/conformance.toml")).unwrap()
}

#[track_caller]
fn assert_answer(outcome: &Outcome, passes: bool, denial: &LocalResponse, about: &str) {
    assert_eq!(outcome.passes(), passes, "{about}: {outcome:?}");
    assert_eq!(outcome.response.as_ref(), (!passes).then_some(denial), "{about}");
}

#[test]
fn the_conformance_table_holds_for_every_build_of_the_committed_policy() {
    for variant in fronts() {
        let (mut vm, denial) = (start(&variant), denial(&variant));
        for case in table() {
            let about = format!("{}: {}", variant.name(), case.name);
            let outcome = vm.request(case.value(HEADER)).unwrap();
            assert_answer(&outcome, case.passes, &denial, &about);
            let good = vm.request(Some(b"true")).unwrap();
            assert!(good.passes(), "{about}: the next good request");
        }
    }
}

#[test]
fn the_articles_own_build_makes_a_working_plugin() {
    // `cargo build --target wasm32-wasip1 --release`, and no wasm-opt.
    let folder = root().join("target/tmp/article");
    let mut cargo = Toolchain::find_or_install().unwrap().cargo("build", root(), false);
    cargo.arg("--target-dir").arg(&folder);
    assert!(cargo.status().unwrap().success());
    let module = folder.join(TARGET).join("release/header_gate.wasm");
    let mut vm = Plugin::new(&fs::read(module).unwrap()).unwrap().start().unwrap();
    let denial = denial(&Variant::default());
    for case in table() {
        let outcome = vm.request(case.value(HEADER)).unwrap();
        assert_answer(&outcome, case.passes, &denial, &case.name);
    }
}

#[test]
fn the_plain_plugin_answers_alike_until_a_byte_is_not_utf_8() {
    let (mut vm, denial) = (start(&Variant::baseline()), denial(&Variant::baseline()));
    let (text, bytes): (Vec<Case>, Vec<Case>) = table()
        .into_iter()
        .partition(|case| case.value(HEADER).is_none_or(|value| str::from_utf8(value).is_ok()));
    assert!(!text.is_empty() && !bytes.is_empty());
    for case in text {
        let outcome = vm.request(case.value(HEADER)).unwrap();
        assert_answer(&outcome, case.passes, &denial, &case.name);
    }
    for case in bytes {
        let mut vm = start(&Variant::baseline());
        assert!(vm.request(Some(b"true")).unwrap().passes());
        assert!(vm.request(case.value(HEADER)).is_err(), "{}: it lives on", case.name);
    }
}

#[test]
fn each_policy_lets_its_values_pass_and_denies_the_rest_with_its_own_answer() {
    for variant in policies() {
        let (policy, denial) = (policy(&variant), denial(&variant));
        let (mut vm, variant) = (start(&variant), variant.name());
        for value in &policy.values {
            let good = vm.request(Some(value.as_bytes())).unwrap();
            assert_answer(&good, true, &denial, &format!("{variant}: {value}"));
            let shorter = &value.as_bytes()[1..];
            let longer = [value.as_bytes(), b"x"].concat();
            let other = value.to_ascii_uppercase().replace(char::is_numeric, "0");
            for bad in [None, Some(&b""[..]), Some(shorter), Some(&longer), Some(other.as_bytes())]
            {
                let outcome = vm.request(bad).unwrap();
                assert_answer(&outcome, false, &denial, &format!("{variant}: {bad:?}"));
            }
        }
    }
}

#[test]
fn the_log_build_writes_the_articles_two_lines_and_no_other_build_any() {
    for variant in [Variant::log(), Variant::sdk_log()] {
        let (mut vm, variant) = (start(&variant), variant.name());
        let called = |n: u32| format!("#{n} wasm-rust: on_http_request_headers");
        let denied = |n: u32| {
            format!("#{n} wasm-rust: allow header not found or is not true, deny by default")
        };
        assert_eq!(vm.request(None).unwrap().log, [called(2), denied(2)], "{variant}");
        assert_eq!(vm.request(Some(b"true")).unwrap().log, [called(3)], "{variant}");
        assert_eq!(vm.request(Some(b"\xff")).unwrap().log, [called(4), denied(4)], "{variant}");
        for n in 5..120 {
            assert_eq!(vm.request(Some(b"no")).unwrap().log, [called(n), denied(n)], "{variant}");
        }
    }
    for variant in [Variant::default(), Variant::sdk()] {
        assert!(start(&variant).request(None).unwrap().log.is_empty(), "{variant:?}");
        let module = module(&variant);
        assert!(!module.windows(9).any(|bytes| bytes == b"wasm-rust"), "{variant:?}");
    }
}
