//! The policy file: the one place where a gate's rule and its answer are written.
//!
//! [`Policy::read`] takes the file and refuses whatever could not work in a gateway;
//! [`Policy::constants`] is the Rust source that `build.rs` compiles into the plugin. Nothing of a
//! policy is parsed at run time.
//!
//! ```toml
//! header = "allow"                # a field name (RFC 9110, section 5.1), kept in lower case
//! values = ["true"]               # any of these, byte for byte, lets a request pass
//! secret = false                  # true keeps the values out of the log build's lines
//!
//! [deny]
//! status = 403                    # 200 to 599
//! headers = [["Content-Type", "text/plain"]]
//! body = "Forbidden\n"
//! details = "gate_denied"         # Envoy's %RESPONSE_CODE_DETAILS%
//! ```

use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// Most bytes of one accepted value; and of all of them, each padded to the longest.
const VALUE_LIMIT: usize = 4096;
/// Most accepted values: each takes some more bytes than its own, and is compared with each request.
const VALUES_LIMIT: usize = 256;
/// Most bytes of the body. Everything together has to fit into one page of memory, 64 KiB.
const BODY_LIMIT: usize = 16 * 1024;
/// Most bytes of the header pairs of the answer, in the form that a host reads.
const HEADERS_LIMIT: usize = 8 * 1024;
/// Most bytes of a field name and of the details.
const NAME_LIMIT: usize = 256;

/// Fields of the answer that the host writes itself; a second one would contradict it.
const HOST_FIELDS: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// A checked policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The header's name, in lower case.
    pub header: String,
    /// The accepted values: at least one, none empty, no two alike.
    pub values: Vec<String>,
    /// Whether the values are kept out of the log.
    pub secret: bool,
    /// The answer to every other request.
    pub deny: Deny,
}

/// The answer to a request that does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deny {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// Name and value, in the order of the file.
    pub headers: Vec<(String, String)>,
    /// May be empty.
    pub body: String,
    /// What Envoy shows as `%RESPONSE_CODE_DETAILS%`; may be empty.
    pub details: String,
}

/// Why a policy is refused: the file, the key and the reason, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    file: PathBuf,
    key: String,
    reason: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if !self.key.is_empty() {
            // A key may be any text in TOML, and an error is one line.
            write!(f, "`{}` ", self.key.escape_debug())?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Error {}

/// A reason without its place: the key, then the reason.
type Refusal = (String, String);

fn refuse<T>(key: &str, reason: impl Into<String>) -> Result<T, Refusal> {
    Err((key.to_owned(), reason.into()))
}

impl Policy {
    /// Reads and checks the policy in `file`.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or breaks one of the rules; the error names the file,
    /// the key and the reason.
    pub fn read(file: &Path) -> Result<Self, Error> {
        fs::read_to_string(file)
            .map_err(|error| (String::new(), format!("cannot be read: {error}")))
            .and_then(|text| Self::check(&text))
            .map_err(|(key, reason)| Error { file: file.to_owned(), key, reason })
    }

    /// Checks the text of a policy; `file` is only named in an error.
    ///
    /// # Errors
    /// As for [`Policy::read`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, Error> {
        Self::check(text).map_err(|(key, reason)| Error { file: file.to_owned(), key, reason })
    }

    fn check(text: &str) -> Result<Self, Refusal> {
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            (String::new(), format!("line {line} is not TOML: {}", error.message()))
        })?;
        let header = required(&mut table, "header", "header", string)?;
        field_name("header", &header)?;
        let values = values(required(&mut table, "values", "values", strings)?)?;
        let secret = optional(&mut table, "secret", "secret", boolean)?.unwrap_or(false);
        let deny = deny(required(&mut table, "deny", "deny", sub_table)?)?;
        nothing_else(&table, "", "`header`, `values`, `secret` and `[deny]`")?;
        Ok(Self { header: header.to_ascii_lowercase(), values, secret, deny })
    }

    /// What the log build writes of a denied request, after the context's number.
    ///
    /// A secret value is never part of it.
    #[must_use]
    pub fn denial(&self) -> String {
        let accepted =
            if self.secret { "an accepted value".to_owned() } else { self.values.join(" or ") };
        format!("{} header not found or is not {accepted}, deny by default", self.header)
    }

    /// The policy as Rust constants, for `build.rs`.
    #[must_use]
    pub fn constants(&self) -> String {
        let Self { header, values, deny, .. } = self;
        let accepted: Vec<_> =
            values.iter().map(|v| format!("b\"{}\"", v.as_bytes().escape_ascii())).collect();
        let mut source = String::new();
        let mut constant = |doc: &str, name: &str, kind: &str, value: String| {
            writeln!(source, "/// {doc}\npub const {name}: {kind} = {value};").unwrap();
        };
        let text = |text: &str| format!("{text:?}");
        constant("The header's name, in lower case.", "HEADER", "&str", text(header));
        constant(
            "The accepted values; the longest sets the size of what the plugin lends the host.",
            "VALUES",
            &format!("[&[u8]; {}]", values.len()),
            format!("[{}]", accepted.join(", ")),
        );
        constant("Status of the answer.", "STATUS", "u32", deny.status.to_string());
        constant(
            "Header pairs of the answer, in order.",
            "HEADERS",
            &format!("[(&str, &str); {}]", deny.headers.len()),
            format!("{:?}", deny.headers),
        );
        constant("Body of the answer.", "BODY", "&str", text(&deny.body));
        constant(
            "Details of the answer, for the access log.",
            "DETAILS",
            "&str",
            text(&deny.details),
        );
        constant("What the log says of a denied request.", "DENIAL", "&str", text(&self.denial()));
        source
    }
}

