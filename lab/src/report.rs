//! `docs/robustness.md` and its chart, from committed data alone: what is drawn twice is the same.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lexopt::{Arg, Parser};

use crate::chart::thousands;
use crate::cost::draw::{put, replace};
use crate::data::Data;
use crate::{cost, differ, soak};

/// The document that the tables stand in.
const DOCUMENT: &str = "docs/robustness.md";

/// The chart beside it.
const PLOT: &str = "docs/soak.svg";

/// Where the counts of a command are kept.
pub(crate) fn file(root: &Path, command: &str) -> PathBuf {
    root.join("docs/robustness").join(command).with_extension("toml")
}

const HELP: &str = "\
Draws docs/cost.md, docs/robustness.md and their charts from docs/*/*.toml, which `gate cost`, `gate
differ`, `gate soak` and `gate mutate` write, and from ledger.toml.

Usage: gate draw
";

/// `gate draw` in the checkout at `root`.
///
/// # Errors
/// A wrong argument, missing data or a missing marker in one of the documents.
pub fn run(root: &Path, mut args: Parser) -> Result<()> {
    match args.next()? {
        None => cost::draw::draw(root).and_then(|()| draw(root)),
        Some(Arg::Long("help") | Arg::Short('h')) => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => bail!("{}; --help lists what there is", other.unexpected()),
    }
}

/// Draws everything anew.
///
/// # Errors
/// Data are missing, or a marker in `docs/robustness.md` is.
pub fn draw(root: &Path) -> Result<()> {
    put(root, render(root)?)
}

/// Every file that is drawn, below `root`, and what it holds.
///
/// # Errors
/// As for [`draw`].
pub fn render(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let read = |command: &str| {
        Data::read(&file(root, command), command)
            .with_context(|| format!("run `gate {command}` first"))
    };
    let (differ, soak) = (read("differ")?, read("soak")?);
    let file = root.join(DOCUMENT);
    let mut text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    for (name, table) in [
        ("differ", differ::table(&differ)?),
        ("grammar", differ::traits(&differ)?),
        ("sent", soak::sent(&soak)?),
        ("counted", soak::counted(&soak)?),
        ("memory", soak::memory(&soak)?),
    ] {
        text = replace(&text, name, &table).with_context(|| DOCUMENT)?;
    }
    Ok(vec![(PathBuf::from(DOCUMENT), text), (PathBuf::from(PLOT), soak::plot(&soak)?.svg())])
}

/// The table `outer` of some counts, with a row for each of `rows`; and below it how the counts came
/// about.
pub(crate) fn table<'a>(
    data: &Data,
    outer: &str,
    heading: &str,
    rows: impl IntoIterator<Item = &'a str>,
    columns: &[&str],
) -> Result<String> {
    let mut text = format!("| {heading} |");
    columns.iter().for_each(|column| text += &format!(" {column} |"));
    let _ = writeln!(text, "\n|---|{}", "---:|".repeat(columns.len()));
    for row in rows {
        let _ = write!(text, "| {row} |");
        for column in columns {
            let count: f64 = data.get([outer, row, column])?.iter().sum();
            let _ = write!(text, " {} |", thousands(count));
        }
        text.push('\n');
    }
    Ok(format!("{text}\n<sub>{}</sub>", data.about()?))
}
