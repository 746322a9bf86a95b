//! `docs/cost.md` and its charts say what the committed data say.

use std::fs;

use header_gate_tools::{cost, root};

#[test]
fn what_is_drawn_is_what_the_data_say() {
    for (file, drawn) in cost::draw::render(&root()).unwrap() {
        let committed = fs::read_to_string(root().join(&file)).unwrap_or_default();
        assert!(
            committed == drawn,
            "{} is out of date; `cargo run -p header-gate-tools -- cost draw` draws it anew",
            file.display()
        );
    }
}

#[test]
fn the_data_bear_out_what_is_claimed() {
    let claims = cost::draw::claims(&root()).unwrap();
    assert_eq!(claims.len(), 6, "three paths, each to the floor and to the plain plugin");
    for (claim, ratio, most) in claims {
        assert!(ratio <= most, "{claim}: {ratio:.3}, which is more than {most}");
    }
}
