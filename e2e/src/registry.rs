//! A registry of images on this machine.

use std::fs;
use std::process::Command;

use header_gate_envoy::client::{Connection, Response};
use header_gate_system::install::apt_program;
use header_gate_system::process::{Folder, Process};
use serde_json::Value;

use crate::until;

const PROGRAM: &str = "docker-registry";
/// `gate:secret` for htpasswd.
const LOGIN: &str = "gate:$2b$04$H0v7.QhPal074lQSt6wqOOYFMP2a52ozJbbyYDDscN.yaOh1uuI3q\n";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Debian's docker-registry without TLS; dropping it ends it.
pub struct Registry {
    process: Process,
    port: u16,
}

impl Registry {
    /// Starts an empty registry that anyone may push to.
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts an empty registry that requires the user `gate` with the password `secret`.
    pub fn with_login() -> Self {
        Self::with("auth: { htpasswd: { realm: test, path: FOLDER/login } }\n")
    }

    fn with(auth: &str) -> Self {
        apt_program(PROGRAM, PROGRAM).unwrap();
        let folder = Folder::new().unwrap();
        fs::write(folder.path().join("login"), LOGIN).unwrap();
        let config = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: FOLDER/data }} }}\n\
             http: {{ addr: '127.0.0.1:0' }}\n{auth}"
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

    /// `REGISTRY/team/NAME`.
    pub fn image(&self, name: &str) -> String {
        format!("{}/team/{name}", self.address())
    }

    /// Downloads the manifest of `image`, which has a tag or a digest. Fails on an index: gateways on
    /// other platforms would not find theirs in it.
    pub fn manifest(&self, image: &str) -> Value {
        let (name, tag) = image.rsplit_once('@').or(image.rsplit_once(':')).unwrap();
        let response = self.get(&format!("{name}/manifests/{tag}"));
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Downloads the blob that `descriptor` names in the repository `team/gate`.
    pub fn blob(&self, descriptor: &Value) -> Vec<u8> {
        let digest = descriptor["digest"].as_str().unwrap();
        self.get(&format!("{}/blobs/{digest}", self.image("gate"))).body
    }

    fn get(&self, image: &str) -> Response {
        let path = image.replacen(&self.address(), "/v2", 1);
        let accept: [(&[u8], &[u8]); 1] = [(b"accept", MANIFEST.as_bytes())];
        let mut connection = Connection::open(self.port).unwrap();
        let response = connection.send("GET", &path, &accept, b"").unwrap();
        assert_eq!(response.status, 200, "{path}");
        response
    }

    /// Whether nothing was ever pushed.
    pub fn is_empty(&self) -> bool {
        !self.process.folder().join("data/docker").exists()
    }
}

/// The port in the line `... listening on 127.0.0.1:PORT...` of the log.
fn port_in(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("listening on 127.0.0.1:")?;
    let (port, _) = rest.split_once(|c: char| !c.is_ascii_digit())?;
    port.parse().ok()
}
