//! The front compiled natively, with a host in Rust, for tools that do not work on WebAssembly (memcheck, Miri,
//! linters). `tests/adversary.rs` tests the finished module.

use core::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::*;
use crate::abi_host::{CONTINUE, PAUSE};
use crate::policy::{CLIENT_HEADER, PATHS, VALUES};

/// What the host delivers: a status, and a value if there is one.
type Delivered = (u32, Option<&'static [u8]>);

const NOTHING: Delivered = (NOT_FOUND, None);

/// The answers for the policy's header and for the path, and to every other call but the denial.
struct Host {
    header: Delivered,
    path: Delivered,
    other: u32,
}

static HOST: Mutex<Host> = Mutex::new(Host { header: NOTHING, path: NOTHING, other: OK });

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_value(
    map: u32,
    key_data: *const u8,
    key_size: usize,
    value_data: *mut usize,
    value_size: *mut u32,
) -> u32 {
    assert_eq!(map, HTTP_REQUEST_HEADERS);
    // SAFETY: the caller passes a key and its size.
    let key = unsafe { slice::from_raw_parts(key_data, key_size) };
    let host = HOST.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, value) = match key {
        b":path" => host.path,
        key if key == HEADER.as_bytes() => host.header,
        _ => NOTHING,
    };
    if let Some(value) = value {
        let room = malloc(value.len());
        if room == REFUSED {
            return 6;
        }
        // SAFETY: the allocator lent as many bytes, and the results are the caller's.
        unsafe {
            room.copy_from_nonoverlapping(value.as_ptr(), value.len());
            value_data.write(room.addr());
            value_size.write(value.len() as u32);
        }
    }
    status
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_send_local_response(
    status: u32,
    details_data: *const u8,
    details_size: usize,
    body_data: *const u8,
    body_size: usize,
    headers_data: *const u8,
    headers_size: usize,
    grpc_status: i32,
) -> u32 {
    assert_eq!((status, grpc_status), (STATUS, GRPC_STATUS));
    if details_size > 0 {
        // SAFETY: the caller passes a text and its size.
        let details = unsafe { slice::from_raw_parts(details_data, details_size) };
        assert!([DETAILS, missing_details()].map(str::as_bytes).contains(&details));
    }
    // SAFETY: the caller passes texts and their sizes.
    let (body, headers) = unsafe {
        (
            slice::from_raw_parts(body_data, body_size),
            slice::from_raw_parts(headers_data, headers_size),
        )
    };
    assert_eq!(body, BODY.as_bytes());
    assert_eq!(headers, HEADERS_SERIALIZED);
    OK
}

#[cfg(feature = "log")]
#[unsafe(no_mangle)]
extern "C" fn proxy_log(_level: u32, _message_data: *const u8, _message_size: usize) -> u32 {
    OK
}

/// Whether the caller passes the name of one of these headers.
fn names(expected: &[&str], data: *const u8, size: usize) {
    // SAFETY: the caller passes a name and its size.
    let name = unsafe { slice::from_raw_parts(data, size) };
    assert!(expected.iter().any(|expected| expected.as_bytes() == name), "{name:?}");
}

fn other() -> u32 {
    HOST.lock().unwrap_or_else(PoisonError::into_inner).other
}

#[unsafe(no_mangle)]
extern "C" fn proxy_remove_header_map_value(map: u32, key_data: *const u8, size: usize) -> u32 {
    assert_eq!(map, HTTP_REQUEST_HEADERS);
    names(&[HEADER, CLIENT_HEADER.unwrap_or_default()], key_data, size);
    other()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_replace_header_map_value(
    map: u32,
    key_data: *const u8,
    key_size: usize,
    value_data: *const u8,
    value_size: usize,
) -> u32 {
    assert_eq!(map, HTTP_REQUEST_HEADERS);
    names(&[CLIENT_HEADER.unwrap_or_default()], key_data, key_size);
    // SAFETY: the caller passes the name of a client and its size.
    let id = unsafe { slice::from_raw_parts(value_data, value_size) };
    assert!(!id.is_empty() && id.iter().all(|byte| *byte != 0));
    other()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_define_metric(
    _kind: u32,
    _name_data: *const u8,
    _name_size: usize,
    metric: *mut u32,
) -> u32 {
    // SAFETY: the result is the caller's.
    unsafe { metric.write(7) };
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_increment_metric(_metric: u32, _offset: i64) -> u32 {
    other()
}

/// One test at a time: there is one host, and one memory.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(count::proxy_on_vm_start(1, 0), 1);
    turn
}

fn ask(host: Host) -> u32 {
    *HOST.lock().unwrap_or_else(PoisonError::into_inner) = host;
    proxy_on_request_headers(2, 3, 1)
}

fn decide(status: u32, value: Option<&'static [u8]>) -> u32 {
    ask(Host { header: (status, value), path: NOTHING, other: OK })
}

#[test]
fn a_request_passes_only_with_an_accepted_value_from_this_call() {
    let _turn = turn();
    assert_eq!(proxy_abi_version_0_2_1(VALUES[0].len()), malloc(VALUES[0].len()));
    for value in VALUES {
        assert_eq!(decide(OK, Some(value)), CONTINUE);
        assert_eq!(decide(OK, None), PAUSE, "left by the previous call");
        assert_eq!(decide(1, None), PAUSE);
        assert_eq!(decide(1, Some(value)), PAUSE, "delivered, but not Ok");
        assert_eq!(decide(OK, Some(&value[1..])), PAUSE);
        assert_eq!(
            decide(
                OK,
                Some(b"a value that is longer than any that a policy of this repository accepts")
            ),
            PAUSE
        );
    }
}

#[test]
fn a_host_that_refuses_what_the_policy_wants_done_denies() {
    let _turn = turn();
    let wants = REMOVE || CLIENT_HEADER.is_some();
    for value in VALUES {
        let refused = Host { header: (OK, Some(value)), path: NOTHING, other: 2 };
        assert_eq!(ask(refused), if wants { PAUSE } else { CONTINUE });
        assert_eq!(decide(OK, Some(value)), CONTINUE);
    }
}

#[test]
fn a_path_passes_only_if_it_is_exempt_and_from_this_call() {
    let _turn = turn();
    let open = |path| Host { header: NOTHING, path, other: OK };
    for pattern in PATHS {
        let path = pattern.strip_suffix('*').unwrap_or(pattern).as_bytes();
        assert_eq!(ask(open((OK, Some(path)))), CONTINUE);
        assert_eq!(ask(open((OK, None))), PAUSE, "left by the previous call");
        assert_eq!(ask(open((2, Some(path)))), PAUSE, "delivered, but not Ok");
        assert_eq!(ask(open((OK, Some(&path[1..])))), PAUSE);
        let refused = Host { other: 2, ..open((OK, Some(path))) };
        assert_eq!(ask(refused), if CLIENT_HEADER.is_some() { PAUSE } else { CONTINUE });
    }
    for path in [&b"/"[..], &[b'/'; 5000], b"/healthz/../admin"] {
        assert_eq!(ask(open((OK, Some(path)))), PAUSE);
    }
}
