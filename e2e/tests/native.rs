//! The native gate in every Envoy that has its ABI: it answers as the plugin does.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use header_gate_cli::build::variant::Variant;
use header_gate_contract::Library;
use header_gate_e2e::conformance::{conforms, send, table};
use header_gate_e2e::gateway::{GOOD, get, listener, probe, stat};
use header_gate_e2e::native::{VERSIONS, build, start};
use header_gate_e2e::{policies, policy, root, stdout};
use header_gate_envoy::client::{Connection, Response};
use header_gate_envoy::config::{Listener, config, is_upstream};
use header_gate_envoy::{DYNAMIC_MODULES, Envoy, NEWEST, OLDEST, Options, install, raw};
use header_gate_lab::filter::{self, compile};
use header_gate_system::install::apt_program;
use serde_json::json;

/// A policy with fields that Envoy treats in ways of their own.
const ODD: &str = r#"
header = "x-odd"
values = ["odd"]
[deny]
status = 429
headers = [
    ["grpc-status", "5"], ["Set-Cookie", "a=1"], ["set-cookie", "b=2"], ["vary", "a"], ["Vary", "b"],
    ["cache-control", "no-store"], ["cache-control", "private"], ["link", "<a>"], ["link", "<b>"],
    ["x-envoy-ratelimited", "true"],
]
body = "100 % ~ é\u0001\n"
"#;

/// The committed policy's file, then those of `policies/`.
fn files() -> Vec<PathBuf> {
    let all = [Variant::default()].into_iter().chain(policies());
    all.filter_map(|variant| variant.policy_file(root())).collect()
}

#[test]
fn the_conformance_table_holds_in_each_version() {
    let folder = tempfile::tempdir().unwrap();
    // The native floor, which the gate's cost is compared with, has the same rule.
    let floor = compile(root(), "floor").unwrap();
    let file = format!("lib{floor}.so");
    let library = fs::read(filter::folder(root()).unwrap().join(&file)).unwrap();
    Library::inspect(&library).unwrap();
    fs::write(folder.path().join(&file), library).unwrap();
    let names = [build(folder.path(), &root().join("policy.toml"), None), floor];
    let listeners = names.each_ref().map(|name| Listener::new(name).native(name));
    for version in VERSIONS {
        let envoy = start(version, folder.path(), &listeners).unwrap();
        for name in &names {
            conforms(envoy.port(name).unwrap(), &format!("Envoy {version}, {name}"));
        }
    }
}

/// What a client can tell two gates by.
fn seen(mut response: Response) -> Response {
    response.headers.retain(|(name, _)| name != "date");
    response.headers.sort();
    response
}

#[test]
fn every_answer_is_that_of_the_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let table = table();
    let odd = folder.path().join("odd.toml");
    fs::write(&odd, ODD).unwrap();
    for file in files().into_iter().chain([odd]) {
        let (name, variant) =
            (build(folder.path(), &file, None), Variant::default().with_policy(&file));
        let log = "log: %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%";
        let listeners = [
            Listener::new("native").native(&name).access_log(&format!("native {log}")),
            listener("wasm", &variant).access_log(&format!("wasm {log}")),
        ];
        let envoy = start(NEWEST, folder.path(), &listeners).unwrap();
        let ports = ["native", "wasm"].map(|name| envoy.port(name).unwrap());
        for case in &table {
            let [native, wasm] = ports.map(|port| seen(send(port, case)));
            assert_eq!(native, wasm, "{name}: {}", case.name);
        }
        // The media types of gRPC calls, and some that only begin like one.
        for media_type in ["", "+proto", "+", "-web", "x", ";a=b", " ", "+proto;a=b"] {
            let media_type = format!("application/grpc{media_type}");
            let headers: &[(&[u8], &[u8])] = &[(b"content-type", media_type.as_bytes())];
            let [native, wasm] = ports.map(|port| {
                seen(Connection::http2(port).unwrap().send("POST", "/", headers, b"").unwrap())
            });
            assert_eq!(native, wasm, "{name}: {media_type}");
        }
        let policy = policy(&variant);
        for value in policy.accepted() {
            let headers: &[(&[u8], &[u8])] = &[(policy.header.as_bytes(), value.as_bytes())];
            assert!(ports.iter().all(|&port| is_upstream(&get(port, headers))), "{name}: {value}");
        }
        // The probe finds the policy in both.
        for port in ports {
            let url = format!("http://127.0.0.1:{port}/");
            let file = ["--policy", file.to_str().unwrap(), "--connections", "2"];
            stdout(probe(&[&[url.as_str()][..], &file].concat()));
        }
        let log = envoy.stop().unwrap();
        if policy.enforce && !policy.deny.details.is_empty() {
            // No request of the table has this policy's header.
            let details = policy.deny.missing_details.as_ref().unwrap_or(&policy.deny.details);
            for gate in ["native", "wasm"] {
                let line = format!("{gate} log: {} {details}\n", policy.deny.status);
                assert!(log.contains(&line), "{name}: {line} is not in\n{log}");
            }
        }
    }
}

