//! What gateways do with fields of requests and of local replies: measured in Envoy 1.36 and 1.40, and
//! completed by what RFC 9110 and RFC 9113 tell any intermediary to do.

use crate::keys::{NONE, place};

/// Fields of one connection: an intermediary consumes them, and HTTP/2 does not carry them. And the size, which is not
/// of one connection, but written anew on each.
const CONNECTION: &str = "connection http2-settings keep-alive proxy-connection te trailer transfer-encoding upgrade \
    content-length";

/// Fields of a request that gateways answer, write or extend themselves.
const REQUEST: &str = "expect forwarded via x-envoy-* x-forwarded-* x-request-id";

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

/// Whether a field of this name, in any case, is in a list; what the functions here ask.
pub fn named(name: &[u8]) -> impl Fn(&str) -> bool {
    let byte = |at: u32| name.get(at as usize).map_or(0, u8::to_ascii_lowercase);
    move |list| place(list, name.len() as u32, byte) != NONE
}

/// Whether gateways write, merge or remove this field of a request.
pub fn is_owned(is_in: impl Fn(&str) -> bool) -> bool {
    is_in(CONNECTION) || is_in(REQUEST)
}

/// What this field of the denial needs.
pub fn denial_field(is_in: impl Fn(&str) -> bool) -> Denial {
    if is_in("content-type") {
        Denial::ContentType
    } else if is_in("grpc-status") {
        Denial::GrpcStatus
    } else if is_in(CONNECTION) || is_in(REPLY) {
        Denial::Owned
    } else {
        Denial::Other
    }
}

/// Whether this field of the denial may be named twice.
pub fn may_repeat(is_in: impl Fn(&str) -> bool) -> bool {
    is_in(REPEATABLE) || is_joined(is_in)
}

/// Whether Envoy makes one line of several of this field.
pub fn is_joined(is_in: impl Fn(&str) -> bool) -> bool {
    is_in(JOINED)
}
