//! `deploy/probe.sh`, the check after a deployment: it believes a gate that does as its policy says,
//! on every connection, and nothing else.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::{module, policy, root};
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::{Envoy, NEWEST, Options, install};
use header_gate_policy::Policy;
use serde_json::json;
use tempfile::TempDir;

/// Status, and who answered.
const ACCESS_LOG: &str = "access log: %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%";

fn start(listener: Listener) -> anyhow::Result<(Envoy, String)> {
    let config = config(&[listener]).to_string();
    let command = Command::new(install(root(), NEWEST).unwrap());
    let envoy = Envoy::start(command, &config, &Options::default())?;
    let url = format!("http://127.0.0.1:{}/status/418", envoy.port("gate")?);
    Ok((envoy, url))
}

/// An Envoy with two workers, whose gate is `plugin`.
fn gate(plugin: &Path) -> (Envoy, String) {
    start(Listener::new("gate").wasm(plugin)).unwrap()
}

fn plugin() -> PathBuf {
    artifact(root(), &Variant::default()).unwrap()
}

fn probe(arguments: &[&str]) -> Output {
    let mut command = Command::new(root().join("deploy/probe.sh"));
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The table of a probe that is content.
#[track_caller]
fn assert_ok(arguments: &[&str]) -> String {
    let output = probe(arguments);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.lines().last().unwrap().starts_with("ok: "), "{stdout}");
    assert!(!stdout.contains("FAILED"), "{stdout}");
    stdout
}

/// The table and the error of a probe that is not: the error is the last line, and the only one.
#[track_caller]
fn assert_fails(arguments: &[&str]) -> (String, String) {
    let output = probe(arguments);
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{stdout}{stderr}");
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors, [stderr.lines().last().unwrap()], "{stderr}");
    assert!(!stdout.contains("ok: "), "{stdout}");
    (stdout, errors[0].to_owned())
}

/// The row of `check` has what was `seen` and the verdict.
#[track_caller]
fn assert_row(table: &str, check: &str, seen: &str, verdict: &str) {
    let row = table.lines().find(|line| line.starts_with(&format!("{check} ")));
    let row = row.unwrap_or_else(|| panic!("no {check} in\n{table}"));
    let end = row.rsplit("  ").filter(|part| !part.is_empty()).take(2).map(str::trim);
    assert_eq!(end.collect::<Vec<_>>(), [verdict, seen], "{check} in\n{table}");
}

const DENIED: [&str; 5] = [
    "no header",
    "an empty value",
    "a wrong value",
    "value 1 of 1, altered",
    "a byte that is not UTF-8",
];
const PASSED: [&str; 2] = ["value 1 of 1", "value 1, afterwards"];

#[test]
fn a_gate_that_works_is_believed() {
    let (_envoy, url) = gate(&plugin());
    let table = assert_ok(&[&url]);
    for check in DENIED {
        assert_row(&table, check, "64 x denied", "ok");
    }
    for check in PASSED {
        assert_row(&table, check, "64 x 200", "ok");
    }
    // Another policy, with two secret values, which the table does not show.
    let variant = Variant::default().with_policy(root().join("policies/api-key.toml"));
    let (_envoy, url) = gate(&artifact(root(), &variant).unwrap());
    let file = variant.policy_file(root()).unwrap();
    let table = assert_ok(&[&url, "--policy", file.to_str().unwrap(), "--connections", "8"]);
    assert_row(&table, "value 2 of 2", "8 x 200", "ok");
    for value in policy(&variant).values {
        assert!(!table.contains(&value), "{table}");
    }
}

#[test]
fn a_gateway_without_the_gate_fails() {
    let (_envoy, url) = start(Listener::new("gate")).unwrap();
    let (table, error) = assert_fails(&[&url, "--connections", "4"]);
    for check in DENIED {
        assert_row(&table, check, "4 x 200", "FAILED");
    }
    assert!(error.contains("5 of 7 checks failed"), "{error}");
}

