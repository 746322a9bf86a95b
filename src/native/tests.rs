//! The front with an Envoy in Rust, also for tools that look at unsafe code. `e2e/tests/native.rs` tests the
//! library in a real Envoy.

use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

use super::*;
use crate::policy::{CLIENT_HEADER, PATHS, VALUES};

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

/// What Envoy returns for the policy's header, `content-type` and `:path`, whether it changes headers, and what it was
/// told to send.
struct Envoy {
    header: Returned,
    content_type: Returned,
    path: Returned,
    refuses: bool,
    sent: Vec<Sent>,
}

impl Envoy {
    const fn with(header: Returned) -> Self {
        let nothing = Returned::NOTHING;
        Self { header, content_type: nothing, path: nothing, refuses: false, sent: Vec::new() }
    }
}

#[derive(Debug, PartialEq)]
enum Sent {
    Headers(Vec<(Vec<u8>, Vec<u8>)>, bool),
    Data(Vec<u8>, bool),
    Response(u32, Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>, Vec<u8>),
}

static ENVOY: Mutex<Envoy> = Mutex::new(Envoy::with(Returned::NOTHING));

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
        b":path" => envoy.path,
        key if key == HEADER.as_bytes() => envoy.header,
        _ => Returned::NOTHING,
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

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_set_header(
    _request: Request,
    map: u32,
    key: Buffer,
    value: Buffer,
) -> bool {
    assert_eq!(map, REQUEST_HEADER);
    let is_client = CLIENT_HEADER.is_some_and(|name| name.as_bytes() == bytes(key));
    assert!(is_client || value.ptr.is_null() && bytes(key) == HEADER.as_bytes());
    !ENVOY.lock().unwrap_or_else(PoisonError::into_inner).refuses
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_callback_http_filter_config_define_counter(
    _config: *mut c_void,
    _name: Buffer,
    _label_names: *const Buffer,
    _label_names_size: usize,
    counter: *mut usize,
) -> u32 {
    // SAFETY: the result is the caller's.
    unsafe { counter.write(0) };
    0
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_increment_counter(
    _request: Request,
    _counter: usize,
    _label_values: *const Buffer,
    _label_values_size: usize,
    _value: u64,
) -> u32 {
    1
}

/// The decision on a request, and what was sent.
fn decide(header: Returned, content_type: Returned) -> (u32, Vec<Sent>) {
    ask(Envoy { content_type, ..Envoy::with(header) })
}

fn ask(state: Envoy) -> (u32, Vec<Sent>) {
    /// One request at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let envoy = || ENVOY.lock().unwrap_or_else(PoisonError::into_inner);
    *envoy() = state;
    let counters = ptr::without_provenance(count::define_all(ptr::null_mut()));
    let status =
        envoy_dynamic_module_on_http_filter_request_headers(ptr::null_mut(), counters, true);
    (status, core::mem::take(&mut envoy().sent))
}

/// `pairs` as they are sent.
fn owned(pairs: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// The denial of a request that is no gRPC call, and whose header is missing or not.
fn denial(is_missing: bool) -> Vec<Sent> {
    let (headers, body) = (owned(&RESPONSE), BODY.as_bytes().to_vec());
    if !DETAILS.is_empty() || MISSING_DETAILS.is_some() {
        let details = MISSING_DETAILS.filter(|_| is_missing).unwrap_or(DETAILS);
        return [Sent::Response(STATUS, headers[1..].to_vec(), body, details.into())].into();
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
        let expected = if DENY_REPEATED { STOP_ITERATION } else { CONTINUE };
        assert_eq!(decide(repeated, Returned::NOTHING).0, expected, "the first of two values");
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
        let is_missing = !found.found
            || found.count == 0
            || found.value.is_none()
            || found.size == 0
            || found.size == usize::MAX;
        let denied = (STOP_ITERATION, denial(is_missing));
        assert_eq!(decide(found, Returned::NOTHING), denied, "{about}");
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
        assert_eq!(decide(Returned::NOTHING, found).1, denial(true), "{media_type}");
    }
    let endless = Returned { size: usize::MAX, ..Returned::value(GRPC) };
    assert_eq!(decide(Returned::NOTHING, endless).1, denial(true));
}

#[test]
fn an_envoy_that_refuses_what_the_policy_wants_done_denies() {
    let wants = REMOVE || CLIENT_HEADER.is_some();
    for value in VALUES {
        let refuses = Envoy { refuses: true, ..Envoy::with(Returned::value(value)) };
        assert_eq!(ask(refuses).0, if wants { STOP_ITERATION } else { CONTINUE });
    }
}

#[test]
fn a_path_passes_only_if_it_is_exempt() {
    let open = |path| Envoy { path, ..Envoy::with(Returned::NOTHING) };
    for pattern in PATHS {
        let path = Returned::value(pattern.strip_suffix('*').unwrap_or(pattern).as_bytes());
        assert_eq!(ask(open(path)), (CONTINUE, Vec::new()));
        assert_eq!(ask(open(Returned { found: false, ..path })).0, STOP_ITERATION);
        assert_eq!(ask(open(Returned { size: path.size - 1, ..path })).0, STOP_ITERATION);
        let refuses = Envoy { refuses: true, ..open(path) };
        let expected = if CLIENT_HEADER.is_some() { STOP_ITERATION } else { CONTINUE };
        assert_eq!(ask(refuses).0, expected);
    }
    for path in [&b"/"[..], b"/healthz/../admin"] {
        assert_eq!(ask(open(Returned::value(path))), (STOP_ITERATION, denial(true)));
    }
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
