//! The ledger of sizes: `ledger.toml`, a table for each variant, compared with at every build.
//!
//! The file is edited in place: comments, order and keys that are not of this module stay.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use toml_edit::{DocumentMut, Item, Table, TableLike, value};

use crate::build;

/// File name of the committed ledger, below the repository's root.
pub const FILE: &str = "ledger.toml";

const TOOLCHAIN: &str = "toolchain";
const BYTES: &str = "bytes";

/// The committed sizes, and the tools that they were made with.
#[derive(Debug)]
pub struct Ledger {
    file: PathBuf,
    document: DocumentMut,
}

/// How a variant stands to its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is no entry.
    New,
    /// It has the bytes of its entry.
    Same,
    /// It has fewer bytes than this, its entry.
    Shrank(u64),
    /// It has more bytes than this, its entry.
    Grew(u64),
    /// It differs from this, its entry, which another toolchain made.
    OtherToolchain(u64),
}

impl Ledger {
    /// Reads the ledger in `file`; a file that is not there is an empty one.
    ///
    /// # Errors
    /// It is not TOML, or an entry is not a number of bytes.
    pub fn read(file: &Path) -> Result<Self> {
        let place = || file.display().to_string();
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.with_context(place)?,
        };
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            anyhow::anyhow!("{}: line {line} is not TOML: {}", file.display(), error.message())
        })?;
        let ledger = Self { file: file.to_owned(), document };
        for key in ledger.keys() {
            if ledger.bytes(&key).is_none() {
                bail!("{}: `{}.{BYTES}` is not a number of bytes", file.display(), key.join("."));
            }
        }
        Ok(ledger)
    }

    /// The tools that made the entries.
    #[must_use]
    pub fn toolchain(&self) -> Option<&str> {
        self.document.get(TOOLCHAIN)?.as_str()
    }

    /// The entry of a variant.
    #[must_use]
    pub fn bytes(&self, key: &[String]) -> Option<u64> {
        u64::try_from(self.entry(key)?.get(BYTES)?.as_integer()?).ok()
    }

    /// The keys of all entries.
    #[must_use]
    pub fn keys(&self) -> Vec<Vec<String>> {
        let mut keys = Vec::new();
        collect(self.document.as_table(), &mut Vec::new(), &mut keys);
        keys
    }

    /// How a variant of so many `bytes`, made with `toolchain`, stands to its entry.
    #[must_use]
    pub fn compare(&self, key: &[String], bytes: u64, toolchain: &str) -> Change {
        match self.bytes(key) {
            None => Change::New,
            Some(entry) if entry == bytes => Change::Same,
            Some(entry) if self.toolchain() != Some(toolchain) => Change::OtherToolchain(entry),
            Some(entry) if entry < bytes => Change::Grew(entry),
            Some(entry) => Change::Shrank(entry),
        }
    }

    /// Sets the entry of a variant.
    ///
    /// # Errors
    /// The file has something else in its place.
    pub fn bless(&mut self, key: &[String], bytes: u64) -> Result<()> {
        let mut table: &mut dyn TableLike = self.document.as_table_mut();
        for (i, part) in key.iter().enumerate() {
            let item = table.entry(part).or_insert_with(|| {
                let mut new = Table::new();
                // `[policy]` itself has nothing to say: only `[policy.api-key]` has.
                new.set_implicit(i + 1 < key.len());
                Item::Table(new)
            });
            table = item.as_table_like_mut().with_context(|| {
                format!("{}: `{}` is not a table", self.file.display(), key[..=i].join("."))
            })?;
        }
        let bytes = value(i64::try_from(bytes)?);
        match table.get_mut(BYTES) {
            Some(entry) => *entry = bytes,
            None => drop(table.insert(BYTES, bytes)),
        }
        Ok(())
    }

    /// Other figures of a variant's entry, which other tools count.
    #[must_use]
    pub fn figures(&self, key: &[String], name: &str) -> Option<Vec<u64>> {
        let array = self.entry(key)?.get(name)?.as_array()?;
        array.iter().map(|figure| figure.as_integer()?.try_into().ok()).collect()
    }

    /// Sets other figures of a variant that has an entry.
    ///
    /// # Errors
    /// It has none.
    pub fn bless_figures(&mut self, key: &[String], name: &str, figures: &[u64]) -> Result<()> {
        let figures: toml_edit::Array =
            figures.iter().map(|&figure| i64::try_from(figure)).collect::<Result<_, _>>()?;
        let entry =
            key.iter().try_fold(self.document.as_item_mut(), |item, part| item.get_mut(part));
        let entry = entry.and_then(Item::as_table_like_mut);
        let entry = entry.with_context(|| format!("there is no entry {}", key.join(".")))?;
        entry.insert(name, value(figures));
        Ok(())
    }

    fn entry(&self, key: &[String]) -> Option<&Item> {
        key.iter().try_fold(self.document.as_item(), |item, part| item.get(part))
    }

    /// Takes out the entry of a variant that is no more.
    pub fn remove(&mut self, key: &[String]) {
        if let Some((last, parents)) = key.split_last() {
            let mut item = self.document.as_item_mut();
            for part in parents {
                match item.get_mut(part) {
                    Some(inner) => item = inner,
                    None => return,
                }
            }
            if let Some(table) = item.as_table_like_mut() {
                table.remove(last);
            }
        }
    }

    /// Writes the file, naming the tools that made the entries.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, toolchain: &str) -> Result<()> {
        if self.toolchain().is_none() {
            let about = "# Bytes of each variant's artifact. `./build.sh` fails where one grew past \
                         its entry;\n# `./build.sh --all --bless` writes them anew.\n";
            self.document.insert(TOOLCHAIN, value(toolchain));
            if let Some(mut key) = self.document.key_mut(TOOLCHAIN) {
                key.leaf_decor_mut().set_prefix(about);
            }
        } else if self.toolchain() != Some(toolchain) {
            self.document[TOOLCHAIN] = value(toolchain);
        }
        build::put(&self.file, self.document.to_string().as_bytes())
    }
}

