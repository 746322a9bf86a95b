//! The tables and the picture of `docs/cost.md`.

use anyhow::Result;

use super::instructions::{FILTERS, FRONTS, groups, guest};
use super::{load, workers};
use crate::chart::{self, Bar};
use crate::filter::{
    API_KEY, BASELINE, EMPTY, FLOOR, LOG, LUA, NATIVE, NO_FILTER, NO_MODULES, OURS, PATHS, RBAC,
    SDK,
};
use crate::samples::{Samples, median, spread};
use crate::table::{markdown, thousands};

/// The filters that are compared, with the group of samples of each.
const COMPARED: [(&str, &str); 10] = [
    (FILTERS, API_KEY),
    (FILTERS, NATIVE),
    (FILTERS, RBAC),
    (FILTERS, LUA),
    (FILTERS, EMPTY),
    (FILTERS, FLOOR),
    (FILTERS, OURS),
    (FRONTS, LOG),
    (FRONTS, SDK),
    (FILTERS, BASELINE),
];

/// Instructions that a filter adds to a request.
pub fn added(samples: &Samples, group: &str, filter: &str, request: &str) -> Result<Vec<f64>> {
    let (own, none) = ([group, filter, request], [group, NO_FILTER, request]);
    samples.pairs(own, none, |own, none| own - none)
}

/// A filter's instructions in code that V8 made.
pub fn in_guest(samples: &Samples, group: &str, filter: &str, request: &str) -> Result<f64> {
    Ok(median(samples.get([&guest(group), filter, request])?.to_vec()))
}

/// What each filter adds to a request on each path.
pub fn filters(samples: &Samples) -> Result<String> {
    let [allow, wrong, missing] = PATHS;
    let head =
        ["instructions added", allow, wrong, missing, "in the module: allow", wrong, missing];
    let mut rows = Vec::new();
    for (group, filter) in COMPARED {
        let name = if filter == OURS { format!("**{filter}**") } else { filter.to_owned() };
        let mut row = vec![name];
        for path in PATHS {
            row.push(spread(added(samples, group, filter, path)?, thousands));
        }
        for path in PATHS {
            let own = thousands(in_guest(samples, group, filter, path)?);
            row.push(if NO_MODULES.contains(&filter) { String::new() } else { own });
        }
        rows.push(row);
    }
    Ok(markdown(&head, rows))
}

/// A row for each filter of the command: what it adds on each path.
pub fn rows(samples: &Samples) -> Result<String> {
    let [allow, wrong, missing] = PATHS;
    let (mut names, mut rows) = (vec![NO_FILTER], Vec::new());
    for (group, filters) in groups(samples.command()) {
        for filter in filters {
            // The plugin is in several groups.
            if names.contains(&filter) {
                continue;
            }
            names.push(filter);
            let added = |path| Ok(spread(added(samples, &group, filter, path)?, thousands));
            let cells: Result<Vec<_>> = PATHS.into_iter().map(added).collect();
            rows.push([vec![filter.to_owned()], cells?].concat());
        }
    }
    Ok(markdown(&["instructions added", allow, wrong, missing], rows))
}

/// The highest ratio that the documents claim, of what the plugin adds to what another filter adds.
pub const CLAIMS: [(&str, f64); 2] = [(FLOOR, 1.01), (BASELINE, 0.62)];

/// What the plugin adds in relation to what another filter adds, from samples taken side by side.
pub fn ratio(samples: &Samples, other: &str, path: &str) -> Result<f64> {
    let add = |filter| added(samples, FILTERS, filter, path);
    Ok(median(add(OURS)?.into_iter().zip(add(other)?).map(|(own, other)| own / other).collect()))
}

/// Memory and start-up time with many workers.
pub fn workers(samples: &Samples) -> Result<String> {
    let head = [
        "filter",
        "resident MiB",
        "added MiB",
        "added KiB per worker",
        "start-up time, relative to no filter",
    ];
    let mut rows = Vec::new();
    for filter in workers::FILTERS {
        let places = |key| [filter, NO_FILTER].map(|name| [workers::GROUP, name, key]);
        let [own, none] = places(workers::RSS);
        let resident = samples.get(own)?.iter().map(|kib| kib / 1024.0).collect();
        let added = median(samples.pairs(own, none, |own, none| own - none)?);
        let [own, none] = places(workers::READY);
        rows.push(vec![
            filter.to_owned(),
            spread(resident, |mib| format!("{mib:.1}")),
            format!("{:.1}", added / 1024.0),
            thousands(added / f64::from(workers::WORKERS)),
            spread(samples.pairs(own, none, |own, none| own / none)?, |ratio| {
                format!("{ratio:.2}")
            }),
        ]);
    }
    Ok(markdown(&head, rows))
}

/// Rates and latencies relative to no filter.
pub fn load(samples: &Samples) -> Result<String> {
    let head = ["filter", "request", "requests per second", "p50", "p99"];
    let mut rows = Vec::new();
    for path in PATHS {
        for filter in load::FILTERS {
            let mut row = vec![filter.to_owned(), path.to_owned()];
            for key in load::KEYS {
                let (key, beside) = (format!("{path}, {key}"), load::beside(filter));
                let [own, none] = [filter, &beside].map(|row| [load::GROUP, row, &key]);
                let ratios = samples.pairs(own, none, |own, none| own / none)?;
                row.push(spread(ratios, |ratio| format!("{ratio:.2}")));
            }
            rows.push(row);
        }
    }
    Ok(markdown(&head, rows))
}

/// The picture of what each filter adds.
pub fn picture(samples: &Samples) -> Result<String> {
    let mut bars: Vec<Bar> = Vec::new();
    for path in PATHS {
        bars.push((path.to_owned(), Vec::new()));
        let empty = median(added(samples, FILTERS, EMPTY, path)?);
        for (group, filter) in COMPARED.into_iter().filter(|(_, filter)| *filter != EMPTY) {
            let all = median(added(samples, group, filter, path)?);
            let own = in_guest(samples, group, filter, path)?;
            let native = NO_MODULES.contains(&filter);
            let parts =
                if native { vec![0.0, 0.0, 0.0, all] } else { vec![empty, all - empty - own, own] };
            bars.push((filter.to_owned(), parts));
        }
    }
    let series =
        ["Envoy, for any module", "Envoy, for this module's calls", "the module", "no module"];
    chart::bars("Instructions that a filter adds to a request in Envoy", &series, &bars, OURS)
}
