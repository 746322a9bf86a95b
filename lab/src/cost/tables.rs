//! The tables of `docs/cost.md`, in Markdown, each from the data of one command.

use std::fmt::Write as _;

use anyhow::Result;

use super::instructions::{FILTERS, FRONTS, LOGGING, NO_PAIRS, POLICIES, REQUESTS, VALUES};
use super::load::{P50, P99, RATE};
use super::workers::{PSS, READY, RSS, WORKERS};
use crate::chart::thousands;
use crate::data::{Data, Summary, paired};
use crate::filter::{BASELINE, BEHIND, EMPTY, FLOOR, LOG, LUA, NO_FILTER, OURS, RBAC, SDK};

/// The three paths, as the data name them.
pub const PATHS: [&str; 3] = ["allow", "wrong value", "no header"];
/// The filters of the first table, each with the setup that it ran in.
pub const COMPARED: [(&str, &str); 11] = [
    (FILTERS, EMPTY),
    (FILTERS, RBAC),
    (FILTERS, LUA),
    (FILTERS, FLOOR),
    (FILTERS, OURS),
    (FRONTS, OURS),
    (FRONTS, LOG),
    (LOGGING, LOG),
    (FRONTS, SDK),
    (FILTERS, BASELINE),
    (LOGGING, BASELINE),
];

/// The name of a filter in a setup.
pub fn label(setup: &str, filter: &str) -> String {
    match setup {
        LOGGING => format!("{filter}, lines written"),
        FRONTS if filter == OURS => format!("{filter} (again, beside its other fronts)"),
        _ => filter.to_owned(),
    }
}

/// Instructions that a filter adds to a request, sample by sample.
pub fn added(data: &Data, setup: &str, filter: &str, request: &str) -> Result<Vec<f64>> {
    let (own, none) = (data.get([setup, filter, request])?, data.get([setup, NO_FILTER, request])?);
    paired(&own, &none, |own, none| own - none)
}

/// The median of what a filter adds.
pub fn median(data: &Data, setup: &str, filter: &str, request: &str) -> Result<f64> {
    Ok(Summary::of(added(data, setup, filter, request)?).median)
}

/// The median of a module's own instructions.
pub fn guest(data: &Data, setup: &str, filter: &str, request: &str) -> Result<f64> {
    Ok(Summary::of(data.get([&format!("{setup} guest"), filter, request])?).median)
}

/// What each filter adds on each path, and how that compares.
pub fn filters(data: &Data) -> Result<String> {
    let mut text = String::new();
    for path in PATHS {
        let of = |filter| median(data, FILTERS, filter, path);
        let (floor, baseline) = (of(FLOOR)?, of(BASELINE)?);
        let _ = writeln!(
            text,
            "**{path}**\n\n| filter | added | least to most | of the floor | of the plain plugin | \
             in code of the module |\n|---|---:|---:|---:|---:|---:|"
        );
        for (setup, filter) in COMPARED {
            let summary = Summary::of(added(data, setup, filter, path)?);
            let own = guest(data, setup, filter, path)?;
            let own = if [RBAC, LUA].contains(&filter) { String::new() } else { thousands(own) };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.2} | {:.2} | {own} |",
                label(setup, filter),
                thousands(summary.median),
                spread(summary, thousands),
                summary.median / floor,
                summary.median / baseline,
            );
        }
        text.push('\n');
    }
    close(text, data)
}

/// The default build to the floor and to the plain plugin, from samples taken side by side.
pub fn ratios(data: &Data) -> Result<String> {
    let mut text = String::from(
        "| header-gate adds | to the floor | least to most | to the plain plugin | least to most |\n\
         |---|---:|---:|---:|---:|\n",
    );
    for path in PATHS {
        let [floor, baseline] = [FLOOR, BASELINE].map(|other| ratio(data, other, path));
        let (floor, baseline) = (floor?, baseline?);
        let _ = writeln!(
            text,
            "| {path} | {:.3} | {} | {:.3} | {} |",
            floor.median,
            spread(floor, three),
            baseline.median,
            spread(baseline, three),
        );
    }
    close(text, data)
}

/// What the default build adds, as a part of what another filter adds.
pub fn ratio(data: &Data, other: &str, path: &str) -> Result<Summary> {
    let own = added(data, FILTERS, OURS, path)?;
    let other = added(data, FILTERS, other, path)?;
    Ok(Summary::of(paired(&own, &other, |own, other| own / other)?))
}

