//! The samples of one measurement: the committed file that holds them, and statistics of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use header_gate_cli::build::variant::Variant;
use header_gate_cli::build::{self, Builder};
use header_gate_envoy::NEWEST;
use header_gate_system::command;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::table::{markdown, thousands};

/// Named lists of samples in rows, in order.
type Rows = IndexMap<String, IndexMap<String, Vec<f64>>>;

/// The samples of a command.
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
    plugin: String,
    details: String,
}

/// Where a list of samples is: group, row and column.
pub type Place<'a> = [&'a str; 3];

impl Samples {
    /// No samples yet of `command`, to be taken on this machine today with these `details`.
    pub fn new(root: &Path, command: &str, details: String) -> Result<Self> {
        let cpus = thread::available_parallelism()?;
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let model = model.map_or("an unknown processor", |(_, name)| name);
        let plugin = build::artifact(root, &Variant::default())?;
        let hash = command::ask(Command::new("sha256sum").arg("--tag").arg(&plugin))?;
        let hash = hash.split_once(" = ").context("sha256sum prints no hash")?.1;
        let about = About {
            command: command.to_owned(),
            date: command::ask(Command::new("date").args(["-u", "+%F"]))?,
            envoy: NEWEST.to_owned(),
            toolchain: Builder::new(root)?.toolchain()?,
            plugin: format!("{} bytes, SHA-256 {hash}", fs::metadata(&plugin)?.len()),
            details: format!("{details}, {cpus} cores of {model}"),
        };
        Ok(Self { about, samples: IndexMap::new() })
    }

    /// Reads the committed samples of `command`.
    pub fn read(root: &Path, command: &str) -> Result<Self> {
        let file = file(root, command);
        let about = || format!("{}: run `cargo lab {command}` to write it", file.display());
        let text = fs::read_to_string(&file).with_context(about)?;
        toml::from_str(&text)
            .map_err(|error| anyhow::anyhow!("{}", error.message().to_owned()))
            .with_context(about)
    }

    /// Writes the file that is committed.
    pub fn write(&self, root: &Path) -> Result<()> {
        let comment = "# Samples in the order in which they were taken. Written by the command \
                       below; `cargo lab draw` makes\n# the tables and pictures in docs/ of them.\n";
        let text = format!("{comment}{}", toml::to_string(self)?);
        build::put(&file(root, self.command()), text.as_bytes())
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

    /// Joins two lists of samples that were taken side by side.
    pub fn pairs(&self, a: Place<'_>, b: Place<'_>, join: fn(f64, f64) -> f64) -> Result<Vec<f64>> {
        let (left, right) = (self.get(a)?, self.get(b)?);
        ensure!(left.len() == right.len(), "{a:?} and {b:?} differ in their number of samples");
        Ok(left.iter().zip(right).map(|(&a, &b)| join(a, b)).collect())
    }

    /// A group of single counts as a table.
    pub fn counts(&self, group: &str) -> Result<String> {
        let rows = self.samples.get(group).with_context(|| format!("no samples of {group:?}"))?;
        let columns = rows.first().into_iter().flat_map(|(_, row)| row.keys());
        let head: Vec<_> = [group].into_iter().chain(columns.map(String::as_str)).collect();
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
        let About { command, date, envoy, toolchain, plugin, details } = &self.about;
        format!(
            "<sub>`cargo lab {command}`; {date}; Envoy {envoy}; modules built by {toolchain}; \
             plugin.wasm: {plugin}; {details}</sub>"
        )
    }
}

fn file(root: &Path, command: &str) -> PathBuf {
    let (folder, name) = command.split_once(' ').unwrap_or(("robustness", command));
    root.join("docs").join(folder).join(name).with_extension("toml")
}

/// The median of at least one sample, and the ends of the middle half.
fn quartiles(mut samples: Vec<f64>) -> [f64; 3] {
    samples.sort_by(f64::total_cmp);
    let last = samples.len() - 1;
    let median = f64::midpoint(samples[last / 2], samples[samples.len() / 2]);
    [median, samples[last / 4], samples[last - last / 4]]
}

/// The median of at least one sample.
pub fn median(samples: Vec<f64>) -> f64 {
    quartiles(samples)[0]
}

/// The median of at least one sample and the middle half, as text.
pub fn spread(samples: Vec<f64>, format: fn(f64) -> String) -> String {
    let [median, low, high] = quartiles(samples).map(format);
    format!("{median} ({low} to {high})")
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn the_spread_of_samples_is_the_middle_half() {
        let text = |samples: &[f64]| spread(samples.to_vec(), |number| number.to_string());
        assert_eq!(text(&[9.0, 1.0, 2.0]), "2 (1 to 9)");
        assert_eq!(text(&[4.0, 1.0]), "2.5 (1 to 4)");
        assert_eq!(text(&[9.0, 2.0, 3.0, 8.0, 5.0, 6.0, 7.0, 4.0, 1.0]), "5 (3 to 7)");
    }
}
