//! Which plugin is built: the front, its features, its policy.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use header_gate_policy::Policy;

use header_gate_contract::Contract;

/// The policy that a plugin has unless another is named, below the repository's root.
const DEFAULT_POLICY: &str = "policy.toml";

/// A plugin that can be built from this repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    front: Front,
    log: bool,
    /// Whether its allocator counts (`tools/counted`).
    counted: bool,
    /// Where the rule is written, if not in the repository's `policy.toml`.
    policy: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Front {
    #[default]
    Abi,
    Sdk,
    Baseline,
}

impl Variant {
    /// The default front with feature `log`.
    #[must_use]
    pub fn log() -> Self {
        Self { log: true, ..Self::default() }
    }

    /// The front on the SDK.
    #[must_use]
    pub fn sdk() -> Self {
        Self { front: Front::Sdk, ..Self::default() }
    }

    /// The front on the SDK with feature `log`.
    #[must_use]
    pub fn sdk_log() -> Self {
        Self { log: true, ..Self::sdk() }
    }

    /// The plain SDK plugin that the others are measured against.
    #[must_use]
    pub fn baseline() -> Self {
        Self { front: Front::Baseline, ..Self::default() }
    }

    /// The same front and features with the rule in `policy`.
    #[must_use]
    pub fn with_policy(self, policy: impl Into<PathBuf>) -> Self {
        Self { policy: Some(policy.into()), ..self }
    }

    /// The same plugin with an allocator that counts its calls; none for a front without a heap.
    #[must_use]
    pub fn counted(self) -> Option<Self> {
        (self.front != Front::Abi).then_some(Self { counted: true, ..self })
    }

    /// The variant with these features, as `--features` takes them: separated by commas or blanks.
    ///
    /// # Errors
    /// A feature that the plugin does not have.
    pub fn with_features(features: &str) -> Result<Self> {
        let mut variant = Self::default();
        for feature in features.split([',', ' ']).filter(|feature| !feature.is_empty()) {
            match feature {
                "log" => variant.log = true,
                "sdk" => variant.front = Front::Sdk,
                _ => bail!("--features: there is no feature `{feature}`; `log` and `sdk` are"),
            }
        }
        Ok(variant)
    }

    /// Every variant whose size is tracked: fronts and features, `policies/*.toml`, the baseline.
    ///
    /// # Errors
    /// The folder of the policies cannot be read.
    pub fn all(root: &Path) -> Result<Vec<Self>> {
        let mut all = vec![Self::default(), Self::log(), Self::sdk(), Self::sdk_log()];
        let folder = root.join("policies");
        let mut policies = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                policies.push(path);
            }
        }
        policies.sort();
        all.extend(policies.into_iter().map(|policy| Self::default().with_policy(policy)));
        all.push(Self::baseline());
        Ok(all)
    }

    /// Its name: `default`, or policy and features joined by dashes.
    #[must_use]
    pub fn name(&self) -> String {
        let policy = self.policy.as_deref().and_then(Path::file_stem);
        let policy = policy.map(|stem| stem.to_string_lossy().into_owned());
        let front = match self.front {
            Front::Abi => None,
            Front::Sdk => Some("sdk"),
            Front::Baseline => Some("baseline"),
        };
        let (log, counted) = (self.log.then_some("log"), self.counted.then_some("counted"));
        let parts = [policy.as_deref(), front, log, counted];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "default".to_owned() } else { parts.join("-") }
    }

    /// The file name of its artifact.
    #[must_use]
    pub fn file_name(&self) -> String {
        if *self == Self::default() {
            "plugin.wasm".to_owned()
        } else {
            format!("plugin-{}.wasm", self.name())
        }
    }

    /// Its table in the ledger; none for a policy from elsewhere or a mixture that is not tracked.
    #[must_use]
    pub fn ledger_key(&self, root: &Path) -> Option<Vec<String>> {
        let Some(policy) = &self.policy else { return Some(vec![self.name()]) };
        let shipped =
            policy.canonicalize().ok()?.parent()? == root.join("policies").canonicalize().ok()?;
        let plain = self.front == Front::Abi && !self.log;
        (shipped && plain).then(|| vec!["policy".to_owned(), self.name()])
    }

    /// Drops a policy that is the repository's own: it makes the same plugin as naming none.
    #[must_use]
    pub fn normalized(self, root: &Path) -> Self {
        let own = root.join(DEFAULT_POLICY).canonicalize().ok();
        let named = self.policy.as_ref().and_then(|policy| policy.canonicalize().ok());
        if named.is_some() && named == own { Self { policy: None, ..self } } else { self }
    }

    /// The file with its rule; none for the baseline, whose rule is in its source.
    #[must_use]
    pub fn policy_file(&self, root: &Path) -> Option<PathBuf> {
        (self.front != Front::Baseline)
            .then(|| self.policy.clone().unwrap_or_else(|| root.join(DEFAULT_POLICY)))
    }

    /// What the finished artifact has to keep to; none where nothing is promised.
    ///
    /// # Errors
    /// The policy is refused.
    pub fn contract(&self, root: &Path) -> Result<Option<Contract>> {
        let Some(file) = self.policy_file(root) else { return Ok(None) };
        let policy = Policy::read(&file)?;
        Ok((self.front == Front::Abi).then(|| Contract::of(&policy, self.log)))
    }

    /// The package to compile.
    pub(crate) fn package(&self) -> &'static str {
        match self.front {
            _ if self.counted => "header-gate-counted",
            Front::Baseline => "header-gate-baseline",
            Front::Abi | Front::Sdk => "header-gate",
        }
    }

    /// The features to compile it with.
    pub(crate) fn features(&self) -> Vec<&'static str> {
        let front = match self.front {
            Front::Sdk => Some("sdk"),
            Front::Baseline if self.counted => Some("baseline"),
            Front::Abi | Front::Baseline => None,
        };
        [front, self.log.then_some("log")].into_iter().flatten().collect()
    }

    /// Whether it links Rust's standard library.
    pub(crate) fn needs_std(&self) -> bool {
        self.front != Front::Abi
    }
}
