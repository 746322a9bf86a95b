//! Tests that need Envoy, npm or a registry: what they share.

pub mod conformance;
pub mod gateway;
pub mod native;
pub mod probe;
pub mod registry;
pub mod schemas;

use std::fs;
use std::path::Path;
use std::process::Output;

use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_envoy::Envoy;
use header_gate_policy::Policy;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The variants with a policy of `policies/`.
pub fn policies() -> Vec<Variant> {
    Variant::policies(root()).unwrap()
}

/// The module of `variant`.
pub fn module(variant: &Variant) -> Vec<u8> {
    fs::read(build::artifact(root(), variant).unwrap()).unwrap()
}

/// The policy of `variant`.
pub fn policy(variant: &Variant) -> Policy {
    variant.policy(root()).unwrap()
}

/// `benches/floor.wat` as a module, with each of these texts replaced where it is first.
pub fn floor(edits: &[(&str, &str)]) -> Vec<u8> {
    let source = fs::read_to_string(root().join("benches/floor.wat")).unwrap();
    let source = edits.iter().fold(source, |source, (from, to)| {
        assert!(source.contains(from), "benches/floor.wat has changed: it has no {from}");
        source.replacen(from, to, 1)
    });
    wat::parse_str(source).unwrap()
}

/// A new authority's certificate; a certificate for `name` that it signed, and the key of that; in PEM form.
pub fn certificates(name: &str) -> [String; 3] {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new([name.to_owned()]).unwrap();
    [root, names.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem()]
}

/// The number of Wasm virtual machines in `envoy`.
pub fn virtual_machines(envoy: &Envoy) -> u64 {
    envoy.virtual_machines().unwrap()
}

/// Waits until `condition` holds, and panics with `otherwise` if it never does.
#[track_caller]
pub fn until(otherwise: &str, mut condition: impl FnMut() -> bool) {
    let met = header_gate_envoy::until(|| Ok(condition().then_some(())));
    met.unwrap_or_else(|error| panic!("{otherwise}: {error}"));
}

/// What a successful command printed on standard output.
#[track_caller]
pub fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The error of a failed command: exit status 1, one line `error: ...`, which is the last one.
#[track_caller]
pub fn error(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((errors.len(), stderr.lines().last()), (1, errors.first().copied()), "{stderr}");
    errors[0].to_owned()
}
