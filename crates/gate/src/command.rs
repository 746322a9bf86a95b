//! `gate build` and `gate verify`.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lexopt::{Arg, Parser, ValueExt};

use crate::build::ledger::{self, Change, Ledger};
use crate::build::variant::Variant;
use crate::build::{self, Artifact, Builder};
use header_gate_contract::{self as verify, Contract};

const BUILD_HELP: &str = "\
Builds plugin.wasm: compiles, optimises, verifies and compares with ledger.toml.

Usage: build.sh [OPTIONS]

  --features LIST  log (lines in the host's log), sdk (on the proxy-wasm SDK), or both: sdk,log
  --policy FILE    another rule and answer than those of policy.toml
  --out FILE       where to put the plugin [plugin.wasm, plugin-sdk.wasm, ... at the root]
  --all            every variant: the fronts and features, policies/*.toml, the baseline
  --bless          write the sizes into ledger.toml instead of failing where one grew
  --help           this text

WASM_OPT names the wasm-opt to use, if not the one on PATH. HEADER_GATE_TOOLCHAIN=debian takes
Debian's Rust, with which the ledger is made, even where rustup has the target.
";

const VERIFY_HELP: &str = "\
Tells what a WebAssembly module can do.

Usage: gate verify FILE [--contract NAME]

  --contract NAME  also fail unless the module keeps to a contract:
                   abi        the default front
                   abi+loops  the default front, of a policy with long or many values
                   abi+log    the default front with feature log
  --help           this text
";

/// What `gate build` was told.
#[derive(Default)]
struct Options {
    features: Option<String>,
    policy: Option<PathBuf>,
    out: Option<PathBuf>,
    all: bool,
    bless: bool,
}

/// `gate build` in the checkout at `root`.
///
/// # Errors
/// A wrong argument, a refused policy, a missing tool, a broken contract, or a variant that grew.
/// Nothing is written then.
pub fn build<A: Into<OsString>>(root: &Path, args: impl IntoIterator<Item = A>) -> Result<()> {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let Some(options) = Options::parse(Parser::from_args(args))? else {
        print!("{BUILD_HELP}");
        return Ok(());
    };
    let targets = options.targets(root)?;
    for (variant, out) in &targets {
        variant.contract(root)?;
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) || out.is_dir() {
            bail!("--out {}: there is no such folder, or a folder of this name", out.display());
        }
    }
    let mut ledger = Ledger::read(&root.join(ledger::FILE))?;
    let builder = Builder::new(root)?;
    let mut built = Vec::new();
    for (variant, out) in targets {
        eprintln!("gate: building {}", variant.name());
        built.push((builder.build(&variant)?, variant, out));
    }

    let toolchain = builder.toolchain()?;
    let lines = account(root, &options, &built, &mut ledger, &toolchain)?;
    for (artifact, _, out) in &built {
        build::put(out, &artifact.wasm)?;
    }
    if options.bless {
        ledger.write(&toolchain)?;
    }
    if let [(artifact, _, out)] = &built[..] {
        print!("{}", artifact.properties);
        println!("{:<20}{}", "file", out.display());
    }
    for line in lines {
        println!("{line}");
    }
    Ok(())
}

/// Compares what was built with the ledger, or blesses it; a line for each variant.
fn account(
    root: &Path,
    options: &Options,
    built: &[(Artifact, Variant, PathBuf)],
    ledger: &mut Ledger,
    toolchain: &str,
) -> Result<Vec<String>> {
    let other = ledger.toolchain().filter(|&other| other != toolchain).map(str::to_owned);
    if let (Some(other), true, false) = (&other, options.bless, options.all) {
        bail!("{} was made with {other}, this is {toolchain}: --all --bless", ledger::FILE);
    }
    let (mut lines, mut wrong, mut tracked) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (artifact, variant, _) in built {
        let name = variant.name();
        let bytes = artifact.wasm.len() as u64;
        let line = format!("{name:<20}{bytes:>6} bytes, {:>6} gzip", artifact.properties.gzip);
        let Some(key) = variant.ledger_key(root) else {
            lines.push(format!("{line}, not tracked"));
            continue;
        };
        let change = ledger.compare(&key, bytes, toolchain);
        lines.push(
            line + &match change {
                Change::New => ", new".to_owned(),
                Change::Same => String::new(),
                Change::Shrank(entry) => format!(", shrank from {entry} (--bless records it)"),
                Change::Grew(entry) => format!(", grew from {entry}"),
                Change::OtherToolchain(entry) => format!(", {entry} in the ledger"),
            },
        );
        if options.bless {
            ledger.bless(&key, bytes)?;
        } else if let Change::Grew(entry) = change {
            wrong.push(format!("{name} grew: {} says {entry} bytes, now {bytes}", ledger::FILE));
        } else if change == Change::New && options.all {
            wrong.push(format!("{name} has no entry in {}", ledger::FILE));
        }
        tracked.insert(key);
    }
    if options.all {
        for key in ledger.keys().into_iter().filter(|key| !tracked.contains(key)) {
            if options.bless {
                ledger.remove(&key);
            } else {
                wrong.push(format!("{} lists {}, which is gone", ledger::FILE, key.join(".")));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{}; if that is meant, add --bless", wrong.join("; "));
    }
    if let (Some(other), false) = (other, options.bless) {
        lines.push(format!("The ledger was made with {other}; this is {toolchain}."));
    }
    Ok(lines)
}

impl Options {
    /// None if the help was asked for.
    fn parse(mut args: Parser) -> Result<Option<Self>> {
        let mut options = Self::default();
        while let Some(arg) = args.next()? {
            match arg {
                Arg::Long("features") => options.features = Some(args.value()?.string()?),
                Arg::Long("policy") => options.policy = Some(args.value()?.into()),
                Arg::Long("out") => options.out = Some(args.value()?.into()),
                Arg::Long("all") => options.all = true,
                Arg::Long("bless") => options.bless = true,
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                other => bail!("{}; --help lists what there is", other.unexpected()),
            }
        }
        let one = options.features.is_some() || options.policy.is_some() || options.out.is_some();
        if options.all && one {
            bail!("--all builds every variant: --features, --policy and --out do not go with it");
        }
        Ok(Some(options))
    }

    /// The variants to build, and where to.
    fn targets(&self, root: &Path) -> Result<Vec<(Variant, PathBuf)>> {
        if self.all {
            let place = |variant: Variant| {
                let out = root.join(variant.file_name());
                (variant, out)
            };
            return Ok(Variant::all(root)?.into_iter().map(place).collect());
        }
        let mut variant = Variant::with_features(self.features.as_deref().unwrap_or_default())?;
        if let Some(policy) = &self.policy {
            // Before cargo runs in another folder. An error names the path as it was given.
            header_gate_policy::Policy::read(policy)?;
            variant = variant.with_policy(env::current_dir()?.join(policy)).normalized(root);
        }
        let out = self.out.clone().unwrap_or_else(|| root.join(variant.file_name()));
        Ok(vec![(variant, out)])
    }
}

/// `gate verify`.
///
/// # Errors
/// A wrong argument, a file that is not a module, or a module that breaks the contract.
pub fn verify(mut args: Parser) -> Result<()> {
    let (mut file, mut contract) = (None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Value(path) if file.is_none() => file = Some(PathBuf::from(path)),
            Arg::Long("contract") => {
                contract = Some(args.value()?.string()?.parse::<Contract>()?);
            }
            Arg::Long("help") | Arg::Short('h') => {
                print!("{VERIFY_HELP}");
                return Ok(());
            }
            other => bail!("{}; --help lists what there is", other.unexpected()),
        }
    }
    let file = file.context("verify takes a file; --help tells more")?;
    let place = || file.display().to_string();
    let wasm = fs::read(&file).with_context(place)?;
    let properties = verify::inspect(&wasm).with_context(place)?;
    print!("{properties}");
    let violations = contract.map(|contract| properties.violations(&contract)).unwrap_or_default();
    if !violations.is_empty() {
        bail!("{} breaks its contract: {}", file.display(), violations.join("; "));
    }
    Ok(())
}
