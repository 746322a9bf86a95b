//! The documents say what the committed samples say.

use std::fs;

use header_gate_cli::root;
use header_gate_lab::cost::tables::{CLAIMS, ratio};
use header_gate_lab::draw::render;
use header_gate_lab::filter::PATHS;
use header_gate_lab::samples::Samples;

#[test]
fn drawing_the_committed_samples_changes_no_file() {
    for (file, drawn) in render(&root()).unwrap() {
        let committed = fs::read_to_string(root().join(&file)).unwrap_or_default();
        assert!(committed == drawn, "{} is out of date; run `cargo lab draw`", file.display());
    }
}

#[test]
fn the_plugin_costs_no_more_than_the_readme_claims() {
    let samples = Samples::read(&root(), "cost instructions").unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for (other, most) in CLAIMS {
        assert!(readme.contains(&format!(" {most} ")), "the README does not say {most}");
        for path in PATHS {
            let ratio = ratio(&samples, other, path).unwrap().median;
            assert!(ratio <= most, "{path}, relative to {other}: {ratio:.3}, more than {most}");
        }
    }
}
