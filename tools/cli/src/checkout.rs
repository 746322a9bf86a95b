//! A second checkout of this repository, with a target folder of its own.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Makes the folder `to` a copy of the checkout `from` as it stands, without what is built there.
/// The target folder of an earlier copy stays: what is compiled in it takes a minute.
///
/// # Errors
/// A folder cannot be read, or `to` not be written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        let place = || entry.path().display().to_string();
        match entry.file_type()?.is_dir() {
            true if entry.file_name() == "target" => {}
            true => fs::remove_dir_all(entry.path()).with_context(place)?,
            false => fs::remove_file(entry.path()).with_context(place)?,
        }
    }
    copy_sources(from, to)
}

fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let made = entry.file_name() == "target" || entry.file_name() == ".git";
        if entry.file_type()?.is_dir() {
            if !made {
                fs::create_dir_all(&to).with_context(|| to.display().to_string())?;
                copy_sources(&from, &to)?;
            }
        } else if from.extension().is_none_or(|extension| extension != "wasm") {
            fs::copy(&from, &to).with_context(|| to.display().to_string())?;
        }
    }
    Ok(())
}
