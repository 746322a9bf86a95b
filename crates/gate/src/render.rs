//! `gate render`: configuration of a gateway that follows from a policy.

mod envoy;
mod istio;
mod regex;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use header_gate_policy::{Except, Policy};
use serde_json::Value;

/// Prints configuration of a gateway that follows from a policy
///
/// In the fast lanes (envoy-matcher, envoy-route, istio-matcher) Envoy compares the header itself, and a request with
/// an accepted value never enters the gate. docs/choose.md has what each form costs.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to print
    kind: Kind,
    /// Rule and answer
    #[arg(long, value_name = "FILE", default_value = "policy.toml")]
    policy: PathBuf,
    /// The module, which istio-matcher contains and envoy-matcher names
    #[arg(long, value_name = "FILE", default_value = "plugin.wasm")]
    plugin: PathBuf,
    /// With istio-wasmplugin: for a module of `--features config`, which has no policy of its own
    #[arg(long)]
    config: bool,
    /// Print values although they are secret
    #[arg(long)]
    with_secrets: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Fast lane: an HTTP filter, the gate behind Envoy's own matcher
    EnvoyMatcher,
    /// Fast lane: a match and a switch for a copy of a route
    EnvoyRoute,
    /// Fast lane: an EnvoyFilter with the filter of envoy-matcher, which contains the module
    IstioMatcher,
    /// The gate with --config: a `WasmPlugin` with the policy as its configuration
    IstioWasmplugin,
    /// Fallback: Envoy's RBAC filter with the same rule
    EnvoyNet,
    /// Fallback: an `AuthorizationPolicy` with the same rule
    IstioNet,
    /// Instead of the gate: Envoy's `api_key_auth` filter with the same keys
    ApiKeyAuth,
}

/// What the gate's filter is called: a route switches the filter of this name off.
pub const FILTER: &str = "header-gate";

impl Kind {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Refuses a policy that this form would not keep.
    fn check(self, policy: &Policy) -> Result<(), String> {
        let no = |key: &str, reason: &str| Err(format!("`{key}`: {}: {reason}", self.name()));
        if policy.repeated.is_some() {
            return no("repeated", "this form does not count the lines of a header");
        }
        if self == Self::IstioWasmplugin {
            return Ok(());
        }
        if policy.is_hashed() {
            return no("client.sha256", "this form compares values, and the policy has a digest");
        }
        if let Self::EnvoyMatcher | Self::EnvoyRoute | Self::IstioMatcher = self {
            if policy.accepted().iter().any(|value| value.contains(',')) {
                return no(
                    "values",
                    "Envoy joins the lines of a header by commas, and one value has a comma",
                );
            }
            let skips = "a request with an accepted value never enters the gate";
            for (key, used) in [
                ("remove", policy.remove),
                ("count", policy.count),
                ("client_header", policy.client_header.is_some()),
            ] {
                if used {
                    return no(key, skips);
                }
            }
            return Ok(());
        }
        if !policy.enforce {
            return no("enforce", "this filter denies, and the policy is a dry run");
        }
        if policy.except != Except::default() {
            return no("except", "this filter knows no exemptions, and would deny them");
        }
        if policy.remove && self != Self::ApiKeyAuth {
            return no("remove", "the gate takes the header off, and this filter needs it");
        }
        let pattern = policy.accepted().iter().any(|v| v.starts_with('*') || v.ends_with('*'));
        if self == Self::IstioNet && pattern {
            return no("values", "a value that begins or ends with `*` is a pattern for Istio");
        }
        Ok(())
    }

    /// The configuration; `plugin` is called for the module, in the form that the kind needs.
    pub fn render(self, policy: &Policy, plugin: &dyn Fn() -> Result<Value>) -> Result<Value> {
        self.check(policy).map_err(anyhow::Error::msg)?;
        Ok(match self {
            Self::EnvoyMatcher => envoy::matcher(policy, envoy::wasm(plugin()?)),
            Self::EnvoyRoute => envoy::route(policy)?,
            Self::IstioMatcher => istio::matcher(envoy::matcher(policy, envoy::wasm(plugin()?))),
            Self::IstioWasmplugin => istio::wasmplugin(policy)?,
            Self::EnvoyNet => envoy::rbac(policy),
            Self::IstioNet => istio::net(policy),
            Self::ApiKeyAuth => envoy::api_key_auth(policy),
        })
    }
}

/// Envoy's own matcher around a filter of any kind, for a policy whose accepted requests may skip it.
///
/// # Errors
/// The gate has something to do with accepted requests.
pub fn fast_lane(policy: &Policy, filter: Value) -> Result<Value> {
    Kind::EnvoyMatcher.check(policy).map_err(anyhow::Error::msg)?;
    Ok(envoy::matcher(policy, filter))
}

/// Runs `gate render`.
pub fn run(options: Options) -> Result<()> {
    let Options { kind, policy: file, plugin, config, with_secrets } = options;
    let is_wasmplugin = kind == Kind::IstioWasmplugin;
    ensure!(config == is_wasmplugin, "--config goes with istio-wasmplugin, and with nothing else");
    let policy = Policy::read(&file)?;
    let place = file.display();
    // Digests are no secrets.
    let has_values = policy.secret || !policy.accepted().is_empty();
    if policy.is_secret() && (has_values || !is_wasmplugin) && !with_secrets {
        bail!("{place}: the values are secret; --with-secrets prints them");
    }
    let module = || {
        let name = plugin.display();
        if kind != Kind::IstioMatcher {
            return Ok(envoy::local(&plugin));
        }
        let bytes = fs::read(&plugin).with_context(|| format!("--plugin {name}"))?;
        ensure!(bytes.starts_with(b"\0asm"), "--plugin {name} is no WebAssembly module");
        Ok(istio::inline(&bytes))
    };
    let value = kind.render(&policy, &module).with_context(|| place.to_string())?;
    let text = serde_norway::to_string(&value)?;
    let head = format!("# Written by `gate render {}` from {place}.\n", kind.name());
    Ok(io::stdout().write_all((head + &text).as_bytes())?)
}
