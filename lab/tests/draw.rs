//! The documents say what the committed samples say.

use std::fs;

use header_gate_cli::root;
use header_gate_lab::cost::tables::{CLAIMS, added, in_guest, ratio};
use header_gate_lab::draw::render;
use header_gate_lab::filter::{
    API_KEY, ASK_AGAIN, ASK_OTHER, CONFIG, LUA, MATCHER, NATIVE, NATIVE_EMPTY, NATIVE_FLOOR,
    NATIVE_MATCHER, NATIVE_ROUTE, OURS, PATHS, RBAC, RBAC_COUNTED, ROUTE,
};
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
fn the_documents_claim_no_less_than_the_samples_show() {
    let samples = Samples::read(&root(), "cost instructions").unwrap();
    let read = |file| fs::read_to_string(root().join(file)).unwrap();
    let (readme, cost) = (read("README.md"), read("docs/cost.md"));
    for (other, most) in CLAIMS {
        for text in [&readme, &cost] {
            assert!(text.contains(&format!(" {most} ")), "a document does not say {most}");
        }
        for path in PATHS {
            let ratio = ratio(&samples, other, path).unwrap();
            assert!(ratio <= most, "{path}, relative to {other}: {ratio:.3}, more than {most}");
        }
    }
    let added = |filter, path| median(added(&samples, "filters", filter, path).unwrap());
    for filter in [OURS, NATIVE, RBAC, API_KEY] {
        let added = thousands(added(filter, PATHS[0]));
        assert!(readme.contains(&added), "the README does not say that {filter} adds {added}");
    }
    // What the text of docs/cost.md says.
    for path in PATHS {
        let ours = added(OURS, path);
        assert!(added(API_KEY, path) < ours && added(RBAC, path) < ours, "{path}");
        let (native, most) = (added(NATIVE, path), if path == PATHS[0] { 0.3 } else { 0.05 });
        assert!(native <= most * ours && native < added(RBAC, path), "{path}: {native}");
        assert!(path == PATHS[0] || native < 0.5 * added(API_KEY, path), "{path}: {native}");
        assert_eq!(added(LUA, path) < ours, path != PATHS[2], "{path}");
        let part = in_guest(&samples, "filters", OURS, path).unwrap() / ours;
        assert!((0.005..0.015).contains(&part), "{path}: {part:.3} is not one in a hundred");
    }
}

/// The sentences of docs/choose.md.
#[test]
fn the_choice_of_a_form_is_what_the_samples_show() {
    let samples = Samples::read(&root(), "cost forms").unwrap();
    let added = |filter, path| median(added(&samples, "forms", filter, path).unwrap());
    let allow = |filter| added(filter, PATHS[0]);
    assert!(allow(ROUTE).max(allow(NATIVE_ROUTE)) < allow(API_KEY));
    let near = (allow(API_KEY) / allow(NATIVE) - 1.0).abs();
    assert!(near < 0.1 && allow(NATIVE) < allow(NATIVE_MATCHER), "{near}");
    assert!(allow(NATIVE) <= 1.05 * allow(NATIVE_FLOOR) && allow(NATIVE_EMPTY) < allow(NATIVE));
    assert!(allow(MATCHER) < 0.5 * allow(OURS) && allow(OURS) < allow(RBAC_COUNTED));
    for path in &PATHS[1..] {
        let denied = |filter| added(filter, path);
        assert!(denied(NATIVE) < 0.5 * denied(API_KEY), "{path}");
        assert!(denied(NATIVE) < 0.05 * denied(OURS), "{path}");
        let all = |filter| median(samples.get(["forms", filter, path]).unwrap().to_vec());
        assert!(all(NATIVE) <= 1.01 * all(NATIVE_FLOOR), "{path}");
        assert!(denied(API_KEY) < denied(NATIVE_ROUTE) && denied(OURS) < denied(ROUTE), "{path}");
    }
}

/// The sentence of docs/upstream.md.
#[test]
fn a_delivery_costs_what_the_report_says() {
    let samples = Samples::read(&root(), "cost allocation").unwrap();
    let allow = |filter| median(added(&samples, "allocation", filter, PATHS[0]).unwrap());
    let delivery = allow(ASK_AGAIN) - allow(ASK_OTHER);
    assert!(delivery > 0.4 * allow(OURS), "{delivery}");
    // The program prints 1,725,291 and 7,391,243 for a thousand allocations.
    assert!((0.6..0.72).contains(&(5_666.0 / delivery)), "{delivery}");
}

/// The costs in the table of questions.
#[test]
fn each_form_to_choose_has_the_cost_of_the_samples() {
    let samples = Samples::read(&root(), "cost forms").unwrap();
    let text = fs::read_to_string(root().join("docs/choose.md")).unwrap();
    for (how, filter) in [
        ("`gate render api-key-auth`", API_KEY),
        ("`./build.sh --features native`", NATIVE),
        ("`gate render envoy-matcher`", MATCHER),
        ("`gate render envoy-route`", ROUTE),
        ("[deployment](deploy.md)", OURS),
    ] {
        let row = text.lines().find(|line| line.starts_with('|') && line.contains(how)).unwrap();
        let added = |path| median(added(&samples, "forms", filter, path).unwrap());
        let [allow, _, missing] = PATHS.map(added).map(thousands);
        assert!(row.ends_with(&format!("| {allow} / {missing} |")), "{row}: {allow} / {missing}");
    }
}

/// A policy from configuration costs at most a tenth more.
#[test]
fn a_policy_from_configuration_costs_little_more() {
    let samples = Samples::read(&root(), "cost config").unwrap();
    for path in PATHS {
        let added = |filter| median(added(&samples, "config", filter, path).unwrap());
        assert!(added(CONFIG) <= 1.1 * added(OURS), "{path}");
    }
}

#[test]
fn docs_robustness_says_how_many_requests_were_sent() {
    let text = fs::read_to_string(root().join("docs/robustness.md")).unwrap();
    for (command, count) in [("differ", "300,000"), ("soak", "3,000,000")] {
        let source = Samples::read(&root(), command).unwrap().source();
        assert!(source.contains(&format!(" {count} requests")), "{source}");
        assert!(text.contains(&format!("\n| {count} ")), "{count}");
    }
}
