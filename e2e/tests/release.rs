//! `gate release`: complete, the same each time, and what a registry has afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use header_gate_cli::build::variant::Variant;
use header_gate_cli::push::VERSION;
use header_gate_e2e::registry::Registry;
use header_gate_e2e::schemas::{check_jsonschema, lint};
use header_gate_e2e::{error, module, root, stdout};
use serde_json::{Value, json};
use tempfile::TempDir;

const SOURCE: &str = "https://example.com/header-gate";
const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

fn release(out: &Path, args: &[&str]) -> Output {
    let mut gate = Command::new(root().join(".cargo/gate.sh"));
    gate.args(["release", "--out"]).arg(out).args(args).current_dir(root());
    gate.output().unwrap()
}

/// The files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect()
}

#[test]
fn two_runs_give_the_same_files_and_a_registry_has_what_they_are() {
    let (folder, registry) = (TempDir::new().unwrap(), Registry::start());
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let more = folder.path().join("libheader_gate-other.so");
    fs::write(&more, "another machine's").unwrap();
    let image = registry.image("gate");
    let args = [&image, "--source", SOURCE, "--revision", REVISION, "--plain-http", "--add"];
    let args = [&args[..], &[more.to_str().unwrap()]].concat();
    let printed = stdout(release(&first, &[&args[..], &["--dry-run"]].concat()));
    assert!(registry.is_empty());
    assert_eq!(stdout(release(&second, &args)), printed);
    let files = files(&first);
    assert_eq!(files, self::files(&second));

    let variants = Variant::released(root()).unwrap();
    let (mut lines, mut tags) = (printed.lines(), Vec::new());
    for variant in &variants {
        let wasm = module(variant);
        assert_eq!(files[&variant.file_name()], wasm);
        let about = &files[&variant.file_name().replace(".wasm", ".json")];
        let about: Value = serde_json::from_slice(about).unwrap();
        assert_eq!(about["violations"], json!([]));
        assert_eq!(about["policy"].is_null(), *variant == Variant::config());
        assert_eq!(about["properties"]["bytes"], wasm.len());
        // The image, and the artifact.
        for _ in 0..2 {
            let (pinned, named) = lines.next().unwrap().split_once(' ').unwrap();
            let (pulled, manifest) = registry.fetch(pinned);
            assert_eq!(pulled, wasm, "{pinned}");
            let annotations = &manifest["annotations"];
            for (name, text) in [
                ("source", SOURCE),
                ("revision", REVISION),
                ("licenses", "Apache-2.0"),
                ("version", VERSION),
            ] {
                assert_eq!(annotations[format!("org.opencontainers.image.{name}")], text);
            }
            for tag in named.split(' ') {
                assert_eq!(registry.fetch(&format!("{image}:{tag}")).1, manifest, "{tag}");
                tags.push(tag.to_owned());
            }
        }
    }
    assert_eq!(lines.next(), None);
    for tag in
        [VERSION, "latest", "latest-artifact", "log", "config", &format!("{VERSION}-production")]
    {
        assert!(tags.iter().any(|other| other == tag), "{tag}");
    }
    sums(&first, &files);
    bill_of_materials(&first);
}

/// SHA256SUMS has every other file, and finds one that is changed.
fn sums(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    let check = || {
        let mut sha256sum = Command::new("sha256sum");
        sha256sum.args(["--check", "--strict", "SHA256SUMS"]).current_dir(folder).output().unwrap()
    };
    assert_eq!(stdout(check()).lines().count(), files.len() - 1);
    fs::write(folder.join("plugin.json"), "{}").unwrap();
    assert!(String::from_utf8(check().stdout).unwrap().contains("plugin.json: FAILED"));
}

/// The SBOM has CycloneDX's form, what is in the plugin and the command, and nothing of this machine.
fn bill_of_materials(folder: &Path) {
    let file = folder.join("sbom.cdx.json");
    let schema = lint().join("cyclonedx/schema/_res/bom-1.5.SNAPSHOT.schema.json");
    let check = || check_jsonschema().arg("--schemafile").arg(&schema).arg(&file).output().unwrap();
    stdout(check());
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(root().to_str().unwrap()));
    let bill: Value = serde_json::from_str(&text).unwrap();
    let components = bill["components"].as_array().unwrap();
    let scope = |name: &str| components.iter().find(|it| it["name"] == name).map(|it| &it["scope"]);
    assert_eq!(scope("header-gate-decision"), Some(&json!("required")));
    assert_eq!(scope("rustls"), Some(&json!("required")));
    assert_eq!(scope("cc"), Some(&json!("excluded")));
    assert_eq!(scope("criterion"), None);
    fs::write(&file, text.replace("\"library\"", "\"book\"")).unwrap();
    assert!(!check().status.success());
}

#[test]
fn each_mistake_is_one_error_and_leaves_no_folder() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("release");
    for (args, part) in [
        (&[][..], "required arguments were not provided"),
        (&["r.example.com/gate"], "--source <URL>"),
        (&["--dry-run", "r.example.com/gate:1"], "remove the tag"),
        (&["--dry-run", "oci://r.example.com/gate"], "remove the scheme"),
        (&["--dry-run", "gate"], "the registry is missing"),
        (&["--dry-run", "--add", "none.so"], "--add none.so: No such file"),
    ] {
        let error = error(&release(&out, args));
        assert!(error.contains(part), "{error}");
        assert!(!out.exists(), "{error}");
    }
    let error = error(&release(folder.path(), &["--dry-run"]));
    assert!(error.contains("exists already"), "{error}");
}

#[test]
fn every_subcommand_has_a_manual_page_and_completions() {
    let gate = |args: &[&str]| {
        let mut gate = Command::new(root().join(".cargo/gate.sh"));
        stdout(gate.args(args).current_dir(root()).output().unwrap())
    };
    let folder = TempDir::new().unwrap();
    gate(&["man", folder.path().to_str().unwrap()]);
    let scripts = ["bash", "fish", "zsh"].map(|shell| gate(&["completions", shell]));
    let help = gate(&["--help"]);
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    // Two blanks before a name, more before the rest of a description.
    let names = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<_> = names.filter(|name| !["", "help"].contains(name)).collect();
    assert!(names.contains(&"probe"));
    for name in names {
        let page = fs::read_to_string(folder.path().join(format!("gate-{name}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{name}");
        assert!(scripts.iter().all(|script| script.contains(name)), "{name}");
    }
    let page = fs::read_to_string(folder.path().join("gate.1")).unwrap();
    assert!(page.contains(&format!("gate {VERSION}")));
}
