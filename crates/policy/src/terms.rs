//! What any key may be: a field name, a method, a field value, a text of so many bytes. And how it is refused.

use std::fmt;

use header_gate_config::limits;

pub(crate) fn refuse<T>(key: &str, reason: impl fmt::Display) -> Result<T, String> {
    Err(format!("`{key}` {reason}"))
}

pub(crate) fn field_name(key: &str, name: &str) -> Result<(), String> {
    token(key, "field name", name)
}

/// A field name and a method are tokens: RFC 9110, sections 5.1, 5.6.2 and 9.1.
pub(crate) fn token(key: &str, what: &str, token: &str) -> Result<(), String> {
    if token.is_empty() {
        return refuse(key, format!("is an empty {what}"));
    }
    limit(key, token.len(), limits::NAME)?;
    match token.chars().find(|c| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(*c)) {
        Some(bad) => refuse(key, format!("contains {bad:?}, not allowed in a {what} (RFC 9110)")),
        None => Ok(()),
    }
}

/// A field value has no control bytes, and hosts strip whitespace around it: RFC 9110, section 5.5.
pub(crate) fn field_value(key: &str, value: &str) -> Result<(), String> {
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

pub(crate) fn limit(key: &str, bytes: usize, limit: usize) -> Result<(), String> {
    if bytes > limit {
        return refuse(key, format!("takes {bytes} bytes, at most {limit} allowed"));
    }
    Ok(())
}
