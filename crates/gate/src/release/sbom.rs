//! A bill of materials in CycloneDX's form: the crates in the plugin, in `gate`, and in what builds the plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use header_gate_system::command;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::push::VERSION;

/// The packages that are released.
const ROOTS: [&str; 2] = ["header-gate", "header-gate-cli"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `dev`, `build`, or none.
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// The bill of materials of the checkout. It depends on Cargo.lock alone: it has no time and no serial number.
pub fn sbom(root: &Path) -> Result<Value> {
    let mut cargo = command::cargo("cargo");
    cargo.current_dir(root).args(["metadata", "--format-version=1", "--locked"]);
    cargo.arg("--filter-platform=x86_64-unknown-linux-gnu");
    let Metadata { packages, resolve } = serde_json::from_str(&command::ask(&mut cargo)?)?;
    let packages: BTreeMap<_, _> = packages.iter().map(|package| (&*package.id, package)).collect();
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&*node.id, node)).collect();
    let lock: Lock = toml::from_str(&fs::read_to_string(root.join("Cargo.lock"))?)?;
    let checksums = lock.package.into_iter().map(|it| ((it.name, it.version), it.checksum));
    let checksums: BTreeMap<_, _> = checksums.collect();

    let roots = packages.values().filter(|package| ROOTS.contains(&&*package.name));
    let roots: BTreeSet<_> = roots.map(|package| &*package.id).collect();
    let linked = reachable(&nodes, roots.clone(), false);
    let all = reachable(&nodes, roots.clone(), true);
    let (mut components, mut dependencies) = (Vec::new(), Vec::new());
    for id in &all {
        let package = packages.get(id).context("cargo metadata lacks a package")?;
        let node = nodes.get(id).context("cargo metadata lacks a node")?;
        let checksum = checksums.get(&(package.name.clone(), package.version.clone()));
        let mut component = component(package, checksum.and_then(Option::as_deref));
        component["scope"] = if linked.contains(id) { "required" } else { "excluded" }.into();
        components.push(component);
        let own = edges(node, true).filter_map(|id| Some(url(packages.get(id)?)));
        let own: BTreeSet<_> = own.collect();
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

fn component(package: &Package, checksum: Option<&str>) -> Value {
    let Package { name, version, .. } = package;
    let url = url(package);
    let mut component = json!({
        "type": "library",
        "bom-ref": url,
        "name": name,
        "version": version,
        "purl": url,
    });
    if let Some(license) = &package.license {
        // A slash is how old manifests write it.
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
    }
    if let Some(checksum) = checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

/// What names a package on every machine; cargo's own names have the folder of the checkout.
fn url(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version.replace('+', "%2B"))
}

/// What a package depends on; with `build`, also to be built.
fn edges(node: &Node, build: bool) -> impl Iterator<Item = &str> {
    let used = move |kind: &Kind| match kind.kind.as_deref() {
        None => true,
        Some(kind) => build && kind == "build",
    };
    let dependencies = node.deps.iter().filter(move |it| it.dep_kinds.iter().any(used));
    dependencies.map(|dependency| &*dependency.pkg)
}

/// `roots`, and every package that they need.
fn reachable<'a>(
    nodes: &BTreeMap<&'a str, &'a Node>,
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
