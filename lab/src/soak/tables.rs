//! The tables and the picture of a soak, and how memory grew in it.

use anyhow::{Result, ensure};

use crate::chart;
use crate::filter::{NO_FILTER, OURS};
use crate::samples::Samples;
use crate::table::{markdown, thousands};

/// The groups of samples: requests by answer and kind; counts; memory over the requests.
pub const SENT: &str = "sent";
pub const COUNTED: &str = "counted";
pub const MEMORY: &str = "memory";
pub const REQUESTS_KEY: &str = "requests";
pub const RESIDENT: &str = "resident KiB";
/// The warm-up is the first third, and at least so many requests.
pub const WARM_UP: u64 = 200_000;

/// What was sent, and how it was answered.
pub fn sent(samples: &Samples) -> Result<String> {
    let mut rows = Vec::new();
    for (answer, kinds) in samples.rows(SENT)? {
        for (kind, count) in kinds {
            rows.push(vec![kind.clone(), answer.clone(), thousands(count.iter().sum())]);
        }
    }
    Ok(markdown(&["what was sent", "answer", "requests"], rows))
}

/// What the client and Envoy counted.
pub fn counted(samples: &Samples) -> Result<String> {
    samples.counts(COUNTED, "counted")
}

/// Resident memory after the warm-up.
pub fn memory(samples: &Samples) -> Result<String> {
    let growth = |filter| Growth::of(&points(samples, filter)?);
    let (ours, none) = (growth(OURS)?, growth(NO_FILTER)?);
    let row = |name: &str, of: fn(&Growth) -> f64| {
        vec![name.to_owned(), thousands(of(&ours)), thousands(of(&none))]
    };
    let rows = [
        row("least after the warm-up", |growth| growth.least),
        row("most after the warm-up", |growth| growth.most),
        row("increase over the warm-up maximum", |growth| growth.increase),
        row("growth per million requests after the warm-up", |growth| growth.slope),
    ];
    Ok(markdown(&["resident KiB", OURS, NO_FILTER], rows))
}

/// Resident memory over the requests.
pub fn picture(samples: &Samples) -> Result<String> {
    let (ours, none) = (points(samples, OURS)?, points(samples, NO_FILTER)?);
    let warm_up = warm_up(&ours);
    let mib = |points: Vec<(f64, f64)>| points.into_iter().map(|(x, y)| (x, y / 1024.0)).collect();
    let title = "Resident memory of an Envoy with two workers (MiB)";
    chart::lines(title, [(OURS, mib(ours)), (NO_FILTER, mib(none))], warm_up)
}

/// Requests so far, and resident memory in KiB.
pub fn points(samples: &Samples, filter: &str) -> Result<Vec<(f64, f64)>> {
    let list = |key| samples.get([MEMORY, filter, key]);
    Ok(list(REQUESTS_KEY)?.iter().copied().zip(list(RESIDENT)?.iter().copied()).collect())
}

/// The number of requests that ends the warm-up.
fn warm_up(points: &[(f64, f64)]) -> f64 {
    points.last().map_or(0.0, |last| last.0 / 3.0).max(WARM_UP as f64)
}

/// How memory grows after the warm-up, in KiB.
pub struct Growth {
    least: f64,
    most: f64,
    /// Increase over the warm-up maximum.
    pub increase: f64,
    /// Growth per million requests, by least squares.
    slope: f64,
}

impl Growth {
    /// How memory grows in `points`.
    pub fn of(points: &[(f64, f64)]) -> Result<Self> {
        let warm_up = warm_up(points);
        let (before, after) = points.split_at(points.partition_point(|point| point.0 <= warm_up));
        ensure!(!before.is_empty() && after.len() > 1, "too few samples of memory");
        let most = |of: &[(f64, f64)]| of.iter().map(|p| p.1).fold(0.0, f64::max);
        let mean =
            |of: fn(&(f64, f64)) -> f64| after.iter().map(of).sum::<f64>() / after.len() as f64;
        let (x, y) = (mean(|p| p.0), mean(|p| p.1));
        let both: f64 = after.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
        let square: f64 = after.iter().map(|p| (p.0 - x).powi(2)).sum();
        Ok(Self {
            least: after.iter().map(|p| p.1).fold(f64::INFINITY, f64::min),
            most: most(after),
            increase: most(after) - most(before),
            slope: both / square * 1e6,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_ignores_the_warm_up() {
        let growth = |resident: &[f64]| {
            let every = |(i, &y)| (f64::from(i) * 100_000.0, y);
            Growth::of(&(1_u32..).zip(resident).map(every).collect::<Vec<_>>())
        };
        let flat = growth(&[1.0, 70.0, 60.0, 70.0, 60.0, 65.0]).unwrap();
        assert_eq!([flat.least, flat.most, flat.increase], [60.0, 70.0, 0.0]);
        let leak = growth(&[1.0, 10.0, 20.0, 30.0, 40.0, 50.0]).unwrap();
        assert_eq!([leak.increase, leak.slope.round()], [40.0, 100.0]);
        assert!(growth(&[1.0, 2.0]).is_err());
    }
}
