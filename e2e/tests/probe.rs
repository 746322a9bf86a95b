//! `deploy/probe.sh`, the check after a deployment: it accepts a gate that does what its policy says on every
//! connection, and nothing else.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use anyhow::Result;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::{failure, gate, listener, probe, start};
use header_gate_e2e::{module, policy, root};
use header_gate_envoy::config::{Listener, config, extension};
use header_gate_envoy::{Envoy, NEWEST};
use header_gate_policy::Policy;
use serde_json::json;
use tempfile::TempDir;

/// Status, and who answered.
const ACCESS_LOG: &str = "access log: %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%";

/// An Envoy with two workers and a listener `gate`, and the URL of that.
fn serve(listener: Listener) -> Result<(Envoy, String)> {
    let envoy = start(NEWEST, &config(&[listener]), 2)?;
    let url = format!("http://127.0.0.1:{}/status/418", envoy.port("gate")?);
    Ok((envoy, url))
}

fn serve_variant(variant: &Variant) -> (Envoy, String) {
    serve(listener("gate", variant)).unwrap()
}

fn api_key() -> Variant {
    Variant::default().with_policy(root().join("policies/api-key.toml"))
}

/// The committed policy as another file, with `old` replaced.
fn policy_file(folder: &TempDir, old: &str, new: &str) -> String {
    let text = fs::read_to_string(root().join("policy.toml")).unwrap();
    assert!(text.contains(old), "{old}");
    let file = folder.path().join("policy.toml");
    fs::write(&file, text.replace(old, new)).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Runs the probe. `outcome` is "ok", or how many checks fail, such as "1 of 7". The table has each of these lines
/// of `rows`: a check, what was seen and the verdict.
#[track_caller]
fn assert_probe(arguments: &[&str], outcome: &str, rows: &str) -> String {
    let output = probe(arguments);
    let table = String::from_utf8(output.stdout.clone()).unwrap();
    if outcome == "ok" {
        assert!(output.status.success(), "{table}{}", String::from_utf8_lossy(&output.stderr));
        assert!(table.lines().last().unwrap().starts_with("ok: "), "{table}");
        assert!(!table.contains("FAILED"), "{table}");
    } else {
        let (error, _) = failure(output);
        assert!(error.contains(&format!("{outcome} checks failed")), "{error}\n{table}");
        assert!(!table.contains("ok: "), "{table}");
    }
    assert_rows(&table, rows);
    table
}

#[track_caller]
fn assert_rows(table: &str, rows: &str) {
    let cells = |line: &str| {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.map(str::to_owned).collect::<Vec<_>>()
    };
    let found: Vec<_> = table.lines().map(cells).filter(|cells| cells.len() == 4).collect();
    for row in rows.lines() {
        let is_row = |cells: &Vec<String>| [0, 2, 3].map(|i| &*cells[i]).join(" | ") == row;
        assert!(found.iter().any(is_row), "no {row} in\n{table}");
    }
}

/// The rows of all requests that the gate has to deny.
fn denials(end: &str) -> String {
    let checks = ["an empty value", "a wrong value", "value 1 of 1, altered"];
    let (first, last) = ("no header", "a byte that is not UTF-8");
    [first, checks[0], checks[1], checks[2], last]
        .map(|check| format!("{check} | {end}"))
        .join("\n")
}

#[test]
fn a_working_gate_is_accepted() {
    let (_envoy, url) = serve_variant(&Variant::default());
    let table = assert_probe(&[&url], "ok", &denials("64 x denied | ok"));
    assert_rows(&table, "value 1 of 1 | 64 x 200 | ok\nvalue 1, afterwards | 64 x 200 | ok");
    // Another policy, with two secret values, which the table does not show.
    let (_envoy, url) = serve_variant(&api_key());
    let file = api_key().policy_file(root()).unwrap();
    let arguments = [&url, "--policy", file.to_str().unwrap(), "--connections", "8"];
    let table = assert_probe(&arguments, "ok", "value 2 of 2 | 8 x 200 | ok");
    assert!(policy(&api_key()).values.iter().all(|value| !table.contains(value)), "{table}");
}

#[test]
fn a_gateway_without_the_gate_fails() {
    let (_envoy, url) = serve(Listener::new("gate")).unwrap();
    assert_probe(&[&url, "--connections", "4"], "5 of 7", &denials("4 x 200 | FAILED"));
}

#[test]
fn a_plugin_that_dies_fails() {
    // Alive at first: the probe's own byte that is not UTF-8 kills one worker after the other.
    let (envoy, url) =
        serve(listener("gate", &Variant::baseline()).access_log(ACCESS_LOG)).unwrap();
    let rows =
        "a byte that is not UTF-8 | 64 x 503 | FAILED\nvalue 1, afterwards | 64 x 503 | FAILED";
    assert_probe(&[&url], "7 of 7", rows);
    // What docs/deploy.md says of such a gateway: the gauge does not show it, the logs do.
    assert_eq!(header_gate_e2e::virtual_machines(&envoy), 4);
    let log = envoy.stop().unwrap();
    for line in ["Function: proxy_on_request_headers failed", "access log: 503 wasm_fail_stream\n"]
    {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
}

#[test]
fn a_plugin_with_another_policy_fails() {
    let folder = TempDir::new().unwrap();
    let (_envoy, url) = serve_variant(&api_key());
    let seen = format!("no header | 2 x {} | FAILED", policy(&api_key()).deny.status);
    assert_probe(&[&url, "--connections", "2"], "5 of 7", &seen);

    // The same answer, another value: only what should pass differs.
    let file = policy_file(&folder, "\"true\"", "\"another\"");
    let (_envoy, url) = serve_variant(&Variant::default().with_policy(&file));
    let rows = "no header | 2 x denied | ok\nvalue 1 of 1 | 2 x denied | FAILED";
    assert_probe(&[&url, "--connections", "2"], "2 of 7", rows);

    // The same status, another body or header.
    let (_envoy, url) = serve_variant(&Variant::default());
    for (right, wrong, seen) in [
        ("body = \"", "body = \"not ", "2 x 403 with another body"),
        ("text/plain", "text/html", "2 x 403 without the policy's Content-Type"),
    ] {
        let file = policy_file(&folder, right, wrong);
        let arguments = [&url, "--policy", &file, "--connections", "2"];
        assert_probe(&arguments, "5 of 7", &denials(&format!("{seen} | FAILED")));
    }
}

#[test]
fn a_module_cut_short_does_not_start() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("plugin.wasm");
    let module = module(&Variant::default());
    fs::write(&file, &module[..module.len() / 2]).unwrap();
    let error = serve(Listener::new("gate").wasm(&file)).unwrap_err();
    assert!(error.to_string().contains("corrupted Wasm module"), "{error:#}");
}

#[test]
fn a_plugin_that_was_never_fetched_fails() {
    // An Envoy that fetches its plugin starts without it; this one gets something else.
    let (upstream, _) = serve(Listener::new("gate")).unwrap();
    for (failure_policy, status, failed) in
        [("FAIL_CLOSED", 503, "7 of 7"), ("FAIL_OPEN", 200, "5 of 7")]
    {
        let remote = json!({
            "http_uri": { "uri": "gate/plugin.wasm", "cluster": "gate", "timeout": "1s" },
            "sha256": "00".repeat(32),
            "retry_policy": { "num_retries": 0 },
        });
        let vm = json!({ "runtime": "envoy.wasm.runtime.v8", "code": { "remote": remote } });
        let config = json!({ "failure_policy": failure_policy, "vm_config": vm });
        let filter = extension("gate", "filters.http.wasm.v3.Wasm", json!({ "config": config }));
        let listener = Listener::new("gate").upstream(upstream.port("gate").unwrap());
        let (_envoy, url) = serve(listener.filter(filter)).unwrap();
        let row = format!("no header | 4 x {status} | FAILED");
        assert_probe(&[&url, "--connections", "4"], failed, &row);
    }
}

/// A server that hands each connection, with its number from 1 on, to `handle`. Serves until the test ends.
fn server(handle: impl Fn(usize, BufReader<TcpStream>) + Send + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (number, stream) in (1..).zip(listener.incoming()) {
            handle(number, BufReader::new(stream.unwrap()));
        }
    });
    url
}

