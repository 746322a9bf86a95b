//! `gate push`: pushes the plugin to a registry and writes its digest where the manifests include it.

pub(crate) mod image;
pub(crate) mod reference;
pub(crate) mod registry;

use std::fs;
use std::io::{self, Write};
use std::path::{self, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use header_gate_contract::{Contract, inspect};
use header_gate_host::gate;
use header_gate_policy::Policy;
use tempfile::NamedTempFile;

use crate::build;
use crate::build::variant::Variant;
use image::Image;
pub use image::{LABELS, VERSION};

/// The kustomization component that the manifests include.
const PIN: &str = "deploy/image/kustomization.yaml";

/// Pushes the plugin to a registry and prints REGISTRY/NAME@sha256:DIGEST.
///
/// Builds the plugin from its policy, unless --plugin names one, and runs it first: a module that
/// contradicts its policy, or breaks the contract of `gate verify`, is not pushed. The digest is also written to
/// deploy/image/kustomization.yaml, which `kubectl apply -k` of the manifests includes.
///
/// No docker, podman or buildah is needed. Credentials come from docker's configuration
/// ($DOCKER_CONFIG/config.json or ~/.docker/config.json, credential helpers included): run
/// `docker login REGISTRY` first. Without credentials the push is anonymous. SSL_CERT_FILE names the
/// certificates to trust instead of the system's.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// REGISTRY/NAME[:TAG], such as registry.example.com/team/header-gate:1.0; TAG defaults to the
    /// version of the plugin
    image: String,
    /// Push an OCI artifact with Wasm media types instead of an image
    #[arg(long)]
    artifact: bool,
    /// Use HTTP without TLS
    #[arg(long)]
    plain_http: bool,
    /// The policy of the plugin [default: policy.toml]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Push this module instead of building one; no checkout is needed then
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Push a --plugin that keeps to no contract, such as one built with --features sdk
    #[arg(long, requires = "plugin")]
    no_contract: bool,
    /// Write the digest to this file [default: deploy/image/kustomization.yaml]
    #[arg(long, value_name = "FILE")]
    pin: Option<PathBuf>,
}

/// Runs `gate push`. The digest is written only after the push has succeeded.
pub fn run(options: Options) -> Result<()> {
    let reference = reference::parse(&options.image)?;
    // A build needs the checkout; a finished plugin is pushed from any folder.
    let base = if options.plugin.is_some() { PathBuf::new() } else { crate::checkout()? };
    let policy_file = options.policy.unwrap_or_else(|| base.join("policy.toml"));
    let policy = Policy::read(&policy_file)?;
    let default_pin = Some(base.join(PIN)).filter(|pin| pin.parent().is_some_and(Path::is_dir));
    let pin = options.pin.or(default_pin);
    pin.as_deref().map_or(Ok(()), check_writable)?;
    let credential = registry::credentials(reference.registry())?;

    let plugin = match options.plugin {
        Some(file) => file,
        None => {
            build::warn(&policy, &policy_file, false)?;
            build_plugin(&base, &policy_file)?
        }
    };
    let wasm = read_plugin(&plugin, &policy, &policy_file, !options.no_contract)?;
    let image = if options.artifact { Image::artifact(&wasm) } else { Image::layered(&wasm)? };
    eprintln!("gate: pushing {reference}");
    registry::push(&reference, &image, credential, options.plain_http)
        .with_context(|| format!("cannot push {reference}"))?;

    let (registry, repository) = (reference.registry(), reference.repository());
    let pinned = format!("{registry}/{repository}@{}", image.digest());
    // Printed first: the user needs the digest even if the file cannot be written.
    writeln!(io::stdout(), "{pinned}")?;
    let Some(pin) = pin else {
        eprintln!("gate: the digest is not written to a file: there is no {PIN} here");
        return Ok(());
    };
    build::put(&pin, kustomization(&pinned).as_bytes())
        .context("the image is pushed, but its digest is not written")?;
    eprintln!("gate: the digest is in {}", pin.display());
    Ok(())
}

/// Fails if `file` cannot be written, before anything is pushed.
fn check_writable(file: &Path) -> Result<()> {
    let place = file.display();
    let folder = build::folder(file);
    ensure!(folder.is_dir(), "cannot write {place}: there is no folder {}", folder.display());
    ensure!(!file.is_dir(), "cannot write {place}: it is a folder");
    NamedTempFile::new_in(folder).map(drop).with_context(|| format!("cannot write {place}"))
}

fn build_plugin(root: &Path, policy: &Path) -> Result<PathBuf> {
    eprintln!("gate: building the plugin of {}", policy.display());
    let variant = Variant::default().with_policy(path::absolute(policy)?);
    build::artifact(root, &variant.normalized(root))
}

/// The bytes of a module that decides as `policy` says, and keeps to its contract if that is `held`.
fn read_plugin(file: &Path, policy: &Policy, policy_file: &Path, held: bool) -> Result<Vec<u8>> {
    policy.check_plugin(policy_file)?;
    let (plugin, policy_file) = (file.display(), policy_file.display());
    let wasm = fs::read(file)
        .with_context(|| format!("cannot read the plugin {plugin} (./build.sh builds one)"))?;
    let properties = inspect(&wasm).with_context(|| format!("{plugin} is not a plugin"))?;
    let log = properties.imports.iter().any(|import| import.name == "env.proxy_log");
    let nginx = properties.exports.iter().any(|export| export.name == "proxy_on_done");
    let configured = properties.imports.iter().any(|i| i.name == "env.proxy_get_buffer_bytes");
    let contract = if configured {
        Contract::configured()
    } else {
        Contract { nginx, ..Contract::of(policy, log) }
    };
    let violations = properties.violations(&contract);
    if let (Some(first), true) = (violations.first(), held) {
        let more = match violations.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more; `gate verify` lists them)"),
        };
        bail!("{plugin} breaks its contract: {first}{more}; --no-contract pushes it nevertheless");
    }
    gate::check(&wasm, policy).with_context(|| {
        format!("{plugin} contradicts {policy_file} (--policy FILE names another policy)")
    })?;
    Ok(wasm)
}

/// A component for deploy/*/kustomization.yaml that sets the image to `image`, a reference with a
/// digest. Kustomize's own `images` reaches the images of containers only; a patch reaches every
/// resource.
pub fn kustomization(image: &str) -> String {
    format!(
        "\
# Written by deploy/push.sh: the image that it pushed last. The manifests include this file.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
  - target: {{ kind: WasmPlugin }}
    patch: |
      - {{ op: replace, path: /spec/url, value: \"oci://{image}\" }}
  - target: {{ kind: TrafficExtension }}
    patch: |
      - {{ op: replace, path: /spec/wasm/url, value: \"oci://{image}\" }}
  - target: {{ kind: EnvoyExtensionPolicy }}
    patch: |
      - {{ op: replace, path: /spec/wasm/0/code/image/url, value: \"{image}\" }}
"
    )
}