#[test]
fn a_plugin_that_dies_fails() {
    // Alive at first: the probe's own byte that is not UTF-8 kills one worker after the other.
    let plain = Listener::new("gate").wasm(&artifact(root(), &Variant::baseline()).unwrap());
    let (envoy, url) = start(plain.access_log(ACCESS_LOG)).unwrap();
    let (table, error) = assert_fails(&[&url]);
    assert_row(&table, "a byte that is not UTF-8", "64 x 503", "FAILED");
    assert_row(&table, "value 1, afterwards", "64 x 503", "FAILED");
    assert!(error.contains("7 of 7 checks failed"), "{error}");
    // What docs/deploy.md says of such a gateway: the gauge does not tell, the logs do.
    let gauge = envoy.admin("/stats?filter=^wasm.envoy.wasm.runtime.v8.active$").unwrap();
    assert_eq!(gauge, "wasm.envoy.wasm.runtime.v8.active: 4\n");
    let log = envoy.stop().unwrap();
    for line in ["Function: proxy_on_request_headers failed", "access log: 503 wasm_fail_stream\n"]
    {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
}

#[test]
fn a_plugin_with_another_policy_fails() {
    let other = Variant::default().with_policy(root().join("policies/api-key.toml"));
    let (_envoy, url) = gate(&artifact(root(), &other).unwrap());
    let (table, _) = assert_fails(&[&url, "--connections", "2"]);
    let status = policy(&other).deny.status;
    assert_row(&table, "no header", &format!("2 x {status}"), "FAILED");

    // The same answer, another value: only what should pass tells them apart.
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("policy.toml");
    let text = fs::read_to_string(root().join("policy.toml")).unwrap();
    let value = format!("{:?}", Policy::read(&root().join("policy.toml")).unwrap().values[0]);
    fs::write(&file, text.replace(&value, "\"another\"")).unwrap();
    let other = Variant::default().with_policy(&file);
    let (_envoy, url) = gate(&artifact(root(), &other).unwrap());
    let (table, _) = assert_fails(&[&url, "--connections", "2"]);
    assert_row(&table, "no header", "2 x denied", "ok");
    assert_row(&table, "value 1 of 1", "2 x denied", "FAILED");

    // The same status, another body or header.
    for (right, wrong, seen) in [
        ("body = \"", "body = \"not ", "2 x 403 with another body"),
        ("text/plain", "text/html", "2 x 403 without the policy's Content-Type"),
    ] {
        fs::write(&file, text.replace(right, wrong)).unwrap();
        let (_envoy, url) = gate(&plugin());
        let policy = file.to_str().unwrap();
        let (table, _) = assert_fails(&[&url, "--policy", policy, "--connections", "2"]);
        assert_row(&table, "a wrong value", seen, "FAILED");
    }
}

#[test]
fn a_module_cut_short_does_not_start() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("plugin.wasm");
    let module = module(&Variant::default());
    fs::write(&file, &module[..module.len() / 2]).unwrap();
    let error = start(Listener::new("gate").wasm(&file)).unwrap_err();
    assert!(error.to_string().contains("corrupted Wasm module"), "{error:#}");
}

#[test]
fn a_plugin_that_was_never_fetched_fails() {
    // An Envoy that fetches its plugin starts without it; this one gets something else.
    let (upstream, _) = start(Listener::new("gate")).unwrap();
    for (failure_policy, status) in [("FAIL_CLOSED", 503), ("FAIL_OPEN", 200)] {
        let filter = json!({
            "name": "gate",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "failure_policy": failure_policy,
                    "vm_config": {
                        "runtime": "envoy.wasm.runtime.v8",
                        "code": { "remote": {
                            "http_uri": { "uri": "gate/plugin.wasm", "cluster": "gate", "timeout": "1s" },
                            "sha256": "00".repeat(32),
                            "retry_policy": { "num_retries": 0 },
                        } },
                    },
                },
            },
        });
        let listener = Listener::new("gate").upstream(upstream.port("gate").unwrap());
        let (_envoy, url) = start(listener.filter(filter)).unwrap();
        let (table, _) = assert_fails(&[&url, "--connections", "4"]);
        assert_row(&table, "no header", &format!("4 x {status}"), "FAILED");
    }
}

/// A gateway that lets a request pass by the number of its connection, from 1 on, and the value of
/// its header. It adds `more` to each head. Serves until the test ends.
fn fake(
    more: &'static str,
    passes: impl Fn(usize, Option<&[u8]>) -> bool + Send + 'static,
) -> String {
    let policy = policy(&Variant::default());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (number, stream) in (1..).zip(listener.incoming()) {
            let mut stream = BufReader::new(stream.unwrap());
            while let Some(head) = request(&mut stream) {
                let name = format!("{}: ", policy.header);
                let value = head.iter().find_map(|line| line.strip_prefix(name.as_bytes()));
                let answer = if passes(number, value) {
                    format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{more}\r\n")
                } else {
                    let deny = &policy.deny;
                    let pairs = deny.headers.iter().map(|(n, v)| format!("{n}: {v}\r\n"));
                    let (status, size) = (deny.status, deny.body.len());
                    let head = format!("HTTP/1.1 {status} No\r\nContent-Length: {size}\r\n{more}");
                    head + &pairs.collect::<String>() + "\r\n" + &deny.body
                };
                if stream.get_mut().write_all(answer.as_bytes()).is_err() || !more.is_empty() {
                    break;
                }
            }
        }
    });
    url
}

