//! Files: written whole, and hashed.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The folder that `file` is in.
pub fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes `file` atomically: a reader finds the old content or the new one.
pub fn put(file: &Path, content: &[u8]) -> Result<()> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let place = || format!("cannot write {}", file.display());
    let mut new = builder.tempfile_in(folder(file)).with_context(place)?;
    new.write_all(content).with_context(place)?;
    // The other part of its error says the same again.
    new.persist(file).map_err(|error| error.error).with_context(place)?;
    Ok(())
}

/// Adds a file of `root`, or all files of a folder, to `hash`: paths and contents.
pub fn hash(hash: &mut Sha256, root: &Path, path: &Path) -> Result<()> {
    let full = root.join(path);
    let place = || full.display().to_string();
    if full.is_dir() {
        let entries = fs::read_dir(&full).with_context(place)?;
        let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
        names.sort();
        return names.iter().try_for_each(|name| self::hash(hash, root, &path.join(name)));
    }
    let content = fs::read(&full).with_context(place)?;
    // With its size, so that two lists of files never look the same.
    hash.update(format!("{}\0{}\0", path.display(), content.len()));
    hash.update(content);
    Ok(())
}
