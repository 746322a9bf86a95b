//! What gateways do with fields of requests and of local replies: measured in Envoy 1.36 and 1.40, and
//! completed by what RFC 9110 and RFC 9113 tell any intermediary to do.
//!
//! Names are compared by a hash of 32 bits. It does not compile if two of these names have the same hash. Another name with
//! the hash of one of these is taken for it by both readers of policies: they refuse it, or accept it twice. One in four
//! billion names has the hash of a given one.

/// The names, by what is true of them.
const NAMES: [&str; LIST] = [
    // Fields of a request that gateways answer, write or extend themselves.
    "expect",
    "forwarded",
    "via",
    "x-envoy-*",
    "x-forwarded-*",
    "x-request-id",
    // Fields of one connection: an intermediary consumes them, and HTTP/2 does not carry them. And the size, which is not
    // of one connection, but written anew on each.
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    // Fields of a local reply that gateways write themselves. (Of a gRPC call, the message is the body.)
    "date",
    "grpc-message",
    "server",
    // Names with a meaning of their own; the last one is a method.
    "content-type",
    "grpc-status",
    "host",
    "OPTIONS",
    // Fields of a response that may be sent as several lines: a client reads them as one list.
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
    // As above, but Envoy joins the lines of a local reply with a comma.
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "cache-control",
    "vary",
];

/// How many names there are: the place of any other one.
const LIST: usize = 44;

/// Where names of a kind begin.
const CONNECTION: u32 = 6;
const REPLY: u32 = 15;
pub(crate) const CONTENT_TYPE: u32 = 18;
pub(crate) const GRPC_STATUS: u32 = 19;
pub(crate) const HOST: u32 = 20;
pub(crate) const OPTIONS: u32 = 21;
const REPEATABLE: u32 = 22;
const JOINED: u32 = 39;
const OTHER: u32 = LIST as u32;

// The reader keeps a bit for each place, by its last five bits: no place has those of a name with a meaning of its own.
const _: () = assert!(CONTENT_TYPE < REPEATABLE && OTHER < 32 + CONTENT_TYPE);

/// The bit that tells small letters from capitals.
pub(crate) const SMALL: u8 = 0x20;

/// Goes on with a hash.
const fn mix(hash: u32, byte: u32) -> u32 {
    (hash ^ byte).wrapping_mul(0x0100_0193)
}

static HASHES: [u32; LIST] = {
    let (mut hashes, mut name) = ([0; LIST], 0);
    while name < LIST {
        let bytes = NAMES[name].as_bytes();
        let mut at = 0;
        // What ends in `*` stands for all that begin so.
        while at < bytes.len() && bytes[at] != b'*' {
            hashes[name] = mix(hashes[name], bytes[at] as u32);
            at += 1;
        }
        let mut other = 0;
        while other < name {
            assert!(hashes[other] != hashes[name]);
            other += 1;
        }
        name += 1;
    }
    hashes
};

/// A name, by its place here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field(pub(crate) u32);

impl Field {
    /// Finds out whether a name of so many bytes is here, or begins as one that stands for all that do.
    #[inline]
    pub(crate) fn new(size: u32, byte: impl Fn(u32) -> u32) -> Self {
        let (mut found, mut hash, mut at) = (OTHER, 0, 0);
        while at < size {
            let now = byte(at);
            hash = mix(hash, now);
            at += 1;
            if now == b'-'.into() || at == size {
                let mut place = OTHER;
                while place > 0 {
                    place -= 1;
                    if HASHES.get(place as usize) == Some(&hash) {
                        found = place;
                    }
                }
            }
        }
        Self(found)
    }
}

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

/// The field of this name, in any case.
#[must_use]
pub fn named(name: &[u8]) -> Field {
    Field::new(name.len() as u32, |at| {
        name.get(at as usize).map_or(0, |byte| (byte | SMALL).into())
    })
}

/// Whether gateways write, merge or remove this field of a request.
#[must_use]
#[inline]
pub fn is_owned(Field(place): Field) -> bool {
    place < REPLY
}

/// What this field of the denial needs.
#[must_use]
#[inline]
pub fn denial_field(Field(place): Field) -> Denial {
    match place {
        CONNECTION..CONTENT_TYPE => Denial::Owned,
        CONTENT_TYPE => Denial::ContentType,
        GRPC_STATUS => Denial::GrpcStatus,
        _ => Denial::Other,
    }
}

/// Whether this field of the denial may be named twice.
#[must_use]
#[inline]
pub fn may_repeat(Field(place): Field) -> bool {
    (REPEATABLE..OTHER).contains(&place)
}

/// Whether Envoy makes one line of several of this field.
#[must_use]
pub fn is_joined(Field(place): Field) -> bool {
    (JOINED..OTHER).contains(&place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_any_case_and_none_near_it() {
        for (place, name) in (0..).zip(NAMES) {
            if place == OPTIONS {
                continue;
            }
            let start = name.strip_suffix('*');
            let name = start.unwrap_or(name);
            let prefixed = |rest: &str| named([name, rest].concat().as_bytes());
            assert_eq!(named(name.as_bytes()), Field(place), "{name}");
            assert_eq!(named(name.to_ascii_uppercase().as_bytes()), Field(place), "{name}");
            assert_eq!(prefixed("a-b") == Field(place), start.is_some(), "{name}");
            assert_eq!(named(&name.as_bytes()[1..]), Field(OTHER), "{name}");
            assert_eq!(named(&name.as_bytes()[..name.len() - 1]), Field(OTHER), "{name}");
        }
        for (place, name) in [
            (CONNECTION, "connection"),
            (REPLY, "date"),
            (CONTENT_TYPE, "content-type"),
            (GRPC_STATUS, "grpc-status"),
            (HOST, "host"),
            (REPEATABLE, "accept-ch"),
            (JOINED, "access-control-allow-headers"),
        ] {
            assert_eq!(named(name.as_bytes()), Field(place), "{name}");
        }
        assert_eq!([named(b""), named(b"options"), named(b"x-allow")], [Field(OTHER); 3]);
    }
}