fn deny(mut table: Table) -> Result<Deny, Refusal> {
    let status = required(&mut table, "status", "deny.status", integer)?;
    let status = match u16::try_from(status) {
        Ok(status @ 200..=599) => status,
        _ => return refuse("deny.status", format!("is {status}, not between 200 and 599")),
    };
    let body = optional(&mut table, "body", "deny.body", string)?.unwrap_or_default();
    limit("deny.body", body.len(), BODY_LIMIT)?;
    if !body.is_empty() && matches!(status, 204 | 205 | 304) {
        return refuse("deny.body", format!("cannot be sent with status {status}"));
    }
    let headers = optional(&mut table, "headers", "deny.headers", pairs)?.unwrap_or_default();
    limit("deny.headers", serialized_size(&headers), HEADERS_LIMIT)?;
    let details = optional(&mut table, "details", "deny.details", string)?.unwrap_or_default();
    limit("deny.details", details.len(), NAME_LIMIT)?;
    if let Some(bad) = details.chars().find(|c| !c.is_ascii_graphic()) {
        return refuse("deny.details", format!("holds {bad:?}; only visible ASCII can be logged"));
    }
    nothing_else(&table, "deny.", "`status`, `headers`, `body` and `details`")?;
    Ok(Deny { status, headers, body, details })
}

fn values(values: Vec<String>) -> Result<Vec<String>, Refusal> {
    if values.is_empty() {
        return refuse("values", "is empty: no request could ever pass");
    }
    if values.len() > VALUES_LIMIT {
        return refuse("values", format!("holds {}; {VALUES_LIMIT} is the most", values.len()));
    }
    for (i, value) in values.iter().enumerate() {
        let key = format!("values[{i}]");
        if value.is_empty() {
            return refuse(&key, "is empty: an empty header is never an agreed value");
        }
        field_value(&key, value)?;
        if values[..i].contains(value) {
            return refuse(&key, "is there twice");
        }
    }
    let longest = values.iter().map(String::len).max().unwrap_or_default();
    limit("values", longest * values.len(), VALUE_LIMIT)?;
    Ok(values)
}

/// Bytes of the header pairs in the ABI's form: their number; of each pair two sizes, name and value,
/// and a zero behind either.
fn serialized_size(headers: &[(String, String)]) -> usize {
    4 + headers.iter().map(|(name, value)| 8 + name.len() + 1 + value.len() + 1).sum::<usize>()
}

