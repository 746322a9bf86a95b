//! `lab anatomy`: `docs/anatomy.svg`, every byte of a module with what it is for.
//!
//! The bytes and instructions are read from the module, the words from `docs/anatomy.toml`. A row of words names the
//! items that it explains: the picture cannot show words for other bytes than the module has.

mod items;
mod svg;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use items::Item;

const WORDS: &str = "docs/anatomy.toml";
pub const PICTURE: &str = "docs/anatomy.svg";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    row: Vec<Explained>,
}

/// A row of the picture.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Explained {
    /// The items, as [`items::read`] names them.
    code: Vec<String>,
    says: String,
    guarantee: Option<String>,
}

struct Row {
    items: Vec<Item>,
    words: Explained,
}

/// Draws the default build into `docs/anatomy.svg`.
pub fn run(root: &Path) -> Result<()> {
    let wasm = fs::read(build::artifact(root, &Variant::default())?)?;
    build::put(&root.join(PICTURE), render(root, &wasm)?.as_bytes())
}

/// The picture of `wasm`.
pub fn render(root: &Path, wasm: &[u8]) -> Result<String> {
    let words = fs::read_to_string(root.join(WORDS)).context(WORDS)?;
    let words: Words = toml::from_str(&words).context(WORDS)?;
    let rows = rows(words, items::read(wasm)?).context(WORDS)?;
    Ok(svg::draw(wasm, &format!("{:x}", Sha256::digest(wasm)), &rows))
}

/// The items under the words that explain them, all of them and in order.
fn rows(words: Words, items: Vec<Item>) -> Result<Vec<Row>> {
    let (mut rows, mut rest) = (Vec::new(), items);
    for words in words.row {
        let mut own = Vec::new();
        for name in &words.code {
            ensure!(!rest.is_empty(), "`{name}` is explained, but the module has ended");
            // Data is divided as the words say.
            let size = name.strip_suffix(" bytes").and_then(|size| size.parse().ok());
            if let (Some(size), Some((data, after))) = (size, size.and_then(|n| rest[0].split(n))) {
                rest.splice(..1, [data].into_iter().chain(after));
                ensure!(rest[0].bytes.len() == size, "`{name}`: the data has fewer");
            } else {
                ensure!(
                    rest[0].name == *name,
                    "`{name}` is explained, but at {:#x} the module has `{}`",
                    rest[0].bytes.start,
                    rest[0].name
                );
            }
            own.push(rest.remove(0));
        }
        rows.push(Row { items: own, words });
    }
    if let Some(item) = rest.first() {
        bail!("`{}` at {:#x} is not explained", item.name, item.bytes.start);
    }
    Ok(rows)
}
