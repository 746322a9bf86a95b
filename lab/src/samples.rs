//! The samples of one measurement: the committed file that holds them, and statistics of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use header_gate_cli::build::Builder;
use header_gate_envoy::NEWEST;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::table::{markdown, thousands};
use crate::tools;

/// Named lists of samples in rows, in order.
type Rows = IndexMap<String, IndexMap<String, Vec<f64>>>;

/// The samples of a command. A file of them is written by its command only.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    about: About,
    /// Groups of rows.
    samples: IndexMap<String, Rows>,
}

/// How samples were taken.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct About {
    command: String,
    date: String,
    envoy: String,
    toolchain: String,
    details: String,
}

/// Where a list of samples is: group, row and column.
pub type Place<'a> = [&'a str; 3];

impl Samples {
    /// No samples yet of `command`, to be taken on this machine today with these `details`.
    pub fn new(root: &Path, command: &str, details: String) -> Result<Self> {
        let about = About {
            command: command.to_owned(),
            date: tools::today()?,
            envoy: NEWEST.to_owned(),
            toolchain: Builder::new(root)?.toolchain()?,
            details,
        };
        Ok(Self { about, samples: IndexMap::new() })
    }

    /// Reads the committed samples of `command`.
    pub fn read(root: &Path, command: &str) -> Result<Self> {
        let file = file(root, command);
        let about = || format!("{}: run `cargo lab {command}` to write it", file.display());
        let text = fs::read_to_string(&file).with_context(about)?;
        let samples: Self = toml::from_str(&text)
            .map_err(|error| anyhow::anyhow!("{}", error.message().to_owned()))
            .with_context(about)?;
        let written_by = &samples.about.command;
        ensure!(written_by == command, "{}: written by {written_by:?}", about());
        Ok(samples)
    }

    /// Writes the file that is committed.
    pub fn write(&self, root: &Path) -> Result<()> {
        let comment = "# Samples in the order in which they were taken. Written by the command \
                       below; `cargo lab draw` makes\n# the tables and pictures in docs/ of them.\n";
        let text = format!("{comment}{}", toml::to_string(self)?);
        tools::write(&file(root, self.command()), text.as_bytes())
    }

    /// The command that takes these samples, without `cargo lab`.
    pub fn command(&self) -> &str {
        &self.about.command
    }

    /// Adds a sample to a list.
    pub fn push(&mut self, [group, row, column]: Place<'_>, sample: f64) {
        let rows = self.samples.entry(group.to_owned()).or_default();
        let row = rows.entry(row.to_owned()).or_default();
        row.entry(column.to_owned()).or_default().push(sample);
    }

    /// A list of samples; at least one.
    pub fn get(&self, place: Place<'_>) -> Result<&[f64]> {
        let [group, row, column] = place;
        let samples = self.samples.get(group).and_then(|rows| rows.get(row)?.get(column));
        let samples = samples.filter(|samples| !samples.is_empty());
        Ok(samples.with_context(|| format!("there are no samples of {place:?}"))?)
    }

    /// The rows of a group.
    pub fn rows(&self, group: &str) -> Result<&Rows> {
        self.samples.get(group).with_context(|| format!("there are no samples of {group:?}"))
    }

    /// Joins two lists of samples that were taken side by side.
    pub fn pairs(&self, a: Place<'_>, b: Place<'_>, join: fn(f64, f64) -> f64) -> Result<Vec<f64>> {
        let (left, right) = (self.get(a)?, self.get(b)?);
        ensure!(left.len() == right.len(), "{a:?} and {b:?} differ in their number of samples");
        Ok(left.iter().zip(right).map(|(&a, &b)| join(a, b)).collect())
    }

    /// A group of single counts as a table.
    pub fn counts(&self, group: &str, heading: &str) -> Result<String> {
        let rows = self.rows(group)?;
        let columns = rows.first().into_iter().flat_map(|(_, row)| row.keys());
        let head: Vec<_> = [heading].into_iter().chain(columns.map(String::as_str)).collect();
        Ok(markdown(
            &head,
            rows.iter().map(|(name, row)| {
                let counts = row.values().map(|count| thousands(count.iter().sum()));
                [name.clone()].into_iter().chain(counts).collect()
            }),
        ))
    }

    /// How the samples were taken, on one line of Markdown.
    pub fn source(&self) -> String {
        let About { command, date, envoy, toolchain, details } = &self.about;
        format!(
            "<sub>`cargo lab {command}`; {date}; Envoy {envoy}; modules built by {toolchain}; \
             {details}</sub>"
        )
    }
}

fn file(root: &Path, command: &str) -> PathBuf {
    let (folder, name) = command.split_once(' ').unwrap_or(("robustness", command));
    root.join("docs").join(folder).join(name).with_extension("toml")
}

/// The middle of some samples, and how far they are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// The ends of the middle half.
    pub half: [f64; 2],
    /// The smallest and the largest sample.
    pub ends: [f64; 2],
}

impl Summary {
    /// Summarises at least one sample.
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let last = samples.len() - 1;
        let (low, high) = (samples[last / 2], samples[samples.len() / 2]);
        Self {
            median: f64::midpoint(low, high),
            half: [samples[last / 4], samples[last - last / 4]],
            ends: [samples[0], samples[last]],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_median_and_the_middle_half() {
        let summary = Summary::of(vec![9.0, 1.0, 2.0]);
        assert_eq!(summary, Summary { median: 2.0, half: [1.0, 9.0], ends: [1.0, 9.0] });
        let summary = Summary::of((1..=9).map(f64::from).collect());
        assert_eq!((summary.half, summary.median), ([3.0, 7.0], 5.0));
        assert!((Summary::of(vec![4.0, 1.0]).median - 2.5).abs() < f64::EPSILON);
    }
}
