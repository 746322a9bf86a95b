//! What `deploy/probe.sh` sends, accepts as arguments, and prints, with gateways that are not Envoy.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use header_gate_e2e::gateway::{failure, probe};
use header_gate_e2e::probe::{
    Gate, OK, assert_probe, assert_rows, denial, denials, fake, policy_file, request, server, write,
};
use header_gate_e2e::root;
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn every_wrong_value_and_connection_is_found() {
    const STREAM: &str = "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nevent\n\r\n";
    const ECHO: &str = "400 No\r\nContent-Length: 7\r\n\r\nold key";
    let folder = TempDir::new().unwrap();
    let new = format!("--policy {}", policy_file(&folder, "\"true\"", "\"new\""));
    let one = format!("--denied-file {}", write(folder.path(), "one", "old\n"));
    let two = format!("--denied-file {}", write(folder.path(), "two", "never\nold"));
    let right: Gate = |_, value| value == Some(b"true");
    let rotated: Gate = |_, value| value == Some(b"new");
    let both: Gate = |_, value| matches!(value, Some(b"old" | b"new"));
    let late: Gate = |_, value| value == Some(b"old");
    let lopsided: Gate = |number, value| number == 8 || value == Some(b"true");
    let size: Gate = |_, value| value.is_some_and(|value| value.len() == 4);
    let prefix: Gate = |_, value| value.is_some_and(|v| v.starts_with(b"tru") && v.len() == 4);
    let empty: Gate = |_, value| matches!(value, Some(b"true" | b""));
    let altered = "value 1 of 1, altered | 2 x 200 | FAILED";
    let denied = "denied value 1 of 2 | 2 x denied | ok\ndenied value 2 of 2 | 2 x 200 | FAILED";
    let secret = "denied value 1 of 1 | 2 x 400, not the gate's denial | FAILED";
    for (gate, ok, more, arguments, outcome, rows) in [
        // What passes may be a stream without an end, which stays open.
        (right, STREAM, "", "2", "ok", "value 1 of 1 | 2 x 200 | ok"),
        // A gateway may close its connections, with or without saying so.
        (right, OK, "Connection: Close\r\n", "2", "ok", ""),
        (right, OK, "X-Drains: yes\r\n", "2", "ok", ""),
        (lopsided, OK, "", "7", "ok", ""),
        (lopsided, OK, "", "8", "6 of 8", &denials("1 x 200, 7 x denied | FAILED")),
        (size, OK, "", "2", "1 of 8", altered),
        (prefix, OK, "", "2", "1 of 8", altered),
        (empty, OK, "", "2", "1 of 8", "an empty value | 2 x 200 | FAILED"),
        // Withdrawn values.
        (both, OK, "", "2 NEW", "ok", ""),
        (both, OK, "", "2 NEW TWO", "1 of 10", denied),
        (late, ECHO, "", "2 NEW ONE", "3 of 9", secret),
        (rotated, OK, "", "2 NEW ONE", "ok", "denied value 1 of 1 | 2 x denied | ok"),
    ] {
        let arguments = arguments.replace("NEW", &new).replace("ONE", &one).replace("TWO", &two);
        let url = format!("http://127.0.0.1:{}/", fake(gate, ok, more));
        let arguments = format!("{url} --connections {arguments}");
        assert_probe(&arguments.split(' ').collect::<Vec<_>>(), outcome, rows);
    }
}