#[test]
fn a_body_that_follows_a_denial_never_reaches_the_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let name = build(folder.path(), &root().join("policy.toml"), None);
    let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    upstream.set_nonblocking(true).unwrap();
    let listener = Listener::new("gate").native(&name);
    let listener = listener.upstream(upstream.local_addr().unwrap().port());
    let envoy = start(NEWEST, folder.path(), &[listener]).unwrap();
    for _ in 0..20 {
        let mut connection = raw::Connection::open(envoy.port("gate").unwrap()).unwrap();
        connection.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf").unwrap();
        assert_eq!(connection.receive("POST").unwrap().status, 403);
        // Envoy may have closed the connection.
        let _ = connection.write(b"rest");
    }
    assert_eq!(stat(&envoy, "cluster.gate.upstream_cx_total"), 0);
    let mut byte = [0];
    assert!(upstream.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    // The upstream is asked once a request is allowed.
    let mut good = raw::Connection::open(envoy.port("gate").unwrap()).unwrap();
    good.write(&raw::request("a", "GET", "/", GOOD, b"")).unwrap();
    upstream.set_nonblocking(false).unwrap();
    upstream.accept().unwrap().0.read_exact(&mut byte).unwrap();
}

#[test]
fn nothing_follows_the_head_of_an_answer_to_head() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["policy.toml", "policies/maintenance.toml"]
        .map(|file| build(folder.path(), &root().join(file), None));
    let listeners = names.each_ref().map(|name| Listener::new(name).native(name));
    for version in VERSIONS {
        let envoy = start(version, folder.path(), &listeners).unwrap();
        for name in &names {
            let port = envoy.port(name).unwrap();
            let mut kept = raw::Connection::open(port).unwrap();
            for method in ["HEAD", "GET", "HEAD", "GET"] {
                kept.write(&raw::request("a", method, "/", &[], b"")).unwrap();
                let answer = kept.receive(method).unwrap();
                assert!(answer.header("content-length").is_some(), "{version}, {name}: {answer:?}");
                assert_eq!(answer.body.is_empty(), method == "HEAD", "{version}, {name}");
            }
            let head = Connection::http2(port).unwrap().send("HEAD", "/", &[], b"").unwrap();
            assert!(head.status >= 400 && head.body.is_empty(), "{version}, {name}: {head:?}");
        }
    }
}

/// Whether a request with so many other fields, these values of `allow` and this host passes.
fn passes(port: u16, others: usize, values: &[&[u8]], host: &str) -> bool {
    let others: Vec<_> = (0..others).map(|n| format!("x-{n}")).collect();
    let others = others.iter().map(|name| (name.as_bytes(), &b"y"[..]));
    let fields: Vec<_> = others.chain(values.iter().map(|value| (&b"allow"[..], *value))).collect();
    let mut connection = raw::Connection::open(port).unwrap();
    connection.write(&raw::request(host, "GET", "/", &fields, b"")).unwrap();
    is_upstream(&connection.receive("GET").unwrap())
}

