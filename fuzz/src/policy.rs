//! The policy parser: it never panics, an error is one line, and an accepted policy makes a module.

use std::path::Path;

use header_gate_host::pairs;
use header_gate_policy::Policy;

/// The memory of a module, which no policy may outgrow.
const PAGE: usize = 64 * 1024;

/// Checks how the policy `text` is parsed; returns the policy if it is accepted.
pub fn check(text: &str) -> Option<Policy> {
    let policy = match Policy::parse(text, Path::new("policy.toml")) {
        Ok(policy) => policy,
        Err(error) => {
            let error = error.to_string();
            let printable = error.chars().all(|c| !c.is_control());
            assert!(printable && error.starts_with("policy.toml: "), "{error:?}");
            return None;
        }
    };
    let Policy { header, deny, client, .. } = &policy;
    let values = &policy.accepted();
    assert!(header.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()));
    assert!(!header.is_empty() && (200..=599).contains(&deny.status));
    assert!(!values.is_empty() || policy.is_hashed());
    assert!(client.iter().all(|client| !client.id.is_empty()));
    for (i, value) in values.iter().enumerate() {
        assert!(!value.is_empty() && !values[..i].contains(value), "{value:?}");
    }
    for value in deny.headers.iter().map(|(_, value)| value.as_str()).chain(values.iter().copied())
    {
        assert!(value.bytes().all(|b| b == b'\t' || !b.is_ascii_control()), "{value:?}");
        assert_eq!(value.trim_matches([' ', '\t']), value, "hosts strip whitespace");
    }
    let read = pairs(&policy.serialized_headers()).expect("the ABI's form");
    assert!(
        read.iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .eq(deny.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    );
    let source = policy.constants();
    // The compiler rejects these characters in a source.
    assert!(!source.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')));
    syn::parse_file(&source).expect("Rust");
    check_memory(&policy);
    Some(policy)
}

/// Everything that a module with this policy and log lines keeps in memory fits into its pages.
fn check_memory(policy: &Policy) {
    let Policy { header, values, deny, except, .. } = policy;
    // The null address, the lent image, the images of the accepted values, and the value's address.
    let images = 8 + 8 * policy.words() * (1 + values.len()) + 8;
    let details = deny.details.len() + deny.missing_details.as_ref().map_or(0, String::len);
    let denial = policy.serialized_headers().len() + deny.body.len() + details;
    // With the names of the headers that are asked for, and of the counters.
    let options = except.methods.iter().chain(&except.paths).map(String::len).sum::<usize>() + 256;
    // A context's number and a prefix in front of each of two lines.
    let lines = 2 * 24 + "on_http_request_headers".len() + policy.denial().len();
    let clients: usize =
        policy.client.iter().map(|client| 8 * policy.words().max(4) + client.id.len() + 6).sum();
    let memory = images + header.len() + denial + options + lines + clients;
    assert!(memory <= policy.pages() * PAGE, "{memory} bytes, {} pages", policy.pages());
}
