//! `deploy/push.sh`: the plugin in a registry, and its digest where the manifests take it from.

mod artifact;
pub mod pin;
mod reference;
mod tool;

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{self, Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use header_gate_policy::Policy;
use lexopt::prelude::*;
use tempfile::NamedTempFile;

use crate::build;
use crate::build::variant::Variant;
use header_gate_contract as verify;
use header_gate_system::process::Folder;
use reference::Reference;
use tool::{Builder, Copier};

/// The only file of the image, by the name that gateways look for.
const PLUGIN: &str = "plugin.wasm";
/// What the manifests' kustomizations include.
const PIN: &str = "deploy/image/kustomization.yaml";

fn help() -> String {
    format!(
        "\
Pushes the plugin to a registry, prints REGISTRY/NAME@sha256:DIGEST, and writes that to
{PIN}, from where `kubectl apply -k` of the manifests takes it.
Builds the plugin by its policy first, and runs it: what does not decide as the policy says is not
pushed.

Usage: deploy/push.sh [options] IMAGE
  IMAGE                REGISTRY/NAME[:TAG], such as registry.example.com/team/header-gate:1.0;
                       TAG is the plugin's version if it is left out
  --artifact           an OCI artifact in Wasm's own media types instead of an image
  --plain-http         the registry speaks no TLS (docker asks its daemon's configuration instead)
  --policy FILE        the rule and the answer [policy.toml]
  --plugin FILE        this module of that policy, instead of one that is built now
  --pin FILE           write the digest here instead
  --help               this text
Environment:
  HEADER_GATE_TOOL     what pushes: docker, podman or buildah; oras or skopeo with --artifact.
                       The first of them that works is taken otherwise. Log in with it before.
"
    )
}

/// What is pushed, and how.
#[derive(Debug)]
struct Options {
    image: Reference,
    artifact: bool,
    plain_http: bool,
    policy: PathBuf,
    plugin: Option<PathBuf>,
    pin: PathBuf,
}

impl Options {
    /// The options in `args`; none if help was asked for.
    fn parse(root: &Path, mut args: lexopt::Parser) -> Result<Option<Self>> {
        let (mut artifact, mut plain_http) = (false, false);
        let (mut policy, mut plugin) = (root.join("policy.toml"), None);
        let (mut image, mut pin) = (None, root.join(PIN));
        while let Some(argument) = args.next()? {
            match argument {
                Long("artifact") => artifact = true,
                Long("plain-http") => plain_http = true,
                Long("policy") => policy = args.value()?.into(),
                Long("plugin") => plugin = Some(args.value()?.into()),
                Long("pin") => pin = args.value()?.into(),
                Long("help") | Short('h') => return Ok(None),
                Value(value) if image.is_none() => image = Some(value.string()?),
                other => bail!("{}; see deploy/push.sh --help", other.unexpected()),
            }
        }
        let image = image.context(
            "IMAGE is missing: where to push, such as \
             deploy/push.sh registry.example.com/team/header-gate:1.0",
        )?;
        let image = Reference::parse(&image, &version(root)?)?;
        Ok(Some(Self { image, artifact, plain_http, policy, plugin, pin }))
    }

    /// Whether the digest can be written, before anything is pushed.
    fn check_pin(&self) -> Result<()> {
        let pin = self.pin.display();
        let folder = self.pin.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        ensure!(folder.is_dir(), "cannot write {pin}: there is no such folder");
        ensure!(!self.pin.is_dir(), "cannot write {pin}: it is a folder");
        NamedTempFile::new_in(folder).map(drop).with_context(|| format!("cannot write {pin}"))
    }
}

/// Runs `deploy/push.sh` with the arguments that follow. `check` tells whether a module is the gate of
/// a policy.
///
/// # Errors
/// A bad option or policy, no tool, no plugin, one that `check` refuses, or a registry that does not
/// take it. The digest is written after the push has succeeded, or not at all.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    check: impl Fn(&[u8], &Policy) -> Result<()>,
) -> Result<()> {
    let root = crate::root();
    let mut out = io::stdout().lock();
    let Some(options) = Options::parse(&root, lexopt::Parser::from_args(args))? else {
        return Ok(out.write_all(help().as_bytes())?);
    };
    let policy = Policy::read(&options.policy)?;
    options.check_pin()?;
    let plugin = || plugin(&root, &options, |wasm| check(wasm, &policy));
    let digest = if options.artifact {
        push_artifact(&options, plugin)?
    } else {
        push_image(&root, &options, plugin)?
    };
    let pinned = options.image.at(&digest);
    // First, so that it is known though it may not be pinned.
    writeln!(out, "{pinned}")?;
    build::put(&options.pin, pin::kustomization(&pinned).as_bytes())
        .context("the image is pushed, but not pinned")?;
    eprintln!("pinned in {}", options.pin.display());
    Ok(())
}

fn push_image(
    root: &Path,
    options: &Options,
    plugin: impl FnOnce() -> Result<Vec<u8>>,
) -> Result<String> {
    let builder = Builder::find(forced().as_deref())?;
    let wasm = plugin()?;
    // A folder with nothing else, and a file of no particular time: the same module makes the same
    // layer, whoever builds it.
    let context = Folder::new().context("no temporary folder for the image")?;
    let file = context.path().join(PLUGIN);
    fs::write(&file, wasm)?;
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    File::options().write(true).open(&file)?.set_modified(SystemTime::UNIX_EPOCH)?;
    builder.build(&root.join("Dockerfile"), context.path(), &version(root)?, &options.image)?;
    builder.push(&options.image, options.plain_http, context.path())
}

fn push_artifact(options: &Options, plugin: impl FnOnce() -> Result<Vec<u8>>) -> Result<String> {
    let copier = Copier::find(forced().as_deref())?;
    let wasm = plugin()?;
    let layout = Folder::new().context("no temporary folder for the artifact")?;
    let digest = artifact::write_layout(layout.path(), &wasm)?;
    copier.push(layout.path(), &digest, &options.image, options.plain_http)?;
    Ok(digest)
}

/// The tool that the user wants.
fn forced() -> Option<String> {
    env::var("HEADER_GATE_TOOL").ok().filter(|name| !name.is_empty())
}

/// The module to push, a named one or the policy's, built anew; `check` has to let it pass.
fn plugin(root: &Path, options: &Options, check: impl Fn(&[u8]) -> Result<()>) -> Result<Vec<u8>> {
    let policy = options.policy.display();
    let file = match &options.plugin {
        Some(file) => file.clone(),
        None => {
            eprintln!("gate: building the plugin by {policy} ...");
            let variant = Variant::default().with_policy(path::absolute(&options.policy)?);
            build::artifact(root, &variant.normalized(root))?
        }
    };
    let wasm = fs::read(&file).with_context(|| {
        format!("cannot read the plugin {}; ./build.sh builds one", file.display())
    })?;
    verify::inspect(&wasm).with_context(|| format!("{} is not a plugin", file.display()))?;
    check(&wasm).with_context(|| {
        format!(
            "{} is not the gate that {policy} describes (--policy FILE names another)",
            file.display()
        )
    })?;
    Ok(wasm)
}

/// The plugin's version, as its Cargo.toml has it.
fn version(root: &Path) -> Result<String> {
    let file = root.join("Cargo.toml");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let manifest: toml_edit::DocumentMut = text.parse()?;
    let version = manifest["package"]["version"].as_str();
    Ok(version.with_context(|| format!("{} has no version", file.display()))?.to_owned())
}
