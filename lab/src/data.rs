//! What was measured, as files that are committed: lists of samples, and what they were made with.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use toml_edit::{Array, DocumentMut, Item, Table, value};

use header_gate_cli::build;

/// The table that tells how the samples came about.
const ABOUT: &str = "about";
/// Its first key.
const COMMAND: &str = "command";

/// The samples of one command.
#[derive(Debug)]
pub struct Data(DocumentMut);

impl Data {
    /// No samples yet, of a `command`; `about` names versions, the date and the like.
    pub fn new(command: &str, about: &[(&str, String)]) -> Self {
        let mut document = DocumentMut::new();
        let mut table = Table::new();
        table.insert(COMMAND, value(command));
        for (key, text) in about {
            table.insert(key, value(text));
        }
        document.insert(ABOUT, Item::Table(table));
        Self(document)
    }

    /// Reads `file`, which `command` wrote.
    ///
    /// # Errors
    /// It cannot be read, is not TOML, or does not tell that it is `command`'s.
    pub fn read(file: &Path, command: &str) -> Result<Self> {
        let place = || file.display().to_string();
        let data = fs::read_to_string(file).with_context(place)?.parse().with_context(place)?;
        let data = Self(data);
        let written_by = data.0.get(ABOUT).and_then(|about| about.get(COMMAND)?.as_str());
        ensure!(written_by == Some(command), "{}: not written by `gate {command}`", place());
        Ok(data)
    }

    /// Writes `file`.
    pub fn write(&self, file: &Path) -> Result<()> {
        let comment = "# Samples of one run, in order. Written by the command below; \
                       docs/ is drawn from them.\n";
        build::put(file, format!("{comment}{}", self.0).as_bytes())
    }

    /// Adds samples; the last part of `path` is their key, the others are tables.
    pub fn put(&mut self, path: [&str; 3], samples: &[f64]) {
        let [outer, inner, key] = path;
        let tables = self.0.entry(outer).or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let array: Array = samples.iter().map(|&sample| number(sample)).collect();
        tables[inner].or_insert(Item::Table(Table::new()))[key] = value(array);
    }

    /// The samples of `path`.
    ///
    /// # Errors
    /// There are none.
    pub fn get(&self, path: [&str; 3]) -> Result<Vec<f64>> {
        let item = path.iter().try_fold(self.0.as_item(), |item, part| item.get(part));
        let samples: Option<Vec<f64>> = item.and_then(Item::as_array).and_then(|array| {
            let number = |v: &toml_edit::Value| v.as_float().or(v.as_integer().map(|i| i as f64));
            array.iter().map(number).collect()
        });
        let samples = samples.with_context(|| format!("there are no samples of {path:?}"))?;
        ensure!(!samples.is_empty(), "the list of samples of {path:?} is empty");
        Ok(samples)
    }

    /// The keys below a path of tables, in order.
    ///
    /// # Errors
    /// There are no such tables.
    pub fn keys<const N: usize>(&self, path: [&str; N]) -> Result<Vec<String>> {
        let item = path.iter().try_fold(self.0.as_item(), |item, part| item.get(part));
        let table =
            item.and_then(Item::as_table).with_context(|| format!("there is no {path:?}"))?;
        Ok(table.iter().map(|(key, _)| key.to_owned()).collect())
    }

    /// How the samples came about, on one line of Markdown.
    ///
    /// # Errors
    /// The data do not tell.
    pub fn about(&self) -> Result<String> {
        let table = self.0.get(ABOUT).and_then(Item::as_table).context("there is no [about]")?;
        let texts = table.iter().filter_map(|(key, item)| Some((key, item.as_str()?)));
        let parts = texts.map(|(key, text)| match key {
            COMMAND => format!("`cargo lab {text}`"),
            "date" => text.to_owned(),
            _ => format!("{key} {text}"),
        });
        Ok(parts.collect::<Vec<_>>().join("; "))
    }
}

/// A sample: whole numbers are written without a point.
fn number(sample: f64) -> toml_edit::Value {
    let rounded = (sample * 1000.0).round() / 1000.0;
    if rounded.fract() == 0.0 { (rounded as i64).into() } else { rounded.into() }
}

/// The middle of some samples, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// The ends of the middle half: at least a quarter of the samples is at or below the first, and at
    /// or above the second.
    pub half: [f64; 2],
    /// The smallest sample.
    pub least: f64,
    /// The largest sample.
    pub most: f64,
}

impl Summary {
    /// Of at least one sample.
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let (least, most) = (samples[0], samples[samples.len() - 1]);
        let (low, high) = (samples[(samples.len() - 1) / 2], samples[samples.len() / 2]);
        let quarter = (samples.len() - 1) / 4;
        let half = [samples[quarter], samples[samples.len() - 1 - quarter]];
        Self { median: f64::midpoint(low, high), half, least, most }
    }
}

/// Pairs of samples that were taken one after the other, as one list.
///
/// # Errors
/// They are not pairs.
pub fn paired(a: &[f64], b: &[f64], join: fn(f64, f64) -> f64) -> Result<Vec<f64>> {
    ensure!(a.len() == b.len(), "{} and {} samples make no pairs", a.len(), b.len());
    Ok(a.iter().zip(b).map(|(&a, &b)| join(a, b)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let summary = Summary::of(vec![9.0, 1.0, 2.0]);
        assert_eq!(summary, Summary { median: 2.0, half: [1.0, 9.0], least: 1.0, most: 9.0 });
        let summary = Summary::of((1..=9).map(f64::from).collect());
        assert_eq!((summary.half, summary.median), ([3.0, 7.0], 5.0));
        assert!((Summary::of(vec![4.0, 1.0]).median - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn samples_come_back_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.toml");
        let mut data = Data::new("cost x", &[("date", "2026-01-02".into()), ("envoy", "1".into())]);
        data.put(["a b", "c", "d"], &[1.0, 2.5]);
        data.put(["a b", "c", "e"], &[3.0]);
        data.write(&file).unwrap();
        assert!(Data::read(&file, "cost y").is_err());
        let data = Data::read(&file, "cost x").unwrap();
        assert_eq!(data.get(["a b", "c", "d"]).unwrap(), [1.0, 2.5]);
        assert_eq!(data.get(["a b", "c", "e"]).unwrap(), [3.0]);
        assert!(data.get(["a b", "c", "f"]).is_err());
        let about = "`cargo lab cost x`; 2026-01-02; envoy 1";
        assert_eq!(data.about().unwrap(), about);
        assert!(paired(&[1.0], &[1.0, 2.0], |a, b| a - b).is_err());
    }
}
