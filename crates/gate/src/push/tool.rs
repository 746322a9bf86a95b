//! The programs that talk to a registry. They know the user's credentials; we do not.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::reference::Reference;
use header_gate_system::command::{ask, on_path, run, run_quietly};

/// Long enough for a slow registry and the tools' own retries.
const LIMIT: Duration = Duration::from_secs(300);

/// What builds an image from a Dockerfile, and pushes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builder {
    Docker,
    Podman,
    Buildah,
}

impl Builder {
    const ALL: [Self; 3] = [Self::Docker, Self::Podman, Self::Buildah];

    fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Buildah => "buildah",
        }
    }

    /// The one that is wanted, or the first that works.
    pub fn find(wanted: Option<&str>) -> Result<Self> {
        find(&Self::ALL.map(|tool| (tool.name(), tool)), wanted, "an image", |tool| {
            if tool == Self::Docker {
                // The client alone builds nothing.
                let mut version = Command::new("docker");
                ask(version.args(["version", "--format", "{{.Server.Version}}"])).map(drop)?;
            }
            Ok(())
        })
    }

    /// Builds `dockerfile` on what is in `context`.
    pub fn build(
        self,
        dockerfile: &Path,
        context: &Path,
        version: &str,
        image: &Reference,
    ) -> Result<()> {
        eprintln!("building {} with {} ...", image.tagged(), self.name());
        let mut build = Command::new(self.name());
        build.arg("build").arg("--file").arg(dockerfile);
        build.args(["--build-arg", &format!("VERSION={version}"), "--tag", &image.tagged()]);
        if self == Self::Docker {
            // One manifest, not an index for one platform that others would not find theirs in.
            build.env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1").env("SOURCE_DATE_EPOCH", "0");
        } else {
            build.args(["--timestamp", "0"]);
        }
        run_quietly(build.arg(context), LIMIT).context("cannot build the image")
    }

    /// Pushes what was built; the digest that it has in the registry.
    pub fn push(self, image: &Reference, plain_http: bool, folder: &Path) -> Result<String> {
        let tagged = image.tagged();
        eprintln!("pushing {tagged} ...");
        let mut push = Command::new(self.name());
        push.arg("push");
        let refused = || format!("cannot push to {tagged}; is the registry up, are you logged in");
        if self == Self::Docker {
            let said = run(push.arg(&tagged), LIMIT).with_context(refused)?;
            // Not what it knows of the image: that has digests of earlier pushes, and leaves out the
            // registry where that is Docker Hub.
            let digest = said.lines().rev().find_map(pushed_digest);
            return Ok(digest.context("docker does not tell the image's digest")?.to_owned());
        }
        let file = folder.join("digest");
        push.arg(format!("--tls-verify={}", !plain_http)).arg("--digestfile").arg(&file);
        run_quietly(push.args([&tagged, &format!("docker://{tagged}")]), LIMIT)
            .with_context(refused)?;
        Ok(fs::read_to_string(file).context("the push told no digest")?.trim().to_owned())
    }
}

/// The digest in `TAG: digest: sha256:DIGEST size: SIZE`, docker's last word on a push.
fn pushed_digest(line: &str) -> Option<&str> {
    let (_, digest) = line.split_once(": digest: ")?;
    let (digest, _) = digest.split_once(" size: ")?;
    let digits = digest.strip_prefix("sha256:")?;
    let whole = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then_some(digest)
}

/// What copies an image layout to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copier {
    Oras,
    Skopeo,
}

impl Copier {
    /// The one that is wanted, or the first that is there.
    pub fn find(wanted: Option<&str>) -> Result<Self> {
        let all = [("oras", Self::Oras), ("skopeo", Self::Skopeo)];
        find(&all, wanted, "an artifact", |_| Ok(()))
    }

    /// Copies the artifact `digest`, the only one of `layout`, byte for byte.
    pub fn push(
        self,
        layout: &Path,
        digest: &str,
        image: &Reference,
        plain_http: bool,
    ) -> Result<()> {
        let tagged = image.tagged();
        eprintln!("pushing {tagged} ...");
        let layout = layout.display();
        let mut copy = match self {
            Self::Oras => {
                let mut oras = Command::new("oras");
                oras.args(["cp", "--from-oci-layout"]);
                if plain_http {
                    oras.arg("--to-plain-http");
                }
                oras.args([format!("{layout}@{digest}"), tagged.clone()]);
                oras
            }
            Self::Skopeo => {
                let mut skopeo = Command::new("skopeo");
                skopeo.args(["copy", "--preserve-digests"]);
                skopeo.arg(format!("--dest-tls-verify={}", !plain_http));
                skopeo.args([format!("oci:{layout}"), format!("docker://{tagged}")]);
                skopeo
            }
        };
        run_quietly(&mut copy, LIMIT).with_context(|| {
            format!("cannot push to {tagged}; is the registry up, are you logged in")
        })
    }
}

/// The tool that is wanted, or the first on PATH that works.
fn find<T: Copy>(
    all: &[(&str, T)],
    wanted: Option<&str>,
    to_push: &str,
    works: impl Fn(T) -> Result<()>,
) -> Result<T> {
    let names = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if let Some(wanted) = wanted {
        let Some((name, tool)) = all.iter().find(|(name, _)| *name == wanted) else {
            bail!("HEADER_GATE_TOOL={wanted} cannot push {to_push}; one of {names} can");
        };
        if on_path(name).is_none() {
            bail!("HEADER_GATE_TOOL names {name}, which is not on PATH");
        }
        works(*tool)
            .with_context(|| format!("HEADER_GATE_TOOL names {name}, which does not work"))?;
        return Ok(*tool);
    }
    let mut reasons = String::new();
    for (_, tool) in all.iter().filter(|(name, _)| on_path(name).is_some()) {
        match works(*tool) {
            Ok(()) => return Ok(*tool),
            Err(error) => reasons += &format!("; {error:#}"),
        }
    }
    bail!("nothing here pushes {to_push}: install one of {names}{reasons}")
}
