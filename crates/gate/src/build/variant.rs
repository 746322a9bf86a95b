//! Which plugin to build: its front, features and policy.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use header_gate_contract::Contract;
use header_gate_policy::Policy;

/// The policy that a plugin has unless another is named, relative to the checkout.
pub(crate) const DEFAULT_POLICY: &str = "policy.toml";
/// The folders with the policies in the ledger.
const POLICIES: [&str; 2] = ["policies", "policies/options"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    front: Front,
    log: bool,
    nginx: bool,
    /// The policy file, if not the checkout's `policy.toml`.
    policy: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Front {
    #[default]
    Abi,
    /// The policy comes from the plugin's configuration.
    Config,
    Sdk,
    Baseline,
    QuietBaseline,
}

impl Variant {
    pub fn log() -> Self {
        Self { log: true, ..Self::default() }
    }

    pub fn nginx() -> Self {
        Self { nginx: true, ..Self::default() }
    }

    pub fn config() -> Self {
        Self { front: Front::Config, ..Self::default() }
    }

    pub fn sdk() -> Self {
        Self { front: Front::Sdk, ..Self::default() }
    }

    pub fn sdk_log() -> Self {
        Self { log: true, ..Self::sdk() }
    }

    /// The SDK baseline, which the others are compared with.
    pub fn baseline() -> Self {
        Self { front: Front::Baseline, ..Self::default() }
    }

    /// The same without its log lines.
    pub fn quiet_baseline() -> Self {
        Self { front: Front::QuietBaseline, ..Self::default() }
    }

    pub fn with_policy(self, policy: impl Into<PathBuf>) -> Self {
        Self { policy: Some(policy.into()), ..self }
    }

    /// The variant with the features that `--features` lists, separated by commas or blanks.
    pub fn with_features(features: &str) -> Result<Self> {
        let mut variant = Self::default();
        let alone = features == "config" || !features.split([',', ' ']).any(|one| one == "config");
        ensure!(alone, "--features: `config` goes with no other feature");
        for feature in features.split([',', ' ']).filter(|feature| !feature.is_empty()) {
            match feature {
                "log" => variant.log = true,
                "nginx" => variant.nginx = true,
                "sdk" => variant.front = Front::Sdk,
                "config" => variant = Self::config(),
                "native" => bail!("--features: `native` goes with no other feature"),
                _ => bail!(
                    "--features: unknown feature `{feature}`, expected `log`, `nginx`, `sdk`, `config` or `native`"
                ),
            }
        }
        let both = variant.nginx && variant.front == Front::Sdk;
        ensure!(!both, "--features: the SDK has all callbacks, leave out `nginx`");
        Ok(variant)
    }

    /// Every variant in the ledger: fronts and features, `policies/*.toml`, each option, the SDK baseline.
    pub fn all(root: &Path) -> Result<Vec<Self>> {
        let mut all = vec![
            Self::default(),
            Self::log(),
            Self::nginx(),
            Self::config(),
            Self::sdk(),
            Self::sdk_log(),
            Self::baseline(),
        ];
        for variant in Self::policies(root)?.into_iter().chain(Self::options(root)?) {
            let name = variant.name();
            ensure!(all.iter().all(|v| v.name() != name), "policies: the name {name} is taken");
            all.push(variant);
        }
        Ok(all)
    }

    /// The variants of a release: those with a contract, less the ones that only show the price of an option.
    pub fn released(root: &Path) -> Result<Vec<Self>> {
        let options = Self::options(root)?;
        let mut all = Self::all(root)?;
        let has_contract = |front| matches!(front, Front::Abi | Front::Config);
        all.retain(|variant| has_contract(variant.front) && !options.contains(variant));
        Ok(all)
    }

    /// The variants with a policy of `policies/`, by name.
    pub fn policies(root: &Path) -> Result<Vec<Self>> {
        Self::with_policies(&root.join(POLICIES[0]))
    }

    /// The variants with the committed policy and one option each, of `policies/options/`, by name.
    fn options(root: &Path) -> Result<Vec<Self>> {
        Self::with_policies(&root.join(POLICIES[1]))
    }

    fn with_policies(folder: &Path) -> Result<Vec<Self>> {
        let files = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        let mut files = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
        Ok(files.into_iter().map(|policy| Self::default().with_policy(policy)).collect())
    }

    /// `default`, or the name of the policy and the features, joined by dashes.
    pub fn name(&self) -> String {
        let policy = self.policy.as_deref().and_then(Path::file_stem).map(OsStr::to_string_lossy);
        let baseline = self.is_baseline().then_some("baseline");
        let mut parts: Vec<_> = policy.as_deref().into_iter().chain(baseline).collect();
        parts.extend(self.features());
        if parts.is_empty() { "default".to_owned() } else { parts.join("-") }
    }

    pub fn file_name(&self) -> String {
        if *self == Self::default() {
            "plugin.wasm".to_owned()
        } else {
            format!("plugin-{}.wasm", self.name())
        }
    }

    /// The name of its entry in the ledger; `None` for a variant that is not tracked.
    pub fn ledger_key(&self, root: &Path) -> Option<String> {
        if let Some(policy) = &self.policy {
            let folders = POLICIES.map(|folder| root.join(folder).canonicalize().ok());
            let own = Some(policy.canonicalize().ok()?.parent()?.to_owned());
            let tracked = *self == Self::default().with_policy(policy);
            (tracked && folders.contains(&own)).then_some(())?;
        }
        Some(self.name())
    }

    /// The same variant without a policy, if that is the checkout's own.
    pub fn normalized(self, root: &Path) -> Self {
        let own = root.join(DEFAULT_POLICY).canonicalize().ok();
        let named = self.policy.as_ref().and_then(|policy| policy.canonicalize().ok());
        if named.is_some() && named == own { Self { policy: None, ..self } } else { self }
    }

    /// The policy file; `None` for the SDK baseline, which has its rule in its source.
    pub fn policy_file(&self, root: &Path) -> Option<PathBuf> {
        (!self.is_baseline())
            .then(|| self.policy.clone().unwrap_or_else(|| root.join(DEFAULT_POLICY)))
    }

    /// The policy. The SDK baseline has to keep to the checkout's own.
    pub fn policy(&self, root: &Path) -> Result<Policy> {
        let own = || root.join(DEFAULT_POLICY);
        Ok(Policy::read(&self.policy.clone().unwrap_or_else(own))?)
    }

    /// The contract of the artifact; `None` for a front without one.
    pub fn contract(&self, root: &Path) -> Result<Option<Contract>> {
        if self.front == Front::Config {
            return Ok(Some(Contract::configured()));
        }
        let policy = self.policy(root)?;
        policy.check_plugin(self.policy.as_deref().unwrap_or(Path::new(DEFAULT_POLICY)))?;
        if let (Some(key), true) = (policy.options().first(), self.front != Front::Abi) {
            let file = self.policy_file(root).unwrap_or_else(|| root.join(DEFAULT_POLICY));
            bail!("{}: `{key}` is not for the SDK; leave it out, or feature `sdk`", file.display());
        }
        let contract = Contract { nginx: self.nginx, ..Contract::of(&policy, self.log) };
        Ok((self.front == Front::Abi).then_some(contract))
    }

    fn is_baseline(&self) -> bool {
        matches!(self.front, Front::Baseline | Front::QuietBaseline)
    }

    pub(super) fn package(&self) -> &'static str {
        if self.is_baseline() { "header-gate-baseline" } else { "header-gate" }
    }

    pub(super) fn features(&self) -> Vec<&'static str> {
        let used = [
            (self.front == Front::Config, "config"),
            (self.front == Front::Sdk, "sdk"),
            (self.front == Front::QuietBaseline, "quiet"),
            (self.nginx, "nginx"),
            (self.log, "log"),
        ];
        used.into_iter().filter_map(|(used, feature)| used.then_some(feature)).collect()
    }

    /// Whether it links Rust's standard library.
    pub(super) fn needs_std(&self) -> bool {
        self.front == Front::Sdk || self.is_baseline()
    }

    /// Whether it reads its policy from the plugin's configuration.
    pub fn is_configured(&self) -> bool {
        self.front == Front::Config
    }
}