/// Gathers the tables below `table` that hold no further ones.
fn collect(table: &dyn TableLike, path: &mut Vec<String>, keys: &mut Vec<Vec<String>>) {
    for (name, item) in table.iter() {
        let Some(inner) = item.as_table_like() else { continue };
        path.push(name.to_owned());
        if inner.iter().any(|(_, item)| item.is_table_like()) {
            collect(inner, path, keys);
        } else if !inner.is_empty() {
            keys.push(path.clone());
        }
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# kept\ntoolchain = \"rustc 1, wasm-opt 2\"\n\n[sdk]\nfuel = 7 # kept\n\
                        bytes = 70000\n\n[policy.api-key]\nbytes = 600\n";

    fn ledger(text: &str) -> (tempfile::TempDir, Result<Ledger>) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        fs::write(&file, text).unwrap();
        (folder, Ledger::read(&file))
    }

    fn key(name: &str) -> Vec<String> {
        name.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn a_variant_is_held_against_its_entry() {
        let (_folder, ledger) = ledger(TEXT);
        let ledger = ledger.unwrap();
        let compare = |name, bytes| ledger.compare(&key(name), bytes, "rustc 1, wasm-opt 2");
        assert_eq!(ledger.keys(), [key("sdk"), key("policy.api-key")]);
        assert_eq!(compare("sdk", 70_000), Change::Same);
        assert_eq!(compare("sdk", 69_999), Change::Shrank(70_000));
        assert_eq!(compare("policy.api-key", 601), Change::Grew(600));
        assert_eq!(compare("policy.other", 1), Change::New);
        assert_eq!(ledger.compare(&key("sdk"), 70_000, "rustc 3"), Change::Same);
        assert_eq!(ledger.compare(&key("sdk"), 70_001, "rustc 3"), Change::OtherToolchain(70_000));
    }

    #[test]
    fn blessing_changes_the_bytes_and_nothing_else() {
        let (folder, ledger) = ledger(TEXT);
        let mut ledger = ledger.unwrap();
        ledger.bless(&key("sdk"), 70_001).unwrap();
        ledger.bless(&key("policy.canary"), 318).unwrap();
        ledger.write("rustc 1, wasm-opt 2").unwrap();
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        let expected = TEXT.replace("70000", "70001") + "\n[policy.canary]\nbytes = 318\n";
        assert_eq!(text, expected);

        ledger.remove(&key("policy.canary"));
        ledger.write("rustc 3").unwrap();
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(text, TEXT.replace("70000", "70001").replace("rustc 1, wasm-opt 2", "rustc 3"));
    }

    #[test]
    fn a_new_ledger_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let mut ledger = Ledger::read(&file).unwrap();
        ledger.write("rustc 1").unwrap();
        ledger.bless(&key("default"), 395).unwrap();
        ledger.write("rustc 1").unwrap();
        let again = Ledger::read(&file).unwrap();
        assert_eq!((again.toolchain(), again.bytes(&key("default"))), (Some("rustc 1"), Some(395)));
    }

    #[test]
    fn a_damaged_ledger_is_one_error_that_names_the_place() {
        for (text, expected) in [
            ("toolchain = \"\"\n[sdk\n", "line 2 is not TOML"),
            ("[sdk]\nbytes = \"many\"\n", "`sdk.bytes` is not a number of bytes"),
            ("[sdk]\nbytes = -1\n", "`sdk.bytes` is not a number of bytes"),
        ] {
            let (_folder, ledger) = ledger(text);
            let error = format!("{:#}", ledger.unwrap_err());
            assert!(error.contains(FILE) && error.contains(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
