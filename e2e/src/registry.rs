//! A registry of images on this machine.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use flate2::read::GzDecoder;
use header_gate_envoy::client::{Connection, Response};
use header_gate_system::install::apt_program;
use header_gate_system::process::{Folder, Process};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::Archive;

use crate::{certificates, until};

const PROGRAM: &str = "docker-registry";
/// `gate:secret` for htpasswd.
const LOGIN: &str = "gate:$2b$04$H0v7.QhPal074lQSt6wqOOYFMP2a52ozJbbyYDDscN.yaOh1uuI3q\n";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const WASM_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
const WASM_CONTENT: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

/// Debian's docker-registry without TLS; dropping it ends it.
pub struct Registry {
    process: Process,
    port: u16,
}

impl Registry {
    /// Starts an empty registry that anyone may push to.
    pub fn start() -> Self {
        Self::with("", "")
    }

    /// Starts an empty registry that requires the user `gate` with the password `secret`.
    pub fn with_login() -> Self {
        Self::with("", "auth: { htpasswd: { realm: test, path: FOLDER/login } }\n")
    }

    /// Starts an empty registry that sends clients to `realm` for a token, and takes any.
    pub fn with_tokens(realm: &str) -> Self {
        Self::with(
            "",
            &format!("auth: {{ silly: {{ realm: '{realm}', service: 'a registry' }} }}\n"),
        )
    }

    /// Starts an empty registry with a certificate of [`Registry::ca`].
    pub fn with_tls() -> Self {
        Self::with(", tls: { certificate: FOLDER/cert.pem, key: FOLDER/key.pem }", "")
    }

    fn with(tls: &str, auth: &str) -> Self {
        apt_program(PROGRAM, PROGRAM).unwrap();
        let folder = Folder::new().unwrap();
        let [ca, certificate, key] = certificates("127.0.0.1");
        let files =
            [("ca.pem", &*ca), ("cert.pem", &certificate), ("key.pem", &key), ("login", LOGIN)];
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let config = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: FOLDER/data }} }}\n\
             http: {{ addr: '127.0.0.1:0'{tls} }}\n{auth}"
        );
        let file = folder.path().join("config.yml");
        let place = folder.path().to_str().unwrap();
        fs::write(&file, config.replace("FOLDER", place)).unwrap();
        let mut command = Command::new(PROGRAM);
        let process = Process::start(command.arg("serve").arg(&file), folder).unwrap();
        let mut port = None;
        until("the registry does not listen", || {
            assert_eq!(process.ended().unwrap(), None, "{}", process.log());
            port = port_in(&process.log());
            port.is_some()
        });
        Self { process, port: port.unwrap() }
    }

    /// The address, as in the name of an image.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The certificate of the authority that signed that of the registry.
    pub fn ca(&self) -> PathBuf {
        self.process.folder().join("ca.pem")
    }

    /// `REGISTRY/team/NAME`.
    pub fn image(&self, name: &str) -> String {
        format!("{}/team/{name}", self.address())
    }

    /// Fetches the plugin of `image`, a reference with a tag or digest, and the manifest, as Istio's
    /// pkg/wasm/imagefetcher.go and Envoy Gateway's internal/wasm/imagefetcher.go do. What they only
    /// tolerate fails: an index, more layers, more files.
    pub fn fetch(&self, image: &str) -> (Vec<u8>, Value) {
        let (name, tag) = image.rsplit_once('@').or(image.rsplit_once(':')).unwrap();
        let response = self.get(&format!("{name}/manifests/{tag}"));
        assert_eq!(response.header("content-type"), Some(MANIFEST.as_bytes()));
        if tag.starts_with("sha256:") {
            assert_eq!(digest(&response.body), tag);
        }
        let manifest: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(manifest["mediaType"], MANIFEST);
        let types = manifest["layers"].as_array().unwrap().iter().map(|layer| &layer["mediaType"]);
        let blob = |descriptor| self.blob(name, descriptor);
        let wasm = match types.collect::<Vec<_>>()[..] {
            [layer] if layer == LAYER => {
                assert_eq!(manifest["config"]["mediaType"], CONFIG);
                let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
                let (wasm, tar) = only_file(&blob(&manifest["layers"][0]));
                assert_eq!(config["rootfs"]["diff_ids"], json!([digest(&tar)]));
                // Where an index names the image, fetchers take the one of this platform.
                assert_eq!(
                    (&config["os"], &config["architecture"]),
                    (&json!("linux"), &json!("amd64"))
                );
                wasm
            }
            [config, content] if config == WASM_CONFIG && content == WASM_CONTENT => {
                assert_eq!(manifest["config"], manifest["layers"][0]);
                blob(&manifest["layers"][1])
            }
            ref other => panic!("no fetcher takes layers of {other:?}"),
        };
        assert!(wasm.starts_with(b"\0asm"));
        (wasm, manifest)
    }

    /// Downloads the blob that `descriptor` names in a repository.
    pub fn blob(&self, name: &str, descriptor: &Value) -> Vec<u8> {
        let expected = descriptor["digest"].as_str().unwrap();
        let blob = self.get(&format!("{name}/blobs/{expected}")).body;
        assert_eq!((&*digest(&blob), json!(blob.len())), (expected, descriptor["size"].clone()));
        blob
    }

    fn get(&self, image: &str) -> Response {
        let path = image.replacen(&self.address(), "/v2", 1);
        // As the fetchers do: a registry that has an index would answer it.
        let types = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX].join(", ");
        let headers: [(&[u8], &[u8]); 2] =
            [(b"accept", types.as_bytes()), (b"authorization", b"Basic Z2F0ZTpzZWNyZXQ=")];
        let mut connection = Connection::open(self.port).unwrap();
        let response = connection.send("GET", &path, &headers, b"").unwrap();
        assert_eq!(response.status, 200, "{path}");
        response
    }

    /// Whether nothing was ever pushed.
    pub fn is_empty(&self) -> bool {
        !self.process.folder().join("data/docker").exists()
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// The plugin, the only file of a gzip layer, and the archive. Nothing in it depends on time or user.
fn only_file(layer: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut tar, mut wasm) = (Vec::new(), Vec::new());
    GzDecoder::new(layer).read_to_end(&mut tar).unwrap();
    let mut archive = Archive::new(&*tar);
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut file = entries.next().unwrap();
    assert_eq!(&*file.path_bytes(), b"plugin.wasm");
    let (kind, head) = (file.header().entry_type(), file.header());
    assert!(kind.is_file() && head.mode().unwrap() == 0o644 && head.mtime().unwrap() == 0);
    assert_eq!((head.uid().unwrap(), head.gid().unwrap()), (0, 0));
    file.read_to_end(&mut wasm).unwrap();
    assert!(entries.next().is_none(), "more than one file");
    drop(entries);
    (wasm, tar)
}

/// The port in the line `... listening on 127.0.0.1:PORT...` of the log.
fn port_in(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("listening on 127.0.0.1:")?;
    let (port, _) = rest.split_once(|c: char| !c.is_ascii_digit())?;
    port.parse().ok()
}
