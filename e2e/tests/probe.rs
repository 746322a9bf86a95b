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
use header_gate_envoy::config::{Listener, config};
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

/// Output of a successful probe.
#[track_caller]
fn assert_ok(arguments: &[&str]) -> String {
    let output = probe(arguments);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.lines().last().unwrap().starts_with("ok: "), "{stdout}");
    assert!(!stdout.contains("FAILED"), "{stdout}");
    stdout
}

/// The table of a probe that fails as many checks as `failed` says, such as "1 of 7".
#[track_caller]
fn assert_fails(arguments: &[&str], failed: &str) -> String {
    let (error, table) = failure(probe(arguments));
    assert!(error.contains(&format!("{failed} checks failed")), "{error}\n{table}");
    assert!(!table.contains("ok: "), "{table}");
    table
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

#[test]
fn a_working_gate_is_accepted() {
    let (_envoy, url) = serve_variant(&Variant::default());
    let table = assert_ok(&[&url]);
    for check in DENIED {
        assert_row(&table, check, "64 x denied", "ok");
    }
    for check in ["value 1 of 1", "value 1, afterwards"] {
        assert_row(&table, check, "64 x 200", "ok");
    }
    // Another policy, with two secret values, which the table does not show.
    let (_envoy, url) = serve_variant(&api_key());
    let file = api_key().policy_file(root()).unwrap();
    let table = assert_ok(&[&url, "--policy", file.to_str().unwrap(), "--connections", "8"]);
    assert_row(&table, "value 2 of 2", "8 x 200", "ok");
    assert!(policy(&api_key()).values.iter().all(|value| !table.contains(value)), "{table}");
}

#[test]
fn a_gateway_without_the_gate_fails() {
    let (_envoy, url) = serve(Listener::new("gate")).unwrap();
    let table = assert_fails(&[&url, "--connections", "4"], "5 of 7");
    for check in DENIED {
        assert_row(&table, check, "4 x 200", "FAILED");
    }
}

#[test]
fn a_plugin_that_dies_fails() {
    // Alive at first: the probe's own byte that is not UTF-8 kills one worker after the other.
    let (envoy, url) =
        serve(listener("gate", &Variant::baseline()).access_log(ACCESS_LOG)).unwrap();
    let table = assert_fails(&[&url], "7 of 7");
    assert_row(&table, "a byte that is not UTF-8", "64 x 503", "FAILED");
    assert_row(&table, "value 1, afterwards", "64 x 503", "FAILED");
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
    let table = assert_fails(&[&url, "--connections", "2"], "5 of 7");
    assert_row(&table, "no header", &format!("2 x {}", policy(&api_key()).deny.status), "FAILED");

    // The same answer, another value: only what should pass differs.
    let file = policy_file(&folder, "\"true\"", "\"another\"");
    let (_envoy, url) = serve_variant(&Variant::default().with_policy(&file));
    let table = assert_fails(&[&url, "--connections", "2"], "2 of 7");
    assert_row(&table, "no header", "2 x denied", "ok");
    assert_row(&table, "value 1 of 1", "2 x denied", "FAILED");

    // The same status, another body or header.
    let (_envoy, url) = serve_variant(&Variant::default());
    for (right, wrong, seen) in [
        ("body = \"", "body = \"not ", "2 x 403 with another body"),
        ("text/plain", "text/html", "2 x 403 without the policy's Content-Type"),
    ] {
        let file = policy_file(&folder, right, wrong);
        let table = assert_fails(&[&url, "--policy", &file, "--connections", "2"], "5 of 7");
        assert_row(&table, "a wrong value", seen, "FAILED");
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
        let filter = json!({
            "name": "gate",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "failure_policy": failure_policy,
                    "vm_config": { "runtime": "envoy.wasm.runtime.v8", "code": { "remote": remote } },
                },
            },
        });
        let listener = Listener::new("gate").upstream(upstream.port("gate").unwrap());
        let (_envoy, url) = serve(listener.filter(filter)).unwrap();
        let table = assert_fails(&[&url, "--connections", "4"], failed);
        assert_row(&table, "no header", &format!("4 x {status}"), "FAILED");
    }
}

/// A server that hands each connection, with its number from 1 on, to `handle`. Serves until the test ends.
fn server(handle: impl Fn(usize, BufReader<TcpStream>) + Send + 'static) -> (String, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in (1..).zip(listener.incoming()) {
            handle(number, BufReader::new(stream.unwrap()));
        }
    });
    (format!("http://{address}"), address.port())
}

/// The lines of a request; none at the end of the connection.
fn request(stream: &mut BufReader<TcpStream>) -> Option<Vec<Vec<u8>>> {
    let lines = stream.by_ref().split(b'\n').map(Result::unwrap_or_default);
    let lines: Vec<_> = lines.take_while(|line| line.len() > 1).collect();
    (!lines.is_empty()).then_some(lines)
}

/// A gateway that lets a request pass by the number of its connection and the value of its header. If it adds
/// `more` to each head, it closes every connection after one answer.
fn fake(
    more: &'static str,
    passes: impl Fn(usize, Option<&[u8]>) -> bool + Send + 'static,
) -> String {
    let Policy { header, deny, .. } = policy(&Variant::default());
    let fields: String = deny.headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    let (status, size) = (deny.status, deny.body.len());
    let denial =
        format!("{status} No\r\n{fields}Content-Length: {size}\r\n{more}\r\n{}", deny.body);
    server(move |number, mut stream| {
        while let Some(head) = request(&mut stream) {
            let name = format!("{header}: ");
            let value = head.iter().find_map(|line| line.strip_prefix(name.as_bytes()));
            let passes = passes(number, value.map(|value| value.trim_ascii_end()));
            let ok = format!("200 OK\r\nContent-Length: 0\r\n{more}\r\n");
            let answer = format!("HTTP/1.1 {}", if passes { &ok } else { &denial });
            if stream.get_mut().write_all(answer.as_bytes()).is_err() || !more.is_empty() {
                break;
            }
        }
    })
    .0
}

