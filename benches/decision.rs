//! The native decision path on realistic values, beside the SDK baseline's way.
//!
//! Both start from the bytes that an SDK hands over, or nothing. Ours makes an image of them and compares
//! words; the baseline copies them to a `String` and compares that.

use std::hint::black_box;

use criterion::{
    AxisScale, BenchmarkId, Criterion, PlotConfiguration, criterion_group, criterion_main,
};
use header_gate::RULE;
use header_gate::decision::{Rule, Value};

/// Two accepted values, as while a key is rotated: 36 bytes and a size are five words.
const KEYS: [&[u8]; 2] =
    [b"3f1c9a52-7d0e-4b86-9c55-8e2f60a1d7b4", b"b8e47d16-02fa-4c39-a1d8-57c90e6b3f2a"];
static ROTATION: Rule<5, 2> = Rule::new(&KEYS);

fn ours<const WORDS: usize, const N: usize>(rule: &Rule<WORDS, N>, value: Option<&[u8]>) -> bool {
    value.is_some_and(|value| rule.accepts(&Value::of(value)))
}

fn baseline(accepted: &[&[u8]], value: Option<&[u8]>) -> bool {
    let value = value.map(|value| String::from_utf8(value.to_vec()).expect("UTF-8"));
    value.is_some_and(|value| accepted.contains(&value.as_bytes()))
}

fn group<const WORDS: usize, const N: usize>(
    criterion: &mut Criterion,
    (name, rule, accepted): (&str, &Rule<WORDS, N>, &[&[u8]]),
    values: &[(&str, Option<&[u8]>)],
) {
    let mut group = criterion.benchmark_group(name);
    // One chart: on a linear axis, the baseline's copy of 64 KB would hide the rest.
    group.plot_config(PlotConfiguration::default().summary_scale(AxisScale::Logarithmic));
    for &(name, value) in values {
        group.bench_function(BenchmarkId::new("ours", name), |b| {
            b.iter(|| ours(rule, black_box(value)));
        });
        group.bench_function(BenchmarkId::new("baseline", name), |b| {
            b.iter(|| baseline(accepted, black_box(value)));
        });
    }
    group.finish();
}

fn decision(criterion: &mut Criterion) {
    let long = vec![b't'; 64 * 1024];
    let values: [(&str, Option<&[u8]>); 7] = [
        ("match", Some(b"true")),
        ("first byte off", Some(b"Xrue")),
        ("last byte off", Some(b"truX")),
        ("shorter", Some(b"tru")),
        ("longer", Some(b"truest")),
        ("64 KB", Some(&long)),
        ("missing", None),
    ];
    group(criterion, ("decision", &RULE, &[b"true"]), &values);
    let other = [&KEYS[1][1..], b"X"].concat();
    let values = [("first", KEYS[0]), ("second", KEYS[1]), ("another", &other)];
    let values = values.map(|(name, value)| (name, Some(value)));
    group(criterion, ("decision of two values", &ROTATION, &KEYS), &values);
}

criterion_group!(benches, decision);
criterion_main!(benches);
