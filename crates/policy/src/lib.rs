//! The policy file: a gate's rule and the answer to every request that it denies.
//!
//! [`Policy::read`] parses the file and refuses what could not work in a gateway.
//! [`Policy::warnings`] lists what works, and may surprise.
//! [`Policy::constants`] returns the Rust source that `build.rs` compiles into the plugin, so nothing
//! is parsed at run time. Every formula of the module's memory layout is a method here.
//!
//! ```toml
//! header = "allow"                # a field name (RFC 9110, section 5.1), stored in lower case
//! values = ["true"]               # a request passes if its header equals one of these bytes
//! secret = false                  # true keeps the values out of the log build's lines
//! client_header = "x-client-id"   # with `[[client]]`: names the client to the upstream
//! repeated = "deny"               # denies a header that a request has several times; the native gate alone
//! remove = true                   # takes the header off a request that passes
//! count = true                    # counters in the host's statistics
//! enforce = false                 # dry run: decides, counts and logs, and lets everything pass
//!
//! [[client]]                      # any number, instead of `values`
//! id = "billing"
//! value = "..."                   # or sha256 = "64 digits", and size = 36 if it is known
//!
//! [except]                        # passes without the header
//! preflight = true                # CORS preflights
//! methods = ["OPTIONS"]
//! paths = ["/healthz", "/.well-known/acme-challenge/*"]
//!
//! [deny]
//! status = 403                    # 200 to 599
//! headers = [["Content-Type", "text/plain"]]
//! body = "Forbidden\n"
//! details = "gate_denied"         # Envoy's %RESPONSE_CODE_DETAILS%
//! missing_details = "gate_no_key" # the same where the header is missing or empty
//! grpc_status = 16                # 1 to 16; without it the host derives one from `status`
//! ```
//!
//! | key | refused | warned of |
//! |---|---|---|
//! | `header` | names that gateways write, merge or remove: `x-envoy-*`, `x-forwarded-*`, `x-request-id`, `forwarded`, `via`, `expect`, `content-length` and the fields of one connection | an underscore; `x-real-ip` |
//! | `values` | empty ones, duplicates, control bytes, whitespace at an end | |
//! | `client` | names and values that are empty or duplicates, `value` beside `sha256`, both with `values` | |
//! | `client_header` | what `header` refuses, and `header` itself; without `client` | |
//! | `repeated` | by a plugin: it asks its host for one value | |
//! | `remove` | of `host`, which a request cannot do without | |
//! | `except.methods` | what is no method, duplicates | |
//! | `except.paths` | what a path never is once it is plain, a `*` that is not the last segment, `/*` | |
//! | `deny.status` | what is not 200 to 599 | 2xx and 304; 3xx without `location`, 401, 405, 407 without the field that they need |
//! | `deny.headers` | fields that gateways write, change or drop; `content-type` without a body; a `grpc-status` that is no error; a field twice, unless its values are a list | a list twice that Envoy joins |
//! | `deny.body` | one with 204, 205 or 304 | not ASCII, and no charset |
//! | `deny.details` | what is not visible ASCII | |
//!
//! Values with `*` at an end are ordinary here. In the fallback filter of Istio (an `AuthorizationPolicy`),
//! which is written by hand, they would be patterns.

mod check;
mod clients;
mod constants;
mod native;
mod terms;
mod warnings;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

pub use crate::clients::Client;

/// A page of WebAssembly memory.
const PAGE: usize = 64 << 10;
/// Bytes of memory that `[except]` lends for a text: what is longer exempts nothing.
const EXCEPT_ROOM: usize = 4096;

/// A policy, checked if it comes from [`Policy::read`] or [`Policy::parse`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The header's name, in lower case.
    pub header: String,
    /// The accepted values, none empty, no duplicates; at least one, unless there are clients.
    #[serde(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The clients, each with a value of its own.
    #[serde(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client: Vec<Client>,
    /// The header that names the client to the upstream, in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_header: Option<String>,
    /// Whether the values are kept out of the log.
    #[serde(default)]
    #[serde(skip_serializing_if = "is_default")]
    pub secret: bool,
    /// What becomes of a header that a request has several times, if its first value does not decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeated: Option<Repeated>,
    /// Whether the header is taken off a request that passes.
    #[serde(default)]
    #[serde(skip_serializing_if = "is_default")]
    pub remove: bool,
    /// Whether the decisions are counted in the host's statistics.
    #[serde(default)]
    #[serde(skip_serializing_if = "is_default")]
    pub count: bool,
    /// Whether requests are denied at all.
    #[serde(default = "yes")]
    #[serde(skip_serializing_if = "Clone::clone")]
    pub enforce: bool,
    /// Requests that pass without the header.
    #[serde(default)]
    #[serde(skip_serializing_if = "is_default")]
    pub except: Except,
    /// The answer to every other request.
    pub deny: Deny,
}

/// What becomes of a header that a request has several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Repeated {
    /// It is no accepted value.
    Deny,
}

