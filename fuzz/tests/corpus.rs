//! The committed inputs of every fuzz target, with an ordinary compiler.

use std::fs;
use std::path::{Path, PathBuf};

use header_gate_cli::build::variant::Variant;
use header_gate_cli::{build, root};
use header_gate_fuzz::{TARGETS, module, policy};
use header_gate_host::{Outcome, Plugin};

/// The inputs of a target, in the order of their names.
fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = root().join("fuzz/corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{}", folder.display());
    files.sort();
    files
}

#[test]
fn every_committed_input_keeps_every_promise() {
    for (name, target) in TARGETS {
        for file in corpus(name) {
            println!("{}", file.display());
            target(&fs::read(file).unwrap());
        }
    }
}

#[test]
fn each_gate_passes_and_denies_in_the_corpus() {
    let lives = corpus("module").into_iter();
    let seen: Vec<_> = lives.filter_map(|file| module::live(&fs::read(file).unwrap())).collect();
    for gate in 0..module::COUNT {
        let of_gate = || seen.iter().filter(|seen| seen.gate == gate);
        assert!(of_gate().any(|seen| seen.passed), "gate {gate} passes nothing");
        assert!(of_gate().any(|seen| seen.denied), "gate {gate} denies nothing");
    }
}

#[test]
fn the_targets_of_the_fuzzer_are_those_that_have_inputs() {
    let names = |folder: &str| {
        let entries = fs::read_dir(root().join("fuzz").join(folder)).unwrap();
        let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = entries.map(|entry| name(&entry.unwrap().path())).collect();
        names.sort();
        names
    };
    let targets = TARGETS.map(|(name, _)| name);
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("fuzz_targets"), targets);
}

/// What the fuzzer checks of a policy without compiling it, compiled: for a few, because each takes
/// a second.
#[test]
fn accepted_policies_of_the_corpus_make_gates_that_keep_their_contract() {
    let accepted = |file: &PathBuf| policy::check(&fs::read_to_string(file).ok()?);
    let with_policy = |file: PathBuf| accepted(&file).map(|policy| (file, policy));
    let mut policies: Vec<_> = corpus("policy").into_iter().filter_map(with_policy).collect();
    // The richest answers first.
    policies.sort_by_key(|(_, policy)| std::cmp::Reverse(policy.constants().len()));
    assert!(policies.len() >= 4, "{}", policies.len());
    for (file, policy) in policies.into_iter().take(4) {
        let variant = Variant::default().with_policy(&file);
        let artifact = build::artifact(&root(), &variant).unwrap();
        let mut vm = Plugin::new(&fs::read(&artifact).unwrap()).unwrap().start().unwrap();
        let denied = |outcome: Outcome| {
            let response = outcome.response.unwrap_or_else(|| panic!("{}", file.display()));
            assert_eq!(response.status, u32::from(policy.deny.status));
            assert_eq!(response.body, policy.deny.body.as_bytes());
            assert_eq!(response.headers.len(), policy.deny.headers.len());
        };
        for value in &policy.values {
            assert!(vm.request(Some(value.as_bytes())).unwrap().passes(), "{}", file.display());
            denied(vm.request(Some(&value.as_bytes()[1..])).unwrap());
        }
        denied(vm.request(None).unwrap());
        fs::remove_dir_all(artifact.parent().unwrap()).unwrap();
    }
}
