//! The conformance table: what a gate answers, case by case, as data.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use toml::{Table, Value};

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// GET unless the row says otherwise.
    pub method: String,
    /// HTTP/1.1 unless the row says otherwise.
    pub protocol: Protocol,
    /// Names and values as they are sent, in order.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// What is sent after the headers.
    pub body: Vec<u8>,
    /// Whether the upstream answers, and not the gate.
    pub passes: bool,
}

/// How a case is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2 with prior knowledge
    Http2,
    /// A gRPC call over HTTP/2
    Grpc,
}

impl Case {
    /// What Envoy finds when it is asked for the header `name`: the first one, stripped of blanks.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        let wanted = |(n, _): &&(Vec<u8>, Vec<u8>)| n.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().find(wanted).map(|(_, value)| value.trim_ascii())
    }
}

/// Reads the table in `file`.
///
/// # Errors
/// The file cannot be read, or a row is not of the form that the file's head describes.
pub fn read(file: &Path) -> Result<Vec<Case>> {
    let table: Table = fs::read_to_string(file)?.parse()?;
    let rows = table.get("case").and_then(Value::as_array).context("there is no [[case]]")?;
    ensure!(!rows.is_empty(), "there is no [[case]]");
    rows.iter()
        .map(|row| {
            let name = row.get("name").and_then(Value::as_str).context("a case has no name")?;
            case(row, name).with_context(|| format!("case {name:?}"))
        })
        .collect::<Result<_>>()
        .with_context(|| file.display().to_string())
}

fn case(row: &Value, name: &str) -> Result<Case> {
    let text = |key| row.get(key).and_then(Value::as_str);
    let protocol = match text("protocol").unwrap_or("http1") {
        "http1" => Protocol::Http1,
        "http2" => Protocol::Http2,
        "grpc" => Protocol::Grpc,
        other => bail!("{other:?} is no protocol"),
    };
    let headers = row.get("headers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    Ok(Case {
        name: name.to_owned(),
        method: text("method").unwrap_or("GET").to_owned(),
        protocol,
        headers: headers.iter().map(header).collect::<Result<_>>()?,
        body: text("body").unwrap_or_default().into(),
        passes: row.get("passes").and_then(Value::as_bool).context("`passes` is missing")?,
    })
}

fn header(item: &Value) -> Result<(Vec<u8>, Vec<u8>)> {
    let parts = item.as_array().context("a header is no array")?;
    let (name, value, times) = match parts.as_slice() {
        [Value::String(name), Value::String(value)] => (name, value, 1),
        [Value::String(name), Value::String(value), Value::Integer(times)] => {
            (name, value, usize::try_from(*times)?)
        }
        _ => bail!("{item:?} is no header"),
    };
    Ok((name.clone().into(), unescape(value)?.repeat(times)))
}

/// `text` as bytes, with `\xNN` for the byte of that number.
fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).context("\\x wants two digits")?;
        bytes.push(u8::from_str_radix(digits, 16)?);
        bytes.extend(rest.as_bytes());
    }
    Ok(bytes)
}
