//! The finished modules in wasmtime, with one minimal host: a request on each path, and the start of a
//! VM.

use std::path::Path;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_host::Plugin;

fn modules(criterion: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let plugins: Vec<(String, Plugin)> = [Variant::default(), Variant::sdk(), Variant::baseline()]
        .iter()
        .map(|variant| {
            let wasm = std::fs::read(build::artifact(root, variant).unwrap()).unwrap();
            // Counting fuel would cost more than the module.
            (variant.name(), Plugin::without_fuel(&wasm).unwrap())
        })
        .collect();

    for (path, value) in
        [("allow", Some(&b"true"[..])), ("wrong value", Some(b"nope")), ("missing", None)]
    {
        let mut group = criterion.benchmark_group(path);
        for (name, plugin) in &plugins {
            let mut vm = plugin.start().unwrap();
            group.bench_function(name, |b| b.iter(|| vm.request(value).unwrap()));
        }
        group.finish();
    }

    let mut group = criterion.benchmark_group("start");
    for (name, plugin) in &plugins {
        group.bench_function(name, |b| {
            b.iter_batched(|| (), |()| plugin.start().unwrap(), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, modules);
criterion_main!(benches);
