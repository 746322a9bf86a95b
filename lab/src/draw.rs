//! The tables of `docs/cost.md` and `docs/robustness.md`, and a picture, from committed samples alone.

use std::fs;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use header_gate_cli::build;

use crate::cost::{keys, tables as cost};
use crate::differ::OUTCOMES;
use crate::samples::Samples;
use crate::soak::{COUNTED, MEMORY};

const COST: &str = "docs/cost.md";
const CHOOSE: &str = "docs/choose.md";
const UPSTREAM: &str = "docs/upstream.md";
const ROBUSTNESS: &str = "docs/robustness.md";
const INSTRUCTIONS: &str = "cost instructions";
const KEYS: &str = "cost keys";

type Draw = fn(&Samples) -> Result<String>;

/// The tables: the command that takes the samples, the document, the table's name in the markers.
const TABLES: [(&str, &str, &str, Draw); 11] = [
    (INSTRUCTIONS, COST, "filters", cost::filters),
    ("cost options", COST, "options", cost::rows),
    ("cost forms", CHOOSE, "forms", cost::rows),
    ("cost allocation", UPSTREAM, "allocation", cost::rows),
    ("cost config", COST, "config", cost::rows),
    (KEYS, COST, "keys", keys::table),
    ("cost workers", COST, "workers", cost::workers),
    ("cost load", COST, "load", cost::load),
    ("differ", ROBUSTNESS, "differ", |samples| samples.counts(OUTCOMES)),
    ("soak", ROBUSTNESS, "counted", |samples| samples.counts(COUNTED)),
    ("soak", ROBUSTNESS, "memory", |samples| samples.counts(MEMORY)),
];

/// All tables of `samples`, to be printed.
pub fn tables(samples: &Samples) -> Result<String> {
    let own = TABLES.iter().filter(|(command, ..)| *command == samples.command());
    own.map(|(_, _, _, draw)| Ok(draw(samples)? + "\n")).collect()
}

pub fn draw(root: &Path) -> Result<()> {
    render(root)?
        .into_iter()
        .try_for_each(|(file, text)| build::put(&root.join(file), text.as_bytes()))
}

/// Every file that is drawn, relative to `root`, and its content.
pub fn render(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let picture = cost::picture(&Samples::read(root, INSTRUCTIONS)?)?;
    let lines = keys::picture(&Samples::read(root, KEYS)?)?;
    let mut files =
        vec![("docs/instructions.svg".into(), picture), ("docs/keys.svg".into(), lines)];
    for document in [COST, CHOOSE, ROBUSTNESS, UPSTREAM] {
        let mut text = fs::read_to_string(root.join(document)).context(document)?;
        let mut last = "";
        for (command, _, name, draw) in TABLES.iter().filter(|(_, file, ..)| *file == document) {
            let samples = Samples::read(root, command)?;
            let mut table = draw(&samples)?;
            // Once for all tables of a command.
            if mem::replace(&mut last, command) != *command {
                table += &format!("\n{}", samples.source());
            }
            text = replace(&text, name, &table).context(document)?;
        }
        files.push((document.into(), text));
    }
    Ok(files)
}

/// `text` with what is between the markers of `name` replaced.
fn replace(text: &str, name: &str, table: &str) -> Result<String> {
    let (start, end) = (format!("<!-- {name}: drawn -->\n"), format!("\n<!-- end of {name} -->"));
    let parts = text.split_once(&start).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some(format!("{before}{start}{table}{end}{after}"))
    });
    parts.with_context(|| format!("the markers of table `{name}` are missing"))
}