/// The lines of a request; none at the end of the connection.
fn request(stream: &mut BufReader<TcpStream>) -> Option<Vec<Vec<u8>>> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).ok().filter(|&size| size > 0)?;
        match line.strip_suffix(b"\r\n")? {
            [] => return Some(lines),
            line => lines.push(line.to_vec()),
        }
    }
}

#[test]
fn one_connection_past_the_gate_is_enough_to_fail() {
    let lopsided = || fake("", |number, value| number == 8 || value == Some(b"true"));
    assert_ok(&[&lopsided(), "--connections", "7"]);
    let (table, error) = assert_fails(&[&lopsided(), "--connections", "8"]);
    for check in DENIED {
        assert_row(&table, check, "1 x 200, 7 x denied", "FAILED");
    }
    assert!(error.contains("5 of 7 checks failed"), "{error}");
}

#[test]
fn a_gate_that_does_not_compare_the_whole_value_fails() {
    type Gate = fn(Option<&[u8]>) -> bool;
    let gates: [(Gate, _); 3] = [
        (|value| value.is_some_and(|v| v.len() == 4), "value 1 of 1, altered"),
        (
            |value| value.is_some_and(|v| v.starts_with(b"tru") && v.len() == 4),
            "value 1 of 1, altered",
        ),
        (|value| matches!(value, Some(b"true" | b"")), "an empty value"),
    ];
    for (passes, check) in gates {
        let url = fake("", move |_, value| passes(value));
        let (table, error) = assert_fails(&[&url, "--connections", "1"]);
        assert_row(&table, check, "1 x 200", "FAILED");
        assert!(error.contains("1 of 7 checks failed"), "{error}");
    }
}

#[test]
fn a_withdrawn_value_that_still_passes_fails() {
    let keys = policy(&Variant::default().with_policy(root().join("policies/api-key.toml"))).values;
    let [old, new] = keys.try_into().unwrap();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("policy.toml");
    let text = fs::read_to_string(root().join("policy.toml")).unwrap();
    fs::write(&file, text.replace("\"true\"", &format!("{new:?}"))).unwrap();
    let arguments = ["--policy", file.to_str().unwrap(), "--connections", "2"];
    let probe = |url: &str, denied: &[&str], ok| {
        let arguments = [&[url], &arguments[..], denied].concat();
        let table = if ok { assert_ok(&arguments) } else { assert_fails(&arguments).0 };
        assert!(!table.contains(&old), "{table}");
        table
    };

    let before = fake("", {
        let keys = [old.clone(), new.clone()];
        move |_, value| keys.iter().any(|key| value == Some(key.as_bytes()))
    });
    probe(&before, &[], true);
    let table = probe(&before, &["--denied", "never", "--denied", &old], false);
    assert_row(&table, "--denied 1 of 2", "2 x denied", "ok");
    assert_row(&table, "--denied 2 of 2", "2 x 200", "FAILED");

    let after = fake("", {
        let new = new.clone();
        move |_, value| value == Some(new.as_bytes())
    });
    let table = probe(&after, &["--denied", &old], true);
    assert_row(&table, "--denied 1 of 1", "2 x denied", "ok");
}

#[test]
fn a_gateway_that_closes_its_connections_is_believed() {
    let good = |_, value: Option<&[u8]>| value == Some(b"true");
    // It says so, in its own way.
    assert_ok(&[&fake("Connection: Close\r\n", good), "--connections", "2"]);
    // It does not, as when it drains; and this one closes every connection after one answer.
    assert_ok(&[&fake("X-Drains: yes\r\n", good), "--connections", "2"]);
}

