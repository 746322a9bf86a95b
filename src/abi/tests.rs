//! The front compiled natively, with a host in Rust, for tools that do not work on WebAssembly (memcheck, Miri,
//! linters). `tests/adversary.rs` tests the finished module.

use core::slice;
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::policy::VALUES;

/// What the host delivers: a status, and a value if there is one.
static ANSWER: Mutex<(u32, Option<&[u8]>)> = Mutex::new((OK, None));

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_value(
    map: u32,
    key_data: *const u8,
    key_size: usize,
    value_data: *mut usize,
    value_size: *mut u32,
) -> u32 {
    let (status, value) = *ANSWER.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the caller passes a key and its size.
    let key = unsafe { slice::from_raw_parts(key_data, key_size) };
    assert_eq!((map, key), (HTTP_REQUEST_HEADERS, HEADER.as_bytes()));
    if let Some(value) = value {
        let room = malloc(value.len());
        if room.addr() == REFUSED {
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
    _details_data: *const u8,
    details_size: usize,
    body_data: *const u8,
    body_size: usize,
    headers_data: *const u8,
    headers_size: usize,
    grpc_status: i32,
) -> u32 {
    assert_eq!((status, details_size, grpc_status), (STATUS, DETAILS.len(), GRPC_STATUS));
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

fn decide(status: u32, value: Option<&'static [u8]>) -> u32 {
    *ANSWER.lock().unwrap_or_else(PoisonError::into_inner) = (status, value);
    proxy_on_request_headers(2, 3, 1)
}

#[test]
fn a_request_passes_only_with_an_accepted_value_from_this_call() {
    assert_eq!(proxy_abi_version_0_2_1(VALUES[0].len()), malloc(VALUES[0].len()));
    for value in VALUES {
        assert_eq!(decide(OK, Some(value)), CONTINUE);
        assert_eq!(decide(OK, None), PAUSE, "left by the previous call");
        assert_eq!(decide(1, None), PAUSE);
        assert_eq!(decide(1, Some(value)), PAUSE, "delivered, but not Ok");
        assert_eq!(decide(OK, Some(&value[1..])), PAUSE);
        assert_eq!(decide(OK, Some(b"a value that is longer than any accepted one is")), PAUSE);
    }
}
