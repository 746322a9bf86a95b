//! The figures in the documents are those of the build, and what the documents link to exists.

mod support;

use std::fs;
use std::process::Command;

use header_gate_cli::build::Builder;
use header_gate_cli::build::ledger::{FILE, Ledger};
use header_gate_cli::build::variant::Variant;
use header_gate_contract::{self as verify, Bound};
use support::{module, root};

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

#[test]
fn the_documents_show_the_properties_of_the_default_build() {
    let properties = verify::inspect(&module(&Variant::default())).unwrap();
    let ledger = Ledger::read(&root().join(FILE)).unwrap();
    let ours = Builder::new(root()).unwrap().toolchain().unwrap();
    // Another compiler may change byte and instruction counts, and nothing else.
    let comparable = |text: &str| {
        let digit = |c: char| if c.is_ascii_digit() { '#' } else { c };
        let same = ledger.toolchain() == Some(ours.as_str());
        if same { text.to_owned() } else { text.chars().map(digit).collect() }
    };
    let block = comparable(&format!("```text\n{properties}```"));
    assert!(comparable(&read("docs/design.md")).contains(&block), "now:\n{properties}");

    let bounds = ["malloc", "proxy_on_request_headers"].map(|name| match &properties.paths[name] {
        Bound::Instructions(count) => *count,
        Bound::Unbounded(why) => panic!("{why}"),
    });
    let (most, readme) = (bounds.iter().sum::<u64>(), read("README.md"));
    let claim = readme.split_once("executes at most ").unwrap().1.split_once(' ').unwrap().0;
    assert!(most <= claim.parse().unwrap(), "{most} instructions, README.md says {claim}");
}

#[test]
fn the_table_of_sizes_is_the_ledger() {
    let (document, ledger) = (read("docs/design.md"), Ledger::read(&root().join(FILE)).unwrap());
    for variant in Variant::all(root()).unwrap() {
        let name = variant.name();
        let bytes = ledger.bytes(&variant.ledger_key(root()).unwrap()).unwrap();
        let row = document.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("no row for {name}"));
        assert!(row.replace(',', "").ends_with(&format!(" {bytes} |")), "{row}, but {bytes} bytes");
    }
}

#[test]
fn links_and_paths_in_the_documents_exist() {
    let mut git = Command::new("git");
    let files = git.args(["ls-files", "*.md"]).current_dir(root()).output().unwrap().stdout;
    let top_exists = |(top, _): (&str, &str)| !top.is_empty() && root().join(top).exists();
    let is_path = |code: &&str| code.split_once('/').is_some_and(top_exists);
    for file in str::from_utf8(&files).unwrap().lines() {
        let (text, folder) = (read(file), root().join(file).with_file_name(""));
        let links = text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap());
        let links = links.filter(|link| !link.contains("://")).map(|link| folder.join(link));
        let code = text.split('`').skip(1).step_by(2).filter(|code| !code.contains([' ', '*']));
        for path in links.chain(code.filter(is_path).map(|path| root().join(path))) {
            let generated = path.starts_with(root().join("target"))
                || path.ends_with("deploy/image/kustomization.yaml");
            assert!(generated || path.exists(), "{file} names {}", path.display());
        }
    }
}
