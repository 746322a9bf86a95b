//! What gateways do with fields of requests and of local replies: measured in Envoy 1.36 and 1.40, and
//! completed by what RFC 9110 and RFC 9113 tell any intermediary to do.

/// Fields of one connection: an intermediary consumes them, and HTTP/2 does not carry them.
const CONNECTION: [&str; 9] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // Not of one connection, but written anew on each.
    "content-length",
];

/// Fields of a request that gateways answer, write or extend themselves.
const REQUEST: [&str; 4] = ["expect", "forwarded", "via", "x-request-id"];
const REQUEST_PREFIXES: [&str; 2] = ["x-envoy-", "x-forwarded-"];

/// Fields of a local reply that gateways write themselves. (Of a gRPC call, the message is the body.)
const REPLY: [&str; 3] = ["date", "grpc-message", "server"];

/// Fields of a response that may be sent as several lines: a client reads them as one list.
const REPEATABLE: [&str; 17] = [
    "accept-ch",
    "accept-ranges",
    "allow",
    "alt-svc",
    "clear-site-data",
    "content-language",
    "content-security-policy",
    "content-security-policy-report-only",
    "link",
    "permissions-policy",
    "proxy-authenticate",
    "reporting-endpoints",
    "server-timing",
    "set-cookie",
    "timing-allow-origin",
    "warning",
    "www-authenticate",
];

/// As above, but Envoy joins the lines of a local reply with a comma.
const JOINED: [&str; 5] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "cache-control",
    "vary",
];

/// What a field of the denial needs.
pub(crate) enum Denial {
    /// Gateways write, change or drop it.
    Owned,
    /// A body, or gateways drop it.
    ContentType,
    /// A number of an error.
    GrpcStatus,
    /// Nothing.
    Other,
}

fn is_in(list: &[&str], name: &str) -> bool {
    list.iter().any(|field| name.eq_ignore_ascii_case(field))
}

/// Whether gateways write, merge or remove this field of a request.
pub(crate) fn is_owned(name: &str) -> bool {
    is_in(&CONNECTION, name)
        || is_in(&REQUEST, name)
        || REQUEST_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

pub(crate) fn denial_field(name: &str) -> Denial {
    match name.to_ascii_lowercase().as_str() {
        "content-type" => Denial::ContentType,
        "grpc-status" => Denial::GrpcStatus,
        name if is_in(&CONNECTION, name) || is_in(&REPLY, name) => Denial::Owned,
        _ => Denial::Other,
    }
}

/// Whether this field of the denial may be named twice.
pub(crate) fn may_repeat(name: &str) -> bool {
    is_in(&REPEATABLE, name) || is_joined(name)
}

/// Whether Envoy makes one line of several of this field.
pub(crate) fn is_joined(name: &str) -> bool {
    is_in(&JOINED, name)
}
