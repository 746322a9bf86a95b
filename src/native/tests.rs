//! The front with an Envoy in Rust, also for tools that look at unsafe code. `e2e/tests/native.rs` tests the
//! library in a real Envoy.

use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

use super::*;
use crate::policy::VALUES;

/// What Envoy returns for a header.
#[derive(Clone, Copy)]
struct Returned {
    found: bool,
    value: Option<&'static [u8]>,
    size: usize,
    count: usize,
}

impl Returned {
    const NOTHING: Self = Self { found: false, value: None, size: 0, count: 0 };

    const fn value(value: &'static [u8]) -> Self {
        Self { found: true, value: Some(value), size: value.len(), count: 1 }
    }
}

/// What Envoy returns for the policy's header and for `content-type`, and what it was told to send.
struct Envoy {
    header: Returned,
    content_type: Returned,
    sent: Vec<Sent>,
}

#[derive(Debug, PartialEq)]
enum Sent {
    Headers(Vec<(Vec<u8>, Vec<u8>)>, bool),
    Data(Vec<u8>, bool),
    Response(u32, Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>, Vec<u8>),
}

static ENVOY: Mutex<Envoy> = Mutex::new(Envoy {
    header: Returned::NOTHING,
    content_type: Returned::NOTHING,
    sent: Vec::new(),
});

/// The bytes of a buffer that the module passed.
fn bytes(buffer: Buffer) -> Vec<u8> {
    // SAFETY: the module passes texts and their sizes.
    unsafe { slice::from_raw_parts(buffer.ptr, buffer.length) }.to_vec()
}

fn pairs(headers: *const Header, size: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    // SAFETY: the module passes an array and its size.
    let headers = unsafe { slice::from_raw_parts(headers, size) };
    headers.iter().map(|header| (bytes(header.key), bytes(header.value))).collect()
}

fn sent(what: Sent) {
    ENVOY.lock().unwrap_or_else(PoisonError::into_inner).sent.push(what);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_callback_http_get_header(
    _request: Request,
    map: u32,
    key: Buffer,
    value: *mut Buffer,
    index: usize,
    count: *mut usize,
) -> bool {
    assert_eq!((map, index), (REQUEST_HEADER, 0));
    let envoy = ENVOY.lock().unwrap_or_else(PoisonError::into_inner);
    let found = match &bytes(key)[..] {
        b"content-type" => envoy.content_type,
        key => {
            assert_eq!(key, HEADER.as_bytes());
            envoy.header
        }
    };
    let ptr = found.value.map_or(ptr::null(), <[u8]>::as_ptr);
    // SAFETY: the results are the caller's.
    unsafe {
        value.write(Buffer { ptr, length: found.size });
        count.write(found.count);
    }
    found.found
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_send_response_headers(
    _request: Request,
    headers: *const Header,
    headers_size: usize,
    end_of_stream: bool,
) {
    sent(Sent::Headers(pairs(headers, headers_size), end_of_stream));
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_send_response_data(
    _request: Request,
    data: Buffer,
    end_of_stream: bool,
) {
    sent(Sent::Data(bytes(data), end_of_stream));
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_send_response(
    _request: Request,
    status: u32,
    headers: *const Header,
    headers_size: usize,
    body: Buffer,
    details: Buffer,
) {
    let headers = pairs(headers, headers_size);
    sent(Sent::Response(status, headers, bytes(body), bytes(details)));
}

/// The decision on a request, and what was sent.
fn decide(header: Returned, content_type: Returned) -> (u32, Vec<Sent>) {
    /// One request at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let envoy = || ENVOY.lock().unwrap_or_else(PoisonError::into_inner);
    *envoy() = Envoy { header, content_type, sent: Vec::new() };
    let status =
        envoy_dynamic_module_on_http_filter_request_headers(ptr::null_mut(), ptr::null(), true);
    (status, core::mem::take(&mut envoy().sent))
}

/// `pairs` as they are sent.
fn owned(pairs: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// The denial of a request that is no gRPC call.
fn denial() -> Vec<Sent> {
    let (headers, body) = (owned(&RESPONSE), BODY.as_bytes().to_vec());
    if !DETAILS.is_empty() {
        return [Sent::Response(STATUS, headers[1..].to_vec(), body, DETAILS.into())].into();
    }
    let ends = body.is_empty();
    let data = (!ends).then_some(Sent::Data(body, true));
    [Sent::Headers(headers, ends)].into_iter().chain(data).collect()
}

#[test]
fn each_accepted_value_passes_and_nothing_is_sent() {
    for value in VALUES {
        assert_eq!(decide(Returned::value(value), Returned::NOTHING), (CONTINUE, Vec::new()));
        let repeated = Returned { count: 2, ..Returned::value(value) };
        assert_eq!(decide(repeated, Returned::NOTHING).0, CONTINUE, "the first value decides");
    }
}

#[test]
fn whatever_else_envoy_returns_is_denied() {
    let value = VALUES[0];
    let right = Returned::value(value);
    let mut altered = value.to_vec();
    altered[0] ^= 1;
    assert!(!VALUES.contains(&&altered[..]));
    for (found, about) in [
        (Returned::NOTHING, "no header"),
        (Returned { found: false, ..right }, "not found, and yet a value"),
        (Returned { value: None, ..right }, "a null pointer"),
        (Returned { count: 0, ..right }, "found no times"),
        (Returned { size: value.len() - 1, ..right }, "a shorter value"),
        (Returned { size: 0, ..right }, "an empty value"),
        (Returned { size: usize::MAX, ..right }, "a size that no value has"),
        (Returned::value(altered.leak()), "a wrong value of the same size"),
        (Returned::value(b"a value that no policy of this repository accepts"), "another value"),
    ] {
        assert_eq!(decide(found, Returned::NOTHING), (STOP_ITERATION, denial()), "{about}");
    }
}

#[test]
fn a_grpc_call_is_denied_in_grpcs_form() {
    let grpc = [Sent::Headers(owned(&GRPC_RESPONSE), true)];
    for media_type in ["application/grpc", "application/grpc+", "application/grpc+proto"] {
        let found = Returned::value(media_type.as_bytes());
        let (status, sent) = decide(Returned::NOTHING, found);
        assert_eq!((status, &sent[..]), (STOP_ITERATION, &grpc[..]), "{media_type}");
    }
    for media_type in ["", "application/grp", "application/grpc-web", "application/grpc;", "text"] {
        let found = Returned::value(media_type.as_bytes());
        assert_eq!(decide(Returned::NOTHING, found).1, denial(), "{media_type}");
    }
    let endless = Returned { size: usize::MAX, ..Returned::value(GRPC) };
    assert_eq!(decide(Returned::NOTHING, endless).1, denial());
}

#[test]
fn every_configuration_and_request_is_given_a_filter() {
    let (config, envoy) = (Buffer::of(""), ptr::null_mut());
    assert!(!envoy_dynamic_module_on_program_init().is_null());
    let config = envoy_dynamic_module_on_http_filter_config_new(envoy, config, config);
    assert!(!config.is_null());
    assert!(!envoy_dynamic_module_on_http_filter_new(config, envoy).is_null());
    // A configuration of a route would have no effect.
    assert_eq!(envoy_dynamic_module_on_http_filter_per_route_config_new(), 0);
}
