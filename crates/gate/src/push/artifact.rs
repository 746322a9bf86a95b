//! The plugin as an OCI artifact: an image layout on disk, ready to be copied to a registry.
//!
//! The media types and the two layers are those of the Wasm image specification's "oci" variant.
//! Istio's and Envoy Gateway's fetchers want exactly two layers, although they read one of them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
const CONTENT: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

/// Writes an OCI image layout with `wasm` as its only artifact to the folder `layout`; its digest.
pub fn write_layout(layout: &Path, wasm: &[u8]) -> Result<String> {
    let config =
        json!({ "type": "envoy_proxy", "abiVersions": ["0.2.1"], "config": { "rootIds": [] } });
    let config = blob(layout, CONFIG, config.to_string().as_bytes())?;
    let content = blob(layout, CONTENT, wasm)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": [config, content],
    });
    let manifest = blob(layout, MANIFEST, manifest.to_string().as_bytes())?;
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    put(layout, "index.json", index.to_string().as_bytes())?;
    put(layout, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(manifest["digest"].as_str().context("a descriptor has a digest")?.to_owned())
}

/// Writes a blob; the descriptor of it.
fn blob(layout: &Path, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    put(&layout.join("blobs/sha256"), &hash, bytes)?;
    Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{hash}"), "size": bytes.len() }))
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let write = || fs::create_dir_all(folder).and_then(|()| fs::write(folder.join(name), bytes));
    write().with_context(|| format!("cannot write to {}", folder.display()))
}
