//! The front with an Envoy in Rust, also for tools that look at unsafe code. `e2e/tests/native.rs` tests the
//! library in a real Envoy.

use core::ptr;
use core::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::abi::{Header, REQUEST_HEADER};
use super::*;
use crate::policy::{
    BODY, CLIENT_HEADER, DETAILS, GRPC_RESPONSE, MISSING_DETAILS, PATHS, RESPONSE, STATUS, VALUES,
};

/// More fields than the gate takes in one list.
const MANY: usize = 1000;

/// A field of the request, as Envoy returns it.
#[derive(Clone, Copy)]
struct Field {
    key: Option<&'static [u8]>,
    value: Option<&'static [u8]>,
    size: usize,
}

impl Field {
    const fn new(key: &'static str, value: &'static [u8]) -> Self {
        Self { key: Some(key.as_bytes()), value: Some(value), size: value.len() }
    }

    /// The policy's header.
    const fn gate(value: &'static [u8]) -> Self {
        Self::new(FIELD, value)
    }

    fn header(self) -> Header {
        let buffer = |bytes: Option<&[u8]>, length| Buffer {
            ptr: bytes.map_or(ptr::null(), <[u8]>::as_ptr),
            length,
        };
        Header {
            key: buffer(self.key, self.key.map_or(FIELD.len(), <[u8]>::len)),
            value: buffer(self.value, self.size),
        }
    }
}

/// What Envoy returns for the fields, whether it changes them, and what it was told to send.
struct Envoy {
    fields: Vec<Field>,
    /// How many fields it says that there are, if not as many as there are.
    says: Option<usize>,
    /// How much of the list it writes; `None` for all, and a return value that denies it.
    most: Option<usize>,
    /// Whether it returns a field that it is asked for, and how many values it says that there are.
    finds: bool,
    count: Option<usize>,
    refuses: bool,
    /// Whether a field may have changed since the last list.
    stale: bool,
    sent: Vec<Sent>,
}

impl Envoy {
    const fn new() -> Self {
        Self {
            fields: Vec::new(),
            says: None,
            most: Some(usize::MAX),
            finds: true,
            count: None,
            refuses: false,
            stale: false,
            sent: Vec::new(),
        }
    }

    /// With `fields` behind others, some of which have names of the same size.
    fn with(fields: &[Field]) -> Self {
        let mut other = FIELD.as_bytes().to_vec();
        *other.last_mut().unwrap() ^= 1;
        let other = [
            Field::new("x-other", b"x"),
            Field { key: Some(other.leak()), ..Field::gate(VALUES[0]) },
        ];
        Self { fields: other.iter().chain(fields).copied().collect(), ..Self::new() }
    }
}

#[derive(Debug, PartialEq)]
enum Sent {
    Headers(Vec<(Vec<u8>, Vec<u8>)>, bool),
    Data(Vec<u8>, bool),
    Response(u32, Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>, Vec<u8>),
}

static ENVOY: Mutex<Envoy> = Mutex::new(Envoy::new());

