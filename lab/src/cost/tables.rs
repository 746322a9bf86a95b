//! The tables and pictures of `docs/cost.md`.

use anyhow::Result;

use super::instructions::{FILTERS, FRONTS, LOGGING, REQUESTS, guest};
use super::{load, workers};
use crate::chart::{self, Bar};
use crate::filter::{BASELINE, BEHIND, EMPTY, FLOOR, LOG, LUA, NO_FILTER, OURS, PATHS, RBAC, SDK};
use crate::samples::{Samples, Summary};
use crate::table::{markdown, thousands};

/// The filters that are compared, with the group of samples of each.
const COMPARED: [(&str, &str); 10] = [
    (FILTERS, EMPTY),
    (FILTERS, RBAC),
    (FILTERS, LUA),
    (FILTERS, FLOOR),
    (FILTERS, OURS),
    (FRONTS, LOG),
    (LOGGING, LOG),
    (FRONTS, SDK),
    (FILTERS, BASELINE),
    (LOGGING, BASELINE),
];

/// Instructions that a filter adds to a request.
pub fn added(samples: &Samples, group: &str, filter: &str, request: &str) -> Result<Summary> {
    let (own, none) = ([group, filter, request], [group, NO_FILTER, request]);
    Ok(Summary::of(samples.pairs(own, none, |own, none| own - none)?))
}

/// A filter's instructions in code that V8 made.
fn in_guest(samples: &Samples, group: &str, filter: &str, request: &str) -> Result<f64> {
    Ok(Summary::of(samples.get([&guest(group), filter, request])?.to_vec()).median)
}

/// The median, and the smallest and largest sample.
fn spread(Summary { median, ends, .. }: Summary, format: fn(f64) -> String) -> String {
    format!("{} ({} to {})", format(median), format(ends[0]), format(ends[1]))
}

/// The median and the middle half: times have outliers.
fn middle(Summary { median, half, .. }: Summary) -> String {
    format!("{median:.2} ({:.2} to {:.2})", half[0], half[1])
}

/// What each filter adds to a request on each path.
pub fn filters(samples: &Samples) -> Result<String> {
    let head = [
        "instructions added",
        PATHS[0],
        PATHS[1],
        PATHS[2],
        "in the module: allow",
        PATHS[1],
        PATHS[2],
    ];
    let mut rows = Vec::new();
    for (group, filter) in COMPARED {
        let mut row = vec![match (group, filter) {
            (LOGGING, _) => format!("{filter}, lines written"),
            (_, OURS) => format!("**{filter}**"),
            _ => filter.to_owned(),
        }];
        for path in PATHS {
            row.push(spread(added(samples, group, filter, path)?, thousands));
        }
        for path in PATHS {
            let own = in_guest(samples, group, filter, path)?;
            row.push(if [RBAC, LUA].contains(&filter) { String::new() } else { thousands(own) });
        }
        rows.push(row);
    }
    Ok(markdown(&head, rows))
}

/// The highest ratio that the documents claim, of what the plugin adds to what another filter adds.
pub const CLAIMS: [(&str, f64); 2] = [(FLOOR, 1.01), (BASELINE, 0.62)];

/// What the plugin adds in relation to what another filter adds, from samples taken side by side.
pub fn ratio(samples: &Samples, other: &str, path: &str) -> Result<Summary> {
    let add = |filter| {
        samples.pairs([FILTERS, filter, path], [FILTERS, NO_FILTER, path], |own, none| own - none)
    };
    let ratios = add(OURS)?.into_iter().zip(add(other)?).map(|(own, other)| own / other);
    Ok(Summary::of(ratios.collect()))
}

/// The plugin in relation to the floor, the SDK baseline and Envoy's own filters.
pub fn ratios(samples: &Samples) -> Result<String> {
    let others = [FLOOR, BASELINE, RBAC, LUA];
    let head = ["header-gate adds, relative to", others[0], others[1], others[2], others[3]];
    let mut rows = Vec::new();
    for path in PATHS {
        let mut row = vec![path.to_owned()];
        for other in others {
            row.push(spread(ratio(samples, other, path)?, |number| format!("{number:.3}")));
        }
        rows.push(row);
    }
    Ok(markdown(&head, rows))
}

/// What larger requests cost.
pub fn requests(samples: &Samples) -> Result<String> {
    let filters = [OURS, FLOOR, BASELINE, RBAC];
    let mut head = vec!["request", "no filter, in all"];
    head.extend(filters);
    head.push("header-gate, behind RBAC");
    let mut rows = Vec::new();
    for (request, all) in &samples.rows(REQUESTS)?[NO_FILTER] {
        let mut row = vec![request.clone(), thousands(Summary::of(all.clone()).median)];
        for filter in filters {
            row.push(thousands(added(samples, REQUESTS, filter, request)?.median));
        }
        // What RBAC denies never reaches the plugin behind it.
        row.push(if request.starts_with(PATHS[0]) {
            let places = [BEHIND, RBAC].map(|filter| [REQUESTS, filter, request.as_str()]);
            let second = samples.pairs(places[0], places[1], |both, first| both - first)?;
            thousands(Summary::of(second).median)
        } else {
            String::new()
        });
        rows.push(row);
    }
    Ok(markdown(&head, rows))
}

/// Memory in KiB that a filter adds to an Envoy.
fn memory(samples: &Samples, filter: &str, key: &str) -> Result<f64> {
    let places = [filter, NO_FILTER].map(|filter| [workers::GROUP, filter, key]);
    Ok(Summary::of(samples.pairs(places[0], places[1], |own, none| own - none)?).median)
}

/// Memory and start-up time with many workers.
pub fn workers(samples: &Samples) -> Result<String> {
    let head = [
        "filter",
        "resident MiB",
        "added MiB",
        "added KiB per worker",
        "added MiB, proportional",
        "start-up time, relative to no filter",
    ];
    let mut rows = Vec::new();
    for filter in workers::FILTERS {
        let get = |key| samples.get([workers::GROUP, filter, key]);
        let resident = get(workers::RSS)?.iter().map(|kib| kib / 1024.0).collect();
        let added = memory(samples, filter, workers::RSS)?;
        let places = [filter, NO_FILTER].map(|name| [workers::GROUP, name, workers::READY]);
        let ready = samples.pairs(places[0], places[1], |own, none| own / none)?;
        rows.push(vec![
            filter.to_owned(),
            spread(Summary::of(resident), |mib| format!("{mib:.1}")),
            format!("{:.1}", added / 1024.0),
            thousands(added / f64::from(workers::WORKERS)),
            format!("{:.1}", memory(samples, filter, workers::PSS)? / 1024.0),
            spread(Summary::of(ready), |ratio| format!("{ratio:.2}")),
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
                let places = [filter, &beside].map(|row| [load::GROUP, row, &key]);
                let ratio = samples.pairs(places[0], places[1], |own, none| own / none)?;
                row.push(middle(Summary::of(ratio)));
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
        let empty = added(samples, FILTERS, EMPTY, path)?.median;
        for (group, filter) in COMPARED {
            if filter == EMPTY || group == LOGGING {
                continue;
            }
            let all = added(samples, group, filter, path)?.median;
            let own = in_guest(samples, group, filter, path)?;
            bars.push((
                filter.to_owned(),
                match filter {
                    RBAC | LUA => vec![0.0, 0.0, 0.0, all],
                    _ => vec![empty, all - empty - own, own],
                },
            ));
        }
    }
    let series =
        ["Envoy, for any module", "Envoy, for this module's calls", "the module", "no module"];
    chart::bars("Instructions that a filter adds to a request in Envoy", &series, &bars, OURS)
}
