//! What works, and may surprise.

use header_gate_config::fields::{is_joined, named};

use crate::{Deny, Policy};

/// Statuses that need a field to be of use to a client: RFC 9110, section 15.
const NEEDS: [(&[u16], &str); 4] = [
    (&[300, 301, 302, 303, 307, 308], "location"),
    (&[401], "www-authenticate"),
    (&[405], "allow"),
    (&[407], "proxy-authenticate"),
];

impl Policy {
    /// What works, and may surprise: the key, the reason and the mend, each on one line.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let Deny { status, headers, body, .. } = &self.deny;
        let find = |name: &str| headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        let mut found = Vec::new();
        let mut warn = |key: &str, text: String| found.push(format!("`{key}` {text}"));

        if self.header.contains('_') {
            let reason = "nginx drops such a header and Envoy Gateway rejects the request";
            warn("header", format!("contains an underscore, and by default {reason}; use dashes"));
        }
        if self.header == "x-real-ip" {
            let reason = "which proxies in front of a gateway often write";
            warn("header", format!("is `x-real-ip`, {reason}; use a name of your own"));
        }
        if matches!(status, 200..=299 | 304) {
            let reason = "which clients take for success; use 400 to 599, or a redirect";
            warn("deny.status", format!("is {status}, {reason}"));
        }
        for (statuses, field) in NEEDS {
            if statuses.contains(status) && find(field).is_none() {
                warn(
                    "deny.status",
                    format!("is {status} without `{field}`; add it to `deny.headers`"),
                );
            }
        }
        let media_type = find("content-type").map_or("", |(_, value)| value).to_ascii_lowercase();
        // JSON is UTF-8 by definition.
        let json = media_type.starts_with("application/json") || media_type.contains("+json");
        if !body.is_ascii() && !media_type.contains("charset=") && !json {
            let mend = r#"set ["content-type", "text/plain; charset=utf-8"] or the like"#;
            warn("deny.body", format!("is not ASCII, and its charset is not declared; {mend}"));
        }
        for (i, (name, _)) in headers.iter().enumerate() {
            let repeats = headers[..i].iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
            if repeats && is_joined(named(name.as_bytes())) {
                let reason = "and Envoy joins the two with a comma; write one line";
                warn(&format!("deny.headers[{i}]"), format!("repeats `{name}`, {reason}"));
            }
        }
        found
    }
}
