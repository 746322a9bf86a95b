//! The two forms of the plugin in a registry. Their bytes, and so their digests, depend on the module
//! alone.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The version of the plugin: its label, and its tag unless another is given.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The labels of the image, after `org.opencontainers.image.`; the Dockerfile has the same ones.
pub const LABELS: [(&str, &str); 4] = [
    ("title", "header-gate"),
    (
        "description",
        "A Proxy-Wasm plugin of a few hundred bytes: a request passes only when a header carries an agreed value",
    ),
    ("licenses", "Apache-2.0"),
    ("version", VERSION),
];

const FILE: &str = "plugin.wasm";

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
// Istio and Envoy Gateway read gzip only, not zstd.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const WASM_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
const WASM_CONTENT: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

pub struct Image {
    pub manifest: Vec<u8>,
    pub blobs: [Vec<u8>; 2],
}

impl Image {
    /// An image with one layer that holds one file. A plain manifest, no index: gateways on every
    /// platform find it.
    pub fn layered(wasm: &[u8]) -> Result<Self> {
        let tar = tar(wasm)?;
        // The header that this encoder writes has no time, no name and no operating system.
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&tar)?;
        let layer = gzip.finish()?;
        let labels = LABELS.map(|(name, text)| (annotation(name), text));
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": { "Labels": BTreeMap::from(labels) },
            "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] },
        });
        let config = config.to_string().into_bytes();
        let manifest = manifest(&descriptor(CONFIG, &config), &[descriptor(LAYER, &layer)]);
        Ok(Self { manifest, blobs: [config, layer] })
    }

    /// An artifact as the Wasm OCI image specification describes it. The fetchers of Istio and Envoy
    /// Gateway require exactly two layers, although they read only one.
    pub fn artifact(wasm: &[u8]) -> Self {
        let root = json!({ "rootIds": [] });
        let config = json!({ "type": "envoy_proxy", "abiVersions": ["0.2.1"], "config": root });
        let config = config.to_string().into_bytes();
        let described = descriptor(WASM_CONFIG, &config);
        let layers = [described.clone(), descriptor(WASM_CONTENT, wasm)];
        Self { manifest: manifest(&described, &layers), blobs: [config, wasm.to_vec()] }
    }

    /// The same image with annotations, after `org.opencontainers.image.`, in its manifest.
    pub fn annotated(mut self, annotations: &[(&str, &str)]) -> Result<Self> {
        let mut manifest: Value = serde_json::from_slice(&self.manifest)?;
        let named = annotations.iter().map(|(name, text)| (annotation(name), *text));
        manifest["annotations"] = json!(BTreeMap::from_iter(named));
        self.manifest = manifest.to_string().into_bytes();
        Ok(self)
    }

    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }
}

fn annotation(name: &str) -> String {
    format!("org.opencontainers.image.{name}")
}

fn manifest(config: &Value, layers: &[Value]) -> Vec<u8> {
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers })
        .to_string()
        .into_bytes()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// An archive with `wasm` as its only file.
fn tar(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(wasm.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, FILE, wasm)?;
    Ok(tar.into_inner()?)
}
