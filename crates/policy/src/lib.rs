//! The policy file: a gate's rule and the answer to every request that it denies.
//!
//! [`Policy::read`] parses the file and refuses what could not work in a gateway.
//! [`Policy::constants`] returns the Rust source that `build.rs` compiles into the plugin, so nothing
//! is parsed at run time. Every formula of the module's memory layout is a method here.
//!
//! ```toml
//! header = "allow"                # a field name (RFC 9110, section 5.1), stored in lower case
//! values = ["true"]               # a request passes if its header equals one of these bytes
//! secret = false                  # true keeps the values out of the log build's lines
//!
//! [deny]
//! status = 403                    # 200 to 599
//! headers = [["Content-Type", "text/plain"]]
//! body = "Forbidden\n"
//! details = "gate_denied"         # Envoy's %RESPONSE_CODE_DETAILS%
//! ```

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Maximum size of one accepted value; and of all of them, each padded to the longest.
const VALUE_LIMIT: usize = 4096;
/// Maximum number of accepted values: every one adds bytes and is compared on every request.
const VALUES_LIMIT: usize = 256;
/// Maximum size of the body. Everything together has to fit into one page of memory, 64 KiB.
const BODY_LIMIT: usize = 16 * 1024;
/// Maximum size of the denial's headers in serialized form.
const HEADERS_LIMIT: usize = 8 * 1024;
/// Maximum size of a field name and of the details.
const NAME_LIMIT: usize = 256;

/// Response fields that the host writes itself; a second one would contradict it.
const HOST_FIELDS: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// A policy, checked if it comes from [`Policy::read`] or [`Policy::parse`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The header's name, in lower case.
    pub header: String,
    /// The accepted values: at least one, none empty, no duplicates.
    pub values: Vec<String>,
    /// Whether the values are kept out of the log.
    #[serde(default)]
    pub secret: bool,
    /// The answer to every other request.
    pub deny: Deny,
}

/// The answer to a denied request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// Name and value, in the order of the file.
    #[serde(default, deserialize_with = "pairs")]
    pub headers: Vec<(String, String)>,
    /// May be empty.
    #[serde(default)]
    pub body: String,
    /// What Envoy shows as `%RESPONSE_CODE_DETAILS%`; may be empty.
    #[serde(default)]
    pub details: String,
}

/// Why a policy is refused: the file, the key and the reason, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    file: PathBuf,
    reason: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for Error {}

