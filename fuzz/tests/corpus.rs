//! The committed inputs of every fuzz target, with an ordinary compiler.

use std::cmp::Reverse;
use std::fs;
use std::path::PathBuf;

use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_fuzz::{TARGETS, module, policy, root, run};
use header_gate_host::gate;

/// The inputs of a target, sorted by name.
fn corpus(target: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("fuzz/corpus").join(target)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{target}");
    files.sort();
    files
}

#[test]
fn every_committed_input_passes() {
    for target in TARGETS {
        for file in corpus(target) {
            println!("{}", file.display());
            run(target, &fs::read(file).unwrap());
        }
    }
}

#[test]
fn each_gate_passes_and_denies_requests_of_the_corpus() {
    let lives = corpus("module").into_iter();
    let lives: Vec<_> = lives.filter_map(|file| module::live(&fs::read(file).unwrap())).collect();
    for gate in 0..module::COUNT {
        let decisions: Vec<_> = lives.iter().filter(|life| life.0 == gate).collect();
        for decision in [true, false] {
            let seen = decisions.iter().any(|life| life.1.contains(&decision));
            assert!(seen, "no request with decision {decision} at gate {gate}");
        }
    }
}

/// The fuzzer checks a policy without compiling it; this compiles a few, because each takes a second.
#[test]
fn accepted_policies_of_the_corpus_make_gates_that_keep_their_contract() {
    let accepted = |file: PathBuf| Some((policy::check(&fs::read_to_string(&file).ok()?)?, file));
    let mut policies: Vec<_> = corpus("policy").into_iter().filter_map(accepted).collect();
    // The longest first.
    policies.sort_by_key(|(policy, _)| Reverse(policy.constants().len()));
    assert!(policies.len() >= 4, "{}", policies.len());
    for (policy, file) in policies.into_iter().take(4) {
        let variant = Variant::default().with_policy(&file);
        let artifact = build::artifact(root(), &variant).unwrap();
        gate::check(&fs::read(artifact).unwrap(), &policy)
            .unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
    }
}
