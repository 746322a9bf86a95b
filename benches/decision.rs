//! The native decision path on realistic values, beside the plain plugin's way.
//!
//! Both start from what an SDK hands over, the value's bytes or nothing: ours makes an image of them
//! and compares words; the plain way makes a `String` of a copy and compares that.

use std::hint::black_box;

use criterion::{
    AxisScale, BenchmarkId, Criterion, PlotConfiguration, criterion_group, criterion_main,
};
use header_gate::decision::Value;

#[macro_use]
#[path = "../src/unroll.rs"]
mod unroll;

/// Two accepted values, as while a key is rotated.
mod policy {
    pub const VALUES: [&[u8]; 2] =
        [b"3f1c9a52-7d0e-4b86-9c55-8e2f60a1d7b4", b"b8e47d16-02fa-4c39-a1d8-57c90e6b3f2a"];
}

/// The decision core with that policy.
#[allow(dead_code, unused_imports)]
#[path = "../src/decision.rs"]
mod rotation;

fn ours(value: Option<&[u8]>) -> bool {
    value.is_some_and(|value| Value::of(value).is_accepted())
}

fn ours_rotating(value: Option<&[u8]>) -> bool {
    value.is_some_and(|value| rotation::Value::of(value).is_accepted())
}

fn plain(value: Option<&[u8]>, accepted: &[&[u8]]) -> bool {
    let value = value.map(|value| String::from_utf8(value.to_vec()).expect("UTF-8"));
    value.is_some_and(|value| accepted.contains(&value.as_bytes()))
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
    // One chart: the plain way's 64 KB copy would leave nothing of the rest on a linear axis.
    let logarithmic = PlotConfiguration::default().summary_scale(AxisScale::Logarithmic);
    let mut group = criterion.benchmark_group("decision");
    group.plot_config(logarithmic);
    for (name, value) in values {
        group.bench_with_input(BenchmarkId::new("ours", name), &value, |b, value| {
            b.iter(|| ours(black_box(*value)));
        });
        group.bench_with_input(BenchmarkId::new("plain", name), &value, |b, value| {
            b.iter(|| plain(black_box(*value), &[b"true"]));
        });
    }
    group.finish();

    let [old, new] = policy::VALUES;
    let last_byte_off = [&new[..new.len() - 1], b"X"].concat();
    let mut group = criterion.benchmark_group("decision of two values");
    for (name, value) in [("first", old), ("second", new), ("last byte off", &last_byte_off)] {
        group.bench_with_input(BenchmarkId::new("ours", name), value, |b, value| {
            b.iter(|| ours_rotating(black_box(Some(value))));
        });
        group.bench_with_input(BenchmarkId::new("plain", name), value, |b, value| {
            b.iter(|| plain(black_box(Some(value)), &policy::VALUES));
        });
    }
    group.finish();
}

criterion_group!(benches, decision);
criterion_main!(benches);