/// The lines of a request; none at the end of the connection.
fn request(stream: &mut BufReader<TcpStream>) -> Option<Vec<Vec<u8>>> {
    let lines = stream.by_ref().split(b'\n').map(Result::unwrap_or_default);
    let lines: Vec<_> = lines.take_while(|line| line.len() > 1).collect();
    (!lines.is_empty()).then_some(lines)
}

/// Whether a request passes, by the number of its connection and the value of its header.
type Gate = fn(usize, Option<&[u8]>) -> bool;

/// A gateway with that gate and this answer to what passes. Each answer has the fields `more`; if there are any, the
/// connection is closed after it.
fn fake(gate: Gate, ok: &'static str, more: &'static str) -> String {
    let Policy { header, deny, .. } = policy(&Variant::default());
    let fields: String = deny.headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    let (status, size) = (deny.status, deny.body.len());
    let denial = format!("{status} No\r\n{fields}Content-Length: {size}\r\n\r\n{}", deny.body);
    server(move |number, mut stream| {
        while let Some(head) = request(&mut stream) {
            let name = format!("{header}: ");
            let value = head.iter().find_map(|line| line.strip_prefix(name.as_bytes()));
            let passes = gate(number, value.map(|value| value.trim_ascii_end()));
            let answer = if passes { ok } else { &denial };
            let answer = answer.replacen("\r\n", &format!("\r\n{more}"), 1);
            let sent = stream.get_mut().write_all(format!("HTTP/1.1 {answer}").as_bytes());
            if sent.is_err() || !more.is_empty() {
                break;
            }
        }
    })
}

