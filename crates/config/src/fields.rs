//! What gateways do with fields of requests and of local replies: measured in Envoy 1.36 and 1.40, and
//! completed by what RFC 9110 and RFC 9113 tell any intermediary to do.

use crate::keys::{NONE, place};

/// Fields of one connection: an intermediary consumes them, and HTTP/2 does not carry them. And the size, which is not
/// of one connection, but written anew on each.
const CONNECTION: &str = "connection http2-settings keep-alive proxy-connection te trailer transfer-encoding upgrade \
    content-length";

/// Fields of a request that gateways answer, write or extend themselves.
const REQUEST: &str = "expect forwarded via x-request-id";
const REQUEST_PREFIXES: [&[u8]; 2] = [b"x-envoy-", b"x-forwarded-"];

/// Fields of a local reply that gateways write themselves. (Of a gRPC call, the message is the body.)
const REPLY: &str = "date grpc-message server";

/// Fields of a response that may be sent as several lines: a client reads them as one list.
const REPEATABLE: &str = "accept-ch accept-ranges allow alt-svc clear-site-data content-language content-security-policy \
    content-security-policy-report-only link permissions-policy proxy-authenticate reporting-endpoints \
    server-timing set-cookie timing-allow-origin warning www-authenticate";

/// As above, but Envoy joins the lines of a local reply with a comma.
const JOINED: &str = "access-control-allow-headers access-control-allow-methods access-control-expose-headers \
    cache-control vary";

/// What a field of the denial needs.
pub enum Denial {
    /// Gateways write, change or drop it.
    Owned,
    /// A body, or gateways drop it.
    ContentType,
    /// A number of an error.
    GrpcStatus,
    /// Nothing.
    Other,
}

fn is_in(list: &str, name: &[u8]) -> bool {
    place(list, name, true) != NONE
}

/// Whether gateways write, merge or remove this field of a request.
#[must_use]
pub fn is_owned(name: &[u8]) -> bool {
    is_in(CONNECTION, name)
        || is_in(REQUEST, name)
        || REQUEST_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// What this field of the denial needs.
#[must_use]
pub fn denial_field(name: &[u8]) -> Denial {
    if is_in("content-type", name) {
        Denial::ContentType
    } else if is_in("grpc-status", name) {
        Denial::GrpcStatus
    } else if is_in(CONNECTION, name) || is_in(REPLY, name) {
        Denial::Owned
    } else {
        Denial::Other
    }
}

/// Whether this field of the denial may be named twice.
#[must_use]
pub fn may_repeat(name: &[u8]) -> bool {
    is_in(REPEATABLE, name) || is_joined(name)
}

/// Whether Envoy makes one line of several of this field.
#[must_use]
pub fn is_joined(name: &[u8]) -> bool {
    is_in(JOINED, name)
}
