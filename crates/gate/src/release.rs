//! `gate release`: everything that a release consists of, in one folder and in a registry.

mod files;
mod sbom;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use header_gate_system::command;
use header_gate_system::process::Folder;

use crate::build::variant::Variant;
use crate::push::image::{Image, LABELS, VERSION};
use crate::push::{reference, registry};

/// Gathers the files of a release in a folder, and pushes its modules to a registry
///
/// The files: every module that keeps to a contract, with the features and with the policies of policies/; the native
/// gate for this machine; what each of them can do, as JSON; an SBOM (CycloneDX); and SHA256SUMS. The same sources and
/// tools give the same files and the same digests.
///
/// Each module is pushed as an image (tags VERSION, MAJOR.MINOR and latest; of another one than plugin.wasm
/// VERSION-NAME, MAJOR.MINOR-NAME and NAME) and as an OCI artifact (the same tags with -artifact). Prints
/// REGISTRY/NAME@sha256:DIGEST and the tags of each. Credentials are those of `gate push`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// REGISTRY/NAME, such as registry.example.com/team/header-gate
    #[arg(required_unless_present = "dry_run")]
    image: Option<String>,
    /// Push nothing; with REGISTRY/NAME, print what would be pushed
    #[arg(long)]
    dry_run: bool,
    /// The folder to write, which must not exist yet
    #[arg(long, value_name = "FOLDER", default_value = "release")]
    out: PathBuf,
    /// Another file of the release, such as the native gate for another machine
    #[arg(long, value_name = "FILE")]
    add: Vec<PathBuf>,
    /// Where the sources are, for the images' annotation
    #[arg(long, value_name = "URL", required_unless_present = "dry_run")]
    source: Option<String>,
    /// The commit, for the images' annotation [default: that of the checkout]
    #[arg(long, value_name = "COMMIT")]
    revision: Option<String>,
    /// Use HTTP without TLS
    #[arg(long)]
    plain_http: bool,
}

/// Runs `gate release`. The folder is complete or not there; nothing is pushed before it is.
pub fn run(options: &Options) -> Result<()> {
    let root = crate::checkout()?;
    if let Some(image) = &options.image {
        ensure!(!image.contains("://"), "IMAGE `{image}`: remove the scheme");
        let name = image.rsplit('/').next().unwrap_or_default();
        ensure!(!name.contains(':'), "IMAGE `{image}`: remove the tag, a release has its own");
        reference::parse(image)?;
    }
    let out = &options.out;
    let place = out.display();
    ensure!(!out.exists(), "--out {place}: exists already; name another folder, or remove it");
    let parent = crate::build::folder(out);
    ensure!(parent.is_dir(), "--out {place}: there is no folder {}", parent.display());
    let variants = Variant::released(&root)?;
    let folder = Folder::within(parent)?;
    files::gather(&root, &variants, &options.add, folder.path())?;
    folder.keep_as(out).with_context(|| format!("cannot create {place}"))?;
    eprintln!("gate: the files are in {place}; `sha256sum --check SHA256SUMS` there checks them");
    options.image.as_deref().map_or(Ok(()), |image| options.push(&root, image, &variants))
}

impl Options {
    /// Pushes each module in both forms, with all tags.
    fn push(&self, root: &Path, image: &str, variants: &[Variant]) -> Result<()> {
        let revision = match &self.revision {
            Some(revision) => revision.clone(),
            None => {
                command::ask(Command::new("git").arg("-C").arg(root).args(["rev-parse", "HEAD"]))
                    .context("--revision is missing")?
            }
        };
        let mut annotations = LABELS.to_vec();
        annotations.push(("revision", &revision));
        annotations.extend(self.source.as_deref().map(|source| ("source", source)));
        for variant in variants {
            let wasm = fs::read(self.out.join(variant.file_name()))?;
            let forms = [("", Image::layered(&wasm)?), ("-artifact", Image::artifact(&wasm))];
            for (form, contents) in forms {
                let contents = contents.annotated(&annotations)?;
                let tags = tags(variant).map(|tag| tag + form);
                if !self.dry_run {
                    self.push_tags(image, &tags, &contents)?;
                }
                writeln!(io::stdout(), "{image}@{} {}", contents.digest(), tags.join(" "))?;
            }
        }
        Ok(())
    }

    fn push_tags(&self, image: &str, tags: &[String], contents: &Image) -> Result<()> {
        for tag in tags {
            let reference = reference::parse(&format!("{image}:{tag}"))?;
            eprintln!("gate: pushing {reference}");
            let credential = registry::credentials(reference.registry())?;
            registry::push(&reference, contents, credential, self.plain_http)
                .with_context(|| format!("cannot push {reference}"))?;
        }
        Ok(())
    }
}

/// The exact version, the newest patch of it, and the newest of all.
fn tags(variant: &Variant) -> [String; 3] {
    let minor = VERSION.rsplit_once('.').map_or(VERSION, |(minor, _)| minor);
    if *variant == Variant::default() {
        [VERSION, minor, "latest"].map(str::to_owned)
    } else {
        let name = variant.name();
        [format!("{VERSION}-{name}"), format!("{minor}-{name}"), name]
    }
}