impl Policy {
    /// Reads and checks the policy in `file`.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or breaks one of the rules.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"));
        text.and_then(|text| Self::checked(&text))
            .map_err(|reason| Error { file: file.to_owned(), reason })
    }

    /// Checks the text of a policy; `file` is only named in an error.
    ///
    /// # Errors
    /// The text is not TOML, or breaks one of the rules.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Error> {
        Self::checked(text).map_err(|reason| Error { file: file.to_owned(), reason })
    }

    fn checked(text: &str) -> Result<Self, String> {
        let mut policy: Self = toml::from_str(text).map_err(|error| locate(text, error))?;
        // serde also accepts an array with the values of the fields in order.
        if toml::from_str(text).is_ok_and(|table: toml::Table| !table["deny"].is_table()) {
            return refuse("deny", "is an array, expected a table");
        }
        field_name("header", &policy.header)?;
        policy.header.make_ascii_lowercase();
        policy.check_values()?;
        policy.check_deny()?;
        Ok(policy)
    }

    fn check_values(&self) -> Result<(), String> {
        let values = &self.values;
        match values.len() {
            0 => return refuse("values", "is empty: no request could ever pass"),
            1..=VALUES_LIMIT => {}
            n => return refuse("values", format!("has {n} items, at most {VALUES_LIMIT} allowed")),
        }
        for (i, value) in values.iter().enumerate() {
            let key = format!("values[{i}]");
            if value.is_empty() {
                return refuse(&key, "is empty: an empty header is never an accepted value");
            }
            field_value(&key, value)?;
            if values[..i].contains(value) {
                return refuse(&key, "is a duplicate");
            }
        }
        limit("values", self.longest() * values.len(), VALUE_LIMIT)
    }

    fn check_deny(&self) -> Result<(), String> {
        let Deny { status, headers, body, details } = &self.deny;
        if !(200..=599).contains(status) {
            return refuse("deny.status", format!("is {status}, not between 200 and 599"));
        }
        limit("deny.body", body.len(), BODY_LIMIT)?;
        if !body.is_empty() && matches!(status, 204 | 205 | 304) {
            return refuse("deny.body", format!("cannot be sent with status {status}"));
        }
        for (i, (name, value)) in headers.iter().enumerate() {
            let key = format!("deny.headers[{i}]");
            field_name(&key, name)?;
            field_value(&key, value)?;
            if HOST_FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field)) {
                return refuse(&key, format!("sets {name}, which the host writes itself"));
            }
        }
        limit("deny.headers", self.serialized_headers().len(), HEADERS_LIMIT)?;
        limit("deny.details", details.len(), NAME_LIMIT)?;
        match details.chars().find(|c| !c.is_ascii_graphic()) {
            Some(bad) => {
                refuse("deny.details", format!("contains {bad:?}, expected visible ASCII"))
            }
            None => Ok(()),
        }
    }

    /// Size of the longest accepted value.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.values.iter().map(String::len).max().unwrap_or_default()
    }

    /// Words of eight bytes in the image of a value: the longest value, padding, and a size of four
    /// bytes at the very end.
    #[must_use]
    pub fn words(&self) -> usize {
        (self.longest() + size_of::<u32>()).div_ceil(size_of::<u64>())
    }

    /// The denial's headers as the Proxy-Wasm specification serializes maps: the number of pairs, then
    /// the sizes of each name and value, all u32 in little-endian order; then each name and each value,
    /// every one followed by a zero byte.
    #[must_use]
    pub fn serialized_headers(&self) -> Vec<u8> {
        let headers = &self.deny.headers;
        let texts = || headers.iter().flat_map(|(name, value)| [name, value]);
        let number = |n: usize| (n as u32).to_le_bytes();
        let mut form = number(headers.len()).to_vec();
        form.extend(texts().flat_map(|text| number(text.len())));
        form.extend(texts().flat_map(|text| text.bytes().chain([0])));
        form
    }

    /// The status that a gRPC client gets: what Envoy makes of the HTTP status of a local reply
    /// (`Grpc::Utility::httpToGrpcStatus`).
    #[must_use]
    pub fn grpc_status(&self) -> u8 {
        match self.deny.status {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => 14,
            _ => 2,
        }
    }

    /// The headers of the denial as the native front sends them, which answers as Envoy's local replies do:
    /// a body has a size and, without another one, the type `text/plain`.
    #[must_use]
    pub fn response(&self) -> Vec<(String, String)> {
        let Deny { status, headers, body, .. } = &self.deny;
        let mut response = vec![(":status".to_owned(), status.to_string())];
        response
            .extend(headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
        if !body.is_empty() {
            if response.iter().all(|(name, _)| name != "content-type") {
                response.push(("content-type".to_owned(), "text/plain".to_owned()));
            }
            response.push(("content-length".to_owned(), body.len().to_string()));
        }
        response
    }

    /// The headers of the denial of a gRPC call, which has no body: the body is the message, percent-encoded.
    #[must_use]
    pub fn grpc_response(&self) -> Vec<(String, String)> {
        let mut response = self.response();
        response.retain(|(name, _)| !["content-type", "content-length"].contains(&&**name));
        response[0].1 = "200".to_owned();
        response.push(("content-type".to_owned(), "application/grpc".to_owned()));
        response.push(("grpc-status".to_owned(), self.grpc_status().to_string()));
        let encode = |byte: u8| match byte {
            b'%' | ..b' ' | b'~'.. => format!("%{byte:02X}"),
            _ => char::from(byte).to_string(),
        };
        if !self.deny.body.is_empty() {
            let message = self.deny.body.bytes().map(encode).collect();
            response.push(("grpc-message".to_owned(), message));
        }
        response
    }

    /// What the log build writes for a denied request, after the context's number. It never contains a
    /// secret value.
    #[must_use]
    pub fn denial(&self) -> String {
        let accepted =
            if self.secret { "an accepted value".to_owned() } else { self.values.join(" or ") };
        format!("{} header not found or is not {accepted}, deny by default", self.header)
    }

    /// The policy and its layout as Rust constants, for `build.rs`.
    #[must_use]
    pub fn constants(&self) -> String {
        let Self { header, values, deny, .. } = self;
        let (values_len, headers_len) = (values.len(), deny.headers.len());
        let bytes = |bytes: &[u8]| format!("b\"{}\"", bytes.escape_ascii());
        let accepted: Vec<_> = values.iter().map(|value| bytes(value.as_bytes())).collect();
        let serialized = self.serialized_headers();
        let mut source = String::new();
        let mut constant = |doc: &str, name: &str, kind: &str, value: String| {
            writeln!(source, "/// {doc}\npub const {name}: {kind} = {value};").unwrap();
        };
        constant("The header's name, in lower case.", "HEADER", "&str", format!("{header:?}"));
        let kind = format!("[&[u8]; {values_len}]");
        constant("The accepted values.", "VALUES", &kind, format!("[{}]", accepted.join(", ")));
        let longest = self.longest().to_string();
        constant("Size of the longest accepted value.", "LONGEST", "usize", longest);
        constant("Words of a value's image.", "WORDS", "usize", self.words().to_string());
        constant("Status of the denial.", "STATUS", "u32", deny.status.to_string());
        let kind = format!("[(&str, &str); {headers_len}]");
        constant("Headers of the denial.", "HEADERS", &kind, format!("{:?}", deny.headers));
        let kind = format!("[u8; {}]", serialized.len());
        let doc = "The same headers in the ABI's serialized form.";
        constant(doc, "HEADERS_SERIALIZED", &kind, format!("*{}", bytes(&serialized)));
        constant("Body of the denial.", "BODY", "&str", format!("{:?}", deny.body));
        constant("Response code details.", "DETAILS", "&str", format!("{:?}", deny.details));
        for (doc, name, response) in [
            ("The denial's headers for the native front.", "RESPONSE", self.response()),
            ("The same for a gRPC call.", "GRPC_RESPONSE", self.grpc_response()),
        ] {
            let kind = format!("[(&str, &str); {}]", response.len());
            constant(doc, name, &kind, format!("{response:?}"));
        }
        constant("Log line of a denied request.", "DENIAL", "&str", format!("{:?}", self.denial()));
        source
    }
}

