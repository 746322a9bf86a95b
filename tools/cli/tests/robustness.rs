//! `docs/robustness.md` and its chart say what the committed data say.

use std::fs;

use header_gate_tools::{robustness, root};

#[test]
fn what_is_drawn_is_what_the_data_say() {
    for (file, drawn) in robustness::render(&root()).unwrap() {
        let committed = fs::read_to_string(root().join(&file)).unwrap_or_default();
        assert!(
            committed == drawn,
            "{} is out of date; `cargo run -p header-gate-tools -- draw` draws it anew",
            file.display()
        );
    }
}
