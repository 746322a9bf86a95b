//! The policy as Rust source.

use crate::{Deny, EXCEPT_ROOM, Except, Policy};

impl Policy {
    /// The policy and its layout as Rust constants, for `build.rs`.
    #[must_use]
    pub fn constants(&self) -> String {
        let Self { header, client_header, repeated, remove, count, enforce, except, deny, .. } =
            self;
        let Except { preflight, methods, paths } = except;
        let Deny { status, headers, body, details, missing_details, grpc_status } = deny;
        let deny_repeated = repeated.is_some();
        let grpc_status = grpc_status.map_or(-1, i32::from);
        let bytes = |bytes: &[u8]| format!("b\"{}\"", bytes.escape_ascii());
        let accepted = if self.is_hashed() { Vec::new() } else { self.accepted() };
        let accepted: Vec<_> = accepted.iter().map(|value| bytes(value.as_bytes())).collect();
        let serialized = self.serialized_headers();
        let (response, grpc_response) = (self.response(), self.grpc_response());
        format!(
            "\
/// The header's name, in lower case.
pub const HEADER: &str = {header:?};
/// The accepted values; none if the gate has digests.
pub const VALUES: [&[u8]; {}] = [{}];
/// Size of the longest accepted value.
pub const LONGEST: usize = {};
/// Words of a value's image.
pub const WORDS: usize = {};
/// Status of the denial.
pub const STATUS: u32 = {status};
/// Headers of the denial.
pub const HEADERS: [(&str, &str); {}] = {headers:?};
/// The same headers in the ABI's serialized form.
pub const HEADERS_SERIALIZED: [u8; {}] = *{};
/// Body of the denial.
pub const BODY: &str = {body:?};
/// Response code details.
pub const DETAILS: &str = {details:?};
/// The same where the header is missing or empty, if it differs.
pub const MISSING_DETAILS: Option<&str> = {missing_details:?};
/// gRPC status of the denial; -1 if the host derives it.
pub const GRPC_STATUS: i32 = {grpc_status};
/// Whether a header that a request has several times is denied.
pub const DENY_REPEATED: bool = {deny_repeated};
/// Whether the header is taken off a request that passes.
pub const REMOVE: bool = {remove};
/// Whether decisions are counted.
pub const COUNT: bool = {count};
/// Whether requests are denied at all.
pub const ENFORCE: bool = {enforce};
/// Whether CORS preflights pass without the header.
pub const PREFLIGHT: bool = {preflight};
/// Methods that pass without the header.
pub const METHODS: [&str; {}] = {methods:?};
/// Paths that pass without the header: whole ones, and prefixes that end in `/*`.
pub const PATHS: [&str; {}] = {paths:?};
/// Headers of the denial as the native front sends them.
pub const RESPONSE: [(&str, &str); {}] = {response:?};
/// The same for a gRPC call.
pub const GRPC_RESPONSE: [(&str, &str); {}] = {grpc_response:?};
/// Log line of a denied request.
pub const DENIAL: &str = {:?};
/// The header that names the client to the upstream.
pub const CLIENT_HEADER: Option<&str> = {client_header:?};
/// The longest text that a request is exempted by.
pub const EXCEPT_ROOM: usize = {EXCEPT_ROOM};
{}",
            accepted.len(),
            accepted.join(", "),
            self.longest(),
            self.words(),
            headers.len(),
            serialized.len(),
            bytes(&serialized),
            methods.len(),
            paths.len(),
            response.len(),
            grpc_response.len(),
            self.denial(),
            self.rule()
        )
    }

    /// The rule and the names of the clients. They are statics: a constant would be copied to where it is used.
    fn rule(&self) -> String {
        let Some(table) = self.table().filter(|_| !self.client.is_empty()) else {
            return "\
/// Words of memory that the rule needs.
pub const SCRATCH: usize = 0;
/// The rule.
pub static RULE: crate::decision::Rule<WORDS, { VALUES.len() }> = crate::decision::Rule::new(&VALUES);
/// Where the names of clients begin and end.
pub static IDS: [u32; 0] = [];
/// The names of clients.
pub static ID_TEXT: &str = \"\";
"
            .to_owned();
        };
        let (n, buckets, sizes) = (table.keys.len(), table.displacements.len(), self.sizes());
        let clients = format!(
            "crate::decision::Clients {{ seed: {}, displacements: {:?}, keys: {:?}, sizes: {sizes:?} }}",
            table.seed, table.displacements, table.keys
        );
        let sizes = sizes.len();
        let (kind, rule, scratch) = if self.is_hashed() {
            let longest = self.longest();
            let rule =
                format!("crate::decision::Digests {{ clients: {clients}, longest: {longest} }}");
            (format!("Digests<{n}, {buckets}, {sizes}>"), rule, "crate::decision::sha256::SCRATCH")
        } else {
            (format!("Clients<WORDS, {n}, {buckets}, {sizes}>"), clients, "0")
        };
        let (mut ids, mut text) = (vec![0], String::new());
        if self.client_header.is_some() {
            for &client in &table.clients {
                text += &self.client[client].id;
                ids.push(text.len());
            }
        }
        format!(
            "\
/// Words of memory that the rule needs.
pub const SCRATCH: usize = {scratch};
/// The rule.
pub static RULE: crate::decision::{kind} = {rule};
/// Where the names of clients begin and end.
pub static IDS: [u32; {}] = {ids:?};
/// The names of clients.
pub static ID_TEXT: &str = {text:?};
",
            ids.len()
        )
    }
}
