//! A bill of materials in CycloneDX's form: the crates in the plugin, in `gate`, and in what builds the plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use header_gate_system::command;
use serde_json::{Value, json};

use crate::push::VERSION;

/// The packages that are released.
const ROOTS: [&str; 2] = ["header-gate", "header-gate-cli"];

/// The bill of materials of the checkout. It depends on Cargo.lock alone: it has no time and no serial number.
pub fn sbom(root: &Path) -> Result<Value> {
    let mut cargo = command::cargo("cargo");
    cargo.current_dir(root).args(["metadata", "--format-version=1", "--locked"]);
    cargo.arg("--filter-platform=x86_64-unknown-linux-gnu");
    let metadata: Value = serde_json::from_str(&command::ask(&mut cargo)?)?;
    let (packages, nodes) = (by_id(&metadata["packages"]), by_id(&metadata["resolve"]["nodes"]));
    let lock: Value = toml::from_str(&fs::read_to_string(root.join("Cargo.lock"))?)?;
    let checksums: BTreeMap<_, _> =
        items(&lock["package"]).map(|it| (url(it), &it["checksum"])).collect();

    let roots = packages.iter().filter(|(_, package)| ROOTS.contains(&text(package, "name")));
    let roots: BTreeSet<_> = roots.map(|(id, _)| *id).collect();
    let linked = reachable(&nodes, roots.clone(), false);
    let (mut components, mut dependencies) = (Vec::new(), Vec::new());
    for id in reachable(&nodes, roots.clone(), true) {
        let package = packages.get(id).context("cargo metadata lacks a package")?;
        let node = nodes.get(id).context("cargo metadata lacks a node")?;
        let mut component = component(package, checksums.get(&url(package)).copied());
        component["scope"] = if linked.contains(id) { "required" } else { "excluded" }.into();
        components.push(component);
        let own: BTreeSet<_> =
            edges(node, true).filter_map(|id| Some(url(packages.get(id)?))).collect();
        dependencies.push(json!({ "ref": url(package), "dependsOn": own }));
    }
    let ours = json!({ "type": "application", "bom-ref": "release", "name": "header-gate", "version": VERSION });
    let roots: BTreeSet<_> = roots.iter().filter_map(|id| Some(url(packages.get(id)?))).collect();
    dependencies.push(json!({ "ref": "release", "dependsOn": roots }));
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": ours },
        "components": components,
        "dependencies": dependencies,
    }))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn by_id(list: &Value) -> BTreeMap<&str, &Value> {
    items(list).map(|it| (text(it, "id"), it)).collect()
}

fn component(package: &Value, checksum: Option<&Value>) -> Value {
    let url = url(package);
    let mut component = json!({
        "type": "library",
        "bom-ref": url,
        "name": package["name"],
        "version": package["version"],
        "purl": url,
    });
    if let Some(license) = package["license"].as_str() {
        // A slash is how old manifests write it.
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
    }
    if let Some(checksum) = checksum.filter(|checksum| checksum.is_string()) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

/// What names a package on every machine; cargo's own names have the folder of the checkout.
fn url(package: &Value) -> String {
    let version = text(package, "version").replace('+', "%2B");
    format!("pkg:cargo/{}@{version}", text(package, "name"))
}

/// What a package depends on; with `build`, also to be built.
fn edges(node: &Value, build: bool) -> impl Iterator<Item = &str> {
    // `dev`, `build`, or none.
    let used = move |kind: &Value| kind["kind"].is_null() || build && kind["kind"] == "build";
    let dependencies = items(&node["deps"]).filter(move |it| items(&it["dep_kinds"]).any(used));
    dependencies.map(|dependency| text(dependency, "pkg"))
}

/// `roots`, and every package that they need.
fn reachable<'a>(
    nodes: &BTreeMap<&'a str, &'a Value>,
    roots: BTreeSet<&'a str>,
    build: bool,
) -> BTreeSet<&'a str> {
    let mut open: Vec<_> = roots.iter().copied().collect();
    let mut found = roots;
    while let Some(node) = open.pop().and_then(|id| nodes.get(id)) {
        open.extend(edges(node, build).filter(|id| found.insert(id)));
    }
    found
}
