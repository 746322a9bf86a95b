//! What is refused: a policy that could not work in a gateway.

use header_gate_config::fields::{Denial, denial_field, is_owned, may_repeat, named};
use header_gate_config::limits;

use crate::clients;
use crate::terms::{field_name, field_value, limit, refuse, token};
use crate::{Deny, Except, Policy};

/// Checks everything that the types do not.
pub(crate) fn check(policy: &Policy) -> Result<(), String> {
    let header = &policy.header;
    field_name("header", header)?;
    if is_owned(named(header.as_bytes())) {
        let reason = "which gateways write, merge or remove; use a name of your own, such as";
        return refuse("header", format!("is `{header}`, {reason} `x-gate`"));
    }
    values(policy)?;
    clients::check(policy)?;
    if policy.remove && header == "host" {
        return refuse("remove", "would take `host` off a request, which then has no host");
    }
    except(&policy.except)?;
    deny(policy)
}

fn except(except: &Except) -> Result<(), String> {
    let Except { preflight, methods, paths } = except;
    for (i, method) in methods.iter().enumerate() {
        let key = format!("except.methods[{i}]");
        token(&key, "method", method)?;
        limit(&key, method.len(), limits::METHOD)?;
        if methods[..i].contains(method) {
            return refuse(&key, "is a duplicate");
        }
        if *preflight && method == "OPTIONS" {
            return refuse(
                &key,
                "is `OPTIONS`, which has all preflights; remove `except.preflight`",
            );
        }
    }
    for (i, path) in paths.iter().enumerate() {
        let key = format!("except.paths[{i}]");
        plain(&key, path)?;
        if paths[..i].contains(path) {
            return refuse(&key, "is a duplicate");
        }
    }
    for (key, items) in [("except.methods", methods), ("except.paths", paths)] {
        if items.len() > limits::EXCEPT {
            let n = items.len();
            return refuse(key, format!("has {n} items, at most {} allowed", limits::EXCEPT));
        }
    }
    limit("except.paths", paths.iter().map(String::len).sum(), limits::PATHS)
}

/// The plugin never exempts a path that could mean another one, so a pattern has to be such a plain path: segments
/// of unreserved characters (RFC 3986, section 2.3), none empty but the last, and after a leading dot a letter, a
/// digit, `-`, `_` or `~`.
fn plain(key: &str, path: &str) -> Result<(), String> {
    let prefix = path.strip_suffix("/*");
    if prefix == Some("") {
        return refuse(key, "is `/*`, which exempts every path");
    }
    let Some(segments) = prefix.unwrap_or(path).strip_prefix('/') else {
        return refuse(key, format!("is {path:?}, expected a path that begins with `/`"));
    };
    let count = segments.split('/').count();
    for (i, segment) in segments.split('/').enumerate() {
        let bad = segment.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._~".contains(*c));
        if let Some(bad) = bad {
            let reason = "expected letters, digits, `-`, `.`, `_`, `~`, and `/*` at the end";
            return refuse(key, format!("contains {bad:?}, {reason}"));
        }
        let last = i + 1 == count && prefix.is_none();
        if segment.is_empty() && !last || matches!(segment.as_bytes(), [b'.'] | [b'.', b'.', ..]) {
            return refuse(key, format!("has the segment {segment:?}, so that no path can match"));
        }
    }
    Ok(())
}

fn values(policy: &Policy) -> Result<(), String> {
    let values = &policy.values;
    match values.len() {
        0 if !policy.client.is_empty() => return Ok(()),
        0 => {
            let reason = "is missing or empty, and there is no `[[client]]`: no request could pass";
            return refuse("values", reason);
        }
        1..=limits::VALUES => {}
        n => return refuse("values", format!("has {n} items, at most {} allowed", limits::VALUES)),
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
    limit("values", policy.longest() * values.len(), limits::VALUES_SIZE)
}

fn deny(policy: &Policy) -> Result<(), String> {
    let Deny { status, headers, body, details, missing_details, grpc_status } = &policy.deny;
    if !(200..=599).contains(status) {
        return refuse("deny.status", format!("is {status}, not between 200 and 599"));
    }
    limit("deny.body", body.len(), limits::BODY)?;
    if !body.is_empty() && matches!(status, 204 | 205 | 304) {
        return refuse("deny.body", format!("cannot be sent with status {status}"));
    }
    for (i, (name, value)) in headers.iter().enumerate() {
        let key = format!("deny.headers[{i}]");
        field_name(&key, name)?;
        field_value(&key, value)?;
        match denial_field(named(name.as_bytes())) {
            Denial::Owned => {
                let reason = "which gateways write, change or drop; remove it";
                return refuse(&key, format!("sets `{name}`, {reason}"));
            }
            Denial::ContentType if body.is_empty() => {
                let reason = "without a body, and gateways drop it; remove it or add `deny.body`";
                return refuse(&key, format!("sets `{name}` {reason}"));
            }
            Denial::GrpcStatus if grpc_status.is_some() => {
                return refuse(&key, format!("sets `{name}`, and so does `deny.grpc_status`"));
            }
            Denial::GrpcStatus if !(1..=16).any(|status: u8| status.to_string() == *value) => {
                let reason = "not a gRPC error; use a number from 1 to 16, or remove it";
                return refuse(&key, format!("sets `{name}` to {value:?}, {reason}"));
            }
            _ => {}
        }
        let repeats = headers[..i].iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        if repeats && !may_repeat(named(name.as_bytes())) {
            let reason = "and clients and gateways use one of the values, or both as one; keep one";
            return refuse(&key, format!("repeats `{name}`, {reason}"));
        }
    }
    limit("deny.headers", policy.serialized_headers().len(), limits::HEADERS)?;
    if let Some(status) = grpc_status.filter(|status| !(1..=16).contains(status)) {
        let reason = "not a gRPC error; use a number from 1 to 16, or remove it";
        return refuse("deny.grpc_status", format!("is {status}, {reason}"));
    }
    for (key, text) in
        [("deny.details", Some(details)), ("deny.missing_details", missing_details.as_ref())]
    {
        let text = text.map_or("", |text| text);
        limit(key, text.len(), limits::NAME)?;
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return refuse(key, format!("contains {bad:?}, expected visible ASCII"));
        }
    }
    Ok(())
}