/// What grows with a request.
pub fn requests(data: &Data) -> Result<String> {
    let mut text = format!(
        "| request | no filter, in all | {OURS} adds | {FLOOR} | {BASELINE} | {RBAC} | \
         {OURS} adds behind it |\n|---|---:|---:|---:|---:|---:|---:|\n"
    );
    for request in data.keys([REQUESTS, NO_FILTER])? {
        let all = Summary::of(data.get([REQUESTS, NO_FILTER, &request])?).median;
        let _ = write!(text, "| {request} | {} |", thousands(all));
        for filter in [OURS, FLOOR, BASELINE, RBAC] {
            let _ = write!(text, " {} |", thousands(median(data, REQUESTS, filter, &request)?));
        }
        // What the first filter denies never gets to the second.
        let behind = if request.starts_with(PATHS[0]) {
            let [both, first] = [BEHIND, RBAC].map(|filter| data.get([REQUESTS, filter, &request]));
            let second = paired(&both?, &first?, |both, first| both - first)?;
            thousands(Summary::of(second).median)
        } else {
            String::new()
        };
        let _ = writeln!(text, " {behind} |");
    }
    close(text, data)
}

/// What grows with a policy, and what a header pair costs.
pub fn policies(data: &Data) -> Result<String> {
    let mut text = String::from(
        "| policy | allow | wrong value | no header | of a wrong value, in code of the module |\n\
         |---|---:|---:|---:|---:|\n",
    );
    for name in VALUES.iter().map(|(_, name)| *name).chain([NO_PAIRS]) {
        let _ = write!(text, "| {name} |");
        for path in PATHS {
            let summary = Summary::of(added(data, POLICIES, name, path)?);
            let (median, spread) = (thousands(summary.median), spread(summary, thousands));
            let _ = write!(text, " {median} ({spread}) |");
        }
        let _ = writeln!(text, " {} |", thousands(guest(data, POLICIES, name, PATHS[1])?));
    }
    text += "| the pair costs |";
    for path in PATHS {
        let with = data.get([POLICIES, VALUES[0].1, path])?;
        let without = data.get([POLICIES, NO_PAIRS, path])?;
        let pair = Summary::of(paired(&with, &without, |with, without| with - without)?);
        let _ = write!(text, " {} ({}) |", thousands(pair.median), spread(pair, thousands));
    }
    text += " |\n";
    close(text, data)
}

/// Memory and time to ready.
pub fn workers(data: &Data) -> Result<String> {
    let mut text = String::from(
        "| filter | resident MiB | least to most | added MiB | added KiB a worker | \
         added MiB, proportional | time to ready, of no filter | least to most |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let get = |filter, key| data.get(["workers", filter, key]);
    for filter in [NO_FILTER, EMPTY, FLOOR, OURS, BASELINE] {
        let resident: Vec<_> = get(filter, RSS)?.iter().map(|kib| kib / 1024.0).collect();
        let resident = Summary::of(resident);
        let more = Summary::of(more(data, filter, RSS)?).median;
        let proportional = Summary::of(self::more(data, filter, PSS)?).median;
        let ready = paired(&get(filter, READY)?, &get(NO_FILTER, READY)?, |own, none| own / none)?;
        let ready = Summary::of(ready);
        let _ = writeln!(
            text,
            "| {filter} | {:.1} | {} | {:.1} | {} | {:.1} | {:.2} | {} |",
            resident.median,
            spread(resident, one),
            more / 1024.0,
            thousands(more / f64::from(WORKERS)),
            proportional / 1024.0,
            ready.median,
            spread(ready, two),
        );
    }
    close(text, data)
}

/// Memory in KiB that a filter adds, start by start.
pub fn more(data: &Data, filter: &str, key: &str) -> Result<Vec<f64>> {
    let (own, none) = (data.get(["workers", filter, key])?, data.get(["workers", NO_FILTER, key])?);
    paired(&own, &none, |own, none| own - none)
}

/// Rates and latencies as parts of those without a filter, with the middle half of the samples: what is
/// timed has outliers.
pub fn load(data: &Data) -> Result<String> {
    let mut text = String::from(
        "| filter | request | requests per second | middle half | p50 | middle half | p99 | \
         middle half |\n|---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for path in PATHS {
        for filter in [EMPTY, RBAC, LUA, FLOOR, OURS, LOG, SDK, BASELINE] {
            let _ = write!(text, "| {filter} | {path} |");
            for key in [RATE, P50, P99] {
                let key = format!("{path}, {key}");
                let own = data.get(["load", filter, &key])?;
                let none = data.get(["load", &format!("{NO_FILTER} beside {filter}"), &key])?;
                let ratio = Summary::of(paired(&own, &none, |own, none| own / none)?);
                let [low, high] = ratio.half;
                let _ = write!(text, " {:.2} | {low:.2} to {high:.2} |", ratio.median);
            }
            text.push('\n');
        }
    }
    close(text, data)
}

fn spread(summary: Summary, format: fn(f64) -> String) -> String {
    format!("{} to {}", format(summary.least), format(summary.most))
}

fn one(number: f64) -> String {
    format!("{number:.1}")
}

fn two(number: f64) -> String {
    format!("{number:.2}")
}

fn three(number: f64) -> String {
    format!("{number:.3}")
}

/// The table, and below it how its data came about.
fn close(table: String, data: &Data) -> Result<String> {
    Ok(format!("{}\n\n<sub>{}</sub>", table.trim_end(), data.about()?))
}
