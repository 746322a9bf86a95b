//! A registry of images on this machine, and the tools that talk to it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use header_gate_system::command::on_path;
use header_gate_system::install::apt;
use header_gate_system::process::{Folder, Process};

/// Debian's packages, each of which is a command of the same name.
const PACKAGES: [&str; 3] = ["buildah", "docker-registry", "skopeo"];

/// Debian's docker-registry with nothing in it; dropping it ends it.
pub struct Registry {
    process: Process,
    port: u16,
}

impl Registry {
    /// Starts it on a free port, without TLS.
    pub fn start() -> Self {
        install();
        let folder = Folder::new().unwrap();
        let (data, file) = (folder.path().join("data"), folder.path().join("config.yml"));
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let config = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: 127.0.0.1:{port} }}\n",
            data.display()
        );
        fs::write(&file, config).unwrap();
        let mut command = Command::new("docker-registry");
        let process = Process::start(command.arg("serve").arg(&file), folder).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert_eq!(process.ended().unwrap(), None, "{}", process.log());
            assert!(Instant::now() < deadline, "{}", process.log());
            thread::sleep(Duration::from_millis(20));
        }
        Self { process, port }
    }

    /// How an image is named there.
    pub fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/team/{name}", self.port)
    }

    /// Downloads `image` to `folder`: `manifest.json`, and each blob under its digest's digits.
    pub fn pull(&self, image: &str, folder: &Path) {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--preserve-digests", "--src-tls-verify=false"]);
        skopeo.args([format!("docker://{image}"), format!("dir:{}", folder.display())]);
        let output = skopeo.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Whether anything was ever pushed.
    pub fn is_empty(&self) -> bool {
        !self.process.folder().join("data/docker").exists()
    }
}

/// Installs what is missing of the tools.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut missing = PACKAGES.to_vec();
        missing.retain(|package| on_path(package).is_none());
        if !missing.is_empty() {
            apt(&missing).unwrap();
        }
    });
}