fn envoy() -> MutexGuard<'static, Envoy> {
    ENVOY.lock().unwrap_or_else(PoisonError::into_inner)
}

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
    let mut envoy = envoy();
    assert!(!envoy.stale, "a field is read that may have changed");
    envoy.sent.push(what);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_headers_size(
    _request: Request,
    map: u32,
) -> usize {
    assert_eq!(map, REQUEST_HEADER);
    let envoy = envoy();
    envoy.says.unwrap_or(envoy.fields.len())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_callback_http_get_headers(
    _request: Request,
    map: u32,
    headers: *mut Header,
) -> bool {
    assert_eq!(map, REQUEST_HEADER);
    let mut envoy = envoy();
    envoy.stale = false;
    for (i, field) in envoy.fields.iter().take(envoy.most.unwrap_or(usize::MAX)).enumerate() {
        // SAFETY: the caller passes memory for as many fields as it was told.
        unsafe { headers.add(i).write(field.header()) };
    }
    envoy.most.is_some()
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
    let (key, mut envoy) = (bytes(key), envoy());
    // Here Envoy is asked for each field anew.
    envoy.stale = false;
    let found: Vec<_> = envoy.fields.iter().filter(|field| field.key == Some(&key)).collect();
    let first = found.first().map_or(Buffer::NONE, |field| field.header().value);
    // SAFETY: the results are the caller's.
    unsafe {
        value.write(first);
        count.write(envoy.count.unwrap_or(found.len()));
    }
    envoy.finds && !found.is_empty()
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
    let mut envoy = envoy();
    envoy.stale = true;
    !envoy.refuses
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
fn ask(state: Envoy) -> (u32, Vec<Sent>) {
    /// One request at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
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
        for says in [None, Some(MANY)] {
            let single = Envoy { says, ..Envoy::with(&[Field::gate(value)]) };
            assert_eq!(ask(single), (CONTINUE, Vec::new()));
            let repeated = [value, b"x"].map(Field::gate);
            let repeated = Envoy { says, ..Envoy::with(&repeated) };
            let expected = if DENY_REPEATED { STOP } else { CONTINUE };
            assert_eq!(ask(repeated).0, expected, "the first of two values");
        }
    }
}

#[test]
fn whatever_else_envoy_returns_is_denied() {
    let value = VALUES[0];
    let (right, mut altered) = (Field::gate(value), value.to_vec());
    altered[0] ^= 1;
    assert!(!VALUES.contains(&&altered[..]));
    for (field, is_missing, about) in [
        (Field { key: None, ..right }, true, "a null pointer as name"),
        (Field { value: None, ..right }, true, "a null pointer as value"),
        (Field { size: value.len() - 1, ..right }, value.len() == 1, "a shorter value"),
        (Field { size: 0, ..right }, true, "an empty value"),
        (Field { size: usize::MAX, ..right }, true, "a size that no value has"),
        (Field::gate(altered.leak()), false, "a wrong value of the same size"),
        (Field::gate(b"a value that no policy of this repository accepts"), false, "another value"),
    ] {
        for says in [None, Some(MANY)] {
            let state = Envoy { says, ..Envoy::with(&[field]) };
            assert_eq!(ask(state), (STOP, denial(is_missing)), "{about}, {says:?}");
        }
    }
    let denied = (STOP, denial(true));
    for (state, about) in [
        (Envoy::with(&[]), "no header"),
        (Envoy { most: None, ..Envoy::with(&[right]) }, "a list that is none"),
        (Envoy { most: Some(2), ..Envoy::with(&[right]) }, "a list that is cut off"),
        (Envoy { most: Some(0), ..Envoy::with(&[right]) }, "a list that is empty"),
        (Envoy { says: Some(0), most: Some(0), ..Envoy::with(&[right]) }, "no fields at all"),
        (Envoy { says: Some(MANY), ..Envoy::with(&[]) }, "no header, asked"),
        (Envoy { says: Some(MANY), finds: false, ..Envoy::with(&[right]) }, "not found"),
        (Envoy { says: Some(MANY), count: Some(0), ..Envoy::with(&[right]) }, "found no times"),
    ] {
        assert_eq!(ask(state), denied, "{about}");
    }
}

#[test]
fn a_grpc_call_is_denied_in_grpcs_form() {
    let grpc = [Sent::Headers(owned(&GRPC_RESPONSE), true)];
    let field = |value| Field::new("content-type", value);
    for media_type in ["application/grpc", "application/grpc+", "application/grpc+proto"] {
        let (status, sent) = ask(Envoy::with(&[field(media_type.as_bytes())]));
        assert_eq!((status, &sent[..]), (STOP, &grpc[..]), "{media_type}");
    }
    for media_type in ["", "application/grp", "application/grpc-web", "application/grpc;", "text"] {
        let (_, sent) = ask(Envoy::with(&[field(media_type.as_bytes())]));
        assert_eq!(sent, denial(true), "{media_type}");
    }
    let endless = Field { size: usize::MAX, ..field(b"application/grpc") };
    assert_eq!(ask(Envoy::with(&[endless])).1, denial(true));
}

#[test]
fn an_answer_to_head_has_no_body() {
    let (_, sent) = ask(Envoy::with(&[Field::new(":method", b"HEAD")]));
    let ends = [Sent::Headers(owned(&RESPONSE), true)];
    assert_eq!(
        sent,
        if let [Sent::Response(..)] = &denial(true)[..] { denial(true) } else { ends.into() }
    );
    for method in [&b"GET"[..], b"head", b"HEADS", b""] {
        assert_eq!(ask(Envoy::with(&[Field::new(":method", method)])).1, denial(true));
    }
}

#[test]
fn an_envoy_that_refuses_what_the_policy_wants_done_denies() {
    let wants = REMOVE || CLIENT_HEADER.is_some();
    for value in VALUES {
        let refuses = Envoy { refuses: true, ..Envoy::with(&[Field::gate(value)]) };
        assert_eq!(ask(refuses).0, if wants { STOP } else { CONTINUE });
    }
}

#[test]
fn a_path_passes_only_if_it_is_exempt() {
    let open = |field| Envoy::with(&[field]);
    let at = |path| Field::new(":path", path);
    for pattern in PATHS {
        let path = at(pattern.strip_suffix('*').unwrap_or(pattern).as_bytes());
        assert_eq!(ask(open(path)), (CONTINUE, Vec::new()));
        assert_eq!(ask(Envoy { most: None, ..open(path) }).0, STOP);
        assert_eq!(ask(open(Field { size: path.size - 1, ..path })).0, STOP);
        let refuses = Envoy { refuses: true, ..open(path) };
        let expected = if CLIENT_HEADER.is_some() { STOP } else { CONTINUE };
        assert_eq!(ask(refuses).0, expected);
    }
    for path in [&b"/"[..], b"/healthz/../admin"] {
        assert_eq!(ask(open(at(path))), (STOP, denial(true)));
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
    assert_eq!(abi::envoy_dynamic_module_on_http_filter_per_route_config_new(), 0);
}
