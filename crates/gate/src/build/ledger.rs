//! The ledger, `ledger.toml`: what each variant costs, and the tools that it was measured with.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::build;

/// The ledger's file name, relative to the checkout.
pub const FILE: &str = "ledger.toml";

const HEAD: &str = "\
# What each variant costs. `./build.sh` fails where a module has more bytes than its entry, `cargo test`
# where another figure differs. `./build.sh --all --bless` measures all of them and writes this file.
#
# bytes      size of the module
# fuel       WebAssembly instructions per request: an accepted value, a wrong value of the same size, no header
# crossings  calls between host and module per request, on the same three paths
";

/// What all variants cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// See [`Ledger::toolchain`].
    pub toolchain: Option<String>,
    /// The entries, by [`crate::build::variant::Variant::ledger_key`].
    #[serde(default)]
    pub variant: BTreeMap<String, Entry>,
}

/// What a variant costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Size of the module.
    pub bytes: u64,
    /// WebAssembly fuel on each of [`crate::build::budget::PATHS`]: about one for each instruction.
    pub fuel: [u64; 3],
    /// Calls between host and module, in either direction, on each of these paths.
    pub crossings: [u64; 3],
}

impl Ledger {
    /// An empty ledger, made with these tools.
    #[must_use]
    pub fn new(toolchain: String) -> Self {
        Self { toolchain: Some(toolchain), variant: BTreeMap::new() }
    }

    /// Reads `file`; a missing file is an empty ledger.
    ///
    /// # Errors
    /// The file cannot be read, or is not a ledger.
    pub fn read(file: &Path) -> Result<Self> {
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

    /// The tools that it was measured with.
    #[must_use]
    pub fn toolchain(&self) -> Option<&str> {
        self.toolchain.as_deref()
    }

    /// The names of all entries.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.variant.keys().cloned().collect()
    }

    /// The size of a variant.
    #[must_use]
    pub fn bytes(&self, key: &str) -> Option<u64> {
        self.variant.get(key).map(|entry| entry.bytes)
    }

    /// Writes `file`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        build::put(file, format!("{HEAD}{}", toml::to_string(self)?).as_bytes())
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
    fn a_written_ledger_reads_the_same() {
        let file = tempfile::tempdir().unwrap().keep().join(FILE);
        let mut ledger = Ledger::read(&file).unwrap();
        assert_eq!(ledger, Ledger::default());
        ledger = Ledger::new("rustc 1, wasm-opt 2".into());
        let entry = Entry { bytes: 389, fuel: [1, 2, 3], crossings: [3, 4, 3] };
        ledger.variant.insert("default".into(), entry);
        ledger.write(&file).unwrap();
        assert_eq!(Ledger::read(&file).unwrap(), ledger);
        assert!(fs::read_to_string(&file).unwrap().ends_with(
            "\n[variant.default]\nbytes = 389\nfuel = [1, 2, 3]\ncrossings = [3, 4, 3]\n"
        ));
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_damaged_ledger_is_one_error_that_names_file_and_line() {
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
}