/// Requests that pass without the header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Except {
    /// CORS preflights: OPTIONS with `origin` and `access-control-request-method`.
    #[serde(default)]
    #[serde(skip_serializing_if = "is_default")]
    pub preflight: bool,
    /// Methods, compared byte for byte.
    #[serde(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Whole paths, or prefixes that end in `/*`.
    #[serde(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

/// The answer to a denied request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// Name and value, in the order of the file.
    #[serde(default, deserialize_with = "pairs")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// May be empty.
    #[serde(default)]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// What Envoy shows as `%RESPONSE_CODE_DETAILS%`; may be empty.
    #[serde(default)]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub details: String,
    /// The same where the header is missing or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_details: Option<String>,
    /// The status of a denied gRPC call, 1 to 16. Without it the host derives one from `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u8>,
}

fn yes() -> bool {
    true
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
        // serde also accepts an array with the values of the fields in order.
        let table: toml::Table = toml::from_str(text).unwrap_or_default();
        for key in ["deny", "except"] {
            if table.get(key).is_some_and(toml::Value::is_array) {
                return terms::refuse(key, "is an array, expected a table");
            }
        }
        let clients = table.get("client").and_then(toml::Value::as_array);
        if clients.is_some_and(|clients| clients.iter().any(toml::Value::is_array)) {
            return terms::refuse("client", "has an array, expected tables, `[[client]]`");
        }
        toml::from_str(text).map_err(|error| locate(text, error)).and_then(Self::normal)
    }

    /// Checks a policy from another format than TOML.
    ///
    /// # Errors
    /// It is no policy, or breaks one of the rules.
    pub fn of<'de>(from: impl Deserializer<'de>) -> Result<Self, String> {
        Self::deserialize(from).map_err(|error| error.to_string()).and_then(Self::normal)
    }

    /// The policy with names in lower case, checked.
    fn normal(mut self) -> Result<Self, String> {
        self.header.make_ascii_lowercase();
        if let Some(name) = &mut self.client_header {
            name.make_ascii_lowercase();
        }
        check::check(&self)?;
        Ok(self)
    }

    /// The keys of the policy beyond what every front can do.
    #[must_use]
    pub fn options(&self) -> Vec<&'static str> {
        let Deny { details, missing_details, grpc_status, .. } = &self.deny;
        let used = [
            ("client", !self.client.is_empty()),
            ("client_header", self.client_header.is_some()),
            ("repeated", self.repeated.is_some()),
            ("remove", self.remove),
            ("count", self.count),
            ("enforce", !self.enforce),
            ("except", self.except != Except::default()),
            ("deny.details", !details.is_empty()),
            ("deny.missing_details", missing_details.is_some()),
            ("deny.grpc_status", grpc_status.is_some()),
        ];
        used.into_iter().filter_map(|(key, used)| used.then_some(key)).collect()
    }

    /// Refuses what a plugin cannot do, and the native gate can.
    ///
    /// # Errors
    /// The policy denies repeated headers.
    pub fn check_plugin(&self, file: &Path) -> Result<(), Error> {
        let reason = "is not for a plugin, which asks its host for one value and does not see that \
                      there are more; leave it out, or build the native gate (--features native)";
        let refused = self.repeated.map_or(Ok(()), |_| terms::refuse("repeated", reason));
        refused.map_err(|reason| Error { file: file.to_owned(), reason })
    }

    /// Words of eight bytes in the image of a value: the longest value, padding, and a size of four
    /// bytes at the very end.
    #[must_use]
    pub fn words(&self) -> usize {
        (self.longest() + size_of::<u32>()).div_ceil(size_of::<u64>())
    }

    /// Pages of memory that the module has: one, and what the clients' keys need more.
    #[must_use]
    pub fn pages(&self) -> usize {
        let Self { header, except, deny, .. } = self;
        let Except { methods, paths, .. } = except;
        let texts = methods.iter().chain(paths).chain([header, &deny.body, &deny.details]);
        let texts: usize = texts.chain(&deny.missing_details).map(String::len).sum();
        let room = if *except == Except::default() { 0 } else { EXCEPT_ROOM };
        let rest = texts + self.serialized_headers().len() + 2 * self.denial().len() + room;
        // With the values, the names of headers and counters, and the log's first line.
        let rest = rest + 8 * self.words() * (2 + self.values.len()) + 2048;
        if self.client.is_empty() { 1 } else { (self.table_size() + rest).div_ceil(PAGE) }
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

    /// What the log build writes for a denied request, after the context's number. It never contains a
    /// secret value.
    #[must_use]
    pub fn denial(&self) -> String {
        let accepted = if self.is_secret() {
            "an accepted value".to_owned()
        } else {
            self.values.join(" or ")
        };
        let then = if self.enforce { "deny by default" } else { "would be denied" };
        format!("{} header not found or is not {accepted}, {then}", self.header)
    }
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

/// Its examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