#[test]
fn a_stream_behind_the_gate_is_not_waited_for() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let upstream = listener.local_addr().unwrap().port();
    // Events without an end; the connections stay open until the test ends.
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            if request(&mut stream).is_some() {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
                write!(stream.get_mut(), "{head}\r\nevent: one\n\n").unwrap();
            }
            open.push(stream);
        }
    });
    let (_envoy, url) = start(Listener::new("gate").wasm(&plugin()).upstream(upstream)).unwrap();
    let table = assert_ok(&[&url, "--connections", "2"]);
    assert_row(&table, "value 1 of 1", "2 x 200", "ok");
    assert_row(&table, "no header", "2 x denied", "ok");
}

#[test]
fn the_access_log_tells_who_answered() {
    let (upstream, _) = start(Listener::new("gate")).unwrap();
    let listener = Listener::new("gate").wasm(&plugin()).upstream(upstream.port("gate").unwrap());
    let (envoy, url) = start(listener.access_log(ACCESS_LOG)).unwrap();
    assert_ok(&[&url, "--connections", "1"]);
    let log = envoy.stop().unwrap();
    for line in ["200 via_upstream", "403 "] {
        assert!(log.contains(&format!("access log: {line}\n")), "{line} is not in\n{log}");
    }
}

#[test]
fn the_admin_api_tells_whether_each_worker_has_its_virtual_machine() {
    let (envoy, url) = gate(&plugin());
    let admin = format!("http://127.0.0.1:{}", envoy.admin_port());
    let table = assert_ok(&[&url, "--admin", &admin, "--connections", "2"]);
    assert_row(&table, "virtual machines", "4", "ok");
    // Of an Envoy without a plugin, whatever the answers say.
    let (other, _) = start(Listener::new("gate")).unwrap();
    let admin = format!("http://127.0.0.1:{}", other.admin_port());
    let (table, error) = assert_fails(&[&url, "--admin", &admin, "--connections", "2"]);
    assert_row(&table, "virtual machines", "0", "FAILED");
    assert!(error.contains("1 of 8 checks failed"), "{error}");
    // The gate itself is no admin API.
    let (_, error) = assert_fails(&[&url, "--admin", &url, "--connections", "2"]);
    assert!(
        error.contains("does not tell the virtual machines") && error.contains("403"),
        "{error}"
    );
}

#[test]
fn a_gate_that_stops_answering_fails() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        while stream.by_ref().lines().next().unwrap().unwrap() != "" {}
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let (table, error) = assert_fails(&[&url]);
    server.join().unwrap();
    assert_row(&table, "value 1 of 1", "1 x 200", "ok");
    assert_row(&table, "no header", "1 x no answer", "FAILED");
    assert_row(&table, "a wrong value", "not asked", "FAILED");
    assert!(error.contains("stopped answering"), "{error}");
}

#[test]
fn what_cannot_be_probed_is_one_error() {
    let folder = TempDir::new().unwrap();
    let bad = folder.path().join("bad.toml");
    fs::write(&bad, "header = \"allow\"\nvalues = []\n").unwrap();
    let bad = bad.to_str().unwrap();
    // Nobody listens on port 1.
    let url = "http://127.0.0.1:1/";
    for (arguments, parts) in [
        (&[][..], ["a URL is missing", "http://127.0.0.1:10000/"]),
        (&[url], ["cannot connect to 127.0.0.1:1", "refused"]),
        (&["http://gate.invalid/"], ["cannot find gate.invalid:80", "lookup"]),
        (&["https://127.0.0.1/"], ["plain HTTP", "port-forward"]),
        (&[url, "--policy", bad], [bad, "`values` is empty"]),
        (&[url, "--policy", "none.toml"], ["none.toml", "cannot be read"]),
        (&[url, "--connections", "0"], ["--connections \"0\"", "above 0"]),
        (&[url, "--denied", "true"], ["--denied 1", "accepts this value"]),
        (&[url, "--denied", "a", "--denied", "b\r\nc: d"], ["--denied 2", "control character"]),
        (&[url, "--admin", "127.0.0.1:9901"], ["127.0.0.1:9901", "does not begin with http://"]),
        (&[url, "--host", "a b"], ["--host \"a b\"", "' '"]),
        (&[url, url], [url, "--help"]),
        (&[url, "--polcy"], ["'--polcy'", "--help"]),
    ] {
        let (table, error) = assert_fails(arguments);
        assert!(table.is_empty() && parts.iter().all(|part| error.contains(part)), "{error}");
    }
    let help = String::from_utf8(probe(&["--help"]).stdout).unwrap();
    assert!(help.contains("Usage: deploy/probe.sh URL") && help.contains("8 workers"), "{help}");
}
