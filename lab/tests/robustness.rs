//! `docs/robustness.md` and its chart say what the committed data say.

use std::fs;

use header_gate_cli::root;
use header_gate_lab::report;

#[test]
fn what_is_drawn_is_what_the_data_say() {
    for (file, drawn) in report::render(&root()).unwrap() {
        let committed = fs::read_to_string(root().join(&file)).unwrap_or_default();
        assert!(
            committed == drawn,
            "{} is out of date; `cargo lab draw` draws it anew",
            file.display()
        );
    }
}
