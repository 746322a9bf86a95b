//! `docs/cost.md` and its charts, from committed data alone: what is drawn twice is the same.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::instructions::{FILTERS, LOGGING};
use super::tables::{self, COMPARED, PATHS};
use super::workers::{RSS, WORKERS};
use crate::chart::{Bar, Chart, Scale, thousands};
use crate::data::{Data, Summary};
use crate::filter::{BASELINE, EMPTY, FLOOR, LUA, OURS, RBAC};
use header_gate_cli::build;
use header_gate_cli::build::ledger::{self, Ledger};

/// The document that the tables stand in.
const DOCUMENT: &str = "docs/cost.md";

/// Draws everything anew.
///
/// # Errors
/// Data are missing, or a marker in `docs/cost.md` is.
pub fn draw(root: &Path) -> Result<()> {
    put(root, render(root)?)
}

/// Writes what is drawn below `root`.
pub(crate) fn put(root: &Path, files: Vec<(PathBuf, String)>) -> Result<()> {
    files.into_iter().try_for_each(|(file, text)| build::put(&root.join(file), text.as_bytes()))
}

/// Every file that is drawn, below `root`, and what it holds.
///
/// # Errors
/// As for [`draw`].
pub fn render(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let (instructions, workers, load) =
        (read(root, "instructions")?, read(root, "workers")?, read(root, "load")?);
    let ledger = Ledger::read(&root.join(ledger::FILE))?;
    let file = root.join(DOCUMENT);
    let mut text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    for (name, table) in [
        ("bytes", bytes_table(&ledger)?),
        ("filters", tables::filters(&instructions)?),
        ("ratios", tables::ratios(&instructions)?),
        ("requests", tables::requests(&instructions)?),
        ("policies", tables::policies(&instructions)?),
        ("workers", tables::workers(&workers)?),
        ("load", tables::load(&load)?),
    ] {
        text = replace(&text, name, &table).with_context(|| DOCUMENT)?;
    }
    let charts = [
        ("docs/bytes.svg", bytes(&ledger)?),
        ("docs/instructions.svg", instructions_chart(&instructions)?),
        ("docs/memory.svg", memory(&workers)?),
    ];
    let charts = charts.into_iter().map(|(file, chart)| (PathBuf::from(file), chart.svg()));
    Ok(charts.chain([(PathBuf::from(DOCUMENT), text)]).collect())
}

/// The committed samples of a command.
fn read(root: &Path, command: &str) -> Result<Data> {
    Data::read(&super::file(root, command), &format!("cost {command}"))
        .with_context(|| format!("run `gate cost {command}` first"))
}

/// What the README and `docs/cost.md` claim of the default build, in ratios: what it is, how the
/// committed data have it, and the most that it may be.
///
/// # Errors
/// Data are missing.
pub fn claims(root: &Path) -> Result<Vec<(String, f64, f64)>> {
    let data = read(root, "instructions")?;
    let mut claims = Vec::new();
    for path in PATHS {
        for (other, most) in [(FLOOR, 1.01), (BASELINE, 0.62)] {
            let ratio = tables::ratio(&data, other, path)?.median;
            claims.push((format!("{path}, to the {other}"), ratio, most));
        }
    }
    Ok(claims)
}

/// `text` with what stands between the markers of `name` replaced.
pub(crate) fn replace(text: &str, name: &str, table: &str) -> Result<String> {
    let (start, end) = (format!("<!-- {name}: drawn -->\n"), format!("\n<!-- end of {name} -->"));
    let parts = text.split_once(&start).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some(format!("{before}{start}{table}{end}{after}"))
    });
    parts.with_context(|| format!("the markers of the table `{name}` are missing"))
}

/// Names and bytes of all variants, the smallest first.
fn sizes(ledger: &Ledger) -> Result<Vec<(String, u64)>> {
    let sizes = ledger.variant.iter().map(|(name, entry)| (name.clone(), entry.bytes));
    let mut sizes: Vec<_> = sizes.collect();
    ensure!(!sizes.is_empty(), "{} is empty", ledger::FILE);
    sizes.sort_by_key(|(_, bytes)| *bytes);
    Ok(sizes)
}

fn bytes_table(ledger: &Ledger) -> Result<String> {
    let mut text = String::from("| variant | bytes |\n|---|---:|\n");
    for (name, bytes) in sizes(ledger)? {
        text += &format!("| `{name}` | {} |\n", thousands(bytes as f64));
    }
    let toolchain = ledger.toolchain().context("the ledger names no toolchain")?;
    Ok(format!("{text}\n<sub>`./build.sh --all --bless`; modules made by {toolchain}</sub>"))
}

fn bytes(ledger: &Ledger) -> Result<Chart> {
    let bars = sizes(ledger)?.into_iter().map(|(label, bytes)| Bar {
        ours: label == "default",
        note: thousands(bytes as f64),
        parts: one(bytes as f64, label == "default"),
        label,
    });
    Ok(Chart {
        title: "Bytes of each variant (logarithmic scale)",
        series: Vec::new(),
        scale: Scale::Log,
        groups: vec![(String::new(), bars.collect())],
    })
}

fn instructions_chart(data: &Data) -> Result<Chart> {
    let mut groups = Vec::new();
    for path in PATHS {
        let empty = tables::median(data, FILTERS, EMPTY, path)?;
        let mut bars = Vec::new();
        for (setup, filter) in COMPARED {
            if filter == EMPTY || setup == LOGGING || (filter == OURS && setup != FILTERS) {
                continue;
            }
            let all = tables::median(data, setup, filter, path)?;
            let guest = tables::guest(data, setup, filter, path)?;
            let parts = if [RBAC, LUA].contains(&filter) {
                vec![0.0, 0.0, 0.0, all]
            } else {
                vec![empty, all - empty - guest, guest]
            };
            let (label, note) = (filter.to_owned(), thousands(all));
            bars.push(Bar { label, note, parts, ours: filter == OURS });
        }
        groups.push((path.to_owned(), bars));
    }
    Ok(Chart {
        title: "Instructions that a filter adds to a request in Envoy",
        series: vec![
            "host, for any module",
            "host, for this module's calls",
            "the module's own code",
            "no module",
        ],
        scale: Scale::Linear,
        groups,
    })
}

fn memory(data: &Data) -> Result<Chart> {
    let mut bars = Vec::new();
    for filter in [EMPTY, FLOOR, OURS, BASELINE] {
        let more = Summary::of(tables::more(data, filter, RSS)?).median / f64::from(WORKERS);
        let (label, note) = (filter.to_owned(), thousands(more));
        let ours = filter == OURS;
        bars.push(Bar { label, note, parts: one(more, ours), ours });
    }
    Ok(Chart {
        title: "Resident memory that a worker's virtual machine adds to Envoy (KiB)",
        series: Vec::new(),
        scale: Scale::Linear,
        groups: vec![(String::new(), bars)],
    })
}

/// The only part of a bar: ours has a colour of its own.
fn one(part: f64, ours: bool) -> Vec<f64> {
    if ours { vec![0.0, part] } else { vec![part] }
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = "a\n<!-- x: drawn -->\nold\n<!-- end of x -->\nb\n";
        let new = replace(text, "x", "new").unwrap();
        assert_eq!(new, text.replace("old", "new"));
        assert_eq!(replace(&new, "x", "new").unwrap(), new);
        assert!(replace(text, "y", "new").unwrap_err().to_string().contains("`y`"));
    }
}