fn refuse<T>(key: &str, reason: impl fmt::Display) -> Result<T, String> {
    Err(format!("`{key}` {reason}"))
}

/// An error of the TOML parser on one line: the line's number, the key if one is known, the reason.
fn locate(text: &str, mut error: toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
    let reason = error.message().replacen("unknown field", "unknown key", 1);
    let reason = reason.replacen("missing field", "missing key", 1);
    // Without its input, the error prints its message and then the path of the key.
    error.set_input(None);
    let printed = error.to_string();
    let key =
        printed.rsplit_once("\nin ").map_or(String::new(), |(_, key)| format!("{}: ", key.trim()));
    let mut located = format!("line {line}: {key}{reason}");
    // Keys and strings may contain any character.
    while let Some(control) = located.chars().find(|c| c.is_control()) {
        located = located.replace(control, &control.escape_default().to_string());
    }
    located
}

/// Pairs of a name and a value. (A tuple would ignore what follows the second string.)
fn pairs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    let pairs = Vec::<Vec<String>>::deserialize(from)?.into_iter().enumerate();
    let pair = |(i, pair)| match <[String; 2]>::try_from(pair) {
        Ok([name, value]) => Ok((name, value)),
        Err(_) => Err(D::Error::custom(format!("item {i} is not a pair, [\"name\", \"value\"]"))),
    };
    pairs.map(pair).collect()
}

/// A field name is a token: RFC 9110, sections 5.1 and 5.6.2.
fn field_name(key: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        return refuse(key, "is an empty field name");
    }
    limit(key, name.len(), NAME_LIMIT)?;
    match name.chars().find(|c| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(*c)) {
        Some(bad) => {
            refuse(key, format!("contains {bad:?}, not allowed in a field name (RFC 9110)"))
        }
        None => Ok(()),
    }
}

/// A field value has no control bytes, and hosts strip whitespace around it: RFC 9110, section 5.5.
fn field_value(key: &str, value: &str) -> Result<(), String> {
    let control = value.bytes().find(|&b| b != b'\t' && b.is_ascii_control());
    let name = match control {
        Some(b'\r') => "a CR".to_owned(),
        Some(b'\n') => "an LF".to_owned(),
        Some(0) => "a NUL".to_owned(),
        Some(b) => format!("the control byte {b:#04x}"),
        None if value.trim_matches([' ', '\t']).len() != value.len() => {
            return refuse(key, "begins or ends with whitespace, which every host strips");
        }
        None => return Ok(()),
    };
    refuse(key, format!("contains {name}, not allowed in a field value (RFC 9110)"))
}

fn limit(key: &str, bytes: usize, limit: usize) -> Result<(), String> {
    if bytes > limit {
        return refuse(key, format!("takes {bytes} bytes, at most {limit} allowed"));
    }
    Ok(())
}