fn pairs(key: &str, value: Value) -> Result<Vec<(String, String)>, Refusal> {
    let mut pairs = Vec::new();
    for (i, pair) in array(key, value)?.into_iter().enumerate() {
        let key = format!("{key}[{i}]");
        let Ok([name, value]) = <[String; 2]>::try_from(strings(&key, pair)?) else {
            return refuse(&key, "is not a pair, [\"name\", \"value\"]");
        };
        field_name(&key, &name)?;
        field_value(&key, &value)?;
        if HOST_FIELDS.contains(&name.to_ascii_lowercase().as_str()) {
            return refuse(&key, format!("names {name}, which the host writes itself"));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// A field name is a token: RFC 9110, sections 5.1 and 5.6.2.
fn field_name(key: &str, name: &str) -> Result<(), Refusal> {
    if name.is_empty() {
        return refuse(key, "is an empty field name");
    }
    limit(key, name.len(), NAME_LIMIT)?;
    match name.chars().find(|c| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(*c)) {
        Some(bad) => refuse(key, format!("holds {bad:?}, which no field name may (RFC 9110)")),
        None => Ok(()),
    }
}

/// A field value has no control bytes, and hosts strip blanks around it: RFC 9110, section 5.5.
fn field_value(key: &str, value: &str) -> Result<(), Refusal> {
    match value.bytes().find(|&b| b != b'\t' && b.is_ascii_control()) {
        Some(b'\r') => refuse(key, "holds a CR, which no field value may (RFC 9110)"),
        Some(b'\n') => refuse(key, "holds an LF, which no field value may (RFC 9110)"),
        Some(0) => refuse(key, "holds a NUL, which no field value may (RFC 9110)"),
        Some(b) => refuse(key, format!("holds the control byte {b:#04x}, which gateways refuse")),
        None if value.trim_matches([' ', '\t']).len() != value.len() => {
            refuse(key, "begins or ends with a blank, which every host strips")
        }
        None => Ok(()),
    }
}

fn limit(key: &str, bytes: usize, most: usize) -> Result<(), Refusal> {
    if bytes > most {
        refuse(key, format!("takes {bytes} bytes; {most} is the most"))
    } else {
        Ok(())
    }
}

/// Takes `name` out of `table`; `key` is its full name in an error.
fn optional<T>(
    table: &mut Table,
    name: &str,
    key: &str,
    read: fn(&str, Value) -> Result<T, Refusal>,
) -> Result<Option<T>, Refusal> {
    table.remove(name).map(|value| read(key, value)).transpose()
}

fn required<T>(
    table: &mut Table,
    name: &str,
    key: &str,
    read: fn(&str, Value) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    match optional(table, name, key, read)? {
        Some(value) => Ok(value),
        None => refuse(key, "is missing"),
    }
}

fn nothing_else(rest: &Table, prefix: &str, known: &str) -> Result<(), Refusal> {
    match rest.keys().next() {
        Some(key) => refuse(&format!("{prefix}{key}"), format!("is not a key here; {known} are")),
        None => Ok(()),
    }
}

fn string(key: &str, value: Value) -> Result<String, Refusal> {
    match value {
        Value::String(text) => Ok(text),
        other => refuse(key, format!("is a TOML {}, not a string", other.type_str())),
    }
}

fn boolean(key: &str, value: Value) -> Result<bool, Refusal> {
    match value {
        Value::Boolean(yes) => Ok(yes),
        other => refuse(key, format!("is a TOML {}, not true or false", other.type_str())),
    }
}

fn integer(key: &str, value: Value) -> Result<i64, Refusal> {
    match value {
        Value::Integer(number) => Ok(number),
        other => refuse(key, format!("is a TOML {}, not a whole number", other.type_str())),
    }
}

fn sub_table(key: &str, value: Value) -> Result<Table, Refusal> {
    match value {
        Value::Table(table) => Ok(table),
        other => refuse(key, format!("is a TOML {}, not a table", other.type_str())),
    }
}

fn array(key: &str, value: Value) -> Result<Vec<Value>, Refusal> {
    match value {
        Value::Array(items) => Ok(items),
        other => refuse(key, format!("is a TOML {}, not an array", other.type_str())),
    }
}

fn strings(key: &str, value: Value) -> Result<Vec<String>, Refusal> {
    let items = array(key, value)?.into_iter().enumerate();
    items.map(|(i, item)| string(&format!("{key}[{i}]"), item)).collect()
}
