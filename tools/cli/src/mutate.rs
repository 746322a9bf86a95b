//! `gate mutate`: takes away every condition that the plugin's promise rests on, one after the other,
//! and sees the tests notice, in `docs/robustness.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use lexopt::{Arg, Parser, ValueExt};
use toml_edit::{DocumentMut, TableLike};

use crate::cost::data::Data;
use crate::cost::tools;
use crate::{checkout, process, robustness};

const HELP: &str = "\
Applies each mutation of tests/mutations.toml to a copy of the checkout, below target/mutate, and
runs the tests there. Exits with 1 if a mutation goes unnoticed.

Usage: gate mutate [TEXT]

  TEXT    only the mutations whose file or description has this in it
  --help  this text

Without TEXT (10 minutes) the counts go to docs/robustness/mutate.toml and docs/robustness.md is drawn.
";

/// The data's table and key.
const MUTATIONS: &str = "mutations";
const NOTICED: &str = "mutations, each noticed";

/// The list, below the repository's root.
const LIST: &str = "tests/mutations.toml";

/// The tests that may notice, the quickest first: natively, then with the finished module, then those of
/// how it is finished. Those of the SDK are left out, whose builds take long.
const TESTS: [&[&str]; 5] = [
    &["--lib", "--", "abi::", "decision::", "log::", "pairs::"],
    &["--test", "adversary", "--", "--skip", "interleaved_requests"],
    &["--test", "corpus", "every_committed_input"],
    &["--test", "embedded", "each_policy"],
    &["--test", "finish"],
];

/// One change of the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The file, below the root.
    file: String,
    /// What is replaced; it stands there once.
    find: String,
    /// By what.
    replace: String,
    /// What is lost.
    breaks: String,
}

impl Mutation {
    /// The list in the checkout at `root`.
    ///
    /// # Errors
    /// The list cannot be read, or an entry is not whole.
    pub fn all(root: &Path) -> Result<Vec<Self>> {
        let text = fs::read_to_string(root.join(LIST)).context(LIST)?;
        let list: DocumentMut = text.parse().context(LIST)?;
        let rows = list.get("mutation").and_then(|rows| rows.as_array_of_tables());
        let rows = rows.with_context(|| format!("{LIST}: there is no [[mutation]]"))?;
        rows.iter().map(|row| Self::of(row)).collect::<Result<_>>().context(LIST)
    }

    fn of(row: &dyn TableLike) -> Result<Self> {
        let text = |key| {
            let text = row.get(key).and_then(|item| item.as_str());
            text.map(str::to_owned).with_context(|| format!("a mutation has no text `{key}`"))
        };
        ensure!(row.len() == 4, "a mutation has file, find, replace and breaks, and no more");
        Ok(Self {
            file: text("file")?,
            find: text("find")?,
            replace: text("replace")?,
            breaks: text("breaks")?,
        })
    }

    /// The text of its file in the checkout at `root`, changed.
    ///
    /// # Errors
    /// The file cannot be read, or what is replaced does not stand there exactly once.
    pub fn apply(&self, root: &Path) -> Result<String> {
        let Self { file, find, replace, breaks } = self;
        let text = fs::read_to_string(root.join(file)).with_context(|| file.clone())?;
        let found = text.matches(find).count();
        ensure!(found == 1, "{LIST}: {find:?} is {found} times in {file}, not once ({breaks})");
        ensure!(find != replace, "{LIST}: {find:?} is replaced by itself");
        Ok(text.replacen(find, replace, 1))
    }
}