#[test]
fn a_gate_that_is_wrong_on_one_connection_or_one_value_fails() {
    type Gate = fn(usize, Option<&[u8]>) -> bool;
    let lopsided: Gate = |number, value| number == 8 || value == Some(b"true");
    assert_ok(&[&fake("", lopsided), "--connections", "7"]);
    let table = assert_fails(&[&fake("", lopsided), "--connections", "8"], "5 of 7");
    for check in DENIED {
        assert_row(&table, check, "1 x 200, 7 x denied", "FAILED");
    }
    let gates: [(Gate, _); 3] = [
        (|_, value| value.is_some_and(|v| v.len() == 4), "value 1 of 1, altered"),
        (
            |_, value| value.is_some_and(|v| v.starts_with(b"tru") && v.len() == 4),
            "value 1 of 1, altered",
        ),
        (|_, value| matches!(value, Some(b"true" | b"")), "an empty value"),
    ];
    for (passes, check) in gates {
        let table = assert_fails(&[&fake("", passes), "--connections", "1"], "1 of 7");
        assert_row(&table, check, "1 x 200", "FAILED");
    }
}

#[test]
fn a_withdrawn_value_that_still_passes_fails() {
    let folder = TempDir::new().unwrap();
    let file = policy_file(&folder, "\"true\"", "\"new\"");
    let arguments = ["--policy", &file, "--connections", "2"];
    let both = fake("", |_, value| matches!(value, Some(b"old" | b"new")));
    assert_ok(&[&[both.as_str()], &arguments[..]].concat());
    let denied = ["--denied", "never", "--denied", "old"];
    let table = assert_fails(&[&[both.as_str()], &arguments[..], &denied].concat(), "1 of 9");
    assert_row(&table, "--denied 1 of 2", "2 x denied", "ok");
    assert_row(&table, "--denied 2 of 2", "2 x 200", "FAILED");

    let one = fake("", |_, value| value == Some(b"new"));
    let table = assert_ok(&[&[one.as_str()], &arguments[..], &denied[2..]].concat());
    assert_row(&table, "--denied 1 of 1", "2 x denied", "ok");
}

#[test]
fn a_gateway_may_close_its_connections() {
    // With or without saying so.
    for more in ["Connection: Close\r\n", "X-Drains: yes\r\n"] {
        assert_ok(&[&fake(more, |_, value| value == Some(b"true")), "--connections", "2"]);
    }
}

#[test]
fn a_stream_behind_the_gate_is_not_waited_for() {
    // Events without an end; the connections stay open until the test ends.
    let (_, upstream) = server(|_, mut stream| {
        if request(&mut stream).is_some() {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
            write!(stream.get_mut(), "{head}\r\nevent: one\n\n").unwrap();
        }
        std::mem::forget(stream);
    });
    let (_envoy, url) = serve(gate("gate").upstream(upstream)).unwrap();
    let table = assert_ok(&[&url, "--connections", "2"]);
    assert_row(&table, "value 1 of 1", "2 x 200", "ok");
    assert_row(&table, "no header", "2 x denied", "ok");
}

#[test]
fn the_access_log_shows_who_answered() {
    let (upstream, _) = serve(Listener::new("gate")).unwrap();
    let listener = gate("gate").upstream(upstream.port("gate").unwrap());
    let (envoy, url) = serve(listener.access_log(ACCESS_LOG)).unwrap();
    assert_ok(&[&url, "--connections", "1"]);
    let log = envoy.stop().unwrap();
    for line in ["200 via_upstream", "403 "] {
        assert!(log.contains(&format!("access log: {line}\n")), "{line} is not in\n{log}");
    }
}

#[test]
fn the_admin_api_shows_whether_each_worker_has_its_virtual_machine() {
    let (envoy, url) = serve_variant(&Variant::default());
    let admin = format!("http://127.0.0.1:{}", envoy.admin_port());
    let table = assert_ok(&[&url, "--admin", &admin, "--connections", "2"]);
    assert_row(&table, "virtual machines", "4", "ok");
    // Of an Envoy without a plugin, whatever the answers say.
    let (other, _) = serve(Listener::new("gate")).unwrap();
    let admin = format!("http://127.0.0.1:{}", other.admin_port());
    let table = assert_fails(&[&url, "--admin", &admin, "--connections", "2"], "1 of 8");
    assert_row(&table, "virtual machines", "0", "FAILED");
    // The gate itself is no admin API.
    let (error, _) = failure(probe(&[&url, "--admin", &url, "--connections", "2"]));
    assert!(error.contains("is not an admin API") && error.contains("403"), "{error}");
}

#[test]
fn a_gate_that_stops_answering_fails() {
    let (url, _) = server(|number, mut stream| {
        if number == 1 && request(&mut stream).is_some() {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    let (error, table) = failure(probe(&[&url]));
    assert_row(&table, "value 1 of 1", "1 x 200", "ok");
    assert_row(&table, "no header", "1 x no answer", "FAILED");
    assert_row(&table, "a wrong value", "not asked", "FAILED");
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
