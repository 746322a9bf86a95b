//! The documents say what the committed samples say.

use std::fs;

use header_gate_cli::root;
use header_gate_lab::cost::tables::{CLAIMS, added, ratio};
use header_gate_lab::draw::render;
use header_gate_lab::filter::{OURS, PATHS, RBAC};
use header_gate_lab::samples::{Samples, median};
use header_gate_lab::table::thousands;

#[test]
fn drawing_the_committed_samples_changes_no_file() {
    for (file, drawn) in render(&root()).unwrap() {
        let committed = fs::read_to_string(root().join(&file)).unwrap_or_default();
        assert!(committed == drawn, "{} is out of date; run `cargo lab draw`", file.display());
    }
}

#[test]
fn the_readme_claims_no_less_than_the_samples_show() {
    let samples = Samples::read(&root(), "cost instructions").unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for (other, most) in CLAIMS {
        assert!(readme.contains(&format!(" {most} ")), "the README does not say {most}");
        for path in PATHS {
            let ratio = ratio(&samples, other, path).unwrap();
            assert!(ratio <= most, "{path}, relative to {other}: {ratio:.3}, more than {most}");
        }
    }
    for filter in [OURS, RBAC] {
        let added = thousands(median(added(&samples, "filters", filter, PATHS[0]).unwrap()));
        assert!(readme.contains(&added), "the README does not say that {filter} adds {added}");
    }
}
