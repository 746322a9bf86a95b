//! What is refused: a policy that could not work in a gateway.

use std::fmt;

use crate::fields::{Denial, denial_field, is_owned, may_repeat};
use crate::{Deny, Policy};

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

/// Checks everything that the types do not.
pub(crate) fn check(policy: &Policy) -> Result<(), String> {
    let header = &policy.header;
    field_name("header", header)?;
    if is_owned(header) {
        let reason = "which gateways write, merge or remove; use a name of your own, such as";
        return refuse("header", format!("is `{header}`, {reason} `x-gate`"));
    }
    values(policy)?;
    deny(policy)
}

fn values(policy: &Policy) -> Result<(), String> {
    let values = &policy.values;
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
    limit("values", policy.longest() * values.len(), VALUE_LIMIT)
}

fn deny(policy: &Policy) -> Result<(), String> {
    let Deny { status, headers, body, details } = &policy.deny;
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
        match denial_field(name) {
            Denial::Owned => {
                let reason = "which gateways write, change or drop; remove it";
                return refuse(&key, format!("sets `{name}`, {reason}"));
            }
            Denial::ContentType if body.is_empty() => {
                let reason = "without a body, and gateways drop it; remove it or add `deny.body`";
                return refuse(&key, format!("sets `{name}` {reason}"));
            }
            Denial::GrpcStatus if !(1..=16).contains(&value.parse().unwrap_or(0)) => {
                let reason = "not a gRPC error; use a number from 1 to 16, or remove it";
                return refuse(&key, format!("sets `{name}` to {value:?}, {reason}"));
            }
            _ => {}
        }
        let repeats = headers[..i].iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        if repeats && !may_repeat(name) {
            let reason = "and clients and gateways use one of the values, or both as one; keep one";
            return refuse(&key, format!("repeats `{name}`, {reason}"));
        }
    }
    limit("deny.headers", policy.serialized_headers().len(), HEADERS_LIMIT)?;
    limit("deny.details", details.len(), NAME_LIMIT)?;
    match details.chars().find(|c| !c.is_ascii_graphic()) {
        Some(bad) => refuse("deny.details", format!("contains {bad:?}, expected visible ASCII")),
        None => Ok(()),
    }
}

pub(crate) fn refuse<T>(key: &str, reason: impl fmt::Display) -> Result<T, String> {
    Err(format!("`{key}` {reason}"))
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