#[test]
fn every_wrong_value_and_connection_is_found() {
    const OK: &str = "200 OK\r\nContent-Length: 0\r\n\r\n";
    const STREAM: &str = "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nevent\n\r\n";
    let folder = TempDir::new().unwrap();
    let new = format!("--policy {}", policy_file(&folder, "\"true\"", "\"new\""));
    let right: Gate = |_, value| value == Some(b"true");
    let rotated: Gate = |_, value| value == Some(b"new");
    let both: Gate = |_, value| matches!(value, Some(b"old" | b"new"));
    let lopsided: Gate = |number, value| number == 8 || value == Some(b"true");
    let size: Gate = |_, value| value.is_some_and(|value| value.len() == 4);
    let prefix: Gate = |_, value| value.is_some_and(|v| v.starts_with(b"tru") && v.len() == 4);
    let empty: Gate = |_, value| matches!(value, Some(b"true" | b""));
    let altered = "value 1 of 1, altered | 2 x 200 | FAILED";
    let denied = "--denied 1 of 2 | 2 x denied | ok\n--denied 2 of 2 | 2 x 200 | FAILED";
    for (gate, ok, more, arguments, outcome, rows) in [
        // What passes may be a stream without an end, which stays open.
        (right, STREAM, "", "2", "ok", "value 1 of 1 | 2 x 200 | ok"),
        // A gateway may close its connections, with or without saying so.
        (right, OK, "Connection: Close\r\n", "2", "ok", ""),
        (right, OK, "X-Drains: yes\r\n", "2", "ok", ""),
        (lopsided, OK, "", "7", "ok", ""),
        (lopsided, OK, "", "8", "5 of 7", &denials("1 x 200, 7 x denied | FAILED")),
        (size, OK, "", "2", "1 of 7", altered),
        (prefix, OK, "", "2", "1 of 7", altered),
        (empty, OK, "", "2", "1 of 7", "an empty value | 2 x 200 | FAILED"),
        // Withdrawn values.
        (both, OK, "", "2 NEW", "ok", ""),
        (both, OK, "", "2 NEW --denied never --denied old", "1 of 9", denied),
        (rotated, OK, "", "2 NEW --denied old", "ok", "--denied 1 of 1 | 2 x denied | ok"),
    ] {
        let url = fake(gate, ok, more);
        let arguments = format!("{url} --connections {}", arguments.replace("NEW", &new));
        assert_probe(&arguments.split(' ').collect::<Vec<_>>(), outcome, rows);
    }
}

#[test]
fn the_admin_api_and_the_access_log_show_what_the_gate_does() {
    let (upstream, _) = serve(Listener::new("gate")).unwrap();
    let listener = gate("gate").upstream(upstream.port("gate").unwrap());
    let (envoy, url) = serve(listener.access_log(ACCESS_LOG)).unwrap();
    for (envoy, outcome, row) in [
        (&envoy, "ok", "virtual machines | 4 | ok"),
        // This one has no plugin, whatever the answers of the other say.
        (&upstream, "1 of 8", "virtual machines | 0 | FAILED"),
    ] {
        let admin = format!("http://127.0.0.1:{}", envoy.admin_port());
        assert_probe(&[&url, "--admin", &admin, "--connections", "2"], outcome, row);
    }
    let (error, _) = failure(probe(&[&url, "--admin", &url, "--connections", "2"]));
    assert!(error.contains("is not an admin API") && error.contains("403"), "{error}");
    let log = envoy.stop().unwrap();
    for line in ["200 via_upstream", "403 "] {
        assert!(log.contains(&format!("access log: {line}\n")), "{line} is not in\n{log}");
    }
}

#[test]
fn a_gate_that_stops_answering_fails() {
    let url = server(|number, mut stream| {
        if number == 1 && request(&mut stream).is_some() {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    let (error, table) = failure(probe(&[&url]));
    let [first, second] = ["value 1 of 1 | 1 x 200 | ok", "no header | 1 x no answer | FAILED"];
    assert_rows(&table, &format!("{first}\n{second}\na wrong value | not asked | FAILED"));
    assert!(error.contains("stopped answering"), "{error}");
}

#[test]
fn bad_arguments_are_one_error() {
    let folder = TempDir::new().unwrap();
    let bad = policy_file(&folder, "[\"true\"]", "[]");
    // Nobody listens on port 1.
    let url = "http://127.0.0.1:1/";
    for (arguments, parts) in [
        (&[][..], ["error: ", "required"]),
        (&[url], ["cannot connect to 127.0.0.1:1", "refused"]),
        (&["https://127.0.0.1/"], ["plain HTTP", "port-forward"]),
        (&["http://gate.invalid/"], ["cannot find gate.invalid:80", "lookup"]),
        (&[url, "--policy", &bad], [&bad, "`values` is empty"]),
        (&[url, "--policy", "none.toml"], ["none.toml", "cannot be read"]),
        (&[url, "--connections", "0"], ["--connections", "0"]),
        (&[url, "--denied", "true"], ["--denied 1", "accepts this value"]),
        (&[url, "--denied", "a", "--denied", "b\r\nc: d"], ["--denied 2", "control character"]),
        (&[url, "--admin", "127.0.0.1:9901"], ["127.0.0.1:9901", "does not begin with http://"]),
        (&[url, "--polcy"], ["--polcy", "unexpected"]),
    ] {
        let (error, table) = failure(probe(arguments));
        assert!(table.is_empty() && parts.iter().all(|part| error.contains(part)), "{error}");
    }
}
