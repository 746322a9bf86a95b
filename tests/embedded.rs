//! Every build in the embedded host, against the conformance table and its own policy.

mod support;

use std::fs;

use header_gate_cli::build::toolchain::{TARGET, Toolchain};
use header_gate_cli::build::variant::Variant;
use header_gate_contract::{Bound, inspect};
use header_gate_host::conformance::Case;
use header_gate_host::{Gateway, LocalResponse, Plugin, gate};
use support::{
    abi_builds, check, conforms, denial, module, policy, root, sdk_builds, start, table,
};

/// The value of the committed policy's header.
fn value(case: &Case) -> Option<&[u8]> {
    case.value("allow", Gateway::Envoy)
}

#[test]
fn the_nginx_build_conforms_in_every_gateway() {
    let (module, denial) = (module(&Variant::nginx()), denial(&Variant::nginx()));
    let plugin = Plugin::new(&module).unwrap();
    for gateway in [Gateway::Envoy, Gateway::Nginx, Gateway::Apisix] {
        let mut vm = plugin.start_in(gateway).unwrap();
        let denial = LocalResponse { body: gateway.body(denial.body.clone()), ..denial.clone() };
        for case in table() {
            let value = case.value("allow", gateway);
            // nginx leaves a tab at the end of a value.
            let passes = case.passes && value == Some(b"true");
            let about = format!("{gateway:?}: {}", case.name);
            check(&mut vm, value, passes, &denial, &about);
            check(&mut vm, Some(b"true"), true, &denial, &format!("{about}, the next request"));
        }
    }
    let tabs = table().into_iter().filter(|case| {
        case.passes && case.value("allow", Gateway::Nginx) != case.value("allow", Gateway::Envoy)
    });
    assert_eq!(tabs.count(), 1, "a value with a tab shows the difference");
}

#[test]
fn nginx_and_apisix_refuse_the_default_build_and_nginx_takes_the_sdk_build() {
    let start = |variant: &Variant, gateway| {
        let started = Plugin::new(&module(variant)).unwrap().start_in(gateway);
        started.map_err(|error| error.to_string())
    };
    let error = start(&Variant::default(), Gateway::Nginx).err().unwrap();
    assert!(error.starts_with("filter missing one of proxy_on_context_create"), "{error}");
    let error = start(&Variant::default(), Gateway::Apisix).err().unwrap();
    assert_eq!(error, "proxy_on_configure returns no number above 0");
    for variant in sdk_builds() {
        let mut vm = start(&variant, Gateway::Nginx).unwrap();
        assert!(vm.request(Some(b"true")).unwrap().passes(), "{}", variant.name());
        assert_eq!(vm.request(None).unwrap().response.unwrap().status, 403);
    }
}

/// The bound that the contract finds is no lower than what is executed.
#[test]
fn no_request_takes_more_instructions_than_the_bound() {
    let all = Variant::policies(root()).unwrap().into_iter().chain(abi_builds());
    for variant in all.chain([Variant::nginx()]) {
        let bytes = module(&variant);
        let properties = inspect(&bytes).unwrap();
        let bound = |name: &str| match &properties.paths[name] {
            Bound::Instructions(most) => *most,
            Bound::Unbounded(why) => panic!("{}: {why}", variant.name()),
        };
        let mut vm = Plugin::new(&bytes).unwrap().start().unwrap();
        let policy = policy(&variant);
        let values = policy.accepted().into_iter().map(|value| Some(value.as_bytes()));
        for value in values.chain([None, Some(&b""[..]), Some(b"true"), Some(b"\xff")]) {
            let cost = vm.request(value).unwrap().cost;
            let most =
                bound("proxy_on_request_headers") + bound("malloc") * u64::from(cost.allocations);
            // wasmtime also counts that a function begins. The other callbacks return a constant.
            let others = u64::from(cost.callbacks) + properties.functions.len() as u64;
            assert!(cost.fuel <= most + others, "{}: {cost:?} and {most}", variant.name());
        }
    }
}

