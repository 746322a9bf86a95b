//! The ledger, `ledger.toml`: what each variant costs, and the tools that it was measured with.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::build::files::put;

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
    /// The tools that it was measured with.
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
    /// Reads `file`; a missing file is an empty ledger.
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
    pub fn toolchain(&self) -> Option<&str> {
        self.toolchain.as_deref()
    }

    /// The size of a variant.
    pub fn bytes(&self, key: &str) -> Option<u64> {
        self.variant.get(key).map(|entry| entry.bytes)
    }

    /// Writes `file`.
    pub fn write(&self, file: &Path) -> Result<()> {
        put(file, format!("{HEAD}{}", toml::to_string(self)?).as_bytes())
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
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        assert_eq!(Ledger::read(&file).unwrap(), Ledger::default());
        let entry = Entry { bytes: 389, fuel: [1, 2, 3], crossings: [3, 4, 3] };
        let variant = BTreeMap::from([("default".to_owned(), entry)]);
        let ledger = Ledger { toolchain: Some("rustc 1, wasm-opt 2".to_owned()), variant };
        ledger.write(&file).unwrap();
        assert_eq!(Ledger::read(&file).unwrap(), ledger);
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
