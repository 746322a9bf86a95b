//! `docs/cost.md` and its charts say what the committed data say.

use std::collections::HashMap;
use std::fs;

use header_gate_cli::root;
use header_gate_lab::cost;
use toml_edit::{DocumentMut, Item};

#[test]
fn what_is_drawn_is_what_the_data_say() {
    for (file, drawn) in cost::draw::render(&root()).unwrap() {
        let committed = fs::read_to_string(root().join(&file)).unwrap_or_default();
        assert!(
            committed == drawn,
            "{} is out of date; `cargo lab draw` draws it anew",
            file.display()
        );
    }
}

#[test]
fn the_data_bear_out_what_is_claimed() {
    let claims = cost::draw::claims(&root()).unwrap();
    assert_eq!(claims.len(), 6, "three paths, each to the floor and to the plain plugin");
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for (claim, ratio, most) in claims {
        assert!(ratio <= most, "{claim}: {ratio:.3}, which is more than {most}");
        assert!(readme.contains(&format!(" {most} ")), "{claim}: the README does not say {most}");
    }
}

/// Each list of samples with what it is of. What is measured twice differs somewhere; a module's own
/// instructions alone repeat exactly.
fn samples<'a>(place: String, item: &'a Item, lists: &mut Vec<(String, &'a Item)>) {
    match item.as_table() {
        Some(table) => {
            for (key, item) in table.iter().filter(|(key, _)| !key.ends_with(" guest")) {
                samples(format!("{place}, {key}"), item, lists);
            }
        }
        None if item.is_array() => lists.push((place, item)),
        None => {}
    }
}

#[test]
fn no_list_of_samples_is_a_copy_of_another() {
    for entry in fs::read_dir(root().join("docs/cost")).unwrap() {
        let file = entry.unwrap().path();
        let document: DocumentMut = fs::read_to_string(&file).unwrap().parse().unwrap();
        let (mut lists, mut seen) = (Vec::new(), HashMap::new());
        samples(file.display().to_string(), document.as_item(), &mut lists);
        assert!(!lists.is_empty(), "{} holds no samples", file.display());
        for (place, list) in lists {
            let twin = seen.insert(list.to_string(), place.clone());
            assert!(twin.is_none(), "{place} and {} are the same", twin.unwrap_or_default());
        }
    }
}
