//! `gate build`: builds, verifies and measures variants of the plugin.

pub mod budget;
pub mod builder;
pub mod files;
pub mod ledger;
pub mod native;
pub mod toolchain;
pub mod variant;
pub mod wasm_opt;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use header_gate_policy::Policy;

pub use builder::{Builder, artifact};
pub use files::{folder, put};
use ledger::{FILE, Ledger};
use variant::{DEFAULT_POLICY, Variant};

/// Builds the plugin: compiles, optimises, verifies, and compares its size with ledger.toml
///
/// A build with the SDK has no contract: what it can do is printed, and nothing of it verified.
///
/// Environment:
///   WASM_OPT=FILE                 this wasm-opt instead of npm's pinned one
///   HEADER_GATE_TOOLCHAIN=debian  Debian's Rust, with which the ledger is made
///   HEADER_GATE_INSTALL=never     install nothing; fail and say what is missing
#[derive(Debug, Default, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// log (lines in the host's log), sdk (on the proxy-wasm SDK), or both: sdk,log; config (the policy from the
    /// plugin's configuration); native (a shared library for Envoy's dynamic modules)
    #[arg(long, value_name = "LIST")]
    pub features: Option<String>,
    /// Rule and answer [default: policy.toml of the checkout]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Where to write the plugin [default: plugin.wasm, plugin-sdk.wasm, ... of the checkout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// With --features native: another target of the Rust toolchain on PATH than this machine
    #[arg(long, value_name = "TRIPLE")]
    pub target: Option<String>,
    /// Build every variant: fronts and features, policies/*.toml, the SDK baseline
    #[arg(long, conflicts_with_all = ["features", "policy", "out"])]
    pub all: bool,
    /// Write size, fuel and crossings into ledger.toml instead of failing where the size grew
    #[arg(long)]
    pub bless: bool,
    /// Fail where a policy would work, and may surprise, instead of printing a warning
    #[arg(long)]
    pub strict: bool,
}

pub fn run(options: Options) -> Result<()> {
    run_in(&crate::checkout()?, &options)
}

pub fn run_in(root: &Path, options: &Options) -> Result<()> {
    if options.features.as_deref() == Some("native") {
        return options.build_native(root);
    }
    ensure!(options.target.is_none(), "--target is for --features native");
    let targets = options.targets(root)?;
    options.check(root, &targets)?;
    let file = root.join(FILE);
    let rewrite = options.all && options.bless;
    // A damaged one is no reason not to write a new one.
    let mut ledger = match Ledger::read(&file) {
        Err(_) if rewrite => Ledger::default(),
        ledger => ledger?,
    };
    let builder = Builder::new(root)?;
    let toolchain = builder.toolchain()?;
    let other = ledger.toolchain().filter(|&other| other != toolchain).map(str::to_owned);
    if let (Some(other), true, false) = (&other, options.bless, rewrite) {
        bail!("{FILE} was made with {other}, this is {toolchain}: run `./build.sh --all --bless`");
    }
    let (mut built, mut lines, mut grown) = (Vec::new(), Vec::new(), Vec::new());
    for (out, variant) in targets {
        let name = variant.name();
        eprintln!("gate: building {name}");
        let (wasm, properties) = builder.build(&variant)?;
        let (bytes, gzip, key) = (wasm.len() as u64, properties.gzip, variant.ledger_key(root));
        let note = ledger.compare_size(key.as_deref(), bytes, other.is_none());
        let note = note.unwrap_or_else(|grew| {
            grown.push(format!("{name} grew: {grew}"));
            format!(", {grew}")
        });
        let held = if variant.contract(root)?.is_some() { "verified" } else { "no contract" };
        lines.push(format!("{name:<20}{bytes:>6} bytes, {gzip:>6} gzip, {held}{note}"));
        built.push((wasm, properties, variant, out));
    }
    if !grown.is_empty() && !options.bless {
        bail!("{}; if that is intended, add --bless", grown.join("; "));
    }
    if rewrite {
        let (now, differences) = budget::compare(root, &ledger)?;
        lines.extend(differences);
        now.write(&file)?;
    } else if options.bless {
        for (wasm, _, variant, _) in &built {
            let key = variant.ledger_key(root).context("--bless: this variant is not tracked")?;
            ledger.variant.insert(key, budget::measure(root, variant, wasm)?);
        }
        ledger.write(&file)?;
    }
    for (wasm, _, _, out) in &built {
        put(out, wasm)?;
    }
    if let [(_, properties, _, out)] = &built[..] {
        print!("{properties}");
        println!("{:<20}{}", "file", out.display());
    }
    if let Some(other) = other {
        lines.push(format!("The ledger was made with {other}; this is {toolchain}."));
    }
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

fn check_out(out: &Path) -> Result<()> {
    let place = folder(out).is_dir() && !out.is_dir();
    ensure!(place, "--out {}: its folder does not exist, or it is a folder", out.display());
    Ok(())
}

/// Prints what may surprise in the policy of `file`; an error if `strict`.
pub fn warn(policy: &Policy, file: &Path, strict: bool) -> Result<()> {
    let (warnings, file) = (policy.warnings(), file.display());
    ensure!(!strict || warnings.is_empty(), "{file}: {} (--strict)", warnings.join("; "));
    warnings.iter().for_each(|warning| eprintln!("warning: {file}: {warning}"));
    Ok(())
}

impl Options {
    fn build_native(&self, root: &Path) -> Result<()> {
        ensure!(
            !self.bless,
            "--bless: {FILE} tracks no native gate, whose size depends on the linker"
        );
        let file = self.policy.clone().unwrap_or_else(|| root.join(DEFAULT_POLICY));
        warn(&Policy::read(&file)?, &file, self.strict)?;
        let name = native::file_name(self.policy.as_deref());
        let out = self.out.clone().unwrap_or_else(|| root.join(&name));
        check_out(&out)?;
        eprintln!("gate: building {name}");
        let (library, properties) = native::build(root, &file, self.target.as_deref())?;
        put(&out, &library)?;
        print!("{properties}");
        println!("{:<20}{}", "file", out.display());
        Ok(())
    }

    fn targets(&self, root: &Path) -> Result<Vec<(PathBuf, Variant)>> {
        if self.all {
            let file = |variant: Variant| (root.join(variant.file_name()), variant);
            return Ok(Variant::all(root)?.into_iter().map(file).collect());
        }
        let mut variant = Variant::with_features(self.features.as_deref().unwrap_or_default())?;
        if let Some(policy) = &self.policy {
            let is_compiled = !variant.is_configured();
            ensure!(
                is_compiled,
                "--policy: with feature `config` no policy is compiled in; leave it out"
            );
            // Read here, so that an error names the path as it was given: cargo runs in another folder.
            Policy::read(policy)?.check_plugin(policy)?;
            variant = variant.with_policy(env::current_dir()?.join(policy)).normalized(root);
        }
        let out = self.out.clone().unwrap_or_else(|| root.join(variant.file_name()));
        Ok(vec![(out, variant)])
    }

    /// Reads the policies and prints what may surprise in each; checks that the files can be written.
    fn check(&self, root: &Path, targets: &[(PathBuf, Variant)]) -> Result<()> {
        for (out, variant) in targets {
            variant.contract(root)?;
            check_out(out)?;
        }
        let mut policies: Vec<_> =
            targets.iter().filter_map(|(_, variant)| variant.policy_file(root)).collect();
        policies.dedup();
        for file in &policies {
            let named = self.policy.as_ref().unwrap_or(file);
            warn(&Policy::read(named)?, named, self.strict)?;
        }
        Ok(())
    }
}
