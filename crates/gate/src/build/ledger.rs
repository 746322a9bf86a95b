//! The ledger, `ledger.toml`: what each variant costs, and the tools that it was measured with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use crate::build::files::put;

/// The ledger's file name, relative to the checkout.
pub const FILE: &str = "ledger.toml";

/// How many percent more bytes than in the ledger a module may have that other tools made.
pub const MARGIN: u64 = 10;

const HEAD: &str = "\
# What each variant costs. `./build.sh` fails where a module has more bytes than its entry, `cargo test`
# where another figure differs. `./build.sh --all --bless` measures all of them and writes this file.
#
# bytes      size of the module
# fuel       WebAssembly instructions per request: an accepted value, a wrong value of the same size, no header
# crossings  calls between host and module per request, on the same three paths
";

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The tools that it was measured with.
    pub toolchain: Option<String>,
    /// The entries, by [`crate::build::variant::Variant::ledger_key`].
    #[serde(default)]
    pub variant: BTreeMap<String, Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub bytes: u64,
    /// WebAssembly fuel on each of [`crate::build::budget::PATHS`]: about one for each instruction.
    pub fuel: [u64; 3],
    /// Calls between host and module, in either direction, on each of these paths.
    pub crossings: [u64; 3],
}

impl Ledger {
    /// Reads `file`; a missing file is an empty ledger.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let place = || file.display().to_string();
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.with_context(place)?,
        };
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            let message = error.message().replace('\n', " ");
            anyhow!("{}: line {line}: {message}; `./build.sh --all --bless` rewrites it", place())
        })
    }

    pub fn toolchain(&self) -> Option<&str> {
        self.toolchain.as_deref()
    }

    pub fn bytes(&self, key: &str) -> Option<u64> {
        self.variant.get(key).map(|entry| entry.bytes)
    }

    /// How the size of a variant compares with its entry; an error if it grew.
    pub fn compare_size(
        &self,
        key: Option<&str>,
        bytes: u64,
        same_tools: bool,
    ) -> Result<String, String> {
        match key.map(|key| self.bytes(key)) {
            None => Ok(", not tracked".to_owned()),
            Some(None) => Ok(", new".to_owned()),
            Some(Some(entry)) if entry == bytes => Ok(String::new()),
            Some(Some(entry)) if !same_tools => Ok(format!(", {entry} in the ledger")),
            Some(Some(entry)) if entry < bytes => {
                Err(format!("{FILE} has {entry} bytes, now {bytes}"))
            }
            Some(Some(entry)) => Ok(format!(", shrank from {entry} (--bless records it)")),
        }
    }

    /// What of `now` is not as this ledger says: nothing may differ. A module that other tools made has to
    /// make the same crossings, consume no more fuel, and have at most [`MARGIN`] percent more bytes; only the
    /// crossings count for the variants in `std`: a toolchain may bring a compiled standard library.
    pub fn differences(&self, now: &Self, std: &BTreeSet<String>) -> Vec<String> {
        let keys: BTreeSet<_> = self.variant.keys().chain(now.variant.keys()).collect();
        let same_tools = self.toolchain == now.toolchain;
        let difference = |key: &String| match (self.variant.get(key), now.variant.get(key)) {
            (entry, now) if entry == now => None,
            (Some(entry), Some(now)) if !same_tools && entry.allows(now, std.contains(key)) => None,
            (Some(entry), Some(now)) => Some(format!("{key}: {now}; {FILE} has {entry}")),
            (None, Some(now)) => Some(format!("{key}: {now}; {FILE} has no entry")),
            (_, None) => Some(format!("{key} is in {FILE}, but not a variant")),
        };
        keys.into_iter().filter_map(difference).collect()
    }

    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        put(file, format!("{HEAD}{}", toml::to_string(self)?).as_bytes())
    }
}

impl Entry {
    /// Whether a module that other tools made, with their standard library if `std`, may cost `now`.
    fn allows(&self, now: &Self, std: bool) -> bool {
        let larger = now.bytes * 100 > self.bytes * (100 + MARGIN);
        let dearer = now.fuel.iter().zip(self.fuel).any(|(now, entry)| *now > entry);
        now.crossings == self.crossings && (std || !larger && !dearer)
    }
}

