//! `lab compare`: what a change costs, by the counts of two ledgers.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use header_gate_cli::build::ledger::{Entry, FILE, Ledger};

use crate::table::markdown;

/// The paths of a request, in the order of an entry.
const PATHS: [&str; 3] = ["accepted", "wrong value", "no header"];

/// Prints what the ledger of this checkout has otherwise than another one, as a table
///
/// The counts repeat exactly, and `cargo test` holds them to what is built: so whatever differs is the change's.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The other ledger, such as that of the main branch: git show main:ledger.toml >main.toml
    base: PathBuf,
}

pub fn run(root: &Path, options: &Options) -> Result<()> {
    // The ledger's own reader takes a missing file for an empty one.
    ensure!(options.base.is_file(), "there is no file {}", options.base.display());
    let (base, now) = (Ledger::read(&options.base)?, Ledger::read(&root.join(FILE))?);
    print!("{}", table(&base, &now));
    Ok(())
}

/// The variants that differ, in Markdown.
fn table(base: &Ledger, now: &Ledger) -> String {
    let names: BTreeSet<_> = base.variant.keys().chain(now.variant.keys()).collect();
    let (all, mut rows) = (names.len(), Vec::new());
    for name in names {
        let (base, now) = (base.variant.get(name), now.variant.get(name));
        if base != now {
            rows.push([format!("`{name}`")].into_iter().chain(cells(base, now)).collect());
        }
    }
    let changed = rows.len();
    let mut text = String::new();
    if changed > 0 {
        let fuel = PATHS.map(|path| format!("fuel, {path}"));
        let calls = PATHS.map(|path| format!("host calls, {path}"));
        let head = ["variant", "bytes"].into_iter();
        let head = head.chain(fuel.iter().chain(&calls).map(String::as_str));
        text = markdown(&head.collect::<Vec<_>>(), rows) + "\n";
    }
    if base.toolchain() != now.toolchain() {
        let name = |ledger: &Ledger| ledger.toolchain().unwrap_or("unknown tools").to_owned();
        writeln!(text, "Other tools: {}, before {}.\n", name(now), name(base))
            .expect("a string takes any text");
    }
    text + &format!("{changed} of {all} variants differ.\n")
}

fn cells(base: Option<&Entry>, now: Option<&Entry>) -> Vec<String> {
    let counts = |entry: &Entry| [&[entry.bytes][..], &entry.fuel, &entry.crossings].concat();
    let [base, now] = [base, now].map(|entry| entry.map(counts));
    let cell = |n: usize| match (base.as_ref().map(|all| all[n]), now.as_ref().map(|all| all[n])) {
        (Some(base), Some(now)) if base == now => now.to_string(),
        (Some(base), Some(now)) => {
            format!("{base} → **{now}** ({:+})", now.cast_signed() - base.cast_signed())
        }
        (None, Some(now)) => format!("new: {now}"),
        (Some(base), None) => format!("{base} → gone"),
        (None, None) => String::new(),
    };
    (0..1 + 2 * PATHS.len()).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(text: &str) -> Ledger {
        let file = std::env::temp_dir().join(format!("compare-{}.toml", std::process::id()));
        std::fs::write(&file, text).unwrap();
        let ledger = Ledger::read(&file);
        std::fs::remove_file(file).unwrap();
        ledger.unwrap()
    }

    #[test]
    fn only_what_differs_is_a_row() {
        let base = "toolchain = 'a'\n\
                    [variant.default]\nbytes = 389\nfuel = [1, 2, 3]\ncrossings = [4, 4, 3]\n\
                    [variant.log]\nbytes = 654\nfuel = [1, 2, 3]\ncrossings = [4, 4, 3]\n\
                    [variant.old]\nbytes = 1\nfuel = [1, 1, 1]\ncrossings = [1, 1, 1]\n";
        assert_eq!(table(&ledger(base), &ledger(base)), "0 of 3 variants differ.\n");
        let now = base.replace("389", "391").replace("old", "young").replace("'a'", "'b'");
        let now = now.replacen("fuel = [1, 2, 3]", "fuel = [1, 2, 1]", 1);
        assert_eq!(
            table(&ledger(base), &ledger(&now)),
            "| variant | bytes | fuel, accepted | fuel, wrong value | fuel, no header | \
             host calls, accepted | host calls, wrong value | host calls, no header |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|\n\
             | `default` | 389 → **391** (+2) | 1 | 2 | 3 → **1** (-2) | 4 | 4 | 3 |\n\
             | `old` | 1 → gone | 1 → gone | 1 → gone | 1 → gone | 1 → gone | 1 → gone | 1 → gone |\n\
             | `young` | new: 1 | new: 1 | new: 1 | new: 1 | new: 1 | new: 1 | new: 1 |\n\n\
             Other tools: b, before a.\n\n3 of 4 variants differ.\n"
        );
    }
}