#[test]
fn every_abi_build_of_the_committed_policy_conforms() {
    abi_builds().iter().for_each(|variant| conforms(start(variant), variant));
}

#[test]
fn every_sdk_build_of_the_committed_policy_conforms() {
    sdk_builds().iter().for_each(|variant| conforms(start(variant), variant));
}

#[test]
fn plain_cargo_build_makes_a_working_plugin() {
    // `cargo build --target wasm32-wasip1 --release`, without wasm-opt.
    let folder = root().join("target/tmp/article");
    let mut cargo = Toolchain::find_or_install().unwrap().cargo("build", root(), false);
    cargo.arg("--target-dir").arg(&folder);
    assert!(cargo.status().unwrap().success());
    let module = folder.join(TARGET).join("release/header_gate.wasm");
    let plugin = Plugin::new(&fs::read(module).unwrap()).unwrap();
    conforms(plugin.start().unwrap(), &Variant::default());
}

#[test]
fn the_sdk_baseline_conforms_until_a_value_is_not_utf_8() {
    let (text, bytes): (Vec<Case>, Vec<Case>) = table()
        .into_iter()
        .partition(|case| value(case).is_none_or(|value| str::from_utf8(value).is_ok()));
    assert!(!text.is_empty() && !bytes.is_empty());
    let plugin = Plugin::new(&module(&Variant::baseline())).unwrap();
    let (mut vm, denial) = (plugin.start().unwrap(), denial(&Variant::baseline()));
    for case in text {
        check(&mut vm, value(&case), case.passes, &denial, &case.name);
    }
    for case in bytes {
        let mut vm = plugin.start().unwrap();
        check(&mut vm, Some(b"true"), true, &denial, &case.name);
        assert!(vm.request(value(&case)).is_err(), "{}: no trap", case.name);
    }
}

#[test]
fn each_policy_passes_its_values_and_denies_all_others_with_its_own_answer() {
    for variant in Variant::policies(root()).unwrap() {
        let (policy, mut vm, name) = (policy(&variant), start(&variant), variant.name());
        gate::check(&module(&variant), &policy).unwrap();
        for accepted in policy.accepted() {
            let longer = format!("{accepted}x");
            let other = accepted.to_ascii_uppercase().replace(char::is_numeric, "0");
            for bad in [None, Some(""), Some(&accepted[1..]), Some(&longer), Some(&other)] {
                let field = bad.map(|value| (policy.header.as_str(), value.as_bytes()));
                let outcome = vm.request_of(field.as_slice()).unwrap();
                let denial = LocalResponse::of(&policy, bad.map(str::as_bytes));
                let expected = policy.enforce.then_some(denial);
                assert_eq!(outcome.response, expected, "{name}: {bad:?}");
                assert_eq!(outcome.passes(), !policy.enforce, "{name}: {bad:?}");
            }
        }
    }
}

/// Checks that `log` writes the article's two lines, and that `silent` writes and contains none.
#[track_caller]
fn only_the_second_logs([silent, log]: [Variant; 2]) {
    let mut vm = start(&log);
    for n in 2..120 {
        let called = format!("#{n} wasm-rust: on_http_request_headers");
        let denied =
            format!("#{n} wasm-rust: allow header not found or is not true, deny by default");
        assert_eq!(vm.request(None).unwrap().log, [called, denied]);
    }
    for n in 120..123 {
        let called = format!("#{n} wasm-rust: on_http_request_headers");
        assert_eq!(vm.request(Some(b"true")).unwrap().log, [called]);
    }
    assert_eq!(vm.request(Some(b"\xff")).unwrap().log.len(), 2);
    assert!(start(&silent).request(None).unwrap().log.is_empty());
    assert!(!module(&silent).windows(9).any(|bytes| bytes == b"wasm-rust"));
}

#[test]
fn the_log_build_writes_the_articles_lines_and_the_default_build_none() {
    only_the_second_logs(abi_builds());
}

#[test]
fn the_sdk_log_build_writes_the_articles_lines_and_the_sdk_build_none() {
    only_the_second_logs(sdk_builds());
}