impl Display for Entry {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { bytes, fuel, crossings } = self;
        write!(f, "{bytes} bytes, fuel {fuel:?}, crossings {crossings:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_ledger_is_one_error_that_names_file_and_line() {
        assert!(Ledger::read(Path::new("none/ledger.toml")).unwrap().variant.is_empty());
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, expected) in [
            ("toolchain = ''\n[sdk\n", "line 2: "),
            ("[variant.sdk]\nbytes = -1\n", "line 2: invalid value"),
            ("[variant.sdk]\nheap = 1\n", "line 2: unknown field `heap`"),
            ("[variant.sdk]\nbytes = 1\nfuel = [1, 2, 3]\n", "missing field `crossings`"),
        ] {
            fs::write(&file, text).unwrap();
            let error = format!("{:#}", Ledger::read(file.path()).unwrap_err());
            assert!(error.starts_with(&file.path().display().to_string()), "{error}");
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn each_variant_that_is_missing_or_costs_something_else_is_a_difference() {
        let entry = |bytes, fuel| Entry { bytes, fuel: [fuel; 3], crossings: [3; 3] };
        let ledger = |entries: [(&str, Entry); 3]| Ledger {
            toolchain: None,
            variant: entries.map(|(name, entry)| (name.to_owned(), entry)).into(),
        };
        let old = ledger([("default", entry(389, 32)), ("log", entry(1, 1)), ("sdk", entry(9, 9))]);
        let std = BTreeSet::new();
        assert_eq!(old.differences(&old, &std), Vec::<String>::new());
        let now =
            ledger([("default", entry(389, 33)), ("logs", entry(1, 1)), ("sdk", entry(8, 9))]);
        let expected = [
            "default: 389 bytes, fuel [33, 33, 33], crossings [3, 3, 3]; ledger.toml has 389 bytes, ",
            "log is in ledger.toml, but not a variant",
            "logs: 1 bytes, fuel [1, 1, 1], crossings [3, 3, 3]; ledger.toml has no entry",
            "sdk: 8 bytes, fuel [9, 9, 9], crossings [3, 3, 3]; ledger.toml has 9 bytes, ",
        ];
        let differences = old.differences(&now, &std);
        assert_eq!(differences.len(), expected.len());
        for (difference, expected) in differences.iter().zip(expected) {
            assert!(difference.starts_with(expected), "{difference}");
        }
    }

    #[test]
    fn other_tools_may_make_a_larger_module_and_nothing_dearer() {
        let ledger = |toolchain: &str, entry| Ledger {
            toolchain: Some(toolchain.to_owned()),
            variant: BTreeMap::from([("default".to_owned(), entry)]),
        };
        let entry = Entry { bytes: 100, fuel: [30, 40, 35], crossings: [3, 4, 3] };
        let (same, larger) = (entry, Entry { bytes: 100 + MARGIN, ..entry });
        for (now, allowed, allowed_with_std) in [
            (larger, true, true),
            (Entry { bytes: 90, fuel: [29, 40, 1], ..entry }, true, true),
            (Entry { bytes: larger.bytes + 1, ..entry }, false, true),
            (Entry { fuel: [30, 41, 35], ..entry }, false, true),
            (Entry { crossings: [3, 3, 3], ..entry }, false, false),
        ] {
            let differs = |tools, now, std: &[&str]| {
                let std = std.iter().map(|key| (*key).to_owned()).collect();
                !ledger("a", entry).differences(&ledger(tools, now), &std).is_empty()
            };
            assert!(!differs("a", same, &[]));
            assert!(differs("a", now, &[]) && differs("a", now, &["default"]), "{now}");
            assert_eq!(differs("b", now, &[]), !allowed, "{now}");
            assert_eq!(differs("b", now, &["default"]), !allowed_with_std, "{now}");
        }
    }
}