#[test]
fn a_grpc_call_has_to_be_denied_with_the_right_status_and_message() {
    let right = "7\r\ngrpc-message: Forbidden by ASM Wasm Plugin, rust version%0A";
    for (status, outcome, seen) in [
        (right, "ok", "2 x denied (by its gRPC status) | ok"),
        ("7", "1 of 8", "2 x grpc-status 7, not the gate's denial | FAILED"),
        ("0", "1 of 8", "2 x grpc-status 0, not the gate's denial | FAILED"),
    ] {
        let port = server(move |_, mut stream| {
            while let Some(head) = request(&mut stream) {
                let head = head.concat();
                let has =
                    |part: &str| head.windows(part.len()).any(|found| found == part.as_bytes());
                let answer = if has("application/grpc") {
                    format!("200 OK\r\ngrpc-status: {status}\r\nContent-Length: 0\r\n\r\n")
                } else if has("allow: true\r") {
                    OK.to_owned()
                } else {
                    denial()
                };
                let answer = format!("HTTP/1.1 {answer}");
                if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        });
        let url = format!("http://127.0.0.1:{port}/");
        let row = format!("no header, gRPC | {seen}");
        assert_probe(&[&url, "--connections", "2"], outcome, &row);
    }
}

#[test]
fn withdrawn_values_are_read_from_standard_input() {
    let folder = TempDir::new().unwrap();
    let open = fake(|_, value| matches!(value, Some(b"true" | b"old")), OK, "");
    let mut script = Command::new(root().join("deploy/probe.sh"));
    script.args([&format!("http://127.0.0.1:{open}"), "--denied-file", "-"]).current_dir(root());
    let file = write(folder.path(), "values", "old\n");
    let (error, table) = failure(script.stdin(File::open(file).unwrap()).output().unwrap());
    assert_rows(&table, "denied value 1 of 1 | 64 x 200 | FAILED");
    assert!(error.contains("1 of 9 checks failed") && !table.contains("old"), "{error}\n{table}");
}

#[test]
fn values_are_not_sent_to_other_machines_without_tls() {
    // This address is no loopback address, and still leads to this machine.
    let url = format!("http://0.0.0.0:{}/", fake(|_, value| value == Some(b"true"), OK, ""));
    let (error, table) = failure(probe(&[&url]));
    assert!(error.contains("without TLS") && error.contains("--plaintext"), "{error}");
    assert_eq!(table, "");
    assert_probe(&[&url, "--plaintext", "--connections", "2"], "ok", "");
}

#[test]
fn machines_read_json_and_metrics() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("gate.prom");
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    // Nobody listens on port 1.
    for (port, ok, checks, seen) in [
        (
            fake(|_, value| value == Some(b"true"), OK, ""),
            true,
            8,
            json!([{ "count": 2, "answer": "denied" }]),
        ),
        (fake(|_, _| true, OK, ""), false, 8, json!([{ "count": 2, "answer": "200" }])),
        (1, false, 0, Value::Null),
    ] {
        let gate = format!("127.0.0.1:{port}");
        let url = format!("http://{gate}/");
        let prometheus = ["--prometheus", file.to_str().unwrap(), "--host", "gate.test"];
        let output = probe(&[&[&*url, "--json", "--connections", "2"], &prometheus[..]].concat());
        assert_eq!(output.status.success(), ok);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let about = [&report["ok"], &report["gate"], &report["host"], &report["policy"]];
        assert_eq!(json!(about), json!([ok, gate, "gate.test", "policy.toml"]));
        assert_eq!(report["error"].is_null(), ok, "{report}");
        assert_eq!(report["checks"].as_array().unwrap().len(), checks);
        assert_eq!(report["checks"][1]["seen"], seen);

        let metrics = fs::read_to_string(&file).unwrap();
        let labels = format!("gate=\"{gate}\",host=\"gate.test\",policy=\"policy.toml\"");
        let value = |name: &str, labels: &str| {
            let sample = format!("header_gate_probe_{name}{{{labels}}} ");
            metrics.lines().find_map(|line| line.strip_prefix(&sample)?.parse::<u64>().ok())
        };
        assert_eq!(value("success", &labels), Some(ok.into()), "{metrics}");
        assert!(value("timestamp_seconds", &labels).unwrap() >= start, "{metrics}");
        let check = |name: &str| value("check_success", &format!("{labels},check=\"{name}\""));
        let asked = checks > 0;
        assert_eq!(check("value 1 of 1"), asked.then_some(1), "{metrics}");
        assert_eq!(check("no header"), asked.then_some(ok.into()), "{metrics}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
    }
    // A policy that cannot be read, and a file that cannot be written.
    let bad = ["http://127.0.0.1:1/", "--policy", "none.toml", "--prometheus"];
    failure(probe(&[&bad[..], &[file.to_str().unwrap()]].concat()));
    let metrics = fs::read_to_string(&file).unwrap();
    assert!(metrics.contains("policy=\"none.toml\"} 0\n"), "{metrics}");
    let (error, _) = failure(probe(&[&bad[..], &["no-such-folder/gate.prom"]].concat()));
    assert!(["none.toml", "no-such-folder"].iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn a_gate_that_stops_answering_fails() {
    let port = server(|number, mut stream| {
        if number == 1 && request(&mut stream).is_some() {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    let (error, table) = failure(probe(&[&format!("http://127.0.0.1:{port}/")]));
    let [first, second] = ["value 1 of 1 | 1 x 200 | ok", "no header | 1 x no answer | FAILED"];
    assert_rows(&table, &format!("{first}\n{second}\na wrong value | not asked | FAILED"));
    assert!(error.contains("stopped answering"), "{error}");
}

#[test]
fn bad_arguments_are_one_error() {
    let folder = TempDir::new().unwrap();
    let bad = policy_file(&folder, "[\"true\"]", "[]");
    let none = write(folder.path(), "none", "");
    let accepted = write(folder.path(), "accepted", "old\ntrue\n");
    let control = write(folder.path(), "control", "b\tc: d\n");
    // Nobody listens on port 1.
    let url = "http://127.0.0.1:1/";
    let tls = "https://127.0.0.1:1/";
    for (arguments, parts) in [
        (&[][..], ["error: ", "required"]),
        (&[url], ["cannot connect to 127.0.0.1:1", "refused"]),
        (&["ftp://127.0.0.1/"], ["ftp://127.0.0.1/", "http:// or https://"]),
        (&["http://gate.invalid/"], ["cannot find gate.invalid:80", "lookup"]),
        (&[url, "--policy", &bad], [&bad, "`values` is missing or empty"]),
        (&[url, "--policy", "none.toml"], ["none.toml", "cannot be read"]),
        (&[url, "--connections", "0"], ["--connections", "0"]),
        (&[url, "--expect", "204,403"], ["--expect 403", "policy.toml denies with this status"]),
        (&[url, "--expect", "99"], ["--expect", "99"]),
        (&[url, "--denied-file", &none], [&none, "has no value"]),
        (&[url, "--denied-file", &accepted], ["accepted, line 2", "accepts this value"]),
        (&[url, "--denied-file", &control], ["control, line 1", "control character"]),
        (&[url, "--denied-file", "missing"], ["--denied-file missing", "No such file"]),
        (&[url, "--insecure"], ["--insecure", "https://"]),
        (&[url, "--cacert", &none], ["--cacert", "https://"]),
        (&[tls, "--cacert", &none], [&none, "no certificate"]),
        (&[tls, "--cacert", &none, "--insecure"], ["--cacert", "cannot be used with"]),
        (&[url, "--admin", "127.0.0.1:9901"], ["127.0.0.1:9901", "does not begin with http://"]),
        (&[url, "--polcy"], ["--polcy", "unexpected"]),
        // Everybody on this machine can read a command line.
        (&[url, "--denied", "old"], ["'--denied'", "unexpected"]),
    ] {
        let (error, table) = failure(probe(arguments));
        assert!(table.is_empty() && parts.iter().all(|part| error.contains(part)), "{error}");
    }
}
