//! The probe: how the tests run it and read its table, and gateways that are not Envoy.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use header_gate_cli::build::variant::Variant;
use header_gate_policy::Policy;
use tempfile::TempDir;

use crate::gateway::{failure, probe};
use crate::{policy, root};

/// Runs the probe. `outcome` is "ok", or how many checks fail, such as "1 of 7". The table has each of these lines
/// of `rows`: a check, what was seen and the verdict.
#[track_caller]
pub fn assert_probe(arguments: &[&str], outcome: &str, rows: &str) -> String {
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

/// The table has each of these lines of `rows`.
#[track_caller]
pub fn assert_rows(table: &str, rows: &str) {
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
pub fn denials(end: &str) -> String {
    let checks = ["an empty value", "a wrong value", "value 1 of 1, altered"];
    let (first, last) = ("no header", "a byte that is not UTF-8");
    [first, checks[0], checks[1], checks[2], last]
        .map(|check| format!("{check} | {end}"))
        .join("\n")
}

/// The committed policy as another file, with `old` replaced.
pub fn policy_file(folder: &TempDir, old: &str, new: &str) -> String {
    let text = fs::read_to_string(root().join("policy.toml")).unwrap();
    assert!(text.contains(old), "{old}");
    write(folder.path(), "policy.toml", &text.replace(old, new))
}

/// A new file in `folder`.
pub fn write(folder: &Path, name: &str, content: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, content).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A server that hands each connection, with its number from 1 on, to `handle`; its port. It serves until the test
/// ends.
pub fn server(handle: impl Fn(usize, BufReader<TcpStream>) + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (number, stream) in (1..).zip(listener.incoming()) {
            handle(number, BufReader::new(stream.unwrap()));
        }
    });
    port
}

/// The lines of a request; none at the end of the connection.
pub fn request(stream: &mut BufReader<TcpStream>) -> Option<Vec<Vec<u8>>> {
    let lines = stream.by_ref().split(b'\n').map(Result::unwrap_or_default);
    let lines: Vec<_> = lines.take_while(|line| line.len() > 1).collect();
    (!lines.is_empty()).then_some(lines)
}

/// Whether a request passes, by the number of its connection and the value of its header.
pub type Gate = fn(usize, Option<&[u8]>) -> bool;

/// The answer of a service.
pub const OK: &str = "200 OK\r\nContent-Length: 0\r\n\r\n";

/// A gateway with that gate, the committed denial, and the answer `ok` to what passes; its port. Each answer has the
/// fields `more`; if there are any, the connection is closed after it.
pub fn fake(gate: Gate, ok: &'static str, more: &'static str) -> u16 {
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
