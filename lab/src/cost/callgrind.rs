//! Envoy under callgrind: instructions between two points in time, and how many of them V8 made.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use header_gate_envoy::{Envoy, Options};
use header_gate_system::command;
use header_gate_system::install::apt_program;
use header_gate_system::process::Folder;

use crate::filter;

/// Most modules in one Envoy: with more, valgrind runs out of addresses for their memories, and Envoy
/// then lets every request pass.
pub const MODULES: usize = 4;

/// An Envoy with one worker under callgrind, which does not count until it is told to.
pub struct Callgrind {
    pub envoy: Envoy,
    folder: Folder,
    control: PathBuf,
    dumps: u32,
}

/// Instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Of the whole process.
    pub all: u64,
    /// Of code that V8 made at run time: a module's functions, and the entries and exits around them.
    pub guest: u64,
}

pub fn version() -> Result<String> {
    command::ask(Command::new(apt_program("valgrind", "valgrind")?).arg("--version"))
}

impl Callgrind {
    /// Starts `binary` with `config` for the checkout in `root`. Log lines are dropped, as in a gateway that logs warnings only.
    pub fn start(root: &Path, binary: &Path, config: &str) -> Result<Self> {
        let valgrind = apt_program("valgrind", "valgrind")?;
        let control = apt_program("callgrind_control", "valgrind")?;
        let folder = Folder::new().context("no temporary folder for callgrind")?;
        let mut command = filter::command(root, &valgrind)?;
        command
            .args(["--tool=callgrind", "--smc-check=all-non-file", "--instr-atstart=no"])
            .arg(format!("--callgrind-out-file={}", folder.path().join("out").display()))
            .arg(format!("--vgdb-prefix={}", folder.path().join("vgdb").display()))
            .arg(binary);
        let options = Options {
            concurrency: 1,
            component_log_level: "wasm:warning",
            timeout: Duration::from_mins(5),
        };
        let envoy = Envoy::start(command, config, &options)?;
        Ok(Self { envoy, folder, control, dumps: 0 })
    }

    pub fn count(&mut self) -> Result<()> {
        self.control(&["-i", "on"])?;
        self.dump().map(drop)
    }

    /// Instructions since the last call.
    pub fn dump(&mut self) -> Result<Count> {
        self.control(&["-d"])?;
        self.dumps += 1;
        let file = self.folder.path().join(format!("out.{}", self.dumps));
        let dump = fs::read_to_string(&file).context("callgrind has written no dump")?;
        fs::remove_file(&file)?;
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.envoy.pid()))
            .context("the map of Envoy's memory cannot be read")?;
        parse(&dump, &files(&maps))
    }

    fn control(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.control);
        command.arg(format!("--vgdb-prefix={}", self.folder.path().join("vgdb").display()));
        command.args(arguments).arg(self.envoy.pid().to_string());
        let output = command::run(&mut command, Duration::from_mins(1))?;
        self.envoy.check()?;
        ensure!(output.contains("OK."), "callgrind_control {}: {}", arguments[0], output.trim());
        Ok(())
    }
}

/// The addresses that are mapped to files, by /proc/PID/maps.
fn files(maps: &str) -> Vec<Range<u64>> {
    let ranges = maps.lines().filter_map(|line| {
        let mut columns = line.split_whitespace();
        let (start, end) = columns.next()?.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        // The file is the sixth column.
        columns.nth(4).filter(|file| file.starts_with('/'))?;
        Some(hex(start)?..hex(end)?)
    });
    ranges.collect()
}

/// Reads a dump in callgrind's format. Code that has no name is V8's, unless it is in one of `files`:
/// Envoy's allocator has a section without names.
fn parse(dump: &str, files: &[Range<u64>]) -> Result<Count> {
    let mut names = HashMap::new();
    let (mut all, mut guest, mut inclusive) = (0, 0, false);
    let (mut unknown, mut made) = (false, false);
    let mut totals = None;
    for line in dump.lines() {
        if let Some((key, text)) = line.split_once('=') {
            // A name is written once, behind its number: `ob=(2) /bin/envoy`, then `ob=(2)`.
            let (number, name) = text.split_once(' ').unwrap_or((text, ""));
            let kind = key.trim_start_matches('c');
            if !name.is_empty() {
                names.insert((kind, number), name);
            }
            let name = names.get(&(kind, number)).copied().unwrap_or_default();
            match key {
                "ob" => unknown = name == "???",
                "fn" => {
                    let address = name.strip_prefix("0x");
                    let address = address.and_then(|hex| u64::from_str_radix(hex, 16).ok());
                    made = address.is_some_and(|at| !files.iter().any(|file| file.contains(&at)));
                }
                // The next line repeats what the called function took.
                "calls" => inclusive = true,
                _ => {}
            }
        } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
            let cost = line.split(' ').nth(1).unwrap_or("0");
            let cost: u64 = cost.parse().with_context(|| format!("callgrind's line {line:?}"))?;
            if !std::mem::take(&mut inclusive) {
                all += cost;
                guest += if unknown && made { cost } else { 0 };
            }
        } else if let Some(text) = line.strip_prefix("totals: ") {
            totals = text.trim().parse().ok();
        }
    }
    ensure!(totals == Some(all), "callgrind's lines add up to {all}, its totals to {totals:?}");
    Ok(Count { all, guest })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "events: Ir\nob=(2) /bin/envoy\nfl=(1) ???\nfn=(1) main\n0 5\n+2 7\n\
        cob=(1) ???\ncfn=(9) 0x0000200000000010\ncalls=2 0 \n* 40\n\
        ob=(1)\nfn=(9)\n0 30\nfn=(8) 0x0000000000001008\n0 10\nob=(2)\nfn=(1)\n3 1\n\
        totals: 53\n";

    #[test]
    fn code_outside_all_files_is_the_guests() {
        let maps = "00001000-00002000 r-xp 00000000 fe:00 77  /bin/envoy\n\
                    200000000000-200000001000 rwxp 00000000 00:00 0\n";
        assert_eq!(parse(DUMP, &files(maps)).unwrap(), Count { all: 53, guest: 30 });
    }

    #[test]
    fn a_dump_that_does_not_add_up_is_an_error() {
        let error = parse(&DUMP.replace("53", "54"), &[]).unwrap_err().to_string();
        assert!(error.contains("add up to 53"), "{error}");
    }
}
