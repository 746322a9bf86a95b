//! Files: written whole, and hashed.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Writes `file` atomically: a reader finds the old content or the new one.
///
/// # Errors
/// The folder cannot be written to.
pub fn put(file: &Path, content: &[u8]) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let place = || format!("cannot write {}", file.display());
    let mut new = builder.tempfile_in(folder.unwrap_or(Path::new("."))).with_context(place)?;
    new.write_all(content).with_context(place)?;
    // The other part of its error says the same again.
    new.persist(file).map_err(|error| error.error).with_context(place)?;
    Ok(())
}

/// A SHA-256 of files and other texts.
#[derive(Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds a part; its size is hashed too, so that no two lists of parts look the same.
    pub fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// Adds a file of `root`, or all files of a folder: paths and contents.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn add_path(&mut self, root: &Path, path: &Path) -> Result<()> {
        let full = root.join(path);
        let place = || full.display().to_string();
        if !full.is_dir() {
            self.add(path.as_os_str().as_encoded_bytes());
            self.add(&fs::read(&full).with_context(place)?);
            return Ok(());
        }
        let entries = fs::read_dir(&full).with_context(place)?;
        let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
        names.sort();
        names.iter().try_for_each(|name| self.add_path(root, &path.join(name)))
    }

    /// The hash, in hexadecimal.
    #[must_use]
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
