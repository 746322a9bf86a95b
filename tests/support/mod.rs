//! What the tests share: artifacts, built by the code behind `build.sh`, and how they should answer.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_host::combinations::{
    CLIENT, CLIENT_HEADER, Combination, Decision, HEADER, pairwise,
};
use header_gate_host::conformance::{self, Case};
use header_gate_host::{Gateway, LocalResponse, Outcome, Plugin, Vm, gate};
use header_gate_policy::Policy;

/// The address that refuses an allocation: outside memory on every engine, and positive as an i32.
pub const REFUSED: u32 = 0x7fff_0000;

/// All values of a `u32` near a power of two.
pub fn near_powers() -> impl Iterator<Item = u32> {
    (0..32).flat_map(|bit| [(1_u32 << bit) - 1, 1 << bit, (1 << bit) + 1]).chain([u32::MAX])
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The builds of the committed policy on the default front, without and with feature `log`.
pub fn abi_builds() -> [Variant; 2] {
    [Variant::default(), Variant::log()]
}

/// The builds of the committed policy on the SDK, without and with feature `log`. The tests that use
/// them have `sdk` in their names: .cargo/mutants.toml skips these.
pub fn sdk_builds() -> [Variant; 2] {
    [Variant::sdk(), Variant::sdk_log()]
}

/// The artifact of `variant`.
pub fn module(variant: &Variant) -> Vec<u8> {
    fs::read(build::artifact(root(), variant).unwrap()).unwrap()
}

/// A virtual machine that runs `variant`.
pub fn start(variant: &Variant) -> Vm {
    Plugin::new(&module(variant)).unwrap().start().unwrap()
}

pub fn policy(variant: &Variant) -> Policy {
    variant.policy(root()).unwrap()
}

/// The denial of `variant`.
pub fn denial(variant: &Variant) -> LocalResponse {
    let denial = LocalResponse::of(&policy(variant), None);
    // The SDK cannot send details.
    let has_details = variant.contract(root()).unwrap().is_some();
    LocalResponse { details: if has_details { denial.details } else { vec![] }, ..denial }
}

/// A gate with a policy of its own.
pub struct Gate {
    pub policy: Policy,
    pub module: Vec<u8>,
    pub vm: Vm,
}

impl Gate {
    pub fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gate.toml");
        fs::write(&file, policy).unwrap();
        let policy = Policy::read(&file).unwrap();
        let module = module(&Variant::default().with_policy(&file));
        gate::check(&module, &policy).unwrap();
        let vm = Plugin::new(&module).unwrap().start().unwrap();
        Self { policy, module, vm }
    }
}

#[track_caller]
pub fn passes(outcome: Outcome) -> Outcome {
    assert!(outcome.passes(), "{outcome:?}");
    outcome
}

/// Checks that a request with this value got the denial of `policy`.
#[track_caller]
pub fn denied(policy: &Policy, value: Option<&[u8]>, outcome: &Outcome) {
    let denial = LocalResponse::of(policy, value);
    assert_eq!((outcome.action, outcome.response.as_ref()), (1, Some(&denial)), "{outcome:?}");
}

/// The conformance table.
pub fn table() -> Vec<Case> {
    conformance::read(&root().join("tests/conformance.toml")).unwrap()
}

/// Checks the answer to a request with this value: it passes, or gets exactly this denial.
#[track_caller]
pub fn check(vm: &mut Vm, value: Option<&[u8]>, passes: bool, denial: &LocalResponse, about: &str) {
    let outcome = vm.request(value).unwrap();
    assert_eq!(outcome.passes(), passes, "{about}: {outcome:?}");
    assert_eq!(outcome.response.as_ref(), (!passes).then_some(denial), "{about}");
}

/// Checks the whole table with a gate of the committed policy, and that a good request passes after each case.
#[track_caller]
pub fn conforms(mut vm: Vm, variant: &Variant) {
    let denial = denial(variant);
    for case in table() {
        let about = format!("{}: {}", variant.name(), case.name);
        check(&mut vm, case.value("allow", Gateway::Envoy), case.passes, &denial, &about);
        check(&mut vm, Some(b"true"), true, &denial, &format!("{about}, the next request"));
    }
}

/// Checks that the gates that `start` makes of a policy file do what both options of each pair do.
pub fn each_pair_of_options(start: impl Fn(&Path, &Policy) -> Vm) {
    let folder = tempfile::tempdir().unwrap();
    let all = pairwise();
    assert!((9..20).contains(&all.len()), "{}", all.len());
    for (n, Combination { policy: text, cases }) in all.into_iter().enumerate() {
        let file = folder.path().join(format!("pair-{n}.toml"));
        fs::write(&file, &text).unwrap();
        let policy = Policy::read(&file).unwrap();
        let mut vm = start(&file, &policy);
        let mut counts = BTreeMap::<_, u64>::new();
        for case in cases {
            let pseudo = [(":method", case.method.as_bytes()), (":path", case.path.as_bytes())];
            let headers = case.headers.iter().map(|(name, value)| (*name, value.as_bytes()));
            let headers: Vec<_> = pseudo.into_iter().chain(headers).collect();
            let outcome = vm.request_of(&headers).unwrap();
            let about = format!("{text}\n{case:?}: {outcome:?}");
            let value = case.header(HEADER).map(str::as_bytes);
            let denied = case.decision == Decision::Denied;
            assert_eq!(outcome.passes(), !denied, "{about}");
            let denial = denied.then(|| LocalResponse::of(&policy, value));
            assert_eq!(outcome.response, denial, "{about}");
            let allowed = case.decision == Decision::Allowed;
            let header = |name: &str| (0, name.as_bytes().to_vec());
            let named = policy.client_header.is_some();
            let removed = [
                (policy.remove && allowed).then(|| header(HEADER)),
                (named && !allowed && !denied).then(|| header(CLIENT_HEADER)),
            ];
            assert!(outcome.removed.iter().eq(removed.iter().flatten()), "{about}");
            let replaced = (0, CLIENT_HEADER.into(), CLIENT.into());
            let replaced = (named && allowed).then_some(replaced);
            assert!(outcome.replaced.iter().eq(&replaced), "{about}");
            *counts.entry(format!("header_gate.{}", case.decision.counter())).or_default() += 1;
        }
        let counted: BTreeMap<_, _> =
            vm.metrics().iter().filter(|(_, n)| *n > 0).cloned().collect();
        assert_eq!(counted, if policy.count { counts } else { BTreeMap::new() }, "{text}");
    }
}