#[test]
fn any_number_of_fields_and_the_host_are_decided_as_by_the_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("host.toml");
    fs::write(&host, "header = \"Host\"\nvalues = [\"a.example\"]\n[deny]\nstatus = 403\n")
        .unwrap();
    for file in [root().join("policy.toml"), host] {
        let name = build(folder.path(), &file, None);
        let plugin = Variant::default().with_policy(&file);
        let listeners =
            [Listener::new("native").native(&name), listener("plugin", &plugin)].map(|gate| {
                gate.manager("common_http_protocol_options", json!({ "max_headers_count": 1000 }))
            });
        for version in VERSIONS {
            // The plugin does not load in every one of them.
            let names = &["native", "plugin"][..if version == NEWEST { 2 } else { 1 }];
            let envoy = start(version, folder.path(), &listeners[..names.len()]).unwrap();
            // Envoy adds some; above 128 in all, the gate asks for each that it needs.
            for others in [0, 90, 110, 115, 118, 120, 122, 124, 126, 128, 130, 400] {
                let values: [&[&[u8]]; 5] =
                    [&[], &[b"true"], &[b"wrong"], &[b"true", b"x"], &[b"x", b"true"]];
                for values in values {
                    for host in ["a.example", "b.example"] {
                        let by_host = host == "a.example";
                        let by_value = values.first() == Some(&&b"true"[..]);
                        let expected = if name == "host" { by_host } else { by_value };
                        for gate in names {
                            let passed = passes(envoy.port(gate).unwrap(), others, values, host);
                            assert_eq!(
                                passed, expected,
                                "{version}, {name}, {gate}: {others}, {values:?}, {host}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn repeated_headers_are_denied_if_the_policy_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // Envoy itself joins the lines of `authorization`, and drops the empty ones.
    for (header, joined) in [("x-api-key", false), ("authorization", true)] {
        let key = |value: &'static [u8]| (header.as_bytes(), value);
        let rest =
            format!("header = \"{header}\"\nvalues = [\"k\", \"l\"]\n[deny]\nstatus = 403\n");
        let files = [("first", ""), ("strict", "repeated = \"deny\"\n")].map(|(name, line)| {
            let file = folder.path().join(format!("{name}-{header}.toml"));
            fs::write(&file, format!("{line}{rest}")).unwrap();
            file
        });
        let names = files.each_ref().map(|file| build(folder.path(), file, None));
        let listeners = names.each_ref().map(|name| Listener::new(name).native(name));
        for version in VERSIONS {
            let envoy = start(version, folder.path(), &listeners).unwrap();
            let [first, strict] = names.each_ref().map(|name| envoy.port(name).unwrap());
            let passes = |port, values: &[&'static [u8]]| {
                let fields: Vec<_> = values.iter().copied().map(key).collect();
                let passes = is_upstream(&get(port, &fields));
                let http2 = Connection::http2(port).unwrap().send("GET", "/", &fields, b"");
                assert_eq!(is_upstream(&http2.unwrap()), passes, "{version}, {fields:?}");
                passes
            };
            for values in [[&b"k"[..], b"k"], [b"k", b"l"], [b"k", b"x"]] {
                assert!(!passes(strict, &values), "{version}, {header}: {values:?}");
                assert_eq!(passes(first, &values), !joined, "{version}, {header}: {values:?}");
            }
            assert_eq!(passes(strict, &[b"k", b""]), joined, "{version}, {header}");
            assert_eq!(passes(first, &[b"", b"k"]), joined, "{version}, {header}");
            for values in [&[&b"x"[..], b"k"][..], &[b"k,l"], &[b"k, k"], &[]] {
                assert!(!passes(strict, values) && !passes(first, values), "{values:?}");
            }
            assert!(passes(strict, &[b"k"]) && passes(strict, &[b"l"]));
            // The probe asks for it.
            let url = format!("http://127.0.0.1:{strict}/");
            let arguments = [&url, "--policy", files[1].to_str().unwrap(), "--connections=2"];
            let answer = stdout(probe(&arguments));
            assert!(answer.contains("value 1, twice"), "{answer}");
        }
    }
}

#[test]
fn the_conformance_table_holds_on_aarch64() {
    apt_program("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu").unwrap();
    let qemu = apt_program("qemu-aarch64-static", "qemu-user-static").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = Some("aarch64-unknown-linux-gnu");
    let name = build(folder.path(), &root().join("policy.toml"), target);
    let mut command = Command::new(qemu);
    command.args(["-L", "/usr/aarch64-linux-gnu"]).env(DYNAMIC_MODULES, folder.path());
    command.arg(install(root(), NEWEST, Some("manylinux_2_31_aarch64")).unwrap());
    let listeners = [Listener::new("gate").native(&name)];
    let options = Options { concurrency: 1, timeout: Duration::from_mins(5), ..Options::default() };
    let envoy = Envoy::start(command, &config(&listeners).to_string(), &options).unwrap();
    conforms(envoy.port("gate").unwrap(), "aarch64");
}

/// A dynamic module that reads a field that Envoy has not written.
const CARELESS: &str = r#"
#include "abi.h"
uint32_t envoy_dynamic_module_on_http_filter_request_headers(request request) {
    header fields[128];
    envoy_dynamic_module_callback_http_get_headers(request, 0, fields);
    if (fields[127].value.length == 5) return 1;
    return 0;
}
"#;

#[test]
fn memcheck_finds_nothing_in_the_gate_while_it_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("careless.c");
    fs::write(&source, CARELESS).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-O0", "-fPIC", "-shared", "-nostdlib", "-I"]).arg(root().join("benches/native"));
    stdout(cc.arg(&source).arg("-o").arg(folder.path().join("libcareless.so")).output().unwrap());
    let name = build(folder.path(), &root().join("policy.toml"), None);
    let log = folder.path().join("memcheck.log");
    let mut valgrind = Command::new(apt_program("valgrind", "valgrind").unwrap());
    valgrind.arg(format!("--log-file={}", log.display())).arg("--error-limit=no");
    valgrind.arg(install(root(), NEWEST, None).unwrap()).env(DYNAMIC_MODULES, folder.path());
    let listeners = [&name, "careless"].map(|name| Listener::new(name).native(name));
    let options = Options { concurrency: 1, timeout: Duration::from_mins(5), ..Options::default() };
    let envoy = Envoy::start(valgrind, &config(&listeners).to_string(), &options).unwrap();
    conforms(envoy.port(&name).unwrap(), "memcheck");
    assert!(is_upstream(&get(envoy.port("careless").unwrap(), &[])));
    envoy.stop().unwrap();
    let report = fs::read_to_string(log).unwrap();
    assert!(report.contains("libcareless.so"), "{report}");
    assert!(!report.contains(&format!("lib{name}.so")), "{report}");
}

#[test]
fn an_envoy_without_the_abi_refuses_it_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let name = build(folder.path(), &root().join("policy.toml"), None);
    let listeners = [Listener::new("gate").native(&name)];
    let error = format!("{:#}", start(OLDEST, folder.path(), &listeners).unwrap_err());
    assert!(error.contains("undefined symbol: envoy_dynamic_module_callback_"), "{error}");
    // So does one that finds no module.
    let nowhere = tempfile::tempdir().unwrap();
    let error = format!("{:#}", start(NEWEST, nowhere.path(), &listeners).unwrap_err());
    assert!(error.contains("Failed to load dynamic module"), "{error}");
}

#[test]
fn try_runs_it() {
    let mut script = Command::new(root().join("deploy/try.sh"));
    script.args(["--native", "--once", "--port=0", "--admin-port=0", "--upstream-port=0"]);
    let stdout = stdout(script.env_remove("ENVOY").output().unwrap());
    assert!(stdout.contains("\nok: 403 as policy.toml says"), "{stdout}");
}