/// `gate mutate` in the checkout at `root`.
///
/// # Errors
/// A wrong argument, a mutation that does not fit the sources or does not compile, or one that
/// survives.
pub fn run(root: &Path, mut args: Parser) -> Result<()> {
    let mut wanted = None;
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Value(text) if wanted.is_none() => wanted = Some(text.string()?),
            Arg::Long("help") | Arg::Short('h') => {
                print!("{HELP}");
                return Ok(());
            }
            other => bail!("{}; --help lists what there is", other.unexpected()),
        }
    }
    let plain = wanted.is_none();
    let wanted = wanted.unwrap_or_default();
    let mut mutations = Mutation::all(root)?;
    mutations.retain(|m| m.file.contains(&wanted) || m.breaks.contains(&wanted));
    ensure!(!mutations.is_empty(), "{LIST}: no mutation has {wanted:?} in it");

    let copy = root.join("target/mutate");
    checkout::copy(root, &copy)?;
    eprintln!("gate: running the tests without a mutation first; that compiles for some minutes");
    // Dependencies are compiled for both.
    let target = root.join("target");
    let failing_test = || failing_test(&copy, &target);
    if let Some(test) = failing_test()? {
        bail!("{test} fails without any mutation");
    }
    let mut survivors = 0;
    let mut counts = BTreeMap::<&str, f64>::new();
    for mutation in &mutations {
        let Mutation { file, breaks, .. } = mutation;
        let mutated = mutation.apply(&copy)?;
        let place = copy.join(file);
        let original = fs::read_to_string(&place)?;
        fs::write(&place, mutated)?;
        let noticed = failing_test().with_context(|| format!("{file}: {breaks}"));
        fs::write(&place, original)?;
        *counts.entry(file).or_default() += 1.0;
        if let Some(test) = noticed? {
            println!("killed    {file:<16} {breaks}: {test}");
        } else {
            survivors += 1;
            println!("SURVIVED  {file:<16} {breaks}");
        }
    }
    println!("{} of {} mutations killed", mutations.len() - survivors, mutations.len());
    ensure!(survivors == 0, "{survivors} of {} mutations survived", mutations.len());
    if plain {
        let rustc = process::ask(process::cargo("rustc").arg("-V"))?;
        let about = [("date", tools::today()?), ("tests compiled by", rustc)];
        let mut data = Data::new("mutate", &about);
        for (file, noticed) in counts {
            data.put([MUTATIONS, file, NOTICED], &[noticed]);
        }
        data.write(&robustness::file(root, "mutate"))?;
        robustness::draw(root)?;
    }
    Ok(())
}

/// How many mutations of each file there were when the tests noticed all of them.
///
/// # Errors
/// The data are not those of this command.
pub fn table(data: &Data) -> Result<String> {
    let files = data.keys([MUTATIONS])?;
    let rows = files.iter().map(String::as_str);
    robustness::table(data, MUTATIONS, "file", rows, &[NOTICED])
}

/// The first test that fails in the checkout at `root`, compiled below `target`.
fn failing_test(root: &Path, target: &Path) -> Result<Option<String>> {
    for tests in TESTS {
        let mut cargo = process::cargo("cargo");
        cargo.current_dir(root).args(["test", "--locked", "--workspace", "--target-dir"]);
        cargo.arg(target).args(tests);
        let output = cargo.output().context("cargo test")?;
        if output.status.success() {
            continue;
        }
        // A mutation that does not compile would say nothing of the tests.
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(stderr.contains("error: test failed"), "no test ran:\n{}", stderr.trim_end());
        let stdout = String::from_utf8_lossy(&output.stdout);
        let failed =
            |line: &str| line.strip_prefix("test ")?.strip_suffix(" ... FAILED").map(str::to_owned);
        return Ok(stdout
            .lines()
            .find_map(failed)
            .or_else(|| Some("a test that aborts".to_owned())));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_fits_the_sources() {
        let root = crate::root();
        let mutations = Mutation::all(&root).unwrap();
        for (i, mutation) in mutations.iter().enumerate() {
            mutation.apply(&root).unwrap();
            assert!(!mutations[..i].contains(mutation), "{mutation:?} is there twice");
        }
    }

    #[test]
    fn the_counts_in_the_documentation_are_of_the_whole_list() {
        let root = crate::root();
        let data = Data::read(&robustness::file(&root, "mutate"), "mutate").unwrap();
        let mut listed = BTreeMap::<_, f64>::new();
        for Mutation { file, .. } in Mutation::all(&root).unwrap() {
            *listed.entry(file).or_default() += 1.0;
        }
        let noticed = data.keys([MUTATIONS]).unwrap().into_iter().map(|file| {
            let [count] = data.get([MUTATIONS, &file, NOTICED]).unwrap()[..] else {
                panic!("{file}")
            };
            (file, count)
        });
        assert_eq!(noticed.collect::<BTreeMap<_, _>>(), listed, "run `gate mutate`");
    }
}
