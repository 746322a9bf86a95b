//! The reader of configurations, in the finished module, makes the same of each policy as the reader of files. What each
//! of them refuses: `crates/policy/tests/config.rs`.

mod support;

use std::fs;
use std::path::PathBuf;

use header_gate_cli::build::variant::Variant;
use header_gate_host::{Plugin, Vm, gate};
use header_gate_policy::Policy;
use serde_json::Value;
use support::{module, root};

/// The pages that the module asks for, in bytes.
const MEMORY: usize = header_gate_config::PAGES << 16;

fn policies() -> Vec<PathBuf> {
    let folders = ["policies", "policies/options"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = files.map(|file| file.unwrap().path()).chain([root().join("policy.toml")]);
    files.filter(|file| file.is_file()).collect()
}

#[test]
fn both_make_the_same_of_each_policy() {
    let plugin = Plugin::new(&module(&Variant::config())).unwrap();
    let files = policies();
    assert!(files.len() > 15);
    for file in files {
        let text = doubles(&fs::read_to_string(&file).unwrap()).unwrap();
        let mut vm = plugin.start_configured(text.as_bytes()).unwrap();
        assert_eq!(vm.memory().len(), MEMORY);
        compare(&mut vm, &Policy::read(&file).unwrap());
    }
}

/// Values near the accepted ones, and others.
fn values_near(policy: &Policy) -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = ["a", "true", "TRUE", "1", "\u{e9}"].map(Into::into).into();
    values.extend([vec![b'x'; 256], vec![b'x'; 257], vec![0; 8], b"\xff".to_vec()]);
    for own in policy.accepted() {
        let own = own.as_bytes();
        values.extend([[own, b" "].concat(), own[1..].to_vec(), own.to_ascii_uppercase()]);
        for at in [0, own.len() - 1] {
            let mut other = own.to_vec();
            other[at] ^= 1;
            values.push(other);
        }
    }
    values.retain(|value| !value.is_empty());
    values
}

/// Checks that the gate decides and answers as the policy says, and whom it exempts.
fn compare(vm: &mut Vm, policy: &Policy) {
    gate::decides(vm, policy).unwrap_or_else(|error| panic!("{error:#}: {policy:?}"));
    let (header, sizes) = (policy.header.as_str(), policy.sizes());
    for value in values_near(policy) {
        let outcome = vm.request_of(&[(header, &value[..])]).unwrap();
        // A policy that knows the sizes of its values denies one of another size.
        let fits = sizes.is_empty() || sizes.contains(&value.len());
        let passes = fits && policy.accepts(&value) || !policy.enforce;
        assert_eq!(outcome.passes(), passes, "{}: {policy:?}", value.escape_ascii());
    }
    let except = &policy.except;
    let preflight = [("access-control-request-method", &b"GET"[..]), ("origin", b"https://a.b")];
    let outcome = vm.request_of(&[&[(":method", &b"OPTIONS"[..])], &preflight[..]].concat());
    let exempt = except.preflight || except.methods.iter().any(|own| own == "OPTIONS");
    assert_eq!(outcome.unwrap().passes(), exempt || !policy.enforce, "{policy:?}");
    for method in ["GET", "OPTIONS", "HEAD", "TRACE", "head", ""] {
        for path in ["/", "/healthz", "/healthz/", "/a", "/a/b", "/.well-known/acme-challenge/x"] {
            let matches = |own: &String| match own.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => path == own,
            };
            let exempt = except.methods.iter().any(|own| own == method);
            let exempt = exempt || except.paths.iter().any(matches) || !policy.enforce;
            let fields = [(":method", method.as_bytes()), (":path", path.as_bytes())];
            let outcome = vm.request_of(&fields).unwrap();
            assert_eq!(outcome.passes(), exempt, "{method} {path}: {policy:?}");
        }
    }
}

/// A policy in TOML as JSON, if it is TOML. Whole numbers are doubles, as Istio writes them.
fn doubles(text: &str) -> Option<String> {
    fn change(value: &mut Value) {
        match value {
            Value::Number(number) => *value = number.as_f64().into(),
            Value::Array(items) => items.iter_mut().for_each(change),
            Value::Object(members) => members.values_mut().for_each(change),
            _ => {}
        }
    }
    let mut value = toml::from_str(text).ok()?;
    change(&mut value);
    Some(value.to_string())
}
