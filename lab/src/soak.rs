//! `lab soak`: millions of random requests and hostile ends of connections in one Envoy; every answer
//! is checked and counted.

mod client;

use std::path::Path;
use std::slice;

use anyhow::{Context, Result, ensure};
use header_gate_envoy::{Envoy, Options as EnvoyOptions, until, virtual_machines};

use crate::filter::{self, CONFIG_COUNT, COUNT, NATIVE_COUNT, NO_FILTER, OURS};
use crate::samples::Samples;
use crate::table::thousands;
use client::{Client, Counts};

/// What is sent.
pub const REQUESTS: u64 = 3_000_000;
/// What gets them, each in an Envoy of its own.
const NAMES: [&str; 5] = [OURS, COUNT, CONFIG_COUNT, NATIVE_COUNT, NO_FILTER];
/// The gates that count get one in so many.
const SHARE: u64 = 3;
const WORKERS: u32 = 2;
/// The limit in KiB on the increase over the warm-up maximum. Envoy's allocator takes some memory in
/// steps at any time, with and without a filter. Eight bytes that each request left behind would be
/// 15,625 KiB in the committed run.
const MAX_INCREASE: f64 = 4096.0;
/// Envoy's count of all virtual machines that were ever created.
const CREATED: &str = "wasm.envoy.wasm.runtime.v8.created";
/// The groups of samples, which are also the headings of their tables.
pub const COUNTED: &str = "counted";
pub const MEMORY: &str = "most resident KiB";

/// Sends that many requests to `plugin`, or to the plugin that is built.
pub fn soak(root: &Path, plugin: Option<&Path>, requests: u64) -> Result<Samples> {
    let policy = filter::policy(root)?;
    let details = format!("{WORKERS} workers, {} requests", thousands(requests as f64));
    let mut samples = Samples::new(root, "soak", details)?;
    for filter in filter::all(root, &NAMES, plugin)? {
        eprintln!("lab: soak, {}", filter.name);
        let options = EnvoyOptions { concurrency: WORKERS, ..EnvoyOptions::default() };
        let envoy = filter::start(root, slice::from_ref(&filter), &options)?;
        let created = envoy.stat(CREATED)?.unwrap_or_default();
        let gate = filter.name != NO_FILTER;
        let mut client = Client::new(&policy, envoy.port(filter.name)?, gate);
        if let COUNT | NATIVE_COUNT | CONFIG_COUNT = filter.name {
            client.run(&envoy, requests / SHARE)?;
            counters(&mut samples, filter.name, &envoy, &client.counts)?;
            envoy.stop()?;
            continue;
        }
        client.run(&envoy, requests)?;
        if gate {
            count(&mut samples, &envoy, &client.counts, created)?;
        }
        envoy.stop()?;
        let [before, after] = client.counts.memory;
        samples.push([MEMORY, "during the warm-up", filter.name], before);
        samples.push([MEMORY, "after the warm-up", filter.name], after);
        ensure!(
            filter.name == NO_FILTER || after - before <= MAX_INCREASE,
            "memory is {} KiB above the warm-up maximum, more than {MAX_INCREASE}",
            after - before
        );
    }
    Ok(samples)
}

/// Checks the gate's own counters against what the client has counted, and stores both.
fn counters(samples: &mut Samples, name: &str, envoy: &Envoy, client: &Counts) -> Result<()> {
    let front = if name == NATIVE_COUNT { "dynamicmodulescustom" } else { "wasmcustom" };
    for (counter, own) in [("allowed", client.passed), ("denied", client.denied)] {
        let stat = || envoy.stat(&format!("{front}.header_gate.{counter}"));
        until(|| Ok((stat()? == Some(own)).then_some(()))).with_context(|| {
            format!("{name}: {counter}: the client counts {own}, the gate {:?}", stat().ok())
        })?;
        let row = format!("{name}: `header_gate.{counter}`");
        samples.push([COUNTED, &row, "by the client"], own);
        samples.push([COUNTED, &row, "by Envoy"], own);
    }
    Ok(())
}

/// Checks Envoy's counts against those of the client, and stores both.
fn count(samples: &mut Samples, envoy: &Envoy, client: &Counts, created: f64) -> Result<()> {
    let stat = |key: &str| envoy.stat(key)?.with_context(|| format!("Envoy has no {key}"));
    let http = |name: &str| stat(&format!("http.{OURS}.downstream_{name}"));
    until(|| Ok((http("cx_active")? == 0.0).then_some(())))
        .context("Envoy keeps connections that are closed")?;
    for worker in 0..WORKERS {
        let connections = format!("listener.{OURS}.worker_{worker}.downstream_cx_total");
        ensure!(stat(&connections)? > 0.0, "worker {worker} had no connection");
    }
    for (name, own, envoys) in [
        ("passed (2xx)", client.passed, http("rq_2xx")?),
        ("denied or refused (4xx)", client.refused, http("rq_4xx")?),
        ("failed (5xx)", 0.0, http("rq_5xx")?),
        ("requests begun", client.passed + client.refused + client.incomplete, http("rq_total")?),
        ("connections", client.connections, http("cx_total")?),
        (
            "virtual machines",
            virtual_machines(WORKERS.into()) as f64,
            envoy.virtual_machines()? as f64,
        ),
        ("virtual machines ever created", created, stat(CREATED)?),
    ] {
        ensure!(own == envoys, "{name}: Envoy counts {envoys}, the client {own}");
        samples.push([COUNTED, name, "by the client"], own);
        samples.push([COUNTED, name, "by Envoy"], envoys);
    }
    Ok(())
}
