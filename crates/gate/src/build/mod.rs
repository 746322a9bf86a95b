//! `gate build`: builds, verifies and measures variants of the plugin.

pub mod budget;
pub mod builder;
pub mod files;
pub mod ledger;
pub mod native;
pub mod toolchain;
pub mod variant;
pub mod wasm_opt;

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use header_gate_policy::Policy;

pub use builder::{Artifact, Builder, artifact};
pub use files::put;
use ledger::{FILE, Ledger};
use variant::Variant;

/// Builds the plugin: compiles, optimises, verifies, and compares its size with ledger.toml
///
/// Environment:
///   WASM_OPT=FILE                 this wasm-opt instead of npm's pinned one
///   HEADER_GATE_TOOLCHAIN=debian  Debian's Rust, with which the ledger is made
///   HEADER_GATE_INSTALL=never     install nothing; fail and say what is missing
#[derive(Debug, Default, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// log (lines in the host's log), sdk (on the proxy-wasm SDK), or both: sdk,log
    #[arg(long, value_name = "LIST")]
    pub features: Option<String>,
    /// Rule and answer [default: policy.toml of the checkout]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Where to write the plugin [default: plugin.wasm, plugin-sdk.wasm, ... of the checkout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Build every variant: fronts and features, policies/*.toml, the SDK baseline
    #[arg(long, conflicts_with_all = ["features", "policy", "out"])]
    pub all: bool,
    /// Write size, fuel and crossings into ledger.toml instead of failing where the size grew
    #[arg(long)]
    pub bless: bool,
}

/// Runs `gate build` in the checkout.
pub fn run(options: Options) -> Result<()> {
    run_in(&crate::checkout()?, &options)
}

/// Runs `gate build` in the checkout at `root`.
pub fn run_in(root: &Path, options: &Options) -> Result<()> {
    let targets = options.targets(root)?;
    for (variant, out) in &targets {
        variant.contract(root)?;
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) || out.is_dir() {
            bail!("--out {}: its folder does not exist, or it is a folder", out.display());
        }
    }
    let file = root.join(FILE);
    let rewrite = options.all && options.bless;
    let mut ledger = if rewrite { Ledger::default() } else { Ledger::read(&file)? };
    let builder = Builder::new(root)?;
    let toolchain = builder.toolchain()?;
    let other = ledger.toolchain().filter(|&other| other != toolchain).map(str::to_owned);
    if let (Some(other), true) = (&other, options.bless) {
        bail!("{FILE} was made with {other}, this is {toolchain}: run `./build.sh --all --bless`");
    }
    let mut built = Vec::new();
    for (variant, out) in targets {
        eprintln!("gate: building {}", variant.name());
        built.push((builder.build(&variant)?, variant, out));
    }
    let (mut lines, wrong) = compare(root, options.all, &built, &ledger, other.is_some());
    if !wrong.is_empty() && !options.bless {
        bail!("{}; if that is intended, add --bless", wrong.join("; "));
    }
    if rewrite {
        lines.extend(budget::compare(root, true)?);
    } else if options.bless {
        for (artifact, variant, _) in &built {
            let key = variant.ledger_key(root).context("--bless: this variant is not tracked")?;
            ledger.variant.insert(key, budget::measure(root, variant, &artifact.wasm)?);
        }
        ledger.write(&file)?;
    }
    for (artifact, _, out) in &built {
        put(out, &artifact.wasm)?;
    }
    if let [(artifact, _, out)] = &built[..] {
        print!("{}", artifact.properties);
        println!("{:<20}{}", "file", out.display());
    }
    if let Some(other) = other {
        lines.push(format!("The ledger was made with {other}; this is {toolchain}."));
    }
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// Compares sizes with the ledger: a line for each variant, and what is wrong.
fn compare(
    root: &Path,
    all: bool,
    built: &[(Artifact, Variant, PathBuf)],
    ledger: &Ledger,
    other_toolchain: bool,
) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut wrong, mut tracked) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (artifact, variant, _) in built {
        let (name, bytes) = (variant.name(), artifact.wasm.len() as u64);
        let key = variant.ledger_key(root);
        let note = match key.as_ref().map(|key| ledger.bytes(key)) {
            None => ", not tracked".to_owned(),
            Some(None) => {
                wrong.extend(all.then(|| format!("{name} has no entry in {FILE}")));
                ", new".to_owned()
            }
            Some(Some(entry)) if entry == bytes => String::new(),
            Some(Some(entry)) if other_toolchain => format!(", {entry} in the ledger"),
            Some(Some(entry)) if entry < bytes => {
                wrong.push(format!("{name} grew: {FILE} has {entry} bytes, now {bytes}"));
                format!(", grew from {entry}")
            }
            Some(Some(entry)) => format!(", shrank from {entry} (--bless records it)"),
        };
        lines.push(format!(
            "{name:<20}{bytes:>6} bytes, {:>6} gzip{note}",
            artifact.properties.gzip
        ));
        tracked.extend(key);
    }
    let keys = ledger.variant.keys().filter(|&key| all && !tracked.contains(key));
    wrong.extend(keys.map(|key| format!("{FILE} lists {key}, which is not a variant")));
    (lines, wrong)
}

impl Options {
    /// The variants to build, and the files to write.
    fn targets(&self, root: &Path) -> Result<Vec<(Variant, PathBuf)>> {
        if self.all {
            let all = Variant::all(root)?.into_iter();
            return Ok(all
                .map(|variant| (variant.clone(), root.join(variant.file_name())))
                .collect());
        }
        let mut variant = Variant::with_features(self.features.as_deref().unwrap_or_default())?;
        if let Some(policy) = &self.policy {
            // Read here, so that an error names the path as it was given: cargo runs in another folder.
            Policy::read(policy)?;
            variant = variant.with_policy(env::current_dir()?.join(policy)).normalized(root);
        }
        let out = self.out.clone().unwrap_or_else(|| root.join(variant.file_name()));
        Ok(vec![(variant, out)])
    }
}
