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

/// How many percent more bytes and fuel than in the ledger a module may take that other tools made.
/// (wasm-opt 108 instead of 132 takes up to 4.)
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
    /// WebAssembly fuel, about one for each instruction: an accepted value, a wrong one, no header.
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

    /// What of `now` is not as this ledger says: nothing may differ. If other tools made a module, its bytes
    /// and fuel may be up to [`MARGIN`] percent more. For the variants in `std` only the crossings are held
    /// then, because a toolchain may bring a compiled standard library.
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
        let within = |now: u64, entry: u64| now * 100 <= entry * (100 + MARGIN);
        let fuel = || now.fuel.iter().zip(self.fuel).all(|(now, entry)| within(*now, entry));
        now.crossings == self.crossings && (std || within(now.bytes, self.bytes) && fuel())
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
    fn other_tools_may_add_a_margin_and_nothing_else_may_differ() {
        let entry = |bytes, fuel, crossings| Entry { bytes, fuel, crossings: [crossings; 3] };
        let ledger = |tools: &str, name: &str, entry| Ledger {
            toolchain: Some(tools.to_owned()),
            variant: BTreeMap::from([(name.to_owned(), entry)]),
        };
        let old = ledger("a", "default", entry(100, [30, 40, 30], 3));
        let more = 100 + MARGIN;
        // What differs with the same tools, with others, and with others and their standard library.
        for (name, now, differs, differences) in [
            ("default", entry(100, [30, 40, 30], 3), [false; 3], ""),
            ("default", entry(more, [30, 40, 30], 3), [true, false, false], "default: 110 bytes"),
            ("default", entry(90, [33, 44, 1], 3), [true, false, false], "fuel [33, 44, 1]"),
            ("default", entry(more + 1, [30, 40, 30], 3), [true, true, false], "has 100 bytes, "),
            ("default", entry(100, [30, 45, 30], 3), [true, true, false], "crossings [3, 3, 3];"),
            ("default", entry(100, [30, 40, 30], 4), [true; 3], "crossings [4, 4, 4]; ledger"),
            ("log", entry(1, [1; 3], 1), [true; 3], "default is in ledger.toml, but not a variant"),
            ("log", entry(1, [1; 3], 1), [true; 3], "log: 1 bytes, fuel [1, 1, 1], crossings [1"),
            ("log", entry(1, [1; 3], 1), [true; 3], "ledger.toml has no entry"),
        ] {
            for (n, tools) in ["a", "b", "b"].into_iter().enumerate() {
                let std = (n == 2).then(|| name.to_owned()).into_iter().collect();
                let found = old.differences(&ledger(tools, name, now), &std).join("\n");
                assert_eq!(!found.is_empty(), differs[n], "{found}");
                assert!(!differs[n] || found.contains(differences), "{found}");
            }
        }
    }
}
